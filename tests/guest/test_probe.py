"""drvprobe from Python: scripts out, JSON lines in."""

from __future__ import annotations

import json
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import CommandFailed, ConfigError, GuestHung, GuestLacks, TransportError
from lab.guest.probe import Operation, ProbeResult, ProbeScript, Reader, ReadResult, Transfer, parse_output, run_probe
from lab.guest.probescript import split_operations
from tests.guest.fakes import FakeTransport, result

EXE = r"C:\lab\bin\drvprobe.exe"


def line(seq: int, op: str, **values: Any) -> dict[str, Any]:
    """One line as drvprobe writes it; fields that an operation does not have are null."""
    names = ("handle", "tag", "code", "asked", "returned", "status", "input", "input_intact", "data", "text", "tail_intact")
    kind = {"wait": "read"}.get(op) or op.removeprefix("a")
    empty = dict.fromkeys(names) | {"kind": kind if kind in ("read", "write", "ioctl", "flush") else None}
    return {"seq": seq, "op": op, "thread": "main", **empty, "error": 0, "start_us": 10, "end_us": 20, **values}


def output(*lines: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(one, ensure_ascii=False).encode() + b"\n" for one in lines)


#: Two reads that were pended, one refused at once, and one that timed out, as drvprobe writes them.
ASYNC = output(
    line(1, "open", handle="h"),
    line(2, "aread", handle="h", tag="a", asked=13, returned=0, error=997),
    line(3, "aread", handle="h", tag="b", asked=13, returned=0, error=997),
    line(4, "aread", handle="h", tag="empty", asked=0, returned=0, error=31),
    line(
        5,
        "wait",
        handle="h",
        tag="a",
        asked=13,
        returned=13,
        data=b"hello lyshark".hex(),
        text="hello lyshark",
        tail_intact=True,
    ),
    line(6, "wait", handle="h", tag="b", asked=13, returned=0, error=258),
    line(7, "cancel", tag="b", asked=1, returned=1),
    line(8, "wait", handle="h", tag="b", asked=13, returned=0, error=995, data="", text="", tail_intact=True),
)


def test_a_script_is_built_by_methods() -> None:
    script = (
        ProbeScript()
        .open("h", r"\\.\LySharkAsync", access="rw", share="none", overlapped=True)
        .read("h", 20, times=5, fill=0xAB, buffer=64, tag="sync")
        .on("one")
        .aread("h", 13, tag="a", times=3)
        .on(process="two")
        .sleep(50)
        .service("stop", "sync")
        .go()
        .wait("a", timeout_ms=500)
        .cancel()
        .write("h", 4)
        .write("h", "two words; ü", tag="w", times=2)
        .awrite("h", b"", fill=1)
        .ioctl("h", 0x222000, 16, out=8)
        .aioctl("h", 0x222003, b"\x01\xff", out=b"before", tag="event")
        .flush("h")
        .aflush("h", tag="f")
        .open("d")
        .open("e", "C:\\two words=1\\file;")
        .tick()
        .close("h")
        .exit(7)
    )
    assert str(script).split("; ") == [
        r"open h \\.\LySharkAsync access=rw share=none overlapped=1",
        "read h 20 times=5 fill=ab buffer=64 tag=sync",
        "@one aread h 13 tag=a times=3",
        "$two sleep 50",
        "$two service stop sync",
        "go",
        "wait a timeout=500",
        "cancel all",
        "write h 4",
        "write h hex=74776f20776f7264733b20c3bc tag=w times=2",
        "awrite h hex= fill=01",
        "ioctl h 0x222000 in=16 out=8",
        "aioctl h 0x222003 hex=01ff outhex=6265666f7265 tag=event",
        "flush h",
        "aflush h tag=f",
        "open d {link}",
        'open e "C:\\two words=1\\file;"',
        "tick",
        "close h",
        "exit 7",
    ]


@pytest.mark.parametrize("word", ["two words", "a;b", "#a", "a=b", "@a"])
def test_words_with_blanks_get_quotation_marks(word: str) -> None:
    assert ProbeScript().close(word).operations == (f'close "{word}"',)
    with pytest.raises(ConfigError, match="not a name of a thread or process"):
        ProbeScript().on(f"t {word}")


@pytest.mark.parametrize("word", ["", 'a"b', "a\nb", "a\0b"])
def test_words_that_the_language_cannot_express_are_refused(word: str) -> None:
    with pytest.raises(ConfigError, match="not a word"):
        ProbeScript().close(word)
    with pytest.raises(ConfigError, match="name a thread or a process"):
        ProbeScript().on()


def test_a_buffer_is_filled_with_a_byte() -> None:
    with pytest.raises(ConfigError, match="not a byte"):
        ProbeScript().read("h", 1, fill=256)


def test_text_is_split_at_semicolons_and_lines_and_loses_its_comments() -> None:
    text = "open h X; read h 5\n# a comment; still\n\n; read  h 6 # more\nclose h;"
    assert split_operations(text) == ("open h X", "read h 5", "read h 6", "close h")
    assert ProbeScript().text(text).close("x").operations[-2:] == ("close h", "close x")


def test_a_script_goes_as_one_argument_without_a_shell() -> None:
    transport = FakeTransport([result(output(line(1, "open", handle="h")))])
    run_probe(transport, EXE, "open h X\nclose h", timeout=5)
    [sent] = transport.sent
    assert (sent.command, sent.shell, sent.stdin, sent.timeout) == ((EXE, "open h X; close h"), False, b"", 5)


def test_a_long_script_goes_as_input() -> None:
    transport = FakeTransport([result(output(line(1, "tick")))])
    run_probe(transport, EXE, "open h X\n" + "\n".join(["read h 20"] * 2000))
    [sent] = transport.sent
    assert sent.command == (EXE, "-")
    assert sent.stdin.splitlines() == [b"open h X"] + [b"read h 20"] * 2000


def test_reads_that_ended_are_distinguished_from_operations() -> None:
    done = ProbeResult(operations=parse_output(ASYNC))
    assert done.errors == [0, 997, 997, 31, 0, 258, 0, 995]
    assert [(r.tag, r.error) for r in done.reads] == [("empty", 31), ("a", 0), ("b", 995)]
    assert done.by_tag["a"].text == "hello lyshark"
    assert (done.by_tag["b"].error, done.by_tag["empty"].error) == (995, 31)
    assert [r.error for r in done.tagged("b")] == [995]
    assert done.of_thread("main") == done.operations


def test_the_last_result_of_a_tag_may_be_a_timeout() -> None:
    done = ProbeResult(operations=parse_output(output(line(1, "wait", tag="x", asked=3, returned=0, error=258))))
    assert done.by_tag["x"].error == 258
    assert done.reads == ()


def test_values_of_a_read() -> None:
    [read] = parse_output(
        output(line(1, "read", handle="h", asked=20, returned=3, data="e8afbb", text="读", tail_intact=False, end_us=1_500_010))
    )
    assert isinstance(read, ReadResult)
    assert (read.data, read.text, read.tail_intact, read.asked, read.returned) == ("读".encode(), "读", False, 20, 3)
    assert read.duration_s == pytest.approx(1.5)


_WORD = st.text(string.ascii_letters, min_size=1, max_size=5)
_LINES = st.lists(
    st.fixed_dictionaries(
        {
            "op": st.sampled_from(["open", "read", "wait", "aread", "ioctl", "close"]),
            "thread": _WORD,
            "handle": _WORD,
            "tag": st.none() | _WORD,
            "error": st.integers(0, 0xFFFFFFFF),
            "asked": st.integers(0, 0xFFFFFFFF),
            "start_us": st.integers(0, 2**63),
        }
    ),
    max_size=8,
)


@given(_LINES, st.binary(max_size=9), st.randoms())
def test_whatever_drvprobe_writes_is_read_back_in_any_order_of_threads(
    lines: list[dict[str, Any]], data: bytes, random: Any
) -> None:
    values = {"data": data.hex(), "text": "x", "tail_intact": True, "returned": len(data), "end_us": 2**63}
    written = [line(i, **{**one, **values}) for i, one in enumerate(lines, 1)]
    random.shuffle(written)
    for got, want in zip(parse_output(output(*written)), written, strict=True):
        pends = want["op"] == "aread" and want["error"] in (0, 997)
        if want["kind"] is None or pends:
            assert not isinstance(got, Transfer)
            continue
        assert isinstance(got, Transfer)
        assert isinstance(got, ReadResult) is (want["op"] != "ioctl")
        assert {
            name: getattr(got, name) for name in ("seq", "thread", "tag", "error", "asked", "start_us")
        }.items() <= want.items()
        assert got.data == data


@given(st.data())
def test_output_that_breaks_off_is_never_taken_for_whole(data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, len(ASYNC) - 1).filter(lambda at: ASYNC[at - 1 : at] != b"\n"))
    with pytest.raises(TransportError):
        parse_output(ASYNC[:cut])


@given(st.binary())
def test_other_output_is_an_error_of_the_transport_never_another(noise: bytes) -> None:
    try:
        operations = parse_output(noise)
    except TransportError:
        return
    assert operations == ()


def test_a_line_that_is_missing_in_the_middle_is_noticed() -> None:
    with pytest.raises(TransportError, match="8 were written, 7 arrived"):
        parse_output(b"".join(ASYNC.splitlines(keepends=True)[:3] + ASYNC.splitlines(keepends=True)[4:]))


def test_what_the_guest_cannot_do_is_a_lack_of_the_guest_not_a_mistake_in_the_script() -> None:
    error = {"seq": 3, "op": "error", "thread": "main", "handle": "b", "message": "without CancelIoEx, …", "text": "cancel b"}
    with pytest.raises(GuestLacks, match="without CancelIoEx, …: `cancel b`") as caught:
        run_probe(FakeTransport([result(output(error | {"needs": "cancel_one"}), code=2)]), EXE, "open b X; cancel b")
    assert caught.value.lacks == "cancel_one"
    with pytest.raises(ConfigError):
        run_probe(FakeTransport([result(output(error | {"needs": None}), code=2)]), EXE, "open b X; cancel b")


def test_a_mistake_in_the_script_is_reported_before_anything_is_sent() -> None:
    transport = FakeTransport([])
    with pytest.raises(ConfigError, match=r"drvprobe script, line 2, column 1: unknown operation 'raed'"):
        run_probe(transport, EXE, "open h X\nraed h 20")
    with pytest.raises(ConfigError, match="empty"):
        run_probe(transport, EXE, " ; # nothing")
    assert not transport.sent


def test_a_script_contains_a_link_only_if_there_is_one() -> None:
    transport = FakeTransport([result(output(line(1, "open", handle="h")))])
    run_probe(transport, EXE, ProbeScript().open("h"), link=r"\\.\X")
    assert transport.sent[0].command == (EXE, r"open h \\.\X")
    with pytest.raises(ConfigError, match=r"line 1, column 8: there is no link for \{link\}"):
        run_probe(transport, EXE, ProbeScript().open("h"))


def test_a_mistake_that_only_the_guest_notices_is_the_users() -> None:
    error = {"seq": 1, "op": "error", "thread": "main", "handle": None, "message": "unknown operation: foo", "text": "foo h"}
    with pytest.raises(ConfigError, match=r"drvprobe: unknown operation: foo in `foo h`"):
        run_probe(FakeTransport([result(output(error), code=2)]), EXE, "tick")


def test_an_exit_of_the_script_is_no_failure_and_any_other_is() -> None:
    done = run_probe(FakeTransport([result(output(line(1, "exit")), code=7)]), EXE, ProbeScript().exit(7))
    assert done.exit_code == 7
    with pytest.raises(CommandFailed, match="STATUS_ACCESS_VIOLATION") as caught:
        run_probe(FakeTransport([result(output(line(1, "tick")), code=0xC0000005)]), EXE, "tick; exit 7")
    assert caught.value.exit_code == 0xC0000005


def test_a_missing_drvprobe_is_a_failed_command() -> None:
    with pytest.raises(CommandFailed, match="ERROR_FILE_NOT_FOUND"):
        run_probe(FakeTransport([result(code=2, stderr="not found")]), EXE, "tick")


def test_a_reader_opens_reads_and_closes() -> None:
    scripts: list[str] = []

    def run(script: ProbeScript, *, timeout: float | None = None) -> ProbeResult:
        scripts.append(str(script))
        lines = [line(1, "open", handle="h"), line(2, "read", asked=20, returned=1, data="41", text="A"), line(3, "close")]
        return ProbeResult(operations=parse_output(output(*lines)))

    assert [r.text for r in Reader(run, r"\\.\X").read(length=20, times=5)] == ["A"]
    assert scripts == [r"open h \\.\X; read h 20 times=5; close h"]


def test_both_buffers_of_a_device_control_are_given() -> None:
    sent = {"kind": "ioctl", "code": 0x222000, "asked": 8, "returned": 2, "error": 234, "status": 0x80000005}
    buffers = {"input": "0102", "input_intact": False, "data": "4142", "text": "AB", "tail_intact": True}
    [at_once, later] = parse_output(output(line(1, "ioctl", **sent, **buffers), line(2, "wait", tag="a", **sent, **buffers)))
    for got in (at_once, later):
        assert isinstance(got, Transfer)
        assert (got.kind, got.code, got.error, got.status) == ("ioctl", 0x222000, 234, 0x80000005)
        assert (got.data, got.input, got.input_intact, got.tail_intact) == (b"AB", b"\x01\x02", False, True)
    done = ProbeResult(operations=(at_once, later))
    assert done.transfers == (at_once, later)
    assert done.reads == ()
    assert done.by_tag["a"] is later


@pytest.mark.parametrize(
    ("code", "access"), [(0x222000, ""), (0x226000, ""), (0x22A000, " access=w"), (0x22E000, " access=rw")]
)
def test_a_reader_sends_a_control_with_the_access_that_its_code_asks_for(code: int, access: str) -> None:
    scripts: list[str] = []

    def run(script: ProbeScript, *, timeout: float | None = None) -> ProbeResult:
        scripts.append(str(script))
        lines = [line(1, "open", handle="h"), line(2, "ioctl", asked=8, returned=1, data="41", text="A"), line(3, "close")]
        return ProbeResult(operations=parse_output(output(*lines)))

    assert Reader(run, r"\\.\X").ioctl(code, "in", out=8).text == "A"
    assert scripts == [rf"open h \\.\X{access}; ioctl h {code:#x} hex=696e out=8; close h"]


def test_a_reader_writes_and_flushes() -> None:
    scripts: list[str] = []

    def run(script: ProbeScript, *, timeout: float | None = None) -> ProbeResult:
        scripts.append(str(script))
        lines = [
            line(1, "open", handle="h"),
            line(2, "write" if "write" in str(script) else "flush", error=50),
            line(3, "close"),
        ]
        return ProbeResult(operations=parse_output(output(*lines)))

    reader = Reader(run, r"\\.\X")
    assert (reader.write(b"hi").error, reader.flush().kind) == (50, "flush")
    assert scripts == [r"open h \\.\X access=w; write h hex=6869; close h", r"open h \\.\X access=w; flush h; close h"]


def test_a_reader_waits_as_long_as_the_test_says() -> None:
    """A request that a driver loses takes that long; a test that expects one would wait for a minute."""
    waited: list[float | None] = []

    def run(script: ProbeScript, *, timeout: float | None = None) -> ProbeResult:
        waited.append(timeout)
        raise GuestHung("it did not end in time")

    reader = Reader(run, r"\\.\X")
    for call in (
        lambda: reader.read(20, timeout=1),
        lambda: reader.write(b"hi", timeout=2),
        lambda: reader.ioctl(0x222000, timeout=3),
        lambda: reader.flush(timeout=4),
        lambda: reader.flush(),
    ):
        with pytest.raises(GuestHung):
            call()
    assert waited == [1, 2, 3, 4, None]


def test_a_reader_without_its_device_reports_that() -> None:
    def run(script: ProbeScript, *, timeout: float | None = None) -> ProbeResult:
        operation = Operation(
            seq=1, op="open", thread="main", handle="h", tag=None, asked=0, returned=0, error=2, start_us=0, end_us=1
        )
        return ProbeResult(operations=(operation,))

    with pytest.raises(CommandFailed) as caught:
        Reader(run, r"\\.\X").read(20)
    assert caught.value.exit_code == 2
    assert caught.value.hint == r"is the driver of \\.\X loaded?"

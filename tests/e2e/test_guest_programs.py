"""Programs of the lab in a guest in which a request of theirs is refused."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator

import pytest

from lab.errors import GuestLacks
from lab.guest.probe import run_probe
from lab.host.assets import data_root
from lab.live.guest import LiveGuest
from lab.toolchain.build import build_components
from lab.toolchain.known import known_components
from tests.e2e.forked import forked_guest
from tests.guest.test_probelang import WRONG

pytestmark = pytest.mark.e2e

_START = 1
_UNIX = "\\\\?\\unix"


@pytest.fixture(scope="module")
def guest() -> Iterator[LiveGuest]:
    with forked_guest("guest-programs") as guest:
        yield guest


def _start(number: int, *, stdin: str = "/dev/null", stdout: str = "/dev/null", stderr: str = "/dev/null") -> bytes:
    """A request to the launcher to start `cmd /c exit 3` with these Unix paths as its streams."""
    streams = [_UNIX + path.replace("/", "\\") for path in (stdin, stdout, stderr)]
    strings = ["C:\\windows\\system32\\cmd.exe", "cmd.exe /c exit 3", "", "", *streams]
    frame = struct.pack("<IIII", _START, number, 0, 0)
    for text in strings:
        frame += struct.pack("<I", len(text)) + text.encode("utf-16-le")
    return struct.pack("<I", len(frame)) + frame


@pytest.mark.parametrize("stream", ["stdin", "stdout", "stderr"])
def test_a_command_whose_stream_cannot_be_opened_is_answered(guest: LiveGuest, stream: str) -> None:
    """It got no answer at all: the creation of the job object after it set the last error to 0, which means success."""
    missing = _start(7, **{stream: "/nowhere/at/all"})
    done = guest.transport.run([r"C:\lab\labexec.exe"], timeout=60, shell=False, stdin=missing)
    # Wine returns 3 if the folder does not exist either.
    assert done.text.splitlines() in (["ready", "failed 7 2"], ["ready", "failed 7 3"])
    absent = _start(8, **{stream: "/tmp/no-such-pipe"})
    done = guest.transport.run([r"C:\lab\labexec.exe"], timeout=60, shell=False, stdin=absent)
    assert done.text.splitlines() == ["ready", "failed 8 2"]


@pytest.fixture(scope="module")
def old_probe(guest: LiveGuest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A drvprobe that does without CancelIoEx, as on NT 5.2, beside the async driver, which is loaded; its path."""
    out, known = tmp_path_factory.mktemp("old"), known_components(data_root())
    build_components([known["drvprobe"]], "x64", out, None, defines=("LAB_WITHOUT_CANCELIOEX",))
    build_components([known["async"]], "x64", out, None)
    guest.transport.put(out / "drvprobe.exe", r"C:\lab\old\drvprobe.exe")
    guest.transport.put(out / "async.sys", r"C:\lab\old\async.sys")
    guest.services.install(known["async"].service, r"C:\lab\old\async.sys", group="LabDrivers")
    return r"C:\lab\old\drvprobe.exe"


_OPEN = r"open h \\.\LySharkAsync overlapped=1; "


def test_without_cancelioex_reads_that_can_be_cancelled_exactly_are(guest: LiveGuest, old_probe: str) -> None:
    done = run_probe(guest.transport, old_probe, _OPEN + "aread h 13 times=2 tag=a; cancel a; wait a; cancel a")
    cancel, again = (operation for operation in done.operations if operation.op == "cancel")
    assert [read.error for read in done.tagged("a")] == [995, 995]
    assert (cancel.asked, cancel.returned, cancel.error) == (2, 2, 0)
    assert (again.asked, again.returned, again.error) == (0, 0, 1168)
    done = run_probe(
        guest.transport,
        old_probe,
        _OPEN + r"open i \\.\LySharkAsync overlapped=1; aread i 13 tag=b; aread h 13 tag=c; cancel i; wait all; cancel i",
    )
    assert (done.by_tag["b"].error, done.by_tag["c"].error) == (995, 0)
    assert done.operations[-1].error == 1168


@pytest.mark.parametrize(
    "script",
    [
        "aread h 13 tag=a; aread h 13 tag=b; cancel a; wait all",
        "aread h 13; aread h 13 tag=b; cancel b; wait all",
        "@x aread h 13 tag=a; go; cancel a; wait all",
        "@x aread h 13 tag=a; go; cancel h; wait all",
        "@x aread h 13 tag=a; go; aread h 13 tag=b; cancel all; wait all",
    ],
)
def test_without_cancelioex_nothing_else_is_cancelled(guest: LiveGuest, old_probe: str, script: str) -> None:
    """CancelIo was used instead, and ended every read of the thread: a test that cancelled one read failed."""
    with pytest.raises(GuestLacks, match="without CancelIoEx") as caught:
        run_probe(guest.transport, old_probe, _OPEN + script)
    assert caught.value.lacks == "cancel_one"


@pytest.mark.parametrize(
    "wrong",
    ["odd digits", "no bytes", "bytes and a length", "bytes and in", "a small out", "a size", "overlapped", "a quotation mark"],
)
def test_the_program_refuses_what_the_host_refuses(guest: LiveGuest, old_probe: str, wrong: str) -> None:
    """A user who starts it by hand gets the same error."""
    done = guest.transport.run([old_probe, WRONG[wrong][0]], timeout=60, shell=False)
    assert done.exit_code == 2
    assert '"op":"error"' in done.text.splitlines()[-1]


def test_a_script_file_that_cannot_be_opened_is_reported_with_its_error(guest: LiveGuest, old_probe: str) -> None:
    done = guest.transport.run([old_probe, r"@C:\lab\old\nothing"], timeout=60, shell=False)
    assert done.exit_code == 2
    assert "the script file cannot be opened, Win32 error 2: C:\\\\lab\\\\old\\\\nothing" in done.text


_FULL = r"\\?\unix\dev\full"
_UNREADABLE = r"\\?\unix\proc\self\mem"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (rf"C:\lab\old\drvprobe.exe - <{_UNREADABLE}", "the script cannot be read, Win32 error "),
        (rf"C:\lab\bin\labfile.exe put C:\lab\old\copy <{_UNREADABLE}", "cannot read: standard input: Win32 error "),
        (rf"C:\lab\bin\labfile.exe sum C:\lab\old\async.sys >{_FULL}", "cannot write: standard output: Win32 error "),
        (rf"C:\lab\old\drvprobe.exe tick >{_FULL}", ""),
    ],
)
def test_a_standard_stream_that_fails_is_reported_with_its_error(
    guest: LiveGuest, old_probe: str, line: str, said: str
) -> None:
    """drvprobe treated it as the end of its script, and ran the part that it had read."""
    done = guest.transport.run(line, timeout=60)
    assert done.exit_code not in (0, 1), done
    assert said in done.text + done.error_text, done


def test_scripts_one_after_the_other_have_lines_around_them(guest: LiveGuest, old_probe: str) -> None:
    scripts = b"run a 4\ntick" + b"run b 10\ntick;\ntick" + b"run c 20\n@x tick; @y tick; go"
    done = guest.transport.run([old_probe, "--serve"], timeout=60, shell=False, stdin=scripts)
    lines = done.text.splitlines()
    said = [json.loads(line)["seq"] if line.startswith("{") else " ".join(line.split()[:2]) for line in lines]
    assert said == ["begin a", 1, "end a", "begin b", 1, 2, "end b", "begin c", 1, 2, 3, "end c"]
    ends = [int(line.split()[2]) for line in lines if line.startswith("end ")]
    assert ends == sorted(ends)
    assert max(json.loads(line)["end_us"] for line in lines if line.startswith("{")) <= ends[-1]
    assert done.exit_code == 0


@pytest.mark.parametrize(
    ("sent", "said", "code"),
    [
        (b"tick\n", '"not the line in front of a script"', 2),
        (b"run a\n", '"not the line in front of a script"', 2),
        (b"run a x\ntick", '"not the line in front of a script"', 2),
        (b"run a 4", '"not the line in front of a script"', 2),
        (b"x" * 300 + b"\n", '"not the line in front of a script"', 2),
        (b"run a 5\ntick", "", 109),
        (b"run a 0\n", '"the script is empty"', 2),
        (b"run a 4\ntackrun b 4\ntick", '"unknown operation: tack"', 2),
        (b"run a 12\ntick; exit 7run b 4\ntick", "begin a", 7),
        (b"", "", 0),
    ],
)
def test_what_is_no_script_ends_the_program_that_takes_them(
    guest: LiveGuest, old_probe: str, sent: bytes, said: str, code: int
) -> None:
    done = guest.transport.run([old_probe, "--serve"], timeout=60, shell=False, stdin=sent)
    assert done.exit_code == code, done
    assert said in done.text
    assert "begin b" not in done.text

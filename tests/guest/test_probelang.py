"""Scripts as users write them: what they mean, and the errors for wrong ones."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import ConfigError
from lab.guest.probeflow import check_flow
from lab.guest.probelang import VERBS, parse_script, quote_word


def sent(text: str, link: str = "") -> list[str]:
    return [str(operation) for operation in parse_script(text, link=link)]


def checked(text: str) -> None:
    check_flow(parse_script(text))


def test_a_script_becomes_what_the_program_reads() -> None:
    text = """
        # an inverted call
        open h {link} access=rw overlapped=1      # both ways
        aioctl h CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800, METHOD_BUFFERED, FILE_ANY_ACCESS) out=0x10 tag=event; tick
        ioctl h 2236420 text="hi; there # all" fill=A
        write h hex=0A0b;;
        @main open "two words" "C:\\a b"
    """
    assert sent(text, r"\\.\Kettle") == [
        r"open h \\.\Kettle access=rw overlapped=1",
        "aioctl h 0x222000 out=16 tag=event",
        "tick",
        "ioctl h 0x222004 fill=0a hex=68693b207468657265202320616c6c",
        "write h hex=0a0b",
        'open "two words" "C:\\a b"',
    ]


def test_a_link_with_blanks_is_one_word() -> None:
    assert sent("open h {link}", r"\\.\My Device") == [r'open h "\\.\My Device"']


#: Script, the marked part, the message, the hint.
WRONG = {
    "an operation": ("open h X; raed h 20", "raed", "unknown operation 'raed'", "read or aread"),
    "no word": ("tick\nread h", "read", "LENGTH is missing after read", "read HANDLE LENGTH"),
    "a word too many": ("close h i", "i", "one word too many after close", "close HANDLE"),
    "an option": ("read h 20 time=5", "time=5", "read has no option 'time'", "times"),
    "an option of others": ("close h tag=a", "tag=a", "close has no option 'tag'", "its options are none"),
    "an option first": ("read h 20 tag=a 5", "5", "options (NAME=VALUE) come last: 5", "read HANDLE LENGTH"),
    "an option twice": ("read h 20 tag=a tag=b", "tag=b", "option tag is given twice", ""),
    "a number": ("read h twenty", "twenty", "not a number: 'twenty'", "decimal or 0x…, at most 0xffffffff"),
    "a large number": ("sleep 4294967296", "4294967296", "not a number: '4294967296'", "decimal or 0x…, at most 0xffffffff"),
    "a size": ("ioctl h 1 out=0x100001", "out=0x100001", "1048577 bytes are more than 0x100000", "several smaller ones"),
    "times": ("read h 1 times=0", "times=0", "times=0 does nothing", "times=1 or more"),
    "rights": ("open h X access=read", "access=read", "must be r, w, rw or none, not 'read'", ""),
    "a flag": ("open h X overlapped=yes", "overlapped=yes", "must be 0 or 1, not 'yes'", ""),
    "a fill": (
        "read h 1 fill=0x100", "fill=0x100", "not a byte to fill a buffer with: '0x100'",
        "two hexadecimal digits: fill=ab",
    ),
    "odd digits": (
        "write h hex=abc", "hex=abc", "not pairs of hexadecimal digits: 'abc'",
        "hex=48690a, without blanks and 0x",
    ),
    "no bytes": (
        "write h", "write", "a length or bytes are missing",
        'write h 20, write h hex=0a0b or write h text="some text"',
    ),
    "bytes and a length": (
        "write h 4 hex=ab", "write", "a length and bytes: only one of them",
        'write h 20, write h hex=0a0b or write h text="some text"',
    ),
    "bytes twice": ("write h text=a hex=ab", "hex=ab", "the same bytes twice: text= and hex=", "one of them"),
    "bytes and in": ("ioctl h 1 in=4 text=ab", "ioctl", "in= and bytes: only one of them", "in=N sends N bytes of the fill"),
    "a small buffer": ("read h 20 buffer=19", "read", "the buffer of 19 bytes is smaller than the read of 20", ""),
    "a small out": ("ioctl h 1 out=1 outhex=aabb", "ioctl", "out=1 is smaller than outhex, which has 2 bytes", ""),
    "a code": (
        "ioctl h IOCTL_BOIL", "IOCTL_BOIL", "not a device control code: IOCTL_BOIL",
        "a number, or CTL_CODE(device, function, method, access)",
    ),
    "a part of a code": (
        "ioctl h CTL_CODE(0x22, 0x800, METHOD_ANY, 0)", "CTL_CODE(0x22, 0x800, METHOD_ANY, 0)",
        "not the method of a device control code: 'METHOD_ANY'",
        "0 to 0x3, or one of buffered, in_direct, out_direct, neither",
    ),
    "a quotation mark": ('open h "X', '"X', "a quotation mark is not closed on its line", '"…" around a word with blanks'),
    "an empty word": ('close ""', '""', "HANDLE is empty", ""),
    "an empty tag": ("read h 1 tag=", "tag=", "the tag is empty", "tag=NAME"),
    "a service's action": (
        "service begin X", "begin", "must be start, stop or query, not 'begin'",
        "it is start, stop, query",
    ),
    "a name without an operation": ("@a", "@a", "@NAME needs a name and an operation", "@a read h 20"),
    "go of a thread": ("@a go", "go", "go belongs to the main thread", "go without @a"),
    "many words": ("read " + "h " * 16, "h", "an operation has at most 16 words", "; or a new line ends the one before"),
    "a zero": ("open h X\0", "X", "no script can hold these characters: 'X\\x00'", "bytes go as hex=…"),
    # Of several operations together.
    "no handle": ("open h X; read i 20", "i", "handle i was not opened", "open i {link}; open are: h"),
    "a handle's misspelling": ("open handle X; read hadle 20", "hadle", "handle hadle was not opened", "handle"),
    "a closed handle": ("open h X; close h; read h 20", "h", "handle h was closed before", "open h {link}; open are: none"),
    "a name in use": ("open h X; open h Y", "h", "handle h is open already", "close h, or use another name"),
    "a tag": ("open h X overlapped=1; aread h 5 tag=a; wait b", "b", "nothing was issued under the tag b", "tags so far: a"),
    "a tag of what has ended": (
        "open h X; read h 5 tag=a; wait a", "a", "nothing was issued under the tag a",
        "tags so far: none",
    ),
    "a cancel": ("open h X; cancel x", "x", "x is neither a tag nor an open handle", "there is: h"),
    "overlapped": (
        "open h X; aioctl h 1", "aioctl", "aioctl needs a handle that was opened with overlapped=1",
        "open h … overlapped=1",
    ),
    "no go": ("open h X; @a read h 20", "read", "what is listed for @a is never started", "go at the end"),
    "a process' own handles": ("open h X; $p read h 20; go", "h", "handle h was not opened", "open h {link}; open are: none"),
    "a long process": (
        "$p open h X; $p write h hex=" + "ab" * 16000 + "; go", "write", "$p has more than 32000 characters of operations",
        "a thread (@NAME)",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "marked", "message", "hint"), WRONG.values(), ids=WRONG.keys())
def test_a_mistake_is_reported_with_its_place(text: str, marked: str, message: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        checked(text)
    said = re.fullmatch(r"drvprobe script, line (\d+), column (\d+): (.*)\n    .*\n    ( *)(\^+)", caught.value.message)
    assert said is not None, caught.value.message
    line, column = int(said[1]), int(said[2])
    assert (said[3], caught.value.hint) == (message, hint)
    assert text.split("\n")[line - 1][column - 1 :].startswith(marked)
    assert caught.value.line == line


def test_the_place_is_shown_in_its_line_however_long_that_is() -> None:
    with pytest.raises(ConfigError) as caught:
        checked("tick; " * 100 + "raed h 20; " + "tick; " * 100)
    shown, mark = caught.value.message.splitlines()[1:]
    assert shown[mark.index("^") :].startswith("raed")
    assert len(shown) < 140


RIGHT = (
    "@a open h X; @b read h 20; go; read h 20",  # the threads' order is unknown
    "open h X; @a close h; @b open h Y; go; open h Z",
    "@a open h X overlapped=1; @a aread h 5 tag=t; go; wait t; cancel t; cancel h; wait all",
    "$p open h X overlapped=1; $p aread h 5; $p exit 3; $p read z 1; go; $p open h X; go",
    "open h X; close h; open h X; read h 1; exit 0; read never 1",
    "open h X; aflush h tag=f; wait f",
    "open h X; cancel h; cancel all",
    "open h X overlapped=1; aread h 5 tag=a; close h; wait a; cancel a",
)


@pytest.mark.parametrize("text", RIGHT)
def test_scripts_that_may_be_right_are_not_refused(text: str) -> None:
    checked(text)


@given(st.text(string.printable + "äß\0\ud800\u3000", max_size=60))
def test_any_text_is_a_script_or_has_a_reported_place(text: str) -> None:
    said = ""
    try:
        checked(text)
    except ConfigError as error:
        said = error.message
    if said:
        place = re.match(r"drvprobe script, line (\d+), column (\d+): ", said)
        assert place is not None, said
        lines = text.split("\n")
        assert 0 < int(place[2]) <= len(lines[int(place[1]) - 1])


_NAMES = st.text(string.ascii_letters + string.digits + " ;#=@$._-\\ü", min_size=1, max_size=8)
_BYTES = st.binary(max_size=8).map(bytes.hex)
_SIZES = st.integers(0, 0x100000).map(str)
_WORDS = {
    "HANDLE": _NAMES, "PATH": _NAMES, "LENGTH": _SIZES, "CODE": st.integers(0, 0xFFFFFFFF).map(hex), "TAG": _NAMES,
    "TAG or HANDLE": _NAMES, "MILLISECONDS": st.integers(0, 0xFFFFFFFF).map(str), "SERVICE": _NAMES,
    "start, stop or query": st.sampled_from(["start", "stop", "query"]),
}  # fmt: skip
_OPTIONS = {
    "access": st.sampled_from(["r", "w", "rw", "none"]), "share": st.sampled_from(["r", "w", "rw", "none"]),
    "overlapped": st.sampled_from(["0", "1"]), "times": st.integers(1, 999).map(str),
    "fill": st.binary(min_size=1, max_size=1).map(bytes.hex), "tag": _NAMES, "in": _SIZES, "out": _SIZES, "hex": _BYTES,
    "outhex": _BYTES, "timeout": st.integers(0, 99999).map(str),
    "text": _NAMES,
}  # fmt: skip


@st.composite
def operations(draw: st.DrawFn) -> str:
    """One operation that is right, in some spelling."""
    name, verb = draw(st.sampled_from(sorted(VERBS.items(), key=lambda item: item[0])))
    words = [draw(_WORDS[what]) for what in verb.words]
    options = {option: draw(_OPTIONS[option]) for option in draw(st.permutations(sorted(set(verb.options) - {"buffer"})))}
    if verb.kind == "write":
        del options["hex" if draw(st.booleans()) else "text"]
        words = words[:1]
    if verb.kind == "ioctl":
        for gone in {"in", "hex", "text"} - {draw(st.sampled_from(["in", "hex", "text"]))} | {
            draw(st.sampled_from(["out", "outhex"]))
        }:
            options.pop(gone, None)
    owner = draw(st.sampled_from(["", "@a ", "$p "])) if name != "go" else ""
    blanks = draw(st.sampled_from([" ", "  ", "\t"]))
    return owner + blanks.join(
        [name, *map(quote_word, words), *(f"{key}={quote_word(value) if value else ''}" for key, value in options.items())]
    )


@given(st.lists(operations(), max_size=4), st.sampled_from(["; ", "\n", " ;\n", " # a comment; with more\n"]))
def test_a_correct_script_is_read_completely_and_its_sent_form_is_equal(written: list[str], separator: str) -> None:
    once = sent(separator.join(written))
    assert len(once) == len(written)
    assert sent("; ".join(once)) == once

"""The free guest's printf, the same C file compiled for this host: what each conversion prints, and where it writes."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.host.assets import data_root

SOURCE = data_root() / "driver" / "wine-compat"
#: Bytes after the room of a text; the formatter must not touch them.
GUARD = 0x5A
Wide = ctypes.c_uint16


class Counted(ctypes.Structure):
    """ANSI_STRING and UNICODE_STRING."""

    _fields_ = (("length", ctypes.c_uint16), ("maximum", ctypes.c_uint16), ("buffer", ctypes.c_void_p))


def wide(text: str) -> Any:
    """A wide text of Windows, with its zero."""
    units = text.encode("utf-16-le") + b"\0\0"
    return (Wide * (len(units) // 2)).from_buffer_copy(units)


def unicode_string(text: str) -> Counted:
    """Without a zero after it: the bytes there are not part of its text."""
    data = wide(text + "!!!")
    string = Counted(2 * len(text), 2 * len(text), ctypes.addressof(data))
    string.kept = data
    return string


def ansi_string(text: bytes) -> Counted:
    data = ctypes.create_string_buffer(text + b"!!!")
    string = Counted(len(text), len(text), ctypes.addressof(data))
    string.kept = data
    return string


def argument(value: object) -> Any:
    """A value as C gets it in a variable argument list."""
    if isinstance(value, Counted):
        return ctypes.byref(value)
    if isinstance(value, str):
        return wide(value)
    if isinstance(value, int):
        return ctypes.c_int64(value) if abs(value) >= 1 << 31 else ctypes.c_int(value)
    return value if value is not None else ctypes.c_void_p(None)


class Formatter:
    """Both functions, with what they wrote and the length that they returned."""

    def __init__(self, library: ctypes.CDLL) -> None:
        library.narrow.restype = ctypes.c_size_t
        library.wide.restype = ctypes.c_size_t
        self._library = library

    def narrow(self, form: bytes, *values: object, room: int = 600) -> tuple[bytes, int]:
        out = (ctypes.c_ubyte * (room + 1))(*([GUARD] * (room + 1)))
        given = [argument(value) for value in values]
        count = self._library.narrow(out, ctypes.c_size_t(room), form, *given)
        assert out[room] == GUARD, "it wrote behind the room that it had"
        return bytes(out[: min(count, room)]), count

    def wide(self, form: str, *values: object, room: int = 600) -> tuple[str, int]:
        out = (Wide * (room + 1))(*([GUARD] * (room + 1)))
        given = [argument(value) for value in values]
        count = self._library.wide(out, ctypes.c_size_t(room), wide(form), *given)
        assert out[room] == GUARD, "it wrote behind the room that it had"
        return bytes(memoryview(out).cast("B")[: 2 * min(count, room)]).decode("utf-16-le", "surrogatepass"), count

    def unlike_nt(self, form: bytes, *values: object) -> bool:
        return bool(self._library.unlike_nt(form, *[argument(value) for value in values]))

    def has_float(self, form: str) -> bool:
        told = {bool(self._library.FormatHasFloatNarrow(form.encode())), bool(self._library.FormatHasFloatWide(wide(form)))}
        assert len(told) == 1
        return told.pop()


@pytest.fixture(scope="module")
def formatter(tmp_path_factory: pytest.TempPathFactory) -> Formatter:
    library = tmp_path_factory.mktemp("format") / "format.so"
    warnings = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-ffreestanding")
    files = (str(Path(__file__).with_name("variadic.c")), str(SOURCE / "format.c"), str(SOURCE / "fields.c"))
    command = ["gcc", *warnings, "-shared", "-fPIC", f"-I{SOURCE}", "-o", str(library), *files]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return Formatter(ctypes.CDLL(str(library)))


@pytest.mark.parametrize(
    ("form", "values", "printed"),
    [
        # counted strings
        (b"%wZ|%Z|%d", (unicode_string("uni"), ansi_string(b"ansi"), 7), b"uni|ansi|7"),
        (b"%lZ|%hZ", (unicode_string("uni"), ansi_string(b"ansi")), b"uni|ansi"),
        (b"[%8wZ][%-6Z]", (unicode_string("uni"), ansi_string(b"ansi")), b"[     uni][ansi  ]"),
        (b"%.2wZ", (unicode_string("uni"),), b"uni"),
        (b"%wZ|%Z", (None, Counted(4, 4, None)), b"(null)|(null)"),
        (b"%wZ.", (unicode_string(""),), b"."),
        (b"%wZ", (unicode_string("\u8bfb\u20ac"),), "\u8bfb\u20ac".encode()),
        # text of both widths
        (b"%s|%S|%ws|%ls|%hs|%hS|%wS", (b"n", "w", "w", "w", b"n", b"n", "w"), b"n|w|w|w|n|n|w"),
        (b"%c|%C|%wc|%lc|%hc|%hC", (0x78,) * 6, b"x|x|x|x|x|x"),
        (b"%C%lc", (0x8BFB, 0xE4), "\u8bfb\u00e4".encode()),
        (b"[%8.2ws][%-8S][%.3s]", ("wide", "wide", b"narrow"), b"[      wi][wide    ][nar]"),
        (b"[%*.*s]", (6, 2, b"narrow"), b"[    na]"),
        (b"[%-*d]", (4, 7), b"[7   ]"),
        (b"[%*d]", (-4, 7), b"[7   ]"),
        (b"%s|%ws|%.3s", (None, None, None), b"(null)|(null)|(nu"),
        # numbers
        (b"%d %i %u %x %X %o", (-5, 5, -1, 0xABC, 0xABC, 8), b"-5 5 4294967295 abc ABC 10"),
        (b"%#x %#X %#o %#x", (18, 18, 8, 0), b"0x12 0X12 010 0"),
        (b"%08x|%8x|%-8x|%08.3d|%.0d", (18, 18, 18, 5, 0), b"00000012|      12|12      |     005|"),
        (b"%+d|% d|%+d|%05d|%-05d|", (5, 5, -5, -42, -42), b"+5| 5|-5|-0042|-42  |"),
        (b"%I64x|%llx|%Ix|%zx|%jx|%tx", (0x123456789ABC,) * 6, b"|".join([b"123456789abc"] * 6)),
        (b"%I64d|%lld", (-(1 << 63), -(1 << 40)), b"-9223372036854775808|-1099511627776"),
        (b"%I32d|%ld|%lu|%hd|%hhx|%hu", (5, -1, -1, 0x1FFFF, 0x1234, -1), b"5|-1|4294967295|-1|34|65535"),
        (b"%p|%p", (ctypes.c_void_p(0x1234ABCD), None), b"000000001234ABCD|0000000000000000"),
        # all the rest
        (b"100%% %y %", (), b"100% y "),
        (b"a%nb%d", (None, 3), b"ab3"),
        (b"", (), b""),
    ],
)
def test_narrow_formats(formatter: Formatter, form: bytes, values: tuple[object, ...], printed: bytes) -> None:
    assert formatter.narrow(form, *values) == (printed, len(printed))


@pytest.mark.parametrize(
    ("form", "values", "printed"),
    [
        ("%wZ|%Z|%d", (unicode_string("uni"), ansi_string(b"ansi"), 7), "uni|ansi|7"),
        ("%s|%S|%ws|%ls|%hs|%c|%C", ("w", b"n", "w", "w", b"n", 0x78, 0x79), "w|n|w|w|n|x|y"),
        ("%s %S", ("\u8bfb", "\u8bfb \U0001f600".encode()), "\u8bfb \u8bfb \U0001f600"),
        ("[%6S]", ("\u8bfb".encode(),), "[     \u8bfb]"),
        ("%S", (b"caf\xe9 \xff",), "caf\u00e9 \u00ff"),
        ("%s", (None,), "(null)"),
        ("%08I64x", (0x1234,), "00001234"),
    ],
)
def test_wide_formats(formatter: Formatter, form: str, values: tuple[object, ...], printed: str) -> None:
    assert formatter.wide(form, *values) == (printed, len(printed.encode("utf-16-le")) // 2)


def test_half_a_surrogate_pair_does_not_spoil_the_print(formatter: Formatter) -> None:
    assert formatter.narrow(b"%ws", "a\U0001f600b")[0] == "a\U0001f600b".encode()
    half = (Wide * 3)(0xD83D, ord("b"), 0)
    assert formatter.narrow(b"%ws", half)[0] == "\ufffdb".encode()


@pytest.mark.parametrize("room", [0, 1, 5, 9, 10, 11])
def test_text_that_does_not_fit_is_counted_and_not_written(formatter: Formatter, room: int) -> None:
    printed, count = formatter.narrow(b"%s-%05d", b"four", 12, room=room)
    assert (printed, count) == (b"four-00012"[:room], 10)
    assert formatter.wide("%S-%05d", b"four", 12, room=room) == ("four-00012"[:room], 10)


def test_a_width_of_millions_is_counted_and_not_looped_over(formatter: Formatter) -> None:
    assert formatter.narrow(b"%99999999d", 1, room=3) == (b"   ", 99999999)
    assert formatter.narrow(b"%.99999999d", 1, room=3) == (b"000", 99999999)


@pytest.mark.parametrize("form", ["%f", "%10.3e", "x %d %G", "%-+#a", "%*.*lf", "%Lf"])
def test_floating_point_is_noticed(formatter: Formatter, form: str) -> None:
    assert formatter.has_float(form)


@pytest.mark.parametrize("form", ["", "%", "%%f", "%df", "%wZ fg", "%5", "100% fine"[:4], "%I64d e"])
def test_text_that_looks_like_floating_point_is_accepted(formatter: Formatter, form: str) -> None:
    assert not formatter.has_float(form)


@settings(max_examples=300, deadline=None)
@given(
    value=st.integers(-(1 << 31), (1 << 31) - 1),
    width=st.integers(0, 30),
    digits=st.integers(0, 30),
    letter=st.sampled_from("duxXo"),
)
def test_numbers_are_those_of_python(formatter: Formatter, value: int, width: int, digits: int, letter: str) -> None:
    shown = value if letter == "d" else value & 0xFFFFFFFF
    form = f"%{width or ''}.{digits}{letter}"
    expected = "".rjust(width) if digits == 0 and shown == 0 else f"%{width or ''}.{digits}{letter}" % shown
    assert formatter.narrow(form.encode(), value)[0] == expected.encode()


@settings(max_examples=300, deadline=None)
@given(text=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40), room=st.integers(0, 50))
def test_any_text_passes_through_both_widths(formatter: Formatter, text: str, room: int) -> None:
    data = text.encode()
    assert formatter.narrow(b"%ws", text, room=room) == (data[:room], len(data))
    assert formatter.wide("%S", data)[0] == text


@settings(max_examples=500, deadline=None)
@given(form=st.text(st.sampled_from("%0123456789.-+ #hlwIztjL64xyq"), max_size=30), room=st.integers(0, 40))
def test_any_format_without_text_ends_and_stays_in_its_room(formatter: Formatter, form: str, room: int) -> None:
    formatter.narrow(form.encode(), *([1] * 40), room=room)
    formatter.wide(form, *([1] * 40), room=room)


def test_wide_text_beyond_ascii_is_marked_as_unlike_nt(formatter: Formatter) -> None:
    """Windows converts it to its code page, at PASSIVE_LEVEL; here it is UTF-8. Bytes are printed as they are, as there."""
    assert formatter.unlike_nt(b"%ws|%d", "\u8bfb", 7)
    assert formatter.unlike_nt(b"%wZ", unicode_string("\u00e9"))
    assert formatter.unlike_nt(b"%C", 0x20AC)
    assert not formatter.unlike_nt(b"%ws|%wZ|%C", "wide", unicode_string("ascii"), 0x41)
    assert not formatter.unlike_nt("%s|\u8bfb".encode(), "\u8bfb".encode())

"""Which differences between prints are noise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.compare.prints import compare_prints, quiet
from tests.compare.recording import attempt, entry

ADDRESSES = st.integers(0x10000, 2**64 - 1).filter(lambda value: value >> 16 not in (0x8000, 0xC000))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("当前DPC Irp: 0xfe8e3fb0", "当前DPC Irp: #"),
        ("Irp FFFFB58E02C4E010 done\n", "Irp # done"),
        ("client pid 4711, thread 0x1a4", "client pid #, thread #"),
        ("at 12:04:11.250", "at #"),
        ("读字节长度: 20 ", "读字节长度: 20"),
        ("status 0xC0000010 or c0000010", "status 0xC0000010 or c0000010"),
        ("flags 0x20, 0x0000", "flags 0x20, 0x0000"),
        ("slot 3 of 5, 1000 ms", "slot 3 of 5, 1000 ms"),
    ],
)
def test_what_is_noise_in_a_print(text: str, expected: str) -> None:
    assert quiet(text) == expected


@given(ADDRESSES, ADDRESSES, st.integers(1, 99999), st.integers(1, 99999))
def test_addresses_and_processes_never_count(one: int, other: int, pid: int, tid: int) -> None:
    assert quiet(f"irp {one:#x} of pid {pid}") == quiet(f"irp {other:#x} of pid {tid}")
    assert quiet(f"irp 0x{one:016X}") == quiet(f"irp 0x{other:016X}")


@given(st.integers(0, 9999), st.integers(0, 9999))
def test_a_number_that_a_driver_reports_counts(one: int, other: int) -> None:
    assert (quiet(f"length: {one}") == quiet(f"length: {other}")) == (one == other)


def test_other_prints_are_a_difference_and_the_same_ones_none() -> None:
    old, now = entry("a", prints=["length: 20", "irp 0xfe8e3fb0"]), entry("a", prints=["length: 21", "irp 0xfe8e4fb0"])
    change = compare_prints(old, now, same_drivers=False)
    assert change is not None
    assert (change.kind, change.base, change.new) == ("differs", 2, 2)
    assert change.diff == ["- length: 20", "+ length: 21"]
    assert compare_prints(old, old, same_drivers=False) is None


def test_prints_that_differ_with_the_same_driver_vary_by_themselves() -> None:
    change = compare_prints(entry("a", prints=["one"]), entry("a", prints=["one", "two"]), same_drivers=True)
    assert change is not None
    assert change.kind == "varies"


def test_the_same_prints_in_another_order_are_a_kind_of_their_own() -> None:
    change = compare_prints(entry("a", prints=["one", "two"]), entry("a", prints=["two", "one"]), same_drivers=False)
    assert change is not None
    assert change.kind == "order"


def test_what_one_of_several_attempts_printed_is_no_difference() -> None:
    varied = entry("a", prints=["two"], earlier=[attempt("passed", prints=["one"]), attempt("product", prints=["three"])])
    assert compare_prints(varied, entry("a", prints=["one"]), same_drivers=False) is None
    assert compare_prints(varied, entry("a", prints=["three"]), same_drivers=False) is not None


def test_prints_of_the_kernel_itself_are_no_tests() -> None:
    noisy = entry("a", prints=["one", "the kernel"])
    noisy.prints[1].by_kernel = True
    assert compare_prints(noisy, entry("a", prints=["one"]), same_drivers=False) is None


def test_a_long_difference_is_cut_and_says_so() -> None:
    change = compare_prints(entry("a"), entry("a", prints=[f"line {i}" for i in range(50)]), same_drivers=False)
    assert change is not None
    assert change.diff[-1] == "… 30 more"
    assert len(change.diff) == 21

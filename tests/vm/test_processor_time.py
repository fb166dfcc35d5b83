"""Waiting for a processor: the figures in /proc, and the window between two readings."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.vm.processor_time import (
    ProcessorReading,
    ProcessorTime,
    between,
    parse_pressure,
    parse_schedstat,
    parse_steal,
    read_processor,
)

NUMBERS = st.integers(min_value=0, max_value=2**63)


@given(NUMBERS, NUMBERS, st.integers(min_value=1, max_value=2**40))
def test_the_fields_of_schedstat(run: int, delay: int, slices: int) -> None:
    assert parse_schedstat(f"{run} {delay} {slices}\n") == delay / 1e9


@pytest.mark.parametrize("text", ["", "0 0 0\n", "12 34", "a b c", "-1 2 3"])
def test_a_kernel_without_schedstat_gives_nothing(text: str) -> None:
    assert parse_schedstat(text) is None


@given(st.text())
def test_any_text_is_read_or_unknown(text: str) -> None:
    for value in (parse_schedstat(text), parse_pressure(text), parse_steal(text, hertz=100)):
        assert value is None or value >= 0


@given(st.lists(st.lists(st.integers(0, 2**40), min_size=10, max_size=10), min_size=1, max_size=8))
def test_steal_is_the_mean_of_the_processors(columns: list[list[int]]) -> None:
    lines = [f"cpu{number} {' '.join(map(str, line))}" for number, line in enumerate(columns)]
    text = "\n".join(["cpu  1 2 3 4 5 6 7 8 9 10", *lines, "intr 5 0 0", "ctxt 7", "cpufreq x"])
    mean = sum(line[7] for line in columns) / len(columns) / 100
    assert parse_steal(text, hertz=100) == pytest.approx(mean)


def test_a_stat_without_the_column_says_nothing() -> None:
    assert parse_steal("cpu  1 2 3 4\ncpu0 1 2 3 4\n", hertz=100) is None


@given(st.integers(0, 2**60))
def test_pressure_is_read_from_the_line_some(total: int) -> None:
    text = f"some avg10=56.29 avg60=66.73 avg300=70.45 total={total}\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n"
    assert parse_pressure(text) == total / 1e6


def reading(
    at: float, waited: dict[int, float], stolen: float | None = None, pressure: float | None = None
) -> ProcessorReading:
    return ProcessorReading(at=at, waited=waited, stolen_s=stolen, pressure_s=pressure)


@given(st.dictionaries(st.integers(1, 99), st.tuples(st.floats(0, 1e6), st.floats(0, 1e3)), min_size=1), st.floats(0.1, 1e3))
def test_the_thread_that_waited_longest_counts(threads: dict[int, tuple[float, float]], wall: float) -> None:
    first = reading(5.0, {thread: before for thread, (before, _) in threads.items()})
    last = reading(5.0 + wall, {thread: before + more for thread, (before, more) in threads.items()})
    found = between(first, last)
    assert found is not None
    assert found.waited_s == pytest.approx(max(more for _, more in threads.values()), abs=1e-6)
    assert 0 <= found.share <= 1
    assert found.wall_s == pytest.approx(wall, abs=1e-6)


@pytest.mark.parametrize(
    ("first", "last"),
    [
        (None, reading(2, {1: 1})),
        (reading(1, {1: 1}), None),
        (reading(1, {1: 1}), reading(2, {7: 1})),
        (reading(2, {1: 1}), reading(2, {1: 1})),
    ],
)
def test_a_window_without_two_readings_is_unknown(first: ProcessorReading | None, last: ProcessorReading | None) -> None:
    assert between(first, last) is None


def test_the_figures_in_words() -> None:
    assert ProcessorTime(wall_s=5.2, waited_s=3.1).text == "waited 3.1 of 5.2 s (60%) for a processor"
    found = between(reading(1, {1: 1}, 10.0, 100.0), reading(5, {1: 3}, 11.0, 104.0))
    assert found is not None
    assert found.text == (
        "waited 2.0 of 4.0 s (50%) for a processor; "
        "the host's own host took 25%, some process of the host waited 100% of the time"
    )


def proc(folder: Path, threads: dict[int, tuple[str, str]], pid: int = 40) -> Path:
    """A proc file system with one process of these threads: name and schedstat."""
    for thread, (name, schedstat) in threads.items():
        task = folder / str(pid) / "task" / str(thread)
        task.mkdir(parents=True)
        (task / "comm").write_text(name + "\n", encoding="utf-8")
        if schedstat:
            (task / "schedstat").write_text(schedstat + "\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize("name", ["CPU 0/TCG", "CPU 0/KVM", "ALL CPUs/TCG"])
def test_the_threads_of_a_qemu_that_count(tmp_path: Path, name: str) -> None:
    threads = {
        40: ("qemu-system-x86", "9 2000000000 3"),
        41: ("IO mon_iothread", "9 9000000000 3"),
        43: (name, "9 500000000 3"),
    }
    found = read_processor(40, proc=proc(tmp_path, threads), clock=lambda: 7.0)
    assert found == ProcessorReading(at=7.0, waited={40: 2.0, 43: 0.5})
    (tmp_path / "pressure").mkdir()
    (tmp_path / "pressure" / "cpu").write_text("some avg10=0.00 avg60=0.00 avg300=0.00 total=3000000\n", encoding="utf-8")
    ticks = 2 * os.sysconf("SC_CLK_TCK")
    (tmp_path / "stat").write_text(f"cpu 0 0 0 0 0 0 0 {ticks} 0 0\ncpu0 0 0 0 0 0 0 0 {ticks} 0 0\n", encoding="utf-8")
    more = read_processor(40, proc=tmp_path)
    assert more is not None
    assert (more.pressure_s, more.stolen_s) == (3.0, 2.0)


@pytest.mark.parametrize(
    "threads",
    [
        {},
        {40: ("qemu-system-x86", "9 9 9")},
        {40: ("qemu-system-x86", "9 9 9"), 43: ("CPU 0/TCG", "")},
        {40: ("qemu-system-x86", "0 0 0"), 43: ("CPU 0/TCG", "0 0 0")},
    ],
)
def test_a_qemu_without_readable_files_is_unknown(tmp_path: Path, threads: dict[int, tuple[str, str]]) -> None:
    assert read_processor(40, proc=proc(tmp_path, threads)) is None


def test_this_host_has_schedstat() -> None:
    """Otherwise the figures of every run here would be unknown."""
    found = parse_schedstat(Path("/proc/self/schedstat").read_text(encoding="utf-8"))
    assert found is not None
    assert found >= 0

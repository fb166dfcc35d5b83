"""The stopwatch of the overhead: what counts as the guest's time, and that it sees the calls of a real session."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from inspect import signature
from pathlib import Path

import pytest

from lab.bench.measures.overhead import summarise
from lab.bench.stopwatch import Stopwatch, Timing, watch_calls, watch_guest
from lab.guest.protocol import Transport
from lab.guest.standing import Converses
from lab.prints.record import PrintSource
from tests.bench.fakes import TickingClock

pytest_plugins = ["pytester"]


class Clock:
    """Moves only when the test moves it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def wall() -> Clock:
    return Clock()


@pytest.fixture
def cpu() -> Clock:
    return Clock()


@pytest.fixture
def watch(wall: Clock, cpu: Clock) -> Stopwatch:
    return Stopwatch(wall, cpu)


def test_guest_time_is_taken_out_and_work_inside_of_guest_calls_is_not(watch: Stopwatch, wall: Clock, cpu: Clock) -> None:
    found: list[Timing] = []
    with watch.test("t", found.append):
        wall.now += 2
        with watch.guest_call():
            wall.now += 10
            cpu.now += 3
    assert found == [Timing(nodeid="t", wall_s=12, guest_s=10, guest_cpu_s=3, guests=0)]
    assert (found[0].waited_s, found[0].overhead_s) == (7, 5)


def test_a_call_never_computes_for_longer_than_it_takes(watch: Stopwatch, wall: Clock, cpu: Clock) -> None:
    found: list[Timing] = []
    with watch.test("t", found.append), watch.guest_call():
        wall.now += 1
        cpu.now += 1.5
    assert (found[0].guest_cpu_s, found[0].overhead_s) == (1, 1)


def test_a_guest_call_inside_of_another_counts_once(watch: Stopwatch, wall: Clock) -> None:
    found: list[Timing] = []
    with watch.test("t", found.append), watch.guest():
        wall.now += 1
        with watch.guest_call():
            wall.now += 1
    assert (found[0].guest_s, found[0].guests) == (2, 1)


def test_each_test_begins_at_zero_even_after_one_that_raised(watch: Stopwatch, wall: Clock) -> None:
    found: list[Timing] = []

    def failing() -> None:
        with watch.test("a", found.append), watch.guest_call():
            wall.now += 5
            raise RuntimeError

    with pytest.raises(RuntimeError):
        failing()
    with watch.test("b", found.append):
        wall.now += 1
    assert [one.guest_s for one in found] == [5, 0]


def test_a_watched_object_is_the_object_and_some_of_its_calls_are_timed(watch: Stopwatch, wall: Clock) -> None:
    class Guest:
        name = "winrm"

        def run(self, command: str) -> str:
            wall.now += 4
            return command.upper()

        def parse(self) -> None:
            wall.now += 1

    found: list[Timing] = []
    guest = Guest()
    watch_calls(guest, ("run", "ask"), watch)
    with watch.test("t", found.append):
        assert guest.run("x") == "X"
        guest.parse()
    assert guest.name == "winrm"
    assert not hasattr(guest, "ask")
    assert (found[0].guest_s, found[0].overhead_s) == (4, 1)


def test_all_calls_that_wait_for_a_guest_are_the_guest_s_time(watch: Stopwatch, wall: Clock) -> None:
    class Anything:
        """Takes a second for each call, whatever its name."""

        def __getattr__(self, name: str) -> Callable[[], None]:
            def call() -> None:
                wall.now += 1

            return call

    def waiting(protocol: type) -> set[str]:
        return {
            name for name, member in vars(protocol).items() if callable(member) and "timeout" in signature(member).parameters
        }

    found: list[Timing] = []
    transport, prints = Anything(), Anything()
    watch_guest(transport, prints, watch)
    # A call that has a deadline waits for something.
    calls = [(transport, name) for name in waiting(Transport) | waiting(Converses)] + [
        (prints, name) for name in waiting(PrintSource)
    ]
    with watch.test("t", found.append):
        for of, name in calls:
            getattr(of, name)()
    assert len(calls) >= 6
    assert (found[0].guest_s, found[0].overhead_s) == (len(calls), 0)


def test_calls_of_another_thread_are_not_waited_for_by_the_test(watch: Stopwatch, wall: Clock) -> None:
    found: list[Timing] = []

    def prepare() -> None:
        with watch.guest_call():
            wall.now += 3

    with watch.test("t", found.append):
        other = threading.Thread(target=prepare)
        other.start()
        other.join()
    assert (found[0].wall_s, found[0].guest_s) == (3, 0)


def test_a_summary_keeps_every_test() -> None:
    clock = TickingClock()
    timings = [Timing(nodeid=str(n), wall_s=1.0, guest_s=0.9, guest_cpu_s=0.01 * clock(), guests=0) for n in range(3)]
    total, inside, guest = summarise(timings).series
    assert total.values == pytest.approx((0.11, 0.12, 0.13))
    assert inside.values == pytest.approx((0.01, 0.02, 0.03))
    assert guest.values == pytest.approx((0.89, 0.88, 0.87))


def test_a_session_with_the_stopwatch_reports_boots_and_guest_calls(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        from pathlib import Path
        from tests.simulated import SimulatedSource

        def pytest_lab_guest_source(config, lab_config):
            return SimulatedSource(Path("payload"))
        """
    )
    pytester.makepyfile(
        """
        import pytest

        pytestmark = pytest.mark.lab_driver("sync")

        def test_first(driver, reader, prints):
            reader.read(length=20, times=5)
            prints.expect(["SimSync loaded"] + ["read 20"] * 5)

        def test_second(driver, reader):
            reader.read(length=20)
        """
    )
    arguments = ["-p", "lab.bench.stopwatch", "--lab-bench-timings=timings.jsonl", "--lab-out=out", "-p", "no:cacheprovider"]
    pytester.runpytest_subprocess(*arguments).assert_outcomes(passed=2)
    lines = (Path(pytester.path) / "timings.jsonl").read_text(encoding="utf-8").splitlines()
    first, second = (Timing(**json.loads(line)) for line in lines)
    assert first.nodeid.endswith("::test_first")
    assert (first.guests, second.guests) == (1, 0)
    assert 0 < second.guest_s < second.wall_s
    assert second.overhead_s <= second.wall_s

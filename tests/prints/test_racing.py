"""A guest with a virtual clock runs on after each answer: no test sees time that it did not ask for."""

from __future__ import annotations

import re

import pytest

from lab.prints.matching import PrintMismatch, PrintsMissing
from tests.prints.racing import BEGIN, RacingGuest

#: Seen on a quiet host, and on a busy one.
RACES = (0.0, 0.06, 4.9)


def ticks(first: float = BEGIN + 0.7) -> list[tuple[float, str]]:
    """The prints of a driver's own timer of a second."""
    return [(first + number, f"tick {number + 1}") for number in range(1000)]


@pytest.mark.parametrize("race", RACES)
def test_the_window_of_expect_none_begins_with_the_last_print_that_was_expected(race: float) -> None:
    guest = RacingGuest(race, ticks())
    for number in (1, 2, 3):
        guest.stream.expect(f"tick {number}")
        guest.stream.expect_none(wait=0.5)
    with pytest.raises(PrintMismatch, match=r"1 came:\n.*tick 4"):
        guest.stream.expect_none(wait=0.6)


@pytest.mark.parametrize("race", RACES)
def test_nothing_is_demanded_of_a_driver_in_time_that_the_test_has_not_waited_for(race: float) -> None:
    guest = RacingGuest(race, ticks())
    guest.stream.expect("tick 1")
    guest.stream.expect_none()
    assert guest.stream.texts() == ["tick 1"]
    assert [record.text for record in guest.stream.drain()] == ["tick 1"]
    guest.stream.expect("tick 2")


@pytest.mark.parametrize("race", RACES)
def test_a_sleep_begins_with_the_last_print_that_was_expected(race: float) -> None:
    guest = RacingGuest(race, ticks())
    guest.stream.expect("tick 1")
    guest.live.sleep(2.5)
    assert [record.text for record in guest.stream.drain()] == ["tick 1", "tick 2", "tick 3"]
    guest.live.sleep(1)
    assert [record.text for record in guest.stream.drain()][3:] == ["tick 4"]


@pytest.mark.parametrize("race", RACES)
def test_a_wait_begins_with_the_answer_to_a_command(race: float) -> None:
    guest = RacingGuest(race)
    guest.command(0.5, "armed", starts=[(1.5, "late")])
    guest.stream.expect("armed")
    guest.stream.expect_none(wait=1.4)
    guest.stream.expect("late")


@pytest.mark.parametrize("race", RACES)
def test_a_print_within_the_window_is_a_violation_whenever_the_guest_was_stopped(race: float) -> None:
    guest = RacingGuest(race, [(10.7, "tick"), (10.9, "again")])
    guest.stream.expect("tick")
    with pytest.raises(PrintMismatch, match="again"):
        guest.stream.expect_none(wait=0.25)


@pytest.mark.parametrize("race", RACES)
def test_what_a_command_prints_twice_is_seen_at_once(race: float) -> None:
    guest = RacingGuest(race)
    guest.command(0.3, "read 20", starts=[(0.001, "read 20")])
    guest.stream.expect("read 20")
    with pytest.raises(PrintMismatch, match="read 20"):
        guest.stream.expect_none()


def test_a_guest_that_is_past_the_end_of_a_wait_does_not_run() -> None:
    guest = RacingGuest(4.9, ticks())
    guest.stream.expect("tick 1")
    guest.asked.clear()
    guest.live.sleep(2.0)
    guest.live.sleep(2.0)
    assert guest.asked == []
    guest.live.sleep(100)
    assert len(guest.asked) == 1
    assert guest.asked[0] < 100
    assert guest.now >= 10.7 + 104


def test_an_answer_without_a_time_is_of_the_guests_present() -> None:
    guest = RacingGuest(4.9, ticks())
    guest.tells = False
    guest.stream.expect("tick 1")
    guest.command()  # up to 4.9 s ago
    stopped = guest.now
    guest.live.sleep(0.5)
    assert guest.machine.moment.at == stopped + 0.5
    assert len(guest.stream.texts()) == int(stopped + 0.5 - BEGIN + 0.3)


@pytest.mark.parametrize("race", RACES)
def test_a_loop_that_asks_for_prints_again_and_again_lets_time_pass(race: float) -> None:
    guest = RacingGuest(race, ticks())
    guest.stream.expect("tick 1")
    asked = 0
    while "tick 2" not in [record.text for record in guest.stream.drain()]:
        asked += 1
        assert asked < 100


@pytest.mark.parametrize("race", RACES)
def test_prints_after_the_load_are_not_those_of_the_load(race: float) -> None:
    guest = RacingGuest(race)
    guest.stream.note_load()
    guest.command(0.1, "loaded", starts=ticks(first=1.0))
    guest.stream.end_load()
    assert [record.text for record in guest.stream.skip_load()] == ["loaded"]
    guest.stream.expect("tick 1")


def test_a_worker_that_the_load_has_woken_has_its_turn() -> None:
    guest = RacingGuest(0.0)
    guest.stream.note_load()
    guest.command(0.1, "loaded", starts=[(0.01, "worker ready")])
    guest.stream.end_load()
    assert [record.text for record in guest.stream.skip_load()] == ["loaded", "worker ready"]
    guest.stream.expect_none(wait=5)


def test_who_waits_in_vain_has_waited() -> None:
    guest = RacingGuest(0.5, ticks())
    with pytest.raises(PrintsMissing):
        guest.stream.expect(["tick 1", re.compile("tock")], timeout=1, skip_others=True)
    assert len(guest.stream.texts()) >= 60


@pytest.mark.parametrize("tells", [True, False])
@pytest.mark.parametrize("race", [0.0, 0.06])
def test_a_print_during_a_command_is_seen_however_long_the_command_goes_on(race: float, tells: bool) -> None:
    guest = RacingGuest(race, [(12.9, "again")])
    guest.tells = tells
    guest.command(3.0, "armed")
    guest.stream.expect("armed")
    with pytest.raises(PrintMismatch, match="again"):
        guest.stream.expect_none(wait=1)


@pytest.mark.parametrize("race", RACES)
def test_no_print_escapes_the_wait_after_a_command_that_does_not_say_when_it_ended(race: float) -> None:
    guest = RacingGuest(race)
    guest.tells = False
    guest.command(0.2, "armed", starts=[(1.5, "late")])
    guest.stream.expect("armed")
    with pytest.raises(PrintMismatch, match="late"):
        guest.stream.expect_none(wait=1.5)


def test_a_sleep_begins_when_such_a_command_has_certainly_ended() -> None:
    guest = RacingGuest(0.0)
    guest.tells = False
    guest.command(2.0, "armed", starts=[(1.5, "late")])
    guest.stream.expect("armed")
    guest.live.sleep(1.6)
    assert guest.stream.texts() == ["armed", "late"]


def test_a_guest_that_started_again_is_waited_for_from_its_new_beginning() -> None:
    guest = RacingGuest(0.0, ticks(first=5000))
    guest.machine.moment.reached(4000.0)
    guest.live.sleep(2)
    assert guest.asked == [2.0]


def test_time_that_passes_for_something_else_counts() -> None:
    guest = RacingGuest(0.0, ticks())
    guest.stream.expect("tick 1")
    with guest.live.running():
        guest.run_to(13.0)
    assert guest.stream.texts() == ["tick 1", "tick 2", "tick 3"]

"""The state that a lease records about its guest."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from lab.lease.lease import Lease, Rank
from lab.lease.life import GuestLife


@pytest.fixture
def lease() -> Lease:
    guest: Any = SimpleNamespace(loaded=frozenset({"sync"}))
    ledger: Any = SimpleNamespace(windows=0)
    return Lease(guest, ledger, GuestLife(guest_id="gw0-1", started=0.0), scope="a")


def test_a_new_lease_is_sound(lease: Lease) -> None:
    assert (lease.condemned, lease.failures, lease.scope, lease.loaded) == ("", 0, "a", frozenset({"sync"}))


@pytest.mark.parametrize(
    ("reasons", "stays"),
    [
        ([("hang: a", Rank.SYMPTOM), ("lost evidence: b", Rank.SYMPTOM)], "hang: a"),
        ([("TransportError: reset", Rank.SYMPTOM), ("crash: 0xC0000005", Rank.END)], "crash: 0xC0000005"),
        ([("crash: 0xC0000005", Rank.END), ("TransportError: reset", Rank.SYMPTOM)], "crash: 0xC0000005"),
        ([("crash: 0xC0000005", Rank.END), ("exited: QEMU ended", Rank.END)], "crash: 0xC0000005"),
    ],
)
def test_the_end_of_a_guest_replaces_other_reasons_and_the_first_of_equals_stays(
    lease: Lease, reasons: list[tuple[str, Rank]], stays: str
) -> None:
    for reason, rank in reasons:
        lease.condemn(reason, rank)
    assert lease.condemned == stays


def test_a_lease_knows_the_test_before_this_one(lease: Lease) -> None:
    assert [lease.serve(test) for test in ("test_a", "test_b", "test_c")] == ["", "test_a", "test_b"]


def test_an_unload_of_an_earlier_test_says_nothing_about_a_later_leak(lease: Lease) -> None:
    lease.serve("test_a")
    lease.note_loaded("async", seconds=0.5)
    lease.serve("test_b")
    lease.note_unloading("async")
    lease.note_unloaded("async")
    assert lease.unloaded_from == "test_a"
    # The next test starts and stops the service itself: the lease learns nothing of that.
    lease.serve("test_c")
    assert lease.unloaded_from == ""


def test_a_driver_is_fresh_only_in_the_state_of_the_template(lease: Lease) -> None:
    assert lease.freshly_loaded("sync")
    lease.note_unloaded("sync")
    lease.note_unloaded("sync")
    assert not lease.freshly_loaded("sync")
    lease.note_loaded("async", seconds=0.5)
    lease.note_loaded("sync", seconds=0.25)
    assert lease.loaded == {"sync", "async"}
    assert lease.life.load_s == 0.5


def test_the_set_of_loaded_drivers_cannot_be_changed_from_outside(lease: Lease) -> None:
    assert isinstance(lease.loaded, frozenset)
    with pytest.raises(AttributeError):
        lease.condemned = ""  # type: ignore[misc]


def test_the_end_of_a_guest_that_runs_on_says_how_to_reach_it(lease: Lease) -> None:
    lease.life.end("end of run", kept_as="gw0-1")
    assert lease.life.kept_as == "gw0-1"
    assert lease.life.ended == "end of run; it runs on: `lab shell gw0-1` opens it, `lab down gw0-1` ends it"

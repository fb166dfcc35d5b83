"""A driver's leak, which Driver Verifier finds at its unload, is a crash of the test that loaded the driver."""

from __future__ import annotations

import datetime
import json
from typing import Any

import pytest

from lab.config import KnownIssue
from lab.gate.outside import left_at_unload
from lab.report.model import Fault

#: The first guest stops with bugcheck 0xC4, rule 0x62, when the driver is stopped.
_LEAKS = """real = source.boot
    def boot(guest_id, *, smp=None, clock="real"):
        import time
        from lab.errors import TransportError
        from lab.prints.record import FaultRecord
        guest = real(guest_id, smp=smp)
        answer = guest.transport.run
        def run(command, **more):
            line = command if isinstance(command, str) else " ".join(command)
            if "sc.exe stop SimSync" in line and guest_id.endswith("-1"):
                guest.prints.log.extend([FaultRecord(sequence=len(guest.prints.log), host_time=time.time(), guest_time=None,
                    code=0xC4, parameters=(0x62, 0xFFFFD000, 0, 3), text="*** Fatal System Error: 0x000000c4")])
                guest.machine.alive = False
                raise TransportError("the connection was reset")
            return answer(command, **more)
        guest.transport.run = run
        return guest
    source.boot = boot"""


def test_a_leak_is_of_the_test_whose_teardown_unloads_the_driver(inner: Any) -> None:
    inner.prepare(_LEAKS)
    inner.run(
        """
pytestmark = pytest.mark.lab_driver("sync")

def test_leaks(reader):
    reader.read(length=20)

def test_after(reader):
    reader.read(length=20)
"""
    )
    assert inner.verdicts == {"test_leaks": "crash", "test_after": "passed"}
    entry = inner.test("test_leaks")
    assert entry.signature == "crash 0x000000C4 DRIVER_VERIFIER_DETECTED_VIOLATION rule 0x62 in sync"
    assert "without freeing its pool allocations (a leak): 3 allocation(s)" in entry.reason
    assert entry.left_by == ""


def test_a_leak_that_a_later_test_finds_is_of_the_test_that_loaded_the_driver(inner: Any) -> None:
    inner.prepare(_LEAKS)
    inner.run(
        """
pytestmark = pytest.mark.lab_driver("sync", reload=False)

def test_loads(reader):
    reader.read(length=20)

def test_takes_over(reader):
    reader.read(length=20)

@pytest.mark.lab_fresh
def test_elsewhere(reader):
    reader.read(length=20)
"""
    )
    assert inner.verdicts == {"test_loads": "crash", "test_takes_over": "passed", "test_elsewhere": "passed"}
    loader, finder = inner.test("test_loads"), inner.test("test_takes_over")
    assert loader.reason.startswith("its driver was unloaded in test_inner.py::test_takes_over: ")
    assert loader.reason.endswith("(it was passed)")
    assert loader.fault is not None
    assert loader.signature.endswith("rule 0x62 in sync")
    assert finder.left_by == "test_inner.py::test_loads"
    assert finder.fault is None
    assert inner.report.exit_code == 3


@pytest.mark.parametrize(
    ("entry", "verdict"),
    [
        ({"test": "*::test_loads", "driver": "sync", "signature": "crash 0x000000C4 * rule 0x62 in sync"}, "known"),
        ({"test": "*::test_loads"}, "known"),
        ({"test": "*::test_loads", "signature": "crash 0x000000D1*"}, "crash"),
        ({"test": "*::test_loads", "driver": "async"}, "crash"),
        ({"test": "*::test_loads", "verdict": "product"}, "crash"),
        ({"test": "*::test_loads", "until": "2020-01-01"}, "crash"),
        ({"test": "*::test_takes_over"}, "crash"),
    ],
)
def test_a_leak_is_excused_by_the_known_issues_of_the_test_that_loaded_the_driver(
    inner: Any, entry: dict[str, str], verdict: str
) -> None:
    whole = {"verdict": "crash", "reason": "it leaks", "until": "2999-01-01"} | entry
    inner.pytester.makefile(".yaml", lab=f"known: [{json.dumps(whole)}]")
    inner.prepare(_LEAKS)
    inner.run(
        """
pytestmark = pytest.mark.lab_driver("sync", reload=False)

def test_loads(reader):
    reader.read(length=20)

def test_takes_over(reader):
    reader.read(length=20)
"""
    )
    assert inner.verdicts == {"test_loads": verdict, "test_takes_over": "passed"}
    loader = inner.test("test_loads")
    assert loader.signature == "crash 0x000000C4 DRIVER_VERIFIER_DETECTED_VIOLATION rule 0x62 in sync"
    assert loader.reason.startswith("known until 2999-01-01: it leaks (it is: its driver was unloaded in") == (
        verdict == "known"
    )
    assert inner.report.exit_code == (0 if verdict == "known" else 3)


def test_a_failure_of_the_later_test_is_its_own(inner: Any) -> None:
    inner.prepare(_LEAKS)
    inner.run(
        """
pytestmark = pytest.mark.lab_driver("sync", reload=False)

def test_loads(reader):
    reader.read(length=20)

def test_fails(reader):
    assert reader.read(length=20)[0].text == "something else"
"""
    )
    assert inner.verdicts == {"test_loads": "crash", "test_fails": "product"}


def test_under_driver_verifier_the_last_test_of_a_fork_unloads_its_driver(inner: Any) -> None:
    stops = "[c for c in SOURCES[-1].guests[-1].transport.commands if 'stop' in c]"
    inner.prepare(
        """real = source.live
    def live(*args, **more):
        from lab.live.verifier import InForce
        guest = real(*args, **more)
        guest.verifier = InForce(profile="standard", way="now", checks=("pool_tracking",), drivers=("sim.sys",))
        return guest
    source.live = live""",
        forks="SimulatedForks()",
        more=f"""
def pytest_sessionfinish():
    open("stops.txt", "w").write(str(len({stops})))
""",
    )
    inner.run(
        """
@pytest.mark.lab_driver("sync", reload=False)
def test_one(reader):
    reader.read(length=20)
"""
    )
    assert inner.verdicts == {"test_one": "passed"}
    assert (inner.pytester.path / "stops.txt").read_text() == "1"
    [guest] = inner.report.guests
    assert guest.verifier is not None
    assert (guest.verifier.profile, guest.verifier.checks) == ("standard", ["pool_tracking"])


def test_a_test_that_is_a_crash_already_keeps_its_reason() -> None:
    fault = Fault(code="0x000000C4", parameters=["0x62", "0x0", "0x0", "0x1"], name="DRIVER_VERIFIER_DETECTED_VIOLATION")
    assert left_at_unload(fault, found_in="t::b", verdict="crash", reason="worse") is None
    late = left_at_unload(fault, found_in="t::b", verdict="product", reason="a != b")
    assert late is not None
    assert late.decision.reason.endswith("(it was product: a != b)")


def test_a_known_leak_does_not_hide_another_failure_of_its_test() -> None:
    fault = Fault(code="0x000000C4", parameters=["0x62", "0x0", "0x0", "0x1"], name="DRIVER_VERIFIER_DETECTED_VIOLATION")
    known = [KnownIssue(test="t::a", reason="it leaks", until=datetime.date.max, verdict="crash")]
    assert left_at_unload(fault, found_in="t::b", verdict="product", reason="a != b", known=known) is None
    late = left_at_unload(fault, found_in="t::b", verdict="passed", reason="", known=known)
    assert late is not None
    assert late.decision.verdict == "known"

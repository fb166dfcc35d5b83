"""Objects of the lab become entries of the report."""

from __future__ import annotations

from pathlib import Path

from lab.crash.bugcheck import Bugcheck
from lab.crash.signs import NO_CODE, CrashSign
from lab.lease.life import GuestLife
from lab.prints.record import FaultRecord, PrintRecord
from lab.prints.window import Attribution
from lab.report.assemble import _templates
from lab.report.entries import fault_entry, forks_entry, guest_entry, print_entry
from lab.report.model import EvidenceFile, ForksEntry, GuestEntry, PrintEntry
from lab.snapshot.fork_request import ForkFigures
from lab.snapshot.store import TemplateStore
from tests.snapshot.folders import K1, key_of, make

FAULT = FaultRecord(sequence=1, host_time=1.0, guest_time=None, code=0xD1, parameters=(0x10, 2), text="boom")


def test_prints_and_faults_become_entries() -> None:
    record = PrintRecord(sequence=4, host_time=2.0, guest_time=1.0, source="kd", raw=b"\xff\n", text="\\xff\n", cpu=1, level=3)
    assert print_entry(record) == PrintEntry(
        sequence=4, host_time=2.0, guest_time=1.0, source="kd", raw="ff0a", text="\\xff\n", cpu=1, level=3
    )
    fault = fault_entry(FAULT, driver="sync")
    assert (fault.code, fault.parameters, fault.driver) == ("0x000000D1", ["0x10", "0x2"], "sync")


def test_a_guest_that_ended_itself_silently_has_qemus_event_as_its_fault() -> None:
    life = GuestLife(guest_id="gw0-1", started=1.0, ended="exited")
    assert guest_entry(life, worker="gw0").faults == []
    dump = EvidenceFile(kind="dump", path="evidence/gw0-1/memory.dmp")
    entry = guest_entry(life, worker="gw0", sign=CrashSign(3, "RESET", "the guest reset itself"), evidence=[dump])
    assert [(fault.code, fault.text) for fault in entry.faults] == [(NO_CODE, "the guest reset itself")]
    assert (entry.worker, entry.ended, entry.evidence) == ("gw0", "exited", [dump])
    told = guest_entry(life, worker="gw0", sign=CrashSign(3, "GUEST_PANICKED", "crash", Bugcheck(0xA, (1, 2, 3, 4))))
    assert [(fault.code, fault.parameters) for fault in told.faults] == [("0x0000000A", ["0x1", "0x2", "0x3", "0x4"])]


def test_a_fault_that_the_kernel_reported_is_not_repeated_for_qemus_event() -> None:
    life = GuestLife(guest_id="gw0-1", started=1.0, ended="exited", attribution=Attribution(assigned=4, faults=(FAULT,)))
    entry = guest_entry(life, worker="gw0", sign=CrashSign(3, "RESET", "the guest reset itself"))
    assert [fault.text for fault in entry.faults] == ["boom"]
    assert entry.prints == 4


def test_a_worker_without_templates_reports_how_many_forks_failed_and_why() -> None:
    figures = ForkFigures(failed=2, notes=["forks did not resume"])
    assert forks_entry(figures) == ForksEntry(failed=2, notes=["forks did not resume"])


def test_the_time_of_a_template_is_reported_even_if_only_other_workers_used_it(tmp_path: Path) -> None:
    store = TemplateStore(tmp_path)
    one, other = make(store, K1), make(store, key_of("k2"))
    maker = forks_entry(ForkFigures(made={one.key: one, other.key: other}))
    user = forks_entry(ForkFigures(used={one.key: one}))
    guest = GuestEntry(guest_id="gw1-1", worker="gw1", started=1.0, template=one.key)
    # Nothing was forked from the other template: the next run will use it.
    assert [(t.key, t.made_s, t.forks) for t in _templates([user, maker], [guest])] == [(one.key, 9.0, 1)]

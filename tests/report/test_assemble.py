"""The files of workers become run.json, even if workers die."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.report.assemble import assemble
from lab.report.model import Fault, GuestEntry, ImageEntry, PrintEntry, RunReport, TestEntry, kind_entry
from lab.report.runfiles import RunMeta, read_meta, read_run, write_meta, write_run
from lab.report.schema import run_schema
from lab.report.sessionfile import CollectionError, SessionFacts, write_session
from lab.report.view import unchecked
from lab.report.worker_files import ResultWriter, read_workers

ROOT = Path(__file__).resolve().parents[2]

META = RunMeta(
    lab_version="0.1.0",
    started="2026-09-21T14:13:20+00:00",
    started_at=1000.0,
    command=["lab", "run"],
    guest="free guest",
    image=ImageEntry(name="wine", key="k", guest="free guest", kind=kind_entry("wine"), capabilities=[]),
    accelerator="tcg",
    qemu="7.2",
    workers=2,
)


def an_entry(nodeid: str, **values: Any) -> TestEntry:
    base = {"nodeid": nodeid, "verdict": "passed", "duration_s": 1.5, "started": 1010.0, "worker": "gw0"}
    return TestEntry.model_validate(base | values)


def a_print(text: str = "x\n") -> PrintEntry:
    return PrintEntry(sequence=1, host_time=1.0, source="wine", raw="780a", text=text)


def make(out: Path, *, ended: str = "", interrupted: bool = False) -> RunReport:
    return assemble(out, META, duration_s=60.0, ended=ended, interrupted=interrupted)


def test_two_workers_become_one_report(tmp_path: Path) -> None:
    with ResultWriter(tmp_path, "gw1") as one, ResultWriter(tmp_path, "gw0") as other:
        one.guest(GuestEntry(guest_id="gw1-1", worker="gw1", started=1002, boot_s=24, copy_s=2, ended="end of run", prints=9))
        other.guest(GuestEntry(guest_id="gw0-1", worker="gw0", started=1001, boot_s=20, ended="end of run"))
        for writer, nodeid in ((one, "b.py::t"), (other, "a.py::z"), (one, "a.py::a")):
            writer.begin(nodeid, started=1010.0)
            writer.test(an_entry(nodeid, worker=writer.worker, prints=[a_print()]))
    report = make(tmp_path)
    assert [test.nodeid for test in report.tests] == ["a.py::a", "a.py::z", "b.py::t"]
    assert [guest.guest_id for guest in report.guests] == ["gw0-1", "gw1-1"]
    assert report.totals == {"passed": 3}
    assert report.exit_code == 0
    assert report.prints == 3
    assert report.unattributed_prints == 0
    assert report.times == {"boot": 22.0, "copy": 2.0, "suites": 1.5}


def test_a_test_without_an_end_is_infra(tmp_path: Path) -> None:
    with ResultWriter(tmp_path, "gw0") as writer:
        writer.begin("a.py::one", started=1010.0)
        writer.test(an_entry("a.py::one"))
        writer.begin("a.py::two", started=1012.0, guest_id="gw0-1")
    [one, two] = make(tmp_path).tests
    assert one.verdict == "passed"
    assert two.verdict == "infra"
    assert two.reason == "worker gw0 ended in the middle of this test"
    assert two.guest_id == "gw0-1"


def test_results_of_a_killed_worker_are_kept(tmp_path: Path) -> None:
    """A real process writes, and is killed by SIGKILL in the middle of a test."""
    code = (
        "import sys, pathlib, os, signal\n"
        "from lab.report.worker_files import ResultWriter\n"
        "from lab.report.model import TestEntry\n"
        "writer = ResultWriter(pathlib.Path(sys.argv[1]), 'gw0')\n"
        "writer.begin('a.py::one', started=1.0)\n"
        "writer.test(TestEntry(nodeid='a.py::one', verdict='product', reason='r', duration_s=1, started=1.0, worker='gw0'))\n"
        "writer.begin('a.py::two', started=2.0)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path)], timeout=60, check=False)
    assert ended.returncode == -signal.SIGKILL
    report = make(tmp_path)
    assert [test.verdict for test in report.tests] == ["product", "infra"]
    assert report.exit_code == 1


def test_a_torn_last_line_loses_only_that_line(tmp_path: Path) -> None:
    with ResultWriter(tmp_path, "gw0") as writer:
        writer.begin("a.py::one", started=1.0)
        writer.test(an_entry("a.py::one"))
        writer.begin("a.py::two", started=2.0)
        writer.test(an_entry("a.py::two"))
    [path] = (tmp_path / "workers").glob("*.tests.jsonl")
    path.write_bytes(path.read_bytes()[:-20])
    records = read_workers(tmp_path)
    assert [test.nodeid for test in records.tests] == ["a.py::one"]
    assert [test.nodeid for test in records.unfinished] == ["a.py::two"]
    assert records.damaged == [f"{path.name}:2"]


def test_a_rerun_keeps_the_first_result(tmp_path: Path) -> None:
    with ResultWriter(tmp_path, "gw0") as writer:
        writer.begin("t", started=1.0)
        writer.test(an_entry("t", started=1.0, verdict="infra", reason="no answer", details="trace", prints=[a_print("one")]))
        writer.begin("t", started=5.0)
        writer.test(an_entry("t", started=5.0, prints=[a_print("two"), a_print("three")]))
    report = make(tmp_path)
    [test] = report.tests
    assert (test.verdict, test.attempts) == ("passed", 2)
    assert [(attempt.verdict, attempt.reason) for attempt in test.history] == [("infra", "no answer"), ("passed", "")]
    assert test.history[0].details == "trace"
    assert [entry.text for entry in test.history[0].prints] == ["one"]
    assert report.prints == 3
    assert report.totals == {"passed": 1}


def test_a_killed_worker_and_the_repetition_elsewhere_are_two_attempts(tmp_path: Path) -> None:
    with ResultWriter(tmp_path, "gw0") as writer:
        writer.begin("t", started=1.0)
    with ResultWriter(tmp_path, "gw1") as writer:
        writer.begin("t", started=9.0)
        writer.test(an_entry("t", started=9.0, worker="gw1"))
    [test] = make(tmp_path).tests
    assert [(attempt.verdict, attempt.worker) for attempt in test.history] == [("infra", "gw0"), ("passed", "gw1")]


def test_one_execution_written_twice_is_one_attempt(tmp_path: Path) -> None:
    with ResultWriter(tmp_path, "gw0") as writer:
        writer.test(an_entry("t", verdict="product", reason="call"))
        writer.test(an_entry("t", verdict="product", reason="call and teardown"))
    [test] = make(tmp_path).tests
    assert (test.attempts, test.history, test.reason) == (1, [], "call and teardown")


def test_tests_that_never_started_count_when_the_run_died(tmp_path: Path) -> None:
    with ResultWriter(tmp_path, "gw0") as writer:
        writer.collected(["a", "b"])
        writer.test(an_entry("a"))
    with ResultWriter(tmp_path, "gw1") as writer:
        writer.collected(["a", "b"])
    lost = make(tmp_path)
    assert [(test.nodeid, test.verdict) for test in lost.tests] == [("a", "passed"), ("b", "infra")]
    died = make(tmp_path, ended="pytest was ended by SIGKILL")
    assert [(test.nodeid, test.verdict) for test in died.tests] == [("a", "passed"), ("b", "infra")]
    assert died.tests[1].reason == "never started: pytest was ended by SIGKILL"
    assert died.exit_code == 10


@pytest.mark.parametrize(
    ("stopped_by", "blame"), [("stop", "lab"), ("exit", "lab"), ("interrupt", "lab"), ("internal error", "test")]
)
def test_tests_that_were_left_out_on_purpose_are_not_run_and_no_failure(tmp_path: Path, stopped_by: Any, blame: Any) -> None:
    with ResultWriter(tmp_path, "gw0") as writer:
        writer.collected(["a", "b", "c"])
        writer.test(an_entry("a"))
    write_session(tmp_path, SessionFacts(stopped_by=stopped_by, blame=blame, stopped="stopping after 1 failures", deselected=7))
    report = make(tmp_path)
    assert (report.not_run, report.totals, report.exit_code) == (["b", "c"], {"passed": 1}, 0)
    assert (report.ended, report.deselected) == ("stopping after 1 failures", 7)


def test_a_test_that_was_interrupted_has_no_verdict(tmp_path: Path) -> None:
    with ResultWriter(tmp_path, "gw0") as writer:
        writer.collected(["a", "b", "c"])
        writer.begin("a", started=1.0)
        writer.test(an_entry("a", started=1.0))
        writer.begin("b", started=2.0)
    report = make(tmp_path, ended="the run was interrupted (SIGINT)", interrupted=True)
    assert (report.not_run, report.totals) == (["b", "c"], {"passed": 1})
    assert report.ended == "the run was interrupted (SIGINT)"


def test_a_suite_that_cannot_be_collected_is_an_entry(tmp_path: Path) -> None:
    with ResultWriter(tmp_path, "gw0") as writer:
        writer.collected(["suites/a.py::a"])
    error = CollectionError(nodeid="suites/b.py", reason="ModuleNotFoundError: No module named 'nosuch'", details="trace")
    write_session(tmp_path, SessionFacts(stopped_by="stop", stopped="1 error during collection", collection_errors=[error]))
    report = make(tmp_path)
    [entry] = report.tests
    assert (entry.nodeid, entry.verdict, entry.details) == ("suites/b.py", "test", "trace")
    assert entry.reason == "cannot be collected: ModuleNotFoundError: No module named 'nosuch'"
    assert (report.not_run, report.exit_code) == (["suites/a.py::a"], 4)


def test_a_named_driver_that_only_skipped_tests_name_is_unused(tmp_path: Path) -> None:
    with ResultWriter(tmp_path, "gw0") as writer:
        writer.test(an_entry("a", drivers=["mine"]))
        writer.test(an_entry("b", drivers=["other"], verdict="skipped"))
    meta = META.model_copy(update={"driver_paths": [["mine"], ["other"]]})
    assert assemble(tmp_path, meta, duration_s=1.0).unused_drivers == ["other"]


@pytest.mark.parametrize(
    ("verdict", "deselected", "why"),
    [
        ("skipped", 0, "its only test was skipped, because the guest lacks pnp"),
        ("", 2, "no test that was selected used it, and 2 tests were deselected"),
        ("", 0, 'no test of this run used it; its tests carry @pytest.mark.lab_driver("other")'),
    ],
)
def test_the_reason_for_an_unused_driver_is_reported(tmp_path: Path, verdict: str, deselected: int, why: str) -> None:
    with ResultWriter(tmp_path, "gw0") as writer:
        writer.test(an_entry("a"))
        if verdict:
            writer.test(an_entry("b", drivers=["other"], verdict=verdict, missing_capability="pnp"))
    write_session(tmp_path, SessionFacts(deselected=deselected))
    meta = META.model_copy(update={"driver_paths": [["other"]]})
    said = unchecked(assemble(tmp_path, meta, duration_s=1.0))
    assert said == [f"nothing was checked of the driver other: {why}"]


def test_a_folder_of_drivers_is_unused_when_all_of_them_are(tmp_path: Path) -> None:
    with ResultWriter(tmp_path, "gw0") as writer:
        writer.test(an_entry("a", drivers=["mine"]))
    meta = META.model_copy(update={"driver_paths": [["mine", "beside"], ["other", "another"]]})
    assert meta.named_drivers == ["mine", "beside", "other", "another"]
    assert assemble(tmp_path, meta, duration_s=1.0).unused_drivers == ["other", "another"]


def test_the_last_entry_about_a_guest_counts(tmp_path: Path) -> None:
    with ResultWriter(tmp_path, "gw0") as writer:
        writer.guest(GuestEntry(guest_id="g1", worker="gw0", started=1.0, boot_s=20.0))
        writer.guest(GuestEntry(guest_id="g2", worker="gw0", started=0.5, boot_s=20.0))
        writer.guest(
            GuestEntry(guest_id="g1", worker="gw0", started=1.0, boot_s=20.0, ended="end of run", unattributed=[a_print()])
        )
    report = make(tmp_path)
    assert [(guest.guest_id, guest.ended) for guest in report.guests] == [
        ("g2", "its worker ended unexpectedly"),
        ("g1", "end of run"),
    ]
    assert report.unattributed_prints == 1


def test_a_fault_after_an_earlier_attempt_makes_the_test_red(tmp_path: Path) -> None:
    fault = Fault(code="0xC0000005", text="it faulted")
    with ResultWriter(tmp_path, "gw0") as writer:
        writer.guest(GuestEntry(guest_id="g1", worker="gw0", started=1.0, ended="exited", faults=[fault]))
        writer.test(an_entry("t", started=2.0, verdict="infra", reason="no answer", guest_id="g1"))
        writer.test(an_entry("t", started=5.0, guest_id="g2"))
    report = make(tmp_path)
    [test] = report.tests
    assert test.verdict == "crash"
    assert test.reason == "after the test, on its guest: driver fault 0xC0000005: it faulted (it was passed)"
    assert [attempt.verdict for attempt in test.history] == ["crash", "passed"]
    assert report.exit_code == 3


LEAK = Fault(code="0x000000C4", parameters=["0x62", "0xffffd000", "0x0", "0x3"], name="DRIVER_VERIFIER_DETECTED_VIOLATION")


def record_leak(out: Path, *, repetitions: int, finds: int) -> None:
    """In each fork, `loads` leaves its driver to `takes`; the unload in one of these finds a leak."""
    with ResultWriter(out, "gw0") as writer:
        for number in range(repetitions):
            begin, guest = 1000.0 + 10 * number, f"gw0-{number + 1}"
            found = {"fault": LEAK, "left_by": "loads", "evidence": [{"kind": "dump", "path": "d"}]} if number == finds else {}
            shared = {"guest_id": guest, "repetition": number + 1, "drivers": ["sync"]}
            writer.test(an_entry("loads", started=begin, **shared))
            writer.test(an_entry("takes", started=begin + 5, **shared, **found))


@pytest.mark.parametrize("finds", [0, 1, 2])
def test_a_leak_of_any_repetition_is_of_the_execution_that_loaded_the_driver(tmp_path: Path, finds: int) -> None:
    record_leak(tmp_path, repetitions=3, finds=finds)
    report = assemble(tmp_path, META.model_copy(update={"repeat": 3}), duration_s=1.0)
    loader, finder = report.tests
    assert (loader.verdict, finder.verdict, report.exit_code) == ("crash", "passed", 3)
    assert loader.reason.startswith("its driver was unloaded in takes: bugcheck 0x000000C4")
    assert loader.guest_id == f"gw0-{finds + 1}"
    assert [(attempt.verdict, attempt.guest_id) for attempt in loader.history][-1] == ("crash", f"gw0-{finds + 1}")
    assert sum(attempt.verdict == "crash" for attempt in loader.history) == 1
    assert (loader.fault, [file.path for file in loader.evidence]) == (LEAK, ["d"])
    assert loader.rate is not None
    assert (loader.rate.runs, loader.rate.failed) == (3, 1)
    assert (finder.fault, finder.evidence) == (None, [])


def test_skipped_tests_are_counted_by_missing_capability(tmp_path: Path) -> None:
    with ResultWriter(tmp_path, "gw0") as writer:
        for number, missing in enumerate(["direct_io", "bugcheck", "direct_io", None]):
            writer.test(an_entry(f"t{number}", verdict="skipped", reason="needs it", missing_capability=missing))
    assert make(tmp_path).skipped_for == {"bugcheck": 1, "direct_io": 2}


def test_a_run_without_any_file(tmp_path: Path) -> None:
    report = make(tmp_path)
    assert (report.tests, report.guests, report.exit_code, report.times) == ([], [], 5, {})


def test_meta_and_run_survive_the_disk(tmp_path: Path, run: RunReport) -> None:
    assert read_meta(tmp_path) is None
    assert read_run(tmp_path) is None
    write_meta(tmp_path, META)
    write_run(tmp_path, run)
    assert read_meta(tmp_path) == META
    assert read_run(tmp_path) == run
    assert sorted(path.name for path in tmp_path.iterdir()) == ["meta.json", "run.json"]


def test_undecodable_text_does_not_stop_the_writer(tmp_path: Path) -> None:
    with ResultWriter(tmp_path, "gw0") as writer:
        writer.test(an_entry("t", verdict="product", reason="bad \udc80 byte", details="\udcff\x00\u2028"))
    [test] = make(tmp_path).tests
    assert test.reason == "bad \\udc80 byte"
    assert test.details == "\\udcff\x00\u2028"


@settings(deadline=None, max_examples=25)
@given(order=st.randoms(use_true_random=False))
def test_the_order_of_lines_and_workers_changes_nothing(order: random.Random, tmp_path_factory: pytest.TempPathFactory) -> None:
    reports = []
    for _ in range(2):
        out = tmp_path_factory.mktemp("run")
        entries = [an_entry(f"t{n % 7}", started=1000.0 + n, worker=f"gw{n % 3}", reason=str(n)) for n in range(12)]
        order.shuffle(entries)
        writers = {f"gw{n}": ResultWriter(out, f"gw{n}") for n in range(3)}
        for entry in entries:
            writers[entry.worker].test(entry)
        for writer in writers.values():
            writer.close()
        reports.append(make(out))
    assert reports[0] == reports[1]


def test_the_files_carry_worker_and_process(tmp_path: Path) -> None:
    with ResultWriter(tmp_path, "gw3") as writer:
        writer.begin("t", started=1.0)
        writer.close()
        writer.begin("t2", started=2.0)
    [path] = (tmp_path / "workers").iterdir()
    assert path.name == f"gw3.{os.getpid()}.begun.jsonl"
    assert len(path.read_text(encoding="utf-8").splitlines()) == 2


@pytest.mark.parametrize(("windows", "kind"), [(True, "windows"), (False, "wine")])
def test_a_report_of_schema_1_is_read(tmp_path: Path, run: RunReport, windows: bool, kind: str) -> None:
    """It only said whether the guest is Windows."""
    document = json.loads(write_run(tmp_path, run).read_text(encoding="utf-8"))
    document["schema_version"] = 1
    del document["image"]["kind"]
    document["image"]["is_windows"] = windows
    (tmp_path / "run.json").write_text(json.dumps(document), encoding="utf-8")
    found = read_run(tmp_path)
    assert found is not None
    assert found.image.kind == kind_entry(kind)


def test_the_schema_beside_the_documentation_is_current() -> None:
    text = (ROOT / "docs" / "run.schema.json").read_text(encoding="utf-8")
    assert text == run_schema(), "run: python -m lab.report.schema > docs/run.schema.json"
    assert json.loads(text)["properties"]["tests"]["type"] == "array"

"""Running measures: errors become rows, an interrupt ends the bench cleanly, and the files contain the results."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from lab.bench.model import BenchReport, MachineEntry
from lab.bench.protocol import NotHere
from lab.bench.report import make_report, write_report
from lab.bench.runner import Outcome, choose, judge_outcomes, measure_entry, run_measures
from lab.bench.schema import bench_schema
from lab.cli.bench import conclude
from lab.errors import ConfigError, TransportError
from tests.bench.fakes import FakeContext, FakeMeasure, SilentProgress, TickingClock, samples, series
from tests.simulated import manifest

ROOT = Path(__file__).resolve().parents[2]
GOOD = samples(series("winrm.program.session", 3.0), series("winrm.program.lab", 0.5, reference="winrm.program.session"))
MACHINE = MachineEntry(processor="a processor", cores=2, memory_mib=4096, kernel="6.1", python="3.11.2", load=0.5)


def run(context: FakeContext, *measures: FakeMeasure) -> tuple[Outcome, ...]:
    return run_measures(measures, context, SilentProgress(), clock=TickingClock())


def report_of(*outcomes: Outcome) -> BenchReport:
    return make_report(
        outcomes,
        judge_outcomes(outcomes),
        manifest=manifest(),
        accelerator="tcg",
        qemu="7.2",
        machine=MACHINE,
        started=datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC),
        duration_s=12.5,
        command=["lab", "bench"],
        quick=True,
    )


def test_a_failing_measure_is_a_row_and_the_others_run(context: FakeContext) -> None:
    outcomes = run(
        context,
        FakeMeasure("files", TransportError("the guest does not answer", hint="look")),
        FakeMeasure("kd", RuntimeError("a bug")),
        FakeMeasure("peer", NotHere("no labgrid")),
        FakeMeasure("winrm", GOOD),
    )
    assert [one.status for one in outcomes] == ["failed", "failed", "not here", "measured"]
    assert "does not answer" in outcomes[0].reason
    assert outcomes[0].trace == ""
    assert outcomes[1].reason == "RuntimeError: a bug"
    assert "Traceback" in outcomes[1].trace
    assert [one.duration_s for one in outcomes] == [1.0] * 4


def test_an_interrupt_ends_the_bench_and_keeps_what_was_measured(context: FakeContext) -> None:
    behind = FakeMeasure("kd", GOOD)
    outcomes = run(context, FakeMeasure("winrm", GOOD), FakeMeasure("files", KeyboardInterrupt()), behind)
    assert [one.status for one in outcomes] == ["measured", "interrupted", "interrupted"]
    assert behind.runs == 0


@pytest.mark.parametrize("only", [("kd", "winrm"), ("winrm,kd",), ("kd", "winrm", "kd")])
def test_measures_are_chosen_by_name_in_the_order_of_the_bench(only: tuple[str, ...]) -> None:
    measures = [FakeMeasure("winrm", GOOD), FakeMeasure("files", GOOD), FakeMeasure("kd", GOOD)]
    assert [one.name for one in choose(measures, only)] == ["winrm", "kd"]
    assert len(choose(measures, ())) == 3


def test_an_unknown_measure_is_wrong_usage_that_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="'speed'") as caught:
        choose([FakeMeasure("winrm", GOOD)], ["speed"])
    assert "winrm" in caught.value.hint


def test_a_budget_says_why_its_measure_has_no_figure(context: FakeContext) -> None:
    outcomes = run(
        context, FakeMeasure("winrm", TransportError("gone", hint="look")), FakeMeasure("memory", NotHere("no forks"))
    )
    judged = {one.budget.key: one for one in judge_outcomes(outcomes)}
    assert judged["winrm.ratio"].reason == "failed: gone\n  try: look"
    assert judged["fork.memory"].reason == "not here: no forks"
    assert judged["media.ratio"].reason == "not asked for"


def test_the_entry_of_a_measure_compares_with_its_reference() -> None:
    entry = measure_entry(Outcome(name="winrm", title="t", status="measured", samples=GOOD))
    assert [one.times_better for one in entry.series] == [None, 6.0]
    assert [one.p95 for one in entry.series] == [None, None]
    many = samples(series("boot.fork", *[float(n) for n in range(1, 21)], reference="not there"))
    (one,) = measure_entry(Outcome(name="boot", title="t", status="measured", samples=many)).series
    assert (one.p50, one.p95, one.reference, one.times_better) == (10.5, 19.0, "", None)


def test_bench_json_names_guest_accelerator_and_host(context: FakeContext, tmp_path: Path) -> None:
    report = report_of(*run(context, FakeMeasure("winrm", GOOD), FakeMeasure("peer", NotHere("no labgrid"))))
    write_report(tmp_path, report)
    read = BenchReport.model_validate_json((tmp_path / "bench.json").read_text(encoding="utf-8"))
    assert read == report
    assert read.guest == "simulated guest: no operating system at all"
    assert (read.accelerator, read.kind, read.qemu) == ("tcg", "wine", "7.2")
    assert "valid for this host" in read.caveat
    assert (tmp_path / "bench.svg").stat().st_size > 1000


def test_the_schema_is_the_one_that_is_checked_in() -> None:
    text = (ROOT / "docs" / "bench.schema.json").read_text(encoding="utf-8")
    assert text == bench_schema(), "run: python -m lab.bench.schema > docs/bench.schema.json"


@pytest.mark.parametrize(
    ("ends", "check", "code"),
    [
        (GOOD, True, 0),
        (samples(series("winrm.program.session", 1.0), series("winrm.program.lab", 0.5)), False, 0),
        (samples(series("winrm.program.session", 1.0), series("winrm.program.lab", 0.5)), True, 1),
        (TransportError("gone"), False, 10),
        (TransportError("gone"), True, 1),
        (NotHere("no such port"), False, 0),
        (NotHere("no such port"), True, 1),
        (KeyboardInterrupt(), False, 10),
    ],
)
def test_exit_codes(context: FakeContext, ends: object, check: bool, code: int) -> None:
    outcomes = run(context, FakeMeasure("winrm", ends))  # type: ignore[arg-type]
    assert conclude(outcomes, judge_outcomes(outcomes), check=check) == code


def test_a_check_names_budgets_that_are_not_met_and_by_how_much(
    context: FakeContext, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = samples(series("winrm.program.session", 1.0), series("winrm.program.lab", 0.5))
    outcomes = run(context, FakeMeasure("winrm", slow), FakeMeasure("memory", NotHere("no forks")))
    assert conclude(outcomes, judge_outcomes(outcomes), check=True) == 1
    said = capsys.readouterr().err
    assert "at least 3 times faster; it is: 2.00 ×" in said
    assert "not here: no forks" in said
    assert "media" not in said

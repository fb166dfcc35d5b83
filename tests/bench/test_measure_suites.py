"""The measures that run the real command: whole suites, and the loop of a changed driver."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from lab.bench.measures import loop as loop_module
from lab.bench.measures.loop import LoopMeasure, prepare_before
from lab.bench.measures.suites import EVERYTHING, SuitesMeasure, SuitesRun, plain_environment
from lab.bench.protocol import NotHere
from lab.bench.samples import Samples
from lab.errors import HostToolError
from tests.bench.fakes import FakeContext, FakeForks
from tests.simulated import manifest

ROOT = Path(__file__).resolve().parents[2]


def keys(found: Samples) -> list[str]:
    return [one.key for one in found.series]


def test_all_suites_run_except_tests_that_need_the_host_alone(context: FakeContext, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, object]] = []

    def run(_context: object, suites: object, *, options: object, **_rest: object) -> SuitesRun:
        asked.append((suites, options))
        return SuitesRun(1.0, 1)

    monkeypatch.setattr("lab.bench.measures.suites.run_suites", run)
    context.suites = ()
    SuitesMeasure().run(context)
    assert all((ROOT / path).is_dir() for path in EVERYTHING)
    assert set(asked) == {(EVERYTHING, ("--no-fork", "--clock", "real", "-m", "not lab_cpus"))}


def test_runs_of_suites_do_not_inherit_settings_or_a_surrounding_pytest(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LAB_WORKERS", "PYTEST_XDIST_WORKER", "LAB_CACHE"):
        monkeypatch.setenv(name, "7")
    found = plain_environment()
    assert "LAB_WORKERS" not in found
    assert "PYTEST_XDIST_WORKER" not in found
    assert found["LAB_CACHE"] == "7"


def test_each_number_of_workers_is_a_run_of_the_real_command(context: FakeContext, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[tuple[object, ...]] = []

    def run_suites(
        _context: FakeContext, suites: Sequence[str], *, workers: int, options: Sequence[str], folder: Path
    ) -> SuitesRun:
        assert tuple(suites) == ("suites/mine",)
        runs.append((workers, *options, folder.name))
        return SuitesRun(100.0 / workers, min(workers, 2))

    monkeypatch.setattr("lab.bench.measures.suites.run_suites", run_suites)
    context.suites = ("suites/mine",)
    shared = context.guest()
    found = SuitesMeasure().run(context)
    assert not shared.alive, "it would run beside what is measured"
    assert runs == [(n, "--no-fork", "--clock", "real", f"cold-{n}") for n in (1, 2, 4)]
    assert [(one.key, one.reference) for one in found.series][1] == ("suites.cold.2", "suites.cold.1")
    assert "forks: no forks here" in found.notes
    assert [one.note.partition(":")[0] for one in found.series] == ["", "", "2 of them"]


def test_forked_runs_follow_the_cold_ones_where_there_are_forks(context: FakeContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.bench.measures.suites.run_suites", lambda *_args, **_rest: SuitesRun(7.0, 1))
    context.quick, context.make_forks = True, FakeForks(context.source)
    assert keys(SuitesMeasure().run(context)) == ["suites.cold.1", "suites.cold.2", "suites.forked.1", "suites.forked.2"]


_FAKE_LAB = """
import pathlib, sys
files = [pathlib.Path(name) for name in ("driver/greeter.c", "suites/test_greeter.py")]
texts = [file.read_text().partition("good day ")[2].partition('"')[0] for file in files]
assert texts[0] == texts[1] and sys.argv[1] == "run"
with open("runs", "a") as file:
    file.write(texts[0] + " ")
sys.exit(EXIT)
"""


def fake_lab(folder: Path, *, exit_code: int = 0) -> Path:
    """A double of the `lab` command: records which text the driver has."""
    file = folder / ".venv" / "bin" / "lab"
    file.parent.mkdir(parents=True)
    file.write_text(f"#!{sys.executable}\n{_FAKE_LAB.replace('EXIT', str(exit_code))}", encoding="utf-8")
    file.chmod(0o755)
    return file


@pytest.fixture
def loop(context: FakeContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeContext:
    """Both labs of the measure are doubles, and report one test that passed."""
    context.source.manifest = manifest(name="wine")
    before = tmp_path / "before"
    fake_lab(before)
    ours = fake_lab(tmp_path / "now")
    report = SimpleNamespace(tests=[SimpleNamespace(verdict="passed")])
    monkeypatch.setattr(loop_module, "prepare_before", lambda _context: before)
    monkeypatch.setattr(loop_module, "own_command", lambda: ours)
    monkeypatch.setattr(loop_module, "read_run", lambda _folder: report)
    return context


def test_a_changed_driver_and_a_rerun_are_measured_in_turn_with_an_earlier_commit(loop: FakeContext) -> None:
    loop.count = 2
    shared = loop.guest()
    found = LoopMeasure().run(loop)
    assert not shared.alive, "it would run beside what is measured"
    assert [(one.key, len(one.values), one.reference) for one in found.series] == [
        ("loop.before.changed", 2, ""),
        ("loop.now.changed", 2, "loop.before.changed"),
        ("loop.before.again", 2, ""),
        ("loop.now.again", 2, "loop.before.again"),
    ]
    # A first run, then each text twice.
    for side in ("before", "now"):
        said = (loop.out / "loop" / side / "runs").read_text(encoding="utf-8").split()
        new = said[-1].partition("-")[0]
        assert said == ["0", f"{new}-1", f"{new}-1", f"{new}-2", f"{new}-2"]
    order = [text.partition(":")[0] for text in loop.details if ": change" in text]
    assert order == ["commit f207318", "the lab", "the lab", "commit f207318"]
    assert (ROOT / "lab" / "bench" / "loop" / "driver" / "greeter.c").read_text(encoding="utf-8").count("good day 0") == 1


def test_a_driver_that_an_earlier_bench_has_tested_does_not_count_as_changed(loop: FakeContext) -> None:
    loop.count, seen = 1, set()
    for _ in range(2):
        LoopMeasure().run(loop)
        seen.add((loop.out / "loop" / "now" / "runs").read_text(encoding="utf-8"))
    assert len(seen) == 2


def test_a_failed_loop_is_not_a_reading(loop: FakeContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "own_command", lambda: fake_lab(tmp_path / "red", exit_code=1))
    with pytest.raises(HostToolError, match=r"run\.log"):
        LoopMeasure().run(loop)


def test_a_run_of_other_tests_is_not_a_reading(loop: FakeContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "read_run", lambda _folder: SimpleNamespace(tests=[]))
    with pytest.raises(HostToolError, match="no test passed"):
        LoopMeasure().run(loop)


def test_without_the_earlier_commit_there_is_no_loop(
    context: FakeContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(NotHere, match="no git repository with commit"):
        prepare_before(context, tmp_path)
    context.source.manifest = manifest(name="windows-11")
    with pytest.raises(NotHere, match="of the guest wine"):
        LoopMeasure().run(context)

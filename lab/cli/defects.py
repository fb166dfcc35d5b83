"""`lab selftest defects`: runs the suites with one fault after the other in the drivers, and shows which test notices it."""

from __future__ import annotations

import dataclasses
import datetime
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

import lab
from lab.cli.defect_runs import UNCHANGED, DefectRuns
from lab.cli.resolved import guest_of
from lab.cli.run import require_run_tools, say_warning
from lab.config import Settings
from lab.defects.build import build_defects, with_defect
from lab.defects.catalogue import Planted
from lab.defects.model import DefectEntry, DefectsReport
from lab.defects.outcome import Trial, entry_of, first_tests, unseen
from lab.defects.page import page
from lab.defects.show import line_of, markdown, print_report
from lab.defects.source import diff_of
from lab.gate.exitcode import INFRA, OK, PRODUCT
from lab.host.capacity import measure
from lab.host.console import open_console
from lab.image.progress import open_progress
from lab.live.chosen_drivers import ChosenDrivers
from lab.live.resolve import ResolvedGuest
from lab.report.model import as_json
from lab.report.outdir import COPIES, named_folder, timed_folder
from lab.toolchain.package import DriverPackage
from lab.toolchain.sign import signing_key

REPORT_FILE = "defects.json"
MARKDOWN_FILE = "defects.md"
PAGE_FILE = "defects.html"
#: The drivers that the suites need, below the lab's checkout.
DRIVERS = ("driver/sync", "driver/async")
_SUITES = "suites"
_SIGNALLED = {"SIGHUP": 129, "SIGINT": 130, "SIGTERM": 143}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the command line asks for.

    Attributes:
        root: The lab's checkout.
        settings: What is in force.
        defects: The defects.
        whole: They are all of the catalogue: the unchanged drivers are then run with all tests.
        everything: All tests are run with each defect, also with one that is caught.
        out: Folder of the report; None for one that is named by the time.
    """

    root: Path
    settings: Settings
    defects: Sequence[Planted]
    whole: bool
    everything: bool
    out: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Built:
    """The drivers: the unchanged ones, and by the name of each defect those of its runs."""

    base: tuple[DriverPackage, ...]
    changed: dict[str, tuple[DriverPackage, ...]]
    seconds: float


def run_defects(wish: Wish) -> int:
    """Build and run the defects, write the report, and return the exit code."""
    started = datetime.datetime.now(tz=datetime.UTC)
    settings = dataclasses.replace(wish.settings, beside=())
    require_run_tools(settings.values.image)
    with open_progress() as progress:
        guest = guest_of(settings, progress)
        base = settings.project / settings.values.out
        folder = (timed_folder(base, started, prefix="defects-") if wish.out is None else named_folder(wish.out)).absolute()
        progress.stage(f"drivers with {len(wish.defects)} defects")
        built = _build(wish, guest, folder, progress.detail)
        progress.done("built")
    capabilities = guest.manifest.capabilities
    shown = [planted for planted in wish.defects if not planted.defect.unseen_on(capabilities)]
    trials = [Trial(planted) for planted in shown if built.changed[planted.name] != built.base]
    runs = DefectRuns(
        root=wish.root,
        settings=settings,
        guest=guest,
        folder=folder,
        at_once=_at_once(settings, guest),
        everything=wish.everything,
    )
    defects_s = _run(wish, runs, built, trials)
    found = {trial.planted.name: trial.entry(runs.reference, folder=trial.planted.name) for trial in trials}
    report = DefectsReport(
        lab_version=lab.__version__,
        started=started.isoformat(timespec="seconds"),
        guest=guest.manifest.guest,
        image_key=guest.manifest.key,
        accelerator=guest.accelerator,
        clock=guest.clock,
        workers=runs.at_once,
        reference_s=round(runs.reference_s, 3),
        reference_tests=len(runs.reference),
        whole=wish.whole and not runs.interrupted,
        build_s=round(built.seconds, 3),
        defects_s=round(defects_s, 3),
        red_without=[test for test, verdict in runs.reference.items() if verdict not in ("passed", "skipped", "known")],
        defects=[found.get(planted.name) or _not_run(planted, capabilities) for planted in wish.defects],
    )
    _write(report, folder)
    return _SIGNALLED.get(runs.interrupted) or exit_code(report)


def _build(wish: Wish, guest: ResolvedGuest, folder: Path, say: object) -> _Built:
    assert callable(say)
    begin = time.monotonic()
    drivers = ChosenDrivers(paths=tuple(wish.root / one for one in DRIVERS), project=wish.root)
    base = guest.take_drivers(drivers, into=folder / UNCHANGED / COPIES, progress=say, warn=say_warning)
    builds = wish.root / "build" / "defects"
    built = build_defects(wish.defects, arch=guest.manifest.arch, folder=builds, key=signing_key(), done=say)
    changed = {}
    for planted in wish.defects:
        one = built[planted.name]
        same = any(package.name == planted.driver and package.sha256 == one.sha256 for package in base)
        changed[planted.name] = base if same else with_defect(base, planted, one, into=folder / planted.name / COPIES)
    return _Built(base=base, changed=changed, seconds=time.monotonic() - begin)


def _run(wish: Wish, runs: DefectRuns, built: _Built, trials: Sequence[Trial]) -> float:
    """Run the tests without and with the defects; returns the seconds of the second part."""
    if not trials:
        return 0.0
    matter = first_tests([trial.planted for trial in trials])
    typer.echo(f"lab: the unchanged drivers, {'all tests' if wish.whole else f'{len(matter)} tests'}", err=True)
    runs.refer(built.base, [_SUITES] if wish.whole else matter)
    if runs.interrupted:
        return 0.0
    typer.echo(f"lab: {len(trials)} defects, {runs.at_once} at the same time", err=True)
    begin = time.monotonic()

    def over(trial: Trial) -> None:
        typer.echo(f"lab: {line_of(trial.entry(runs.reference, folder=''))}", err=True)

    runs.try_all(trials, built.changed, over)
    seconds = time.monotonic() - begin
    new = {test.nodeid for trial in trials for test in trial.catching(runs.reference)} - runs.reference.keys()
    if new and not runs.interrupted:
        typer.echo(f"lab: the unchanged drivers, {len(new)} more tests", err=True)
        runs.refer(built.base, sorted(new))
    return seconds


def _at_once(settings: Settings, guest: ResolvedGuest) -> int:
    machine, wanted = guest.manifest.machine, settings.values.workers
    return measure().forks(machine.memory_mb, smp=machine.smp) if wanted == "auto" else wanted


def _not_run(planted: Planted, capabilities: Sequence[str]) -> DefectEntry:
    if why := planted.defect.unseen_on(capabilities):
        return unseen(planted, why)
    return entry_of(planted, outcome="not judged", reason="the compiler makes the same driver of the changed source")


def _write(report: DefectsReport, folder: Path) -> None:
    (folder / REPORT_FILE).write_text(as_json(report, indent=2) + "\n", encoding="utf-8")
    (folder / MARKDOWN_FILE).write_text(markdown(report), encoding="utf-8")
    (folder / PAGE_FILE).write_text(page(report), encoding="utf-8")
    console = open_console()
    print_report(report, console)
    for what, name in (("report", PAGE_FILE), ("Markdown", MARKDOWN_FILE), ("data", REPORT_FILE)):
        console.print(f"{what:<8} {folder / name}", soft_wrap=True)


def list_defects(defects: Sequence[Planted], *, sources: bool) -> None:
    """Print the defects, one a line; or each as a change of the driver's source."""
    for planted in defects:
        needs = f" (needs {', '.join(planted.defect.needs)})" if planted.defect.needs else ""
        typer.echo(f"{planted.name:<44} {planted.defect.what}{needs}")
        if sources:
            typer.echo(diff_of(planted))


def exit_code(report: DefectsReport) -> int:
    """1: one survived, or was noticed by tests or verdicts that are not named; 10: one was not judged; 0 otherwise."""
    outcomes = {entry.outcome for entry in report.defects}
    if outcomes & {"survived", "another verdict", "another test"}:
        return PRODUCT
    return INFRA if "not judged" in outcomes or report.red_without else OK

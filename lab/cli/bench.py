"""`lab bench`: measure, show, save, and check the ratios against the budgets."""

from __future__ import annotations

import datetime
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from lab.bench.bench import Bench
from lab.bench.budgets import Judgement, short
from lab.bench.forks import template_forks
from lab.bench.format import budget_figure, one_line
from lab.bench.host import describe_machine
from lab.bench.measures import all_measures
from lab.bench.measures.prints import FLOOD_DRIVER
from lab.bench.protocol import Measure
from lab.bench.report import BENCH_FILE, PLOT_FILE, make_report, write_report
from lab.bench.runner import Outcome, budget_entry, choose, judge_outcomes, run_measures
from lab.bench.table import print_report
from lab.cli.given import Given, takes_settings
from lab.cli.pytest_args import check_suites
from lab.cli.resolved import guest_of
from lab.config import LabFile, Settings
from lab.errors import ConfigError
from lab.gate.exitcode import INFRA, OK
from lab.host.accel import QEMU
from lab.host.assets import checkout
from lab.host.console import open_console
from lab.host.paths import runs_dir, state_dir, templates_dir
from lab.host.qemu import qemu_version
from lab.image.folder import read_credentials
from lab.image.progress import Progress, open_progress
from lab.lease.detached import DetachedGuests
from lab.lease.image_source import ImageSource
from lab.live.chosen_drivers import ChosenDrivers
from lab.live.payload import Payload
from lab.live.resolve import ResolvedGuest
from lab.report.outdir import COPIES, check_named, named_folder, timed_folder
from lab.snapshot.store import TemplateStore
from lab.vm.cleanup import sweep

#: The drivers of the suites that are run.
TESTED = ("sync", "async")
#: A budget is not met.
SHORT = 1


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(bench)


@takes_settings("bench")
def bench(
    given: Given,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="NAME", help="Take only this measure; may be repeated, or a,b,c")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Few repetitions: some minutes instead of a quarter of an hour")
    ] = False,
    count: Annotated[int | None, typer.Option("-n", min=1, help="How often a reading is taken (long ones: 5 at most)")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="End with 1 if a ratio, a size or a loss does not meet its budget")
    ] = False,
    check_times: Annotated[
        bool, typer.Option("--check-times", help="As --check, also for budgets in seconds and MB/s; use it on a quiet host")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Report folder; default: out/bench-<UTC time>")] = None,
    suite: Annotated[
        list[str] | None, typer.Option("--suite", metavar="PATH", help="What the measure `suites` runs; may be repeated")
    ] = None,
    peer: Annotated[
        Path | None, typer.Option("--peer", metavar="PYTHON", help="A Python with labgrid; `bash ci/peer.sh` makes one")
    ] = None,
    list_measures: Annotated[bool, typer.Option("--list", help="List the measures and what each needs")] = False,
) -> None:
    """Measure the lab beside its alternatives on this host.

    Writes bench.json and bench.svg. Ends with 0: all was measured, 1: --check found a budget that is not met, or without a
    figure although its measure was selected, 2: wrong usage, 10: a measure failed.
    """
    measures = choose(all_measures(), only or ())
    if list_measures:
        for measure in measures:
            typer.echo(f"{measure.name:<10} {measure.title}\n{'':<10} needs {measure.needs}")
        return
    settings = given.load()
    suites = tuple(check_suites(suite or (), given=True, root=checkout("lab bench")))
    if peer is not None and not peer.exists():
        raise ConfigError(f"there is no Python {peer}", hint="bash ci/peer.sh makes one, .venv-peer/bin/python")
    if out is not None:
        check_named(out)
    wishes: dict[str, Any] = {"quick": quick, "count": count, "suites": suites, "peer_python": peer}
    outcomes, judgements = _bench(measures, settings, out=out, wishes=wishes)
    raise typer.Exit(conclude(outcomes, judgements, check=check or check_times, absolute=check_times))


def _bench(
    measures: tuple[Measure, ...], settings: Settings, *, out: Path | None, wishes: dict[str, Any]
) -> tuple[tuple[Outcome, ...], tuple[Judgement, ...]]:
    # For other signals than Ctrl-C, too: an interrupted bench shows what it has measured so far. A shell starts its background
    # jobs with SIGINT ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    console = open_console()
    started = datetime.datetime.now(tz=datetime.UTC)
    begin = time.monotonic()
    machine = describe_machine()
    with open_progress() as progress:
        guest = guest_of(with_the_images_machine(settings), progress, clock="real")
        progress.stage("drivers")
        folder = named_folder(out) if out else timed_folder(Path(settings.values.out), started, prefix="bench-")
        copies = folder.absolute() / COPIES
        project = checkout("lab bench")
        suites = ChosenDrivers(names=TESTED, project=project)
        flood = replace(suites, paths=(FLOOD_DRIVER,))
        payload = Payload.of(guest.take_drivers(flood, into=copies / "bench", progress=progress.detail))
        tested = Payload.of(guest.take_drivers(suites, into=copies / "suites", progress=progress.detail))
        source = _source(guest, payload, folder.absolute(), progress)
        with Bench(
            source=source,
            payload=payload,
            credentials=read_credentials(guest.image_dir),
            out=folder.absolute(),
            progress=progress,
            # Without the driver that prints: the template is then the one that `lab run` makes, too.
            make_forks=lambda: template_forks(replace(source, payload=tested), TemplateStore(templates_dir())),
            **wishes,
        ) as context:
            outcomes = run_measures(measures, context, progress, clock=time.monotonic)
        progress.done("measured")
    judgements = judge_outcomes(outcomes)
    report = make_report(
        outcomes,
        judgements,
        manifest=source.manifest,
        accelerator=guest.accelerator,
        qemu=source.qemu,
        machine=machine,
        started=started,
        duration_s=time.monotonic() - begin,
        command=["lab", *sys.argv[1:]],
        quick=wishes["quick"],
    )
    write_report(folder, report)
    print_report(report, console)
    for outcome in outcomes:
        if outcome.trace:
            console.print(f"\n{outcome.name}:\n{outcome.trace}", markup=False, highlight=False, soft_wrap=True)
    for name in (BENCH_FILE, PLOT_FILE):
        console.print(f"{name:<11} {folder / name}", markup=False, highlight=False, soft_wrap=True)
    return outcomes, judgements


def with_the_images_machine(settings: Settings) -> Settings:
    """The settings with the image's own VM: figures of other VMs could not be compared."""
    return replace(settings, values=LabFile(image=settings.values.image, accelerator=settings.values.accelerator))


def _source(guest: ResolvedGuest, payload: Payload, folder: Path, progress: Progress) -> ImageSource:
    sweep(runs_dir())
    return ImageSource(
        image_dir=guest.image_dir,
        manifest=guest.manifest,
        payload=payload,
        accelerator=guest.accelerator,
        qemu=qemu_version(QEMU),
        transport="winrm",
        boot_timeout=None,
        runs_dir=runs_dir(),
        evidence_dir=folder / "guests",
        kept=DetachedGuests(state_dir() / "guests"),
        progress=progress.detail,
    )


def conclude(outcomes: tuple[Outcome, ...], judgements: tuple[Judgement, ...], *, check: bool, absolute: bool = False) -> int:
    """Print which budgets are not met, and return the exit code.

    Args:
        outcomes: Of the measures that were asked for.
        judgements: Of all budgets.
        check: Whether a budget that is not met is an error.
        absolute: Whether times and rates of this host count, too.
    """
    asked = frozenset(outcome.name for outcome in outcomes)
    missed = short(judgements, asked=asked, absolute=absolute) if check else ()
    for one in missed:
        figure = one_line(one.reason) if one.figure is None else budget_figure(budget_entry(one))
        sys.stderr.write(f"lab: budget not met: {one.budget.what}: {one.budget.goal}; it is: {figure}\n")
    failed = [outcome for outcome in outcomes if outcome.status in ("failed", "interrupted")]
    for outcome in failed:
        sys.stderr.write(f"lab: not measured: {outcome.name}: {one_line(outcome.reason)}\n")
    if missed:
        return SHORT
    return INFRA if failed else OK

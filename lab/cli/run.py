"""`lab run`: prepares image, drivers and folder, runs the suites with pytest, and writes the report."""

from __future__ import annotations

import contextlib
import datetime
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from lab.cli.child import ChildEnd, run_child
from lab.cli.conclude import conclude, print_paths
from lab.cli.given import Given, takes_settings
from lab.cli.open_log import open_log
from lab.cli.pytest_args import (
    Refusal,
    ask,
    check_suites,
    child_environment,
    joined,
    pytest_arguments,
    read_words,
    work_of,
)
from lab.cli.repeats import ONCE, Repeats
from lab.cli.resolved import drivers_of, guest_of
from lab.cli.rundone import RunDone
from lab.config import Settings
from lab.config.model import Debug
from lab.errors import ConfigError
from lab.gate.exitcode import INFRA, NOTHING, OK, TEST, USAGE
from lab.host.console import open_console
from lab.host.tools import require_tools
from lab.image.gaps import gap_lines, gaps_of
from lab.image.manifest import KernelFacts
from lab.image.progress import open_progress
from lab.image.recipes import builder_of
from lab.live.verifier import wanted_profile
from lab.report.assemble import assemble
from lab.report.elsewhere import find, put_aside
from lab.report.outdir import COPIES, check_named, drop_empty, named_folder, point_latest, timed_folder
from lab.report.publish import publish, publish_page
from lab.report.runfiles import META_FILE, RUN_FILE, read_meta, read_run
from lab.report.runlog import LOG_FILE
from lab.report.sessionfile import read_session
from lab.report.summary import print_summary
from lab.toolchain.select import DriverPackage

_Found = TypeVar("_Found")

_PYTEST_USAGE = 4
#: See lab.plugin.options.
ON_FLAG = "--lab-on"
_NAMING = "--driver PATH names one, or `drivers:` in lab.yaml, which `lab init` writes"
#: What shells add to the number of a signal.
_SIGNALLED = 128


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(run)
    app.command()(report)


@takes_settings("run")
def run(
    context: typer.Context,
    given: Given,
    out: Annotated[Path | None, typer.Option(help="Folder of this run; default: out/<UTC time>")] = None,
    on: Annotated[
        str | None,
        typer.Option(
            "--on", metavar="NAME", help="Run on this guest, which is up, instead of forks; `lab ps` lists such guests"
        ),
    ] = None,
    repeat: Annotated[
        int, typer.Option("--repeat", metavar="N", min=1, help="Run each test N times, each time in a fresh fork")
    ] = 1,
    until_red: Annotated[bool, typer.Option("--until-red", help="Do not repeat a test any more that was red")] = False,
    baseline: Annotated[
        str | None,
        typer.Option(
            "--baseline",
            metavar="NAME",
            help="Compare with this baseline, and run what is newly red again on the new and the base drivers",
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="With --baseline: a flaky test counts as red")] = False,
    matrix: Annotated[
        str | None,
        typer.Option(
            "--matrix",
            metavar="KEY=VALUE,VALUE",
            help="Run the suites once for each value of a setting, and put the runs side by side: verifier=off,standard,lowres",
        ),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Run again what a changed file affects, until q or Ctrl-C; on one screen")
    ] = False,
) -> None:
    """Run the suites on guests and report what the drivers did.

    All other arguments go to pytest: paths of suites (instead of the default ones), -k, -x, -v, … Write -- before a pytest
    option that this command has, too.

    Ends with 0: all passed, 1: a driver is wrong, 2: wrong usage, 3: a driver took its guest down, 4: a test's own code is
    wrong, or the guest does not accept what a manifest gives it, 5: not everything was checked, 10: the lab failed, or this
    host cannot do what you asked for, such as use an accelerator, 130: interrupted.
    """
    settings = given.load()
    _check_coverage(settings)
    repeats = Repeats(repeat, until_red=until_red)
    repeats.check(settings, other="--watch" if watch else "--on" if on is not None else "")
    after: Callable[[RunDone], int] | None = None
    if baseline is not None or strict:
        from lab.cli.against import Against

        against = Against.of(settings, baseline, strict=strict, alone=not (watch or on is not None or repeat > 1))
        after = against.conclude
    if matrix is not None:
        from lab.cli.matrix import run_matrix

        if watch or on is not None or baseline is not None:
            raise ConfigError("--matrix cannot be combined with --watch, --on or --baseline")
        wanted = repeats.settings(settings)
        raise typer.Exit(
            run_matrix(
                wanted,
                matrix,
                lambda one, place: run_suites(one, out=place, arguments=context.args, repeats=repeats),
                out=out,
            )
        )
    if watch:
        from lab.cli.watchrun import watch_run

        watch_run(settings, context.args, out=out, on=on)
        return
    settings = repeats.settings(settings)
    raise typer.Exit(run_suites(settings, out=out, arguments=context.args, on=on, repeats=repeats, after=after))


def _check_coverage(settings: Settings) -> None:
    """Refuse a limit of a run that counts no lines, if it was given for this run; a lab file has it for all runs."""
    limit = settings.values.coverage_fail_under
    if settings.values.coverage == "none" and settings.sources["coverage_fail_under"] not in ("default", "lab file"):
        raise ConfigError(f"the run may not cover less than {limit:g}% of the lines, but counts none", hint="add --coverage")


def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a run, for example out/latest")],
) -> None:
    """Write the HTML page of a run again, and print its summary."""
    found = _read(folder / RUN_FILE, read_run)
    if found is None:
        meta = _read(folder / META_FILE, read_meta)
        if meta is None:
            raise ConfigError(
                f"{folder} is not the folder of a run: it has neither run.json nor meta.json"
                if folder.is_dir()
                else f"there is no folder {folder}",
                hint="give the folder of a run, for example out/latest",
            )
        found = assemble(folder, meta, ended="the run ended unexpectedly")
        publish(folder, found)
    else:
        publish_page(folder, found)
    console = open_console()
    print_summary(found, console, folder=folder)
    print_paths(folder, console)


def _read(file: Path, read: Callable[[Path], _Found]) -> _Found:
    """Read a file in a run's folder that the user named; errors name the file."""
    try:
        return read(file.parent)
    except (OSError, ValueError) as error:
        first = str(error).partition("\n")[0]
        raise ConfigError(
            f"was not written by this version of the lab: {first}",
            file=str(file),
            hint=f"remove {file} to make the report from the records beside it" if file.name == RUN_FILE else "",
        ) from None


def run_suites(
    settings: Settings,
    *,
    out: Path | None,
    arguments: Sequence[str],
    on: str | None = None,
    repeats: Repeats = ONCE,
    after: Callable[[RunDone], int] | None = None,
) -> int:
    """Run suites as `lab run` does.

    Args:
        settings: What is in force.
        out: Folder of the run; None for one that is named by the time.
        arguments: Paths of suites, and arguments of pytest.
        on: Name of a guest that is up, to run on; None: on forks, or booted guests.
        repeats: How often each test is run.
        after: Called when the report is written; its result is the exit code.

    Returns:
        The exit code.
    """
    everything = not arguments
    arguments = [*repeats.arguments(), *arguments]
    if on is not None:
        from lab.cli.on import for_guest  # transports are imported where they are used

        settings, arguments = for_guest(settings, on), [f"{ON_FLAG}={on}", *arguments]
    with contextlib.ExitStack() as held:
        # A guest that is up runs as it was booted.
        debug: Debug = "none" if on is not None else settings.values.debug
        return _run_suites(settings, out, arguments, held, debug, everything=everything, after=after)


def _run_suites(
    settings: Settings,
    out: Path | None,
    arguments: Sequence[str],
    held: contextlib.ExitStack,
    debug: Debug,
    *,
    everything: bool,
    after: Callable[[RunDone], int] | None,
) -> int:
    root = settings.project
    environ = child_environment(os.environ)
    by_default = settings.sources["suites"] == "default"
    default = _existing(settings.values.suites, root) if by_default else settings.values.suites
    words = read_words(arguments, default=default, environ=environ, work=work_of(settings.values))
    if isinstance(words, Refusal):
        sys.stderr.write(words.text)
        return _refused(words)
    if words.shows:
        argv = [sys.executable, "-m", "pytest", *(() if words.suites else default), *joined(arguments)]
        return _shown(run_child(argv, cwd=Path.cwd(), env=environ))
    given = bool(words.suites) or not by_default
    suites = check_suites(words.suites or settings.values.suites, given=given, root=root, packages=words.packages)
    if out is not None:
        check_named(out)
    made = out is None or not out.exists()
    drivers = drivers_of(settings)
    drivers.check_paths()
    require_run_tools(settings.values.image)
    warned = drivers.check(settings.values.image, warn=say_warning)
    with open_progress() as progress:
        # Now, not in every worker: there, a problem would be an error of each single test.
        guest = guest_of(settings, progress, debug=debug)
        guest.try_machine(forks=False)
        image, manifest = guest.image_dir, guest.manifest
        values = settings.values
        wanted_profile(values.verifier, values.verifier_profiles, manifest, file=settings.file)
        now = datetime.datetime.now(tz=datetime.UTC)
        folder = (timed_folder(root / settings.values.out, now) if out is None else named_folder(out)).absolute()
        put_aside(folder)
        held.enter_context(open_log(folder, image, level=settings.values.log_level, said=warned))
        try:
            # Now, not in the workers: build errors are reported before a guest is booted, and the tests use the files as they
            # were when the user started the run.
            packages = guest.take_drivers(drivers, into=folder / COPIES, progress=progress.detail, warn=say_warning)
        except BaseException:
            shutil.rmtree(folder / COPIES, ignore_errors=True)
            (folder / LOG_FILE).unlink(missing_ok=True)
            if out is None:
                folder.rmdir()
            raise
    _say_gaps(packages, manifest.kernel)
    # A debugger needs the terminal, so there are no workers. One piece of work needs no worker either, whose start takes a
    # second.
    workers = "0" if words.terminal or words.units == 1 else str(settings.values.workers)
    argv = [sys.executable, "-m", "pytest"]
    argv += pytest_arguments(
        settings,
        image=str(image),
        accelerator=guest.accelerator,
        out=folder,
        suites=suites,
        workers=workers,
        words=words,
        rest=arguments,
    )
    end = run_child(argv, cwd=Path.cwd(), env=environ, terminal=words.terminal)
    code = conclude(folder, end, settings, everything=everything)
    if not find(folder, RUN_FILE).exists():
        unasked = end.exit_code == _PYTEST_USAGE and read_session(folder) is None
        if code in (USAGE, NOTHING):
            drop_empty(folder, made=made)
        if code == USAGE and unasked:
            # pytest has not read arguments without a dash yet: a conftest.py that cannot be imported ends it with its usage
            # code.
            again = ask(arguments, () if words.suites else suites, environ)
            code = _refused(again) if isinstance(again, Refusal) else code
        return code
    if out is None:
        point_latest(folder)
    if after is None:
        return code
    accelerator = guest.accelerator
    return after(RunDone(folder=folder, code=code, image=image, accelerator=accelerator, words=words, arguments=arguments))


def require_run_tools(image: str) -> None:
    """Report everything that is missing on this host in one message, before any of it is needed."""
    builder = builder_of(image)
    require_tools(["run guests", "build drivers"], also=builder.build_tools if builder is not None else ())


def say_warning(line: str) -> None:
    """Show a warning of the compiler, also if the display of progress leaves out details: a build prints it once."""
    typer.echo(f"lab: {line}", err=True)


def _existing(suites: Sequence[str], root: Path) -> list[str]:
    """The default suites that exist: options and help need none."""
    found = []
    for suite in suites:
        with contextlib.suppress(ConfigError):
            found += check_suites([suite], given=False, root=root)
    return found


def _refused(refusal: Refusal) -> int:
    """The exit code if pytest ended before its session."""
    if refusal.exit_code < 0:
        return INFRA
    return TEST if "while loading conftest" in refusal.text else USAGE


def _shown(end: ChildEnd) -> int:
    """The exit code if pytest only had to show something."""
    if end.signal:
        return _SIGNALLED + end.signal
    return INFRA if end.died else {0: OK, 5: NOTHING, 2: TEST, 4: USAGE}.get(end.exit_code, INFRA)


def _say_gaps(packages: Sequence[DriverPackage], kernel: KernelFacts | None) -> None:
    """Print what the guest lacks for the drivers, as the reason of skipped tests; or that there are no drivers."""
    if not packages:
        typer.echo(f"lab: no driver is named, so the run has only the drivers that markers name; {_NAMING}", err=True)
    own = frozenset(package.image.name.lower() for package in packages)
    for package in packages:
        for line in gap_lines(package.name, gaps_of(package, kernel, own=own)):
            typer.echo(f"lab: {line}", err=True)

"""`lab run`: image, drivers and folder made ready, the suites run by pytest, and what came of it written and said."""

from __future__ import annotations

import contextlib
import datetime
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console

from lab.cli.again import next_command
from lab.cli.child import ChildEnd, run_child
from lab.cli.pytest_args import (
    Refusal,
    ask,
    check_suites,
    child_environment,
    joined,
    pytest_arguments,
    read_words,
)
from lab.config import KnownIssue, Settings, load_settings
from lab.errors import ConfigError
from lab.gate.exitcode import INFRA, NOTHING, OK, TEST, USAGE, exit_code, meaning, run_code, unused_counts
from lab.gate.known import audit_known
from lab.host.accel import choose_accelerator, probe_accelerators
from lab.host.console import open_console
from lab.host.paths import cache_dir, project_root
from lab.image.folder import read_manifest
from lab.image.gaps import gap_lines, gaps_of
from lab.image.manifest import KernelFacts
from lab.image.progress import open_progress
from lab.image.recipes import ensure_image
from lab.report.collect import assemble
from lab.report.elsewhere import all_folders, find, put_aside
from lab.report.ending import run_end
from lab.report.html import write_html
from lab.report.junit import complete_junit
from lab.report.model import RunReport
from lab.report.outdir import COPIES, check_named, drop_empty, named_folder, point_latest, timed_folder
from lab.report.places import from_folder
from lab.report.runfiles import META_FILE, RUN_FILE, read_meta, read_run, write_run
from lab.report.sessionfile import SessionFacts, read_session
from lab.report.summary import STEP_SUMMARY_BYTES, error_annotations, markdown, print_summary, red_tests
from lab.toolchain.select import DriverPackage, resolve_drivers

_Found = TypeVar("_Found")

#: A page of commands helps nobody.
_MOST_COMMANDS = 5
_PYTEST_USAGE = 4
#: What shells add to the number of a signal.
_SIGNALLED = 128


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(run)
    app.command()(report)


def run(
    context: typer.Context,
    guest: Annotated[str | None, typer.Option("--guest", "--image", help="Guest image: a recipe's name, or a folder")] = None,
    workers: Annotated[str | None, typer.Option(help="Guests at the same time: a number, or auto")] = None,
    driver: Annotated[
        list[str] | None,
        typer.Option("--driver", metavar="PATH", help="Driver under test: folder, driver.yaml or .sys; may be repeated"),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of this run; out/<UTC time> when not given")] = None,
    transport: Annotated[str | None, typer.Option(help="winrm or ssh")] = None,
    files: Annotated[str | None, typer.Option(help="How files get into the guest: media, winrm or sftp")] = None,
    boot_timeout: Annotated[str | None, typer.Option(metavar="SECONDS", help="Until a guest must be ready")] = None,
    accel: Annotated[str | None, typer.Option("--accelerator", "--accel", help="auto, kvm or tcg")] = None,
    keep: Annotated[str | None, typer.Option(help="Guests that stay after the run: never, failed or always")] = None,
    crash_dump: Annotated[
        str | None,
        typer.Option(help="Memory dumps of guests that crash or hang: auto (where a fault stops the guest), always or never"),
    ] = None,
    isolation: Annotated[str | None, typer.Option(help="How long a fork serves: test, class, module or session")] = None,
    no_fork: Annotated[bool, typer.Option("--no-fork", help="Boot every guest instead of forking a template")] = False,
    config: Annotated[Path | None, typer.Option(help="Lab file; lab.yaml when it exists")] = None,
) -> None:
    """Run the suites on guests and report what the drivers did.

    Everything else is passed on to pytest: paths of suites (instead of the default ones), -k, -x, -v, … Write -- before
    anything that looks like an option of this command.

    Ends with 0: all passed, 1: a driver is wrong, 2: wrong usage, 3: a driver took its guest down, 4: a test's own code is
    wrong, 5: nothing, or not everything that was selected, was checked, 10: the lab failed, or this machine cannot do what it
    should, for example run the accelerator that was asked for, 130: interrupted.
    """
    options: dict[str, Any] = {
        "image": guest,
        "workers": workers,
        "drivers": tuple(driver or ()),
        "transport": transport,
        "files": files,
        "boot_timeout": boot_timeout,
        "accelerator": accel,
        "keep": keep,
        "crash_dump": crash_dump,
        "isolation": isolation,
        "boot": "cold" if no_fork else None,
    }
    raise typer.Exit(run_suites(load_settings(options, config=config), out=out, arguments=context.args))


def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a run, for example out/latest")],
) -> None:
    """Make the HTML page of a finished run anew, and print its summary."""
    found = _read(folder / RUN_FILE, read_run)
    if found is None:
        meta = _read(folder / META_FILE, read_meta)
        if meta is None:
            raise ConfigError(
                f"{folder} holds no run: neither run.json nor meta.json is there"
                if folder.is_dir()
                else f"there is no folder {folder}",
                hint="the folder of a run, for example out/latest",
            )
        found = assemble(folder, meta, exit_code=exit_code, ended="the run did not come to its end")
        write_run(folder, found)
    write_html(folder, found, exit_meaning=meaning(found.exit_code))
    console = open_console()
    print_summary(found, console, folder=folder)
    _print_paths(folder, console)


def _read(file: Path, read: Callable[[Path], _Found]) -> _Found:
    """Read a file of a run's folder that the user named, and say which one is no such file."""
    try:
        return read(file.parent)
    except (OSError, ValueError) as error:
        first = str(error).partition("\n")[0]
        raise ConfigError(
            f"is not a file of a run of this version of the lab: {first}",
            file=str(file),
            hint=f"remove {file} to have the report made of the records beside it" if file.name == RUN_FILE else "",
        ) from None


def run_suites(settings: Settings, *, out: Path | None, arguments: Sequence[str]) -> int:
    """Run suites as `lab run` does.

    Args:
        settings: What is in force.
        out: Folder of the run; None for one that is named by the time.
        arguments: Paths of suites, and arguments of pytest.

    Returns:
        The exit code.
    """
    root = project_root()
    environ = child_environment(os.environ)
    by_default = settings.sources["suites"] == "default"
    default = _existing(settings.values.suites, root) if by_default else settings.values.suites
    words = read_words(arguments, default=default, environ=environ)
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
    drivers = [Path(driver) for driver in settings.values.drivers]
    for driver in drivers:
        if not driver.exists():
            raise ConfigError(f"there is no driver {driver}", hint="a folder with a driver.yaml, that file, or a .sys file")
    # Now, and not first in every worker: an accelerator that does not work would be an error of each single test.
    choose_accelerator(settings.values.accelerator, probe_accelerators(cache_dir()))
    with open_progress() as progress:
        image = ensure_image(settings.values.image, progress)
        now = datetime.datetime.now(tz=datetime.UTC)
        folder = (timed_folder(Path(settings.values.out), now) if out is None else named_folder(out)).absolute()
        manifest = read_manifest(image)
        put_aside(folder)
        try:
            # Now, and not first in the workers: a driver that does not build is known before a guest is booted, and what is
            # tested is what was there when the user asked for it.
            packages = resolve_drivers(drivers, into=folder / COPIES, arch=manifest.arch, progress=progress.detail)
        except BaseException:
            shutil.rmtree(folder / COPIES, ignore_errors=True)
            if out is None:
                folder.rmdir()
            raise
    _say_gaps(packages, manifest.kernel)
    # A debugger must own the terminal, and cannot have workers.
    workers = "0" if words.terminal else str(settings.values.workers)
    argv = [sys.executable, "-m", "pytest"]
    argv += pytest_arguments(
        settings, image=str(image), out=folder, suites=suites, workers=workers, words=words, rest=arguments
    )
    end = run_child(argv, cwd=Path.cwd(), env=environ, terminal=words.terminal)
    code = conclude(folder, end, settings, everything=not arguments)
    if not find(folder, RUN_FILE).exists():
        unasked = end.exit_code == _PYTEST_USAGE and read_session(folder) is None
        if code in (USAGE, NOTHING):
            drop_empty(folder, made=made)
        if code == USAGE and unasked:
            # Words without a dash were not asked about before: a conftest.py that cannot be imported ends pytest as usage.
            again = ask(arguments, () if words.suites else suites, environ)
            code = _refused(again) if isinstance(again, Refusal) else code
    elif out is None:
        point_latest(folder)
    return code


def _existing(suites: Sequence[str], root: Path) -> list[str]:
    """The default suites as far as they are there: options can be read, and help be shown, without them."""
    found = []
    for suite in suites:
        with contextlib.suppress(ConfigError):
            found += check_suites([suite], given=False, root=root)
    return found


def _refused(refusal: Refusal) -> int:
    """The exit code where pytest did not get as far as its session."""
    if refusal.exit_code < 0:
        return INFRA
    return TEST if "while loading conftest" in refusal.text else USAGE


def _shown(end: ChildEnd) -> int:
    """The exit code where pytest was only to show something."""
    if end.signal:
        return _SIGNALLED + end.signal
    return INFRA if end.died else {0: OK, 5: NOTHING, 2: TEST, 4: USAGE}.get(end.exit_code, INFRA)


def _say_gaps(packages: Sequence[DriverPackage], kernel: KernelFacts | None) -> None:
    """Say what the guest lacks for the drivers, before anybody wonders why their tests are skipped."""
    own = frozenset(package.image.name.lower() for package in packages)
    for package in packages:
        for line in gap_lines(package.name, gaps_of(package, kernel, own=own)):
            typer.echo(f"lab: {line}", err=True)


def conclude(folder: Path, end: ChildEnd, settings: Settings, *, everything: bool = True) -> int:
    """Write the report, whatever became of pytest; say what there is to say; return the exit code.

    Args:
        folder: The run's folder.
        end: How pytest ended.
        settings: What was in force.
        everything: No test was left out by the user.
    """
    console = open_console()
    found, meta, session = read_run(folder), read_meta(folder), read_session(folder)
    # A signal that came when all was over has ended nothing.
    over = session is not None and not session.stopped_by and end.exit_code >= 0
    signal = 0 if over else end.signal
    ended = "" if over else end.died
    if meta is not None and (found is None or ended):
        found = assemble(folder, meta, exit_code=exit_code, ended=ended, interrupted=bool(signal))
    code = run_code(run_end(found, session or SessionFacts(exit_status=end.exit_code), end.exit_code, signal))
    if found is None:
        for line in _why_no_report(session, ended, end.exit_code):
            console.print(f"lab: {line}", soft_wrap=True, markup=False, highlight=False)
        return code
    if code == OK and unused_counts(
        found.unused_drivers, meta.named_drivers if meta else (), in_lab_file=settings.sources["drivers"] == "lab file"
    ):
        code = NOTHING
    found = found.model_copy(update={"exit_code": code, "command": ["lab", *sys.argv[1:]]})
    write_run(folder, found)
    write_html(folder, found, exit_meaning=meaning(code))
    project = os.environ.get("CI_PROJECT_DIR")
    complete_junit(folder, found, base=Path(project) if project else None)
    print_summary(found, console, folder=folder)
    if everything:
        # A selection of tests leaves most entries without one, and says nothing about them.
        _print_known(found, settings.values.known, console)
    _print_paths(folder, console)
    _print_next(found, settings, console)
    _tell_github(found)
    return code


def _why_no_report(session: SessionFacts | None, ended: str, pytest_code: int) -> list[str]:
    """Why there is no report, one line each."""
    if session is None or ended:
        return [f"{ended or f'pytest ended with {pytest_code} before any test'}; the lines above say more"]
    if session.collection_errors:
        return [f"{error.nodeid} cannot be collected: {error.reason}" for error in session.collection_errors]
    if session.stopped:
        return [f"no test of the lab was run: {session.stopped}"]
    if session.deselected and not session.ran:
        return [f"nothing was checked: all {session.deselected} tests were left out by -k, -m or the like"]
    if session.ran:
        return [f"nothing was checked: {session.ran} tests ran, and none of them uses the lab's fixtures or markers"]
    return ["nothing was checked: there is no test"]


def _print_known(report: RunReport, issues: Sequence[KnownIssue], console: Console) -> None:
    results = [(test.nodeid, test.verdict, test.drivers) for test in report.tests]
    for line in audit_known(issues, results, today=datetime.datetime.now(tz=datetime.UTC).date()):
        console.print(f"known issue: {line}", soft_wrap=True, markup=False, highlight=False)


def _print_paths(folder: Path, console: Console) -> None:
    here = Path.cwd()
    for name, what in (("report.html", "report"), ("run.json", "data"), ("junit.xml", "JUnit")):
        path = find(folder.absolute(), name)
        if path.exists():
            console.print(f"{what:<8} {from_folder(path, here)}", soft_wrap=True)
    if others := all_folders(folder.absolute())[1:]:
        console.print(f"lab: {folder} took no more (a full disk?): results of this run are in {others[0]}", soft_wrap=True)


def _print_next(report: RunReport, settings: Settings, console: Console) -> None:
    """For each red test, the command that tries it alone."""
    lines = [line for test in red_tests(report) if (line := next_command(test, settings, root=report.root))]
    if not lines:
        return
    console.print("\nTo try again, one by one:")
    for line in lines[:_MOST_COMMANDS]:
        console.print(f"  {line}", soft_wrap=True)
    if len(lines) > _MOST_COMMANDS:
        console.print(f"  … and {len(lines) - _MOST_COMMANDS} more")


def _tell_github(report: RunReport) -> None:
    workspace = os.environ.get("GITHUB_WORKSPACE")
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for line in error_annotations(report, base=Path(workspace) if workspace else None):
            sys.stdout.write(line + "\n")
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        path = Path(summary)
        there = path.stat().st_size if path.exists() else 0
        with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(markdown(report, room=STEP_SUMMARY_BYTES - there))

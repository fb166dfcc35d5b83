"""`lab prints`: what the kernel of a guest prints, of one that is up, or of a worker of a run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import psutil
import typer

from lab.cli.guest import detached_guests
from lab.cli.output import reader_gone
from lab.config import load_settings
from lab.errors import ConfigError
from lab.lease.detached import DetachedGuest
from lab.lease.print_file import detached_print_file
from lab.prints.live import PrintFile, all_lines, print_lines
from lab.report.elsewhere import find
from lab.report.outdir import LATEST
from lab.report.runfiles import RUN_FILE
from lab.report.worker_files import WORKERS_DIR, WorkerPrints, read_prints

_POLL_S = 0.1


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(prints)


def prints(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]", help="A guest that is up, or a worker of a run (gw0); may be left out if there is only one"
        ),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Continue with new prints, until Ctrl-C")] = False,
    tail: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Show only the last N lines of the prints so far")
    ] = None,
    run: Annotated[
        Path | None, typer.Option("--run", metavar="DIR", help="Folder of the run; default: the current one, or the last one")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Lab file; default: lab.yaml, if it exists")] = None,
) -> None:
    """Show the kernel prints of a guest: time in the guest, level, thread, text. -f shows new ones as they come.

    NAME is a guest that is up (`lab up`, `lab fork`, `lab run --keep`), or a worker of a run: then the command shows the
    prints of its guests, one guest after the other, also during a run in another terminal.
    """
    guest = None if run is not None else _guest(name)
    try:
        if guest is not None:
            _show_guest(guest, follow=follow, tail=tail)
            return
        folder = run.absolute() if run is not None else newest_run(_out_root(config))
        if folder is None:
            said = f"there is neither a guest {name!r} nor a run" if name else "no guest is up, and there is no run"
            raise ConfigError(said, hint="`lab up` boots a guest; `lab run` runs the suites")
        if not folder.is_dir():
            raise ConfigError(f"there is no folder {folder}", hint="give the folder of a run, for example out/latest")
        _show_worker(folder, worker_of(folder, name), follow=follow, tail=tail)
    except KeyboardInterrupt:
        return


def _out_root(config: Path | None) -> Path:
    settings = load_settings({}, config=config)
    return settings.project / settings.values.out


def _guest(name: str | None) -> DetachedGuest | None:
    """The detached guest that the user means; None: a run is meant."""
    guests = detached_guests().all()
    if name is not None:
        return next((guest for guest in guests if guest.name == name), None)
    if len(guests) > 1:
        raise ConfigError(f"several guests are up: {', '.join(guest.name for guest in guests)}", hint="choose one")
    return guests[0] if guests else None


def newest_run(out: Path) -> Path | None:
    """The newest run that has not ended; else the last one; None where there is none."""
    candidates = [path.parent for path in out.glob(f"*/{WORKERS_DIR}") if path.parent.name != LATEST]
    going = [folder for folder in candidates if goes_on(folder)]
    if going:
        return max(going, key=lambda folder: folder.stat().st_mtime_ns)
    return (out / LATEST).resolve() if (out / LATEST).exists() else None


def goes_on(folder: Path) -> bool:
    """Whether a run has guests and has not ended."""
    return not find(folder, RUN_FILE).exists() and any(psutil.pid_exists(worker.pid) for worker in read_prints(folder))


def worker_of(folder: Path, name: str | None) -> str:
    """The worker of a run that is meant.

    Raises:
        ConfigError: There is none of this name, or several and none is named.
    """
    workers = sorted({worker.worker for worker in read_prints(folder)})
    listed = ", ".join(workers)
    if name is None and len(workers) == 1:
        return workers[0]
    if not workers:
        raise ConfigError(f"no guest of {folder} was ever ready", hint="the run used no guest, or has just begun")
    if name is None:
        raise ConfigError(f"the run in {folder} has several workers: {listed}", hint=f"choose one: lab prints {workers[0]}")
    if name not in workers:
        up = ", ".join(guest.name for guest in detached_guests().all()) or "no guest"
        raise ConfigError(f"there is no {name!r}: up is {up}; workers of {folder} are {listed}", hint="use one of these names")
    return name


def _show_guest(guest: DetachedGuest, *, follow: bool, tail: int | None) -> None:
    file = detached_print_file(guest)
    _say_lacking(file)
    if not follow:
        _out(_last(all_lines(file), tail))
        return

    def more() -> bool:
        time.sleep(_POLL_S)
        return guest.alive and not reader_gone()

    print_lines(file, typer.echo, goes_on=more, tail=tail)
    if not reader_gone():
        typer.echo(f"guest {guest.name} has ended", err=True)


def _show_worker(folder: Path, worker: str, *, follow: bool, tail: int | None) -> None:
    files = _files(read_prints(folder), worker)
    if not follow:
        for file in files:
            _say_lacking(file)
        _out(_last([line for file in files for line in _block(folder, file)], tail))
        return
    shown = 0 if tail is None else max(0, len(files) - 1)
    while True:
        # Read first, so that prints from before the end are shown.
        over = not goes_on(folder)
        files = _files(read_prints(folder), worker)
        for index in range(shown, len(files)):
            typer.echo(_head(files[index]))
            _say_lacking(files[index])
            print_lines(_place(folder, files[index]), typer.echo, goes_on=_while_last(folder, worker, index), tail=tail)
            tail = None
            shown = index + 1
        if reader_gone() or (over and shown == len(files)):
            return
        time.sleep(_POLL_S)


def _say_lacking(file: PrintFile) -> None:
    """Print which prints of a fork are missing in this file."""
    if file.lacks:
        typer.echo(f"lab: {file.lacks}", err=True)


def _while_last(folder: Path, worker: str, index: int) -> Callable[[], bool]:
    """Whether this guest is still the worker's last one; it has ended when there is a newer one."""

    def more() -> bool:
        time.sleep(_POLL_S)
        if reader_gone() or not goes_on(folder):
            return False
        return len(_files(read_prints(folder), worker)) == index + 1

    return more


def _files(found: Sequence[WorkerPrints], worker: str) -> list[PrintFile]:
    return [file for one in found if one.worker == worker for file in one.files]


def _place(folder: Path, file: PrintFile) -> PrintFile:
    """Where the file is: in the guest's run folder, or among the files that the run has saved."""
    kept = folder / "guests" / file.guest / file.path.name
    return file if file.path.exists() or not kept.exists() else replace(file, path=kept)


def _head(file: PrintFile) -> str:
    return f"=== {file.guest}"


def _block(folder: Path, file: PrintFile) -> list[str]:
    return [_head(file), *all_lines(_place(folder, file))]


def _last(lines: list[str], tail: int | None) -> list[str]:
    return lines if tail is None else lines[-tail:] if tail else []


def _out(lines: Sequence[str]) -> None:
    for line in lines:
        typer.echo(line)

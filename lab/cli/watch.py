"""`lab run --watch`: after each change of a file, builds and runs again what it affects, until q or Ctrl-C."""

from __future__ import annotations

import contextlib
import datetime
import enum
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import typer

from lab.cli.interrupt import told_when_interrupted
from lab.cli.screen import round_lines
from lab.cli.watched import Reach, Stamps, Watched, changed_files, folders_of, learned, reach_of, stamps_of
from lab.config import Settings
from lab.host.console import is_terminal
from lab.report.elsewhere import find
from lab.report.outdir import point_latest
from lab.report.runfiles import RUN_FILE, read_run

#: Time for an interrupted round to end its guests.
_GRACE_S = 60.0
_POLL_S = 0.2
#: The longest time between two looks at the files themselves.
_LOOK_S = 2.0
#: Editors write a file in several steps, and several files at once.
_DEBOUNCE_MS = 300
#: Moves to the beginning of the line and clears it.
_LINE = "\r\x1b[K"
_CLEAR = "\x1b[2J\x1b[H"
_QUIT, _AGAIN = "qQ\x04", "rR"


class Keys:
    """Keys of the terminal, read without waiting for a whole line; none where standard input is not a terminal."""

    def __init__(self) -> None:
        self._fd = sys.stdin.fileno() if is_terminal(sys.stdin) else -1

    @contextlib.contextmanager
    def raw(self) -> Iterator[None]:
        """Switch the terminal to single keys; Ctrl-C stays a signal."""
        if self._fd < 0:
            yield
            return
        import termios
        import tty

        before = termios.tcgetattr(self._fd)
        tty.setcbreak(self._fd)
        try:
            yield
        finally:
            with contextlib.suppress(termios.error):  # the terminal may be gone
                termios.tcsetattr(self._fd, termios.TCSADRAIN, before)

    def pressed(self) -> str:
        """The keys since the last call."""
        if self._fd < 0:
            return ""
        ready, _, _ = select.select([self._fd], [], [], 0)
        return os.read(self._fd, 64).decode("ascii", "replace") if ready else ""


def watch_suites(settings: Settings, arguments: Sequence[str], watched: Callable[[], Watched], suites: Sequence[str]) -> None:
    """Run, wait for a change, run what it affects, and so on.

    Args:
        settings: What is in force.
        arguments: Of `lab run`, without --watch.
        watched: Returns what is watched; called again after each round, because a build may have other inputs.
        suites: The suites among ``arguments``; rounds for changed suites leave them out.
    """
    keys = Keys()
    number, reach = 0, Reach(everything=True)
    with told_when_interrupted(lambda: "nothing is left to watch"), keys.raw(), contextlib.suppress(KeyboardInterrupt):
        while True:
            number += 1
            old, since = watched(), time.time()
            before = stamps_of(old)
            words = round_arguments(arguments, suites, reach)
            _header(number, reach)
            begin = time.monotonic()
            folder, text, ended = _round(settings, words, number, keys)
            if ended:
                return
            _show(folder, text, number, time.monotonic() - begin)
            now = watched()
            before = learned(before, old, now, since=since)
            typer.echo(
                f"waiting for changes in {len(folders_of(now))} folders; q or Ctrl-C ends the command, r runs everything again"
            )
            found = _wait(before, watched, now, keys)
            if found is None:
                return
            reach = found


def round_arguments(arguments: Sequence[str], suites: Sequence[str], reach: Reach) -> list[str]:
    """The arguments of `lab run` for a round.

    Args:
        arguments: As the user gave them.
        suites: The suites among them.
        reach: What to run.
    """
    if reach.everything:
        return list(arguments)
    rest = list(arguments)
    if reach.suites:
        rest = [word for word in arguments if word not in suites]
        return [*rest, *map(str, sorted(reach.suites))]
    return [*rest, *(f"--lab-only={name}" for name in sorted(reach.drivers))]


def _round(settings: Settings, words: Sequence[str], number: int, keys: Keys) -> tuple[Path, str, bool]:
    """One `lab run`: returns its folder, its output, and whether the user has ended it."""
    root = settings.project / settings.values.out
    root.mkdir(parents=True, exist_ok=True)
    stamp = datetime.datetime.now(tz=datetime.UTC).strftime("%Y-%m-%dT%H-%M-%SZ")
    folder = root / f"{stamp}-watch-{os.getpid()}-{number}"
    setpriv = shutil.which("setpriv")
    prefix = [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
    argv = [*prefix, sys.executable, "-m", "lab", "run", "--out", str(folder), *words]
    said = root / f".watch-{os.getpid()}.txt"
    try:
        with said.open("wb") as file:
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, process_group=0)
        ended = _wait_for(process, keys, said)
        text = said.read_text(encoding="utf-8", errors="backslashreplace")
    finally:
        said.unlink(missing_ok=True)
    if find(folder, RUN_FILE).exists():
        point_latest(folder)
    return folder, text, ended


def _wait_for(process: subprocess.Popen[bytes], keys: Keys, said: Path) -> bool:
    """Wait for a round's end and show its newest line. Returns whether the user ended it with q or Ctrl-C."""
    try:
        while process.poll() is None:
            if is_terminal(sys.stdout):
                # A round that builds a guest image first takes minutes.
                sys.stdout.write(_LINE + last_line(said)[: shutil.get_terminal_size().columns - 1])
                sys.stdout.flush()
            if any(key in _QUIT for key in keys.pressed()):
                raise KeyboardInterrupt
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_POLL_S)
        return False
    except KeyboardInterrupt:
        with contextlib.suppress(OSError):  # the terminal may be gone
            typer.echo("\nlab: ending this round and its guests", err=True)
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_S)
        return True
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def last_line(file: Path) -> str:
    """The last line of a file that is not blank, without control characters; empty where there is none."""
    with file.open("rb") as stream:
        stream.seek(max(0, file.stat().st_size - 4096))
        lines = [line.strip() for line in stream.read().decode("utf-8", "replace").splitlines()]
    return next(("".join(filter(str.isprintable, line)) for line in reversed(lines) if line), "")


class _Wake(enum.Enum):
    """Why the wait for a change wakes."""

    REPORTED = "the system reports a change, and no further one followed"
    DUE = "it is time to look at the files"
    IDLE = "keys may have been pressed"


def _wait(before: Stamps, watched: Callable[[], Watched], now: Watched, keys: Keys) -> Reach | None:
    """What the next change affects; None when the user ends it."""
    seen: Stamps | None = None
    for wake in _wakes([folder for folder in folders_of(now) if folder.is_dir()]):
        pressed = keys.pressed()
        if any(key in _QUIT for key in pressed):
            return None
        if any(key in _AGAIN for key in pressed):
            return Reach(everything=True)
        if wake is _Wake.IDLE and seen is None:
            continue
        current = watched()
        stamps = stamps_of(current)
        reach = reach_of(changed_files(before, stamps), current)
        if reach and (wake is _Wake.REPORTED or stamps == seen):
            return reach
        # Found by a look: the writer may not have ended, so it is looked at once more.
        seen = stamps if reach else None
    return None


def _wakes(folders: Sequence[Path]) -> Iterator[_Wake]:
    """Wakes the caller several times a second.

    The system reports only what is written after its watch has begun, and nothing at all on some network and overlay file
    systems. So the files are looked at once when the watch has begun (they may have changed while the round was running, or
    since its end), and every two seconds.
    """
    from watchfiles import watch  # only this command needs it, and the import takes a second

    waker = watch(
        *folders, recursive=False, debounce=_DEBOUNCE_MS, step=50, rust_timeout=int(_POLL_S * 1000), yield_on_timeout=True
    )
    looked = float("-inf")
    for changes in waker:
        due = time.monotonic() - looked >= _LOOK_S
        if changes or due:
            looked = time.monotonic()
        yield _Wake.REPORTED if changes else _Wake.DUE if due else _Wake.IDLE


def _header(number: int, reach: Reach) -> None:
    if is_terminal(sys.stdout):
        sys.stdout.write(_CLEAR)
    typer.echo(f"lab run --watch, round {number}: {reach.words()} …")


def _show(folder: Path, text: str, number: int, seconds: float) -> None:
    report = read_run(folder) if find(folder, RUN_FILE).exists() else None
    height = shutil.get_terminal_size((100, 40)).lines
    if is_terminal(sys.stdout):
        sys.stdout.write(_CLEAR)
    for line in round_lines(report, text, folder, number=number, seconds=seconds, room=max(10, height - 4)):
        typer.echo(line)

"""Runs the parts of ci/test.sh in two lanes side by side, each part with a log of its own, and prints a summary.

A guest keeps one processor busy, or none while it waits for a timer. What needs no guest uses the others, at a lower priority:
it must not make guests late.

The parts of a lane run one after the other. A failed part does not stop its lane, so that one run shows all failures; the exit
code is that of the first failed part, in the order of the summary. Ctrl-C and SIGTERM end both lanes.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO, NoReturn

#: Far more than a part takes on a slow host: what takes longer hangs.
DEADLINE_S = 2 * 3600.0
#: For pytest to end its workers and the fixtures of the running test, which may be guests.
INTERRUPT_S = 120.0
PROGRESS_S = 60.0
#: The exit code of a part that reached its deadline: it says nothing about a driver.
_INFRA = 10
_SIGNALLED = 128


@dataclass(frozen=True, slots=True)
class Part:
    """One command.

    Attributes:
        name: As the summary shows it.
        argv: Its program and arguments.
        needed: The parts after it in its lane need what it makes: they are not run if it fails.
    """

    name: str
    argv: tuple[str, ...]
    needed: bool = False


_PYTEST = (".venv/bin/python", "-m", "pytest", "tests", "-m")
LANES = (
    (
        Part("bytecode", ("bash", "ci/bytecode.sh")),
        Part("checks", ("nice", "-n", "5", "bash", "ci/check.sh")),
        Part("tests without a guest", ("nice", "-n", "5", *_PYTEST, "not e2e", "-n", "2", "-q")),
    ),
    (
        Part("guest image", (".venv/bin/lab", "setup", "--no-packages"), needed=True),
        # The tests of a file share guests. The order stays: the file with most tests is not the one that takes longest.
        Part(
            "tests in a guest",
            (*_PYTEST, "e2e", "-n", "2", "--dist", "loadfile", "--no-loadscope-reorder", "-v", "--durations=25"),
        ),
        Part("suites on the free guest", (".venv/bin/lab", "run")),
    ),
)


class Interrupted(BaseException):
    """SIGINT or SIGTERM has arrived; the number is its argument."""


@dataclass(slots=True)
class _Running:
    """A part that was started, and how it ended."""

    part: Part
    log: Path
    process: subprocess.Popen[bytes]
    begin: float = field(default_factory=time.monotonic)
    code: int | None = None
    seconds: float = 0.0

    def poll(self) -> bool:
        """Whether it has ended. A part that reached its deadline is ended here."""
        if self.code is not None:
            return True
        self.seconds = time.monotonic() - self.begin
        if self.process.poll() is None and self.seconds > DEADLINE_S:
            self.signal(signal.SIGINT)
            self.await_end()
            self.code = _INFRA
            with self.log.open("a", encoding="utf-8") as log:
                log.write(f"\n{self.part.name}: ended after its deadline of {DEADLINE_S:.0f} s\n")
        elif self.process.returncode is not None:
            found = self.process.returncode
            self.code = found if found >= 0 else _SIGNALLED - found
        return self.code is not None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the part and to what it has started."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)

    def await_end(self) -> None:
        """Wait until the interrupted part has ended; kill it if it does not end."""
        try:
            self.process.wait(INTERRUPT_S)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            self.process.wait()


def _start(part: Part, log: Path) -> _Running:
    with log.open("wb") as file:
        process = subprocess.Popen(
            part.argv,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            # A signal reaches all of the group, and Ctrl-C reaches it by this program alone. Not a session of its own: kernels
            # that schedule by sessions (sched_autogroup) ignore nice between them.
            process_group=0,
            # A background job has SIGINT ignored, and its children would inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
    return _Running(part, log, process)


def _progress(running: _Running) -> str:
    """How far pytest is, by the last percentage in its log; else only that the part runs."""
    found = re.findall(r"\d+%(?=\])", running.log.read_text(encoding="utf-8", errors="replace"))
    return f"{running.part.name}: {found[-1] if found else 'running'}"


class Lanes:
    """Runs lanes of parts.

    Args:
        lanes: Their parts.
        logs: Folder of the logs; made anew.
        out: Gets the log of each part when it has ended, the progress and the summary.
    """

    def __init__(self, lanes: Sequence[Sequence[Part]], logs: Path, out: IO[bytes]) -> None:
        self._waiting = [list(lane) for lane in lanes]
        self._now: list[_Running | None] = [None for _ in lanes]
        self._order = [part.name for lane in lanes for part in lane]
        self._ended: dict[str, _Running] = {}
        self._logs = logs
        self._out = out
        self._begin = time.monotonic()

    def run(self) -> int:
        """Run all parts to their end; returns the exit code."""
        shutil.rmtree(self._logs, ignore_errors=True)
        self._logs.mkdir(parents=True)
        said = self._begin
        while any(self._waiting) or any(self._now):
            for lane, waiting in enumerate(self._waiting):
                self._step(lane, waiting)
            if time.monotonic() - said > PROGRESS_S:
                said = time.monotonic()
                self._say(f"… {said - self._begin:.0f} s: " + ", ".join(_progress(one) for one in self._now if one))
            time.sleep(0.1)
        self._summary()
        return next((self._ended[name].code or 0 for name in self._order if name in self._ended and self._ended[name].code), 0)

    def _step(self, lane: int, waiting: list[Part]) -> None:
        running = self._now[lane]
        if running is not None and running.poll():
            self._now[lane] = None
            self._show(running)
            if running.code and running.part.needed:
                waiting.clear()
        if self._now[lane] is None and waiting:
            part = waiting.pop(0)
            self._now[lane] = _start(part, self._logs / f"{part.name.replace(' ', '-')}.log")
            self._say(f"… {part.name}: started")

    def interrupt(self) -> None:
        """End both lanes, and show what they have done; a second signal kills them."""
        running = [one for one in self._now if one is not None]
        self._say("==== interrupted: ending " + ", ".join(one.part.name for one in running) + "; a second Ctrl-C kills them")
        try:
            for one in running:
                one.signal(signal.SIGINT)
            # Not interrupted again: pytest would leave out the rest of its fixtures' ends.
            for one in running:
                one.await_end()
        except (Interrupted, KeyboardInterrupt):
            for one in running:
                one.signal(signal.SIGKILL)
                one.process.wait()
        for one in running:
            one.poll()
            self._show(one)
        self._summary()

    def _show(self, ended: _Running) -> None:
        self._ended[ended.part.name] = ended
        self._say(f"\n==== {ended.part.name}")
        with ended.log.open("rb") as log:
            shutil.copyfileobj(log, self._out)
        self._out.flush()

    def _summary(self) -> None:
        self._say("\n==== summary")
        for name in self._order:
            one = self._ended.get(name)
            result = "     -  not run" if one is None else f"{one.seconds:5.0f}s  " + (f"exit {one.code}" if one.code else "ok")
            self._say(f"{name:<28} {result}")

    def _say(self, line: str) -> None:
        self._out.write(f"{line}\n".encode())
        self._out.flush()


def _interrupted(number: int, frame: FrameType | None) -> NoReturn:
    del frame
    raise Interrupted(number)


def main(lanes: Sequence[Sequence[Part]] = LANES, logs: Path = Path("out/tests")) -> int:
    """Run them; returns the exit code."""
    for caught in (signal.SIGINT, signal.SIGTERM):
        signal.signal(caught, _interrupted)
    running = Lanes(lanes, logs, sys.stdout.buffer)
    try:
        return running.run()
    except Interrupted as interrupted:
        running.interrupt()
        return _SIGNALLED + int(interrupted.args[0])


if __name__ == "__main__":
    sys.exit(main())

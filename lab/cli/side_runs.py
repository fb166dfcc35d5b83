"""Runs pytest several times at once, each in a process of its own with its own log; one thread watches all of them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from lab.cli.child import GRACE_S, signal_handlers
from lab.cli.forked import ForkedPytest, can_fork

_POLL_S = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class SideRun:
    """A run of pytest.

    Attributes:
        name: What it is for.
        argv: ``python -m pytest`` and its arguments.
        log: Gets its output.
        deadline_s: Seconds until it is ended by force.
    """

    name: str
    argv: Sequence[str]
    log: Path
    deadline_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SideEnd:
    """How it ended.

    Attributes:
        run: The run.
        code: Its exit code; minus the signal's number if a signal ended it.
        began: When it was started, in seconds since the epoch.
        seconds: How long it ran.
    """

    run: SideRun
    code: int
    began: float
    seconds: float


@dataclass(slots=True)
class _Running:
    run: SideRun
    process: ForkedPytest | subprocess.Popen[bytes]
    began: float = field(default_factory=time.time)
    started: float = field(default_factory=time.monotonic)

    def end(self, code: int) -> SideEnd:
        return SideEnd(run=self.run, code=code, began=self.began, seconds=time.monotonic() - self.started)


def run_beside(
    runs: Iterable[SideRun],
    *,
    at_once: int,
    cwd: Path,
    env: Mapping[str, str],
    ended: Callable[[SideEnd], SideRun | None],
    grace_s: float = GRACE_S,
) -> str:
    """Run all of them, some at the same time.

    The first SIGINT, SIGTERM or SIGHUP is passed on to all as SIGINT, and no other run is started; the second one, or the end
    of the grace, kills them. When this process is killed, the kernel kills them.

    Args:
        runs: The runs, in the order in which they are started.
        at_once: How many at the same time.
        cwd: The folder that they run in.
        env: Their environment.
        ended: Called with each that has ended; may return another run, which is started after all others.
        grace_s: Seconds between an interrupt and the end by force.

    Returns:
        Name of the signal that interrupted it; empty for none.
    """
    left, running = deque(runs), list[_Running]()
    got: list[str] = []
    kill_at: list[float] = []

    def pass_on(number: int, _frame: FrameType | None) -> None:
        got.append(signal.Signals(number).name)
        kill_at.append(time.monotonic() + (grace_s if len(got) == 1 else 0))
        for one in running:
            _signal(one, signal.SIGINT if len(got) == 1 else signal.SIGKILL)

    with signal_handlers(pass_on):
        try:
            while running or (left and not got):
                while left and len(running) < at_once and not got:
                    running.append(_start(left.popleft(), cwd, env))
                for one in running[:]:
                    code = one.process.poll()
                    if code is None:
                        late = time.monotonic() > min([one.started + one.run.deadline_s, *kill_at[-1:]])
                        if late:
                            _signal(one, signal.SIGKILL)
                        continue
                    running.remove(one)
                    following = ended(one.end(code))
                    if following is not None:
                        left.append(following)
                time.sleep(_POLL_S)
        finally:
            for one in running:
                _signal(one, signal.SIGKILL)
                one.process.wait()
    return got[0] if got else ""


def _start(run: SideRun, cwd: Path, env: Mapping[str, str]) -> _Running:
    run.log.parent.mkdir(parents=True, exist_ok=True)
    with run.log.open("ab") as log, Path(os.devnull).open("rb") as nothing:
        if can_fork(run.argv):
            streams = (nothing.fileno(), log.fileno(), log.fileno())
            return _Running(run, ForkedPytest(run.argv, cwd=cwd, env=env, streams=streams, group=True))
        setpriv = shutil.which("setpriv")
        prefix = [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
        argv = [*prefix, *run.argv]
        process = subprocess.Popen(
            argv, cwd=cwd, env=dict(env), stdin=nothing, stdout=log, stderr=subprocess.STDOUT, process_group=0
        )
        return _Running(run, process)


def _signal(one: _Running, number: signal.Signals) -> None:
    """SIGINT goes to pytest alone, which ends its guests; SIGKILL to its whole group."""
    with suppress(ProcessLookupError):
        if number == signal.SIGKILL:
            os.killpg(one.process.pid, number)
        else:
            one.process.send_signal(number)

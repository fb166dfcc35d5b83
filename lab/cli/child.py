"""Run pytest as a child that never outlives this process, and pass interrupts on to it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from lab.cli.forked import ForkedPytest, can_fork
from lab.cli.forward import ChildOutput, forwarded_output

#: Time for an interrupted pytest to end its guests and write its report before it is killed.
GRACE_S = 60.0


@dataclass(frozen=True, slots=True)
class ChildEnd:
    """How the child ended.

    Attributes:
        exit_code: The child's; minus the signal's number when a signal ended it.
        interrupted: The name of the signal that we got and passed on; empty when there was none.
    """

    exit_code: int
    interrupted: str = ""

    @property
    def signal(self) -> int:
        """Number of the signal that we got; 0 when there was none."""
        return signal.Signals[self.interrupted].value if self.interrupted else 0

    @property
    def died(self) -> str:
        """In words, why the run did not end by itself; empty when it did."""
        if self.interrupted:
            return f"the run was interrupted ({self.interrupted})"
        if self.exit_code < 0:
            return f"pytest was ended by {signal.Signals(-self.exit_code).name}"
        return ""


def run_child(
    argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], terminal: bool = False, grace_s: float = GRACE_S
) -> ChildEnd:
    """Run a program to its end. Its output goes where ours goes, but a closed pipe there does not end it.

    pytest runs in a fork of this process where possible: :mod:`lab.cli.forked`.

    The first SIGINT, SIGTERM or SIGHUP that we get is passed on as SIGINT, so that pytest ends its workers and writes its
    report; the second one, or the end of the grace, kills the child's whole process group. When we are killed, the kernel
    kills the child.

    Args:
        argv: The command.
        cwd: The folder that it runs in.
        env: Its environment.
        terminal: It reads from the terminal (a debugger): it stays in our process group, and the terminal itself sends it
            Ctrl-C.
        grace_s: Seconds between an interrupt and the end by force.
    """
    started: list[subprocess.Popen[bytes] | ForkedPytest] = []
    got: list[str] = []
    kill_at: list[float] = []

    def pass_on(number: int, _frame: FrameType | None) -> None:
        got.append(signal.Signals(number).name)
        if len(got) > 1:
            for process in started:
                _kill(process, group=not terminal)
            return
        kill_at.append(time.monotonic() + grace_s)
        if not (terminal and number == signal.SIGINT):
            for process in started:
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGINT)

    # The handlers come first: a shell without job control starts its background jobs with SIGINT ignored, a program
    # inherits that, and pytest would never hear of an interrupt. A signal with a handler is the default one in a child.
    ended = threading.Event()
    with signal_handlers(pass_on), contextlib.ExitStack() as stack:
        output = ChildOutput(None, None) if terminal else stack.enter_context(forwarded_output(ended))
        try:
            process = _start(argv, output, cwd=cwd, env=env, group=not terminal)
        finally:
            output.begin()
        started.append(process)
        try:
            while True:
                try:
                    code = process.wait(timeout=0.5)
                    break
                except subprocess.TimeoutExpired:
                    if kill_at and time.monotonic() >= kill_at[0]:
                        _kill(process, group=not terminal)
        finally:
            if process.poll() is None:
                _kill(process, group=not terminal)
                process.wait()
    return ChildEnd(code, got[0] if got else "")


def _start(
    argv: Sequence[str], output: ChildOutput, *, cwd: Path, env: Mapping[str, str], group: bool
) -> subprocess.Popen[bytes] | ForkedPytest:
    if can_fork(argv):
        return ForkedPytest(argv, cwd=cwd, env=env, streams=(None, output.stdout, output.stderr), group=group)
    setpriv = shutil.which("setpriv")
    prefix = [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
    return subprocess.Popen(
        [*prefix, *argv],
        cwd=cwd,
        env=dict(env),
        stdout=output.stdout,
        stderr=output.stderr,
        process_group=0 if group else None,
    )


@contextlib.contextmanager
def signal_handlers(handler: signal._HANDLER) -> Iterator[None]:
    """Handle the signals that end a command with ``handler``, for the ``with``."""
    caught = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup: continues to ignore the terminal's end
        caught.append(signal.SIGHUP)
    before = {number: signal.signal(number, handler) for number in caught}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _kill(process: subprocess.Popen[bytes] | ForkedPytest, *, group: bool) -> None:
    with contextlib.suppress(ProcessLookupError):
        if group:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()

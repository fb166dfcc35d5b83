"""Runs pytest in a fork of this process: modules that both need are imported once, and no interpreter is started.

To the tests, such a process is what ``python -m pytest`` is: :mod:`lab.cli.fresh`.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab.cli.fresh import run_fresh
from lab.cli.worker_forks import offer_worker_forks
from lab.errors import HostToolError
from lab.host.process import Finished, run

#: Imported before the first fork. pytest warns about modules of its plugins that were imported before it, so none of those: the
#: lab's own are exempt, see the docstring of the package.
_SHARED = ("pytest", "_pytest.terminal", "_pytest.runner", "_pytest.junitxml", "_pytest.python", "lab.plugin")
#: Further modules that a pytest with tests of the lab imports.
_NEEDED_BY_TESTS = ("lab.plugin.run_guests", "lab.plugin.session", "lab.plugin.run_end", "lab.image.media")
_POLL_S = 0.005


def can_fork(argv: Sequence[str]) -> bool:
    """Whether a command is pytest, and may run in a fork of this process.

    Not while other threads run, whose locks would never be released in the fork, and not inside of a running pytest.
    """
    is_pytest = list(argv[:3]) == [sys.executable, "-m", "pytest"]
    inside = any(type(finder).__name__ == "AssertionRewritingHook" for finder in sys.meta_path)
    return is_pytest and not inside and threading.active_count() == 1


def run_quietly(argv: Sequence[str], timeout: float, *, env: Mapping[str, str]) -> Finished:
    """Run pytest to its end, in a fork where that is possible, and collect its output.

    Meanwhile this process imports what the next fork will need: on two cores, the wait costs nothing.

    Raises:
        HostToolError: It has not ended in time.
    """
    if not can_fork(argv):
        return run(argv, timeout, check=False, env=env)
    begin = time.monotonic()
    # Standard input belongs to the run's own tests, not to this question about them.
    with Path(os.devnull).open("rb") as nothing, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        streams = (nothing.fileno(), out.fileno(), err.fileno())
        process = ForkedPytest(argv, cwd=Path.cwd(), env=env, streams=streams, group=True)
        try:
            _import(_NEEDED_BY_TESTS)
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise HostToolError(list(argv), None, "", message=f"pytest has not ended after {timeout:g} s") from None
        finally:
            process.end_group()
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode("utf-8", "backslashreplace"))
    return Finished(tuple(argv), code, texts[0], texts[1], time.monotonic() - begin)


class ForkedPytest:
    """A fork of this process in which pytest runs; with the part of :class:`subprocess.Popen` that is needed.

    Args:
        argv: ``python -m pytest`` and its arguments.
        cwd: The folder that it runs in.
        env: Its environment.
        streams: Descriptors for its standard input, output and error; None: it shares ours.
        group: It leads a process group of its own.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        streams: tuple[int | None, int | None, int | None] = (None, None, None),
        group: bool,
    ) -> None:
        _import(_SHARED)
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            run_fresh(lambda: _be_pytest(argv[3:], cwd), parent=parent, cwd=cwd, env=env, streams=streams, group=group)
        if group:
            with contextlib.suppress(OSError):  # the child does the same; the order does not matter
                os.setpgid(self.pid, self.pid)

    def poll(self) -> int | None:
        """Its exit code, or minus the signal's number; None while it runs."""
        if self.returncode is None:
            found, status = os.waitpid(self.pid, os.WNOHANG)
            if found:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end.

        Raises:
            subprocess.TimeoutExpired: It has not ended in time.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        ended = _end_of(self.pid) if self.returncode is None else -1
        try:
            while (code := self.poll()) is None:
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise subprocess.TimeoutExpired("pytest", timeout or 0)
                if ended >= 0:
                    select.select([ended], [], [], left)
                else:
                    time.sleep(_POLL_S)
            return code
        finally:
            if ended >= 0:
                os.close(ended)

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Send it SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def end_group(self) -> None:
        """Kill it and its child processes, and wait until it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self.wait()


def _import(names: Sequence[str]) -> None:
    for name in names:
        importlib.import_module(name)


def _end_of(pid: int) -> int:
    """A descriptor that is readable when a process has ended; -1 where the kernel has none."""
    try:
        return os.pidfd_open(pid)
    except OSError:
        return -1


def _be_pytest(arguments: Sequence[str], cwd: Path) -> None:
    """What ``python -m pytest`` does."""
    import pytest

    # pytest collects all garbage five times at its end, and would walk everything that this process has ever imported.
    gc.freeze()
    sys.argv = [str(Path(pytest.__file__).with_name("__main__.py")), *arguments]
    if not sys.flags.safe_path:
        sys.path[0] = str(cwd)
    offer_worker_forks(arguments, (*_SHARED, *_NEEDED_BY_TESTS))
    raise SystemExit(int(pytest.console_main()))

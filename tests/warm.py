"""Python processes that have the lab and pytest imported from the start: forks of one process that waits for orders.

`lab run` with a pytest in it takes more than a second of processor time, and most of that is the import of modules. A fork has
them. To the program it is what a new process is, by the code with which `lab run` itself runs pytest in a fork of its own
(:mod:`lab.cli.fresh`). Workers of pytest-xdist are new interpreters as always.

A process that the test starts (:class:`WarmProcess`) is a child of a helper, which reports its end. All of them end with the
session.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

#: No plugins of pytest: it warns about those that were imported before it.
_IMPORTED = ("lab.cli.run", "lab.cli.against", "tests.simulated")
_MESSAGE = 1 << 20
_START_S = 120.0


class WarmProcess:
    """A started process; with the part of :class:`subprocess.Popen` that the tests use.

    Attributes:
        args: The command.
        pid: Its process id.
        returncode: Its exit code, or minus the signal's number; None while it runs.
    """

    def __init__(self, args: Sequence[str], answers: socket.socket, output: int) -> None:
        self.args = list(args)
        self.returncode: int | None = None
        self._answers = answers
        self._output = output
        self.pid = int(self._answer(_START_S))

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""
        if self.returncode is None and select.select([self._answers], [], [], 0)[0]:
            self.returncode = int(self._answer(0))
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end.

        Raises:
            subprocess.TimeoutExpired: It has not ended in time.
        """
        if self.returncode is None:
            self.returncode = int(self._answer(timeout))
        return self.returncode

    def communicate(self, timeout: float = _START_S) -> tuple[str, None]:
        """Read its output to the end, and wait for its own.

        Raises:
            subprocess.TimeoutExpired: It has not ended in time.
        """
        deadline, found = time.monotonic() + timeout, b""
        while True:
            if not select.select([self._output], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise subprocess.TimeoutExpired(self.args, timeout, found)
            part = os.read(self._output, 1 << 16)
            if not part:
                break
            found += part
        self.wait(max(0.1, deadline - time.monotonic()))
        return found.decode("utf-8").replace("\r\n", "\n"), None

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Send it SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def close(self) -> None:
        """Kill it if it runs."""
        with contextlib.suppress(ProcessLookupError):
            self.kill()
        self._answers.close()
        if self._output >= 0:
            os.close(self._output)

    def _answer(self, timeout: float | None) -> bytes:
        if not select.select([self._answers], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        found = self._answers.recv(64)
        assert found, "the process that starts processes has ended"
        return found


class WarmPython:
    """Starts such processes. The process that they are forks of is started now, and ends with this one."""

    def __init__(self) -> None:
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environ = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
        with theirs:
            argv = [sys.executable, "-c", f"from tests.warm import serve; serve({theirs.fileno()}, {os.getpid()})"]
            root = Path(__file__).resolve().parents[1]
            self._server = subprocess.Popen(argv, cwd=root, env=environ, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        self._started: list[WarmProcess] = []
        self._lock = threading.Lock()

    def start(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        output: int | None = None,
        errors: int | None = None,
        group: bool = False,
    ) -> WarmProcess:
        """Start ``python -c PROGRAM ARGUMENTS…`` or ``python -m pytest ARGUMENTS…``.

        Args:
            argv: The command; its first word is this interpreter.
            cwd: The folder that it runs in.
            env: Its environment.
            output: Descriptor for its standard output; None: a pipe, which ``communicate`` reads.
            errors: The same for its standard error; None: where the output goes.
            group: It leads a process group of its own.
        """
        assert argv[0] == sys.executable
        order = json.dumps({"argv": list(argv[1:]), "cwd": os.fsdecode(cwd), "env": dict(env), "group": group})
        answers, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        source = end = -1
        if output is None:
            source, end = os.pipe()
            output = end
        try:
            with theirs, self._lock:
                descriptors = [theirs.fileno(), output, output if errors is None else errors]
                socket.send_fds(self._orders, [order.encode()], descriptors)
        finally:
            if end >= 0:
                os.close(end)
        process = WarmProcess(argv, answers, source)
        self._started.append(process)
        return process

    def forget(self) -> None:
        """Kill the processes that still run, and close what belongs to them."""
        for process in self._started:
            process.close()
        self._started.clear()

    def close(self) -> None:
        """End all of them."""
        self.forget()
        self._orders.close()
        self._server.wait(_START_S)


def serve(descriptor: int, parent: int) -> None:
    """Fork a process for each order that arrives, until the other end is closed."""
    from lab.cli import forked
    from lab.host.lifetime import die_with

    die_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the test session, which ends this process
    signal.signal(signal.SIGCHLD, _reap)
    for name in (*_IMPORTED, *forked._SHARED, *forked._NEEDED_BY_TESTS):
        importlib.import_module(name)
    gc.freeze()
    orders = socket.socket(fileno=descriptor)
    while True:
        message, descriptors, _, _ = socket.recv_fds(orders, _MESSAGE, 3)
        if not message:
            return
        if os.fork() == 0:
            orders.close()
            _attend(json.loads(message), *descriptors)
        for one in descriptors:
            os.close(one)


def _reap(number: int, frame: FrameType | None) -> None:
    """Collect the helpers that have ended; their processor time is then part of that of the test session."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _attend(order: dict[str, object], answers: int, output: int, errors: int) -> None:
    """In the helper of one order: fork its process, and report its id and its end."""
    from lab.cli.fresh import run_fresh

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    helper = os.getpid()
    pid = os.fork()
    if pid == 0:
        os.close(answers)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        argv, cwd, env = order["argv"], order["cwd"], order["env"]
        assert isinstance(argv, list)
        assert isinstance(cwd, str)
        assert isinstance(env, dict)
        nothing = os.open(os.devnull, os.O_RDONLY)
        run_fresh(
            lambda: _be(argv, Path(cwd)),
            parent=helper,
            cwd=Path(cwd),
            env=env,
            streams=(nothing, output, errors),
            group=bool(order["group"]),
        )
    os.close(output)
    os.close(errors)
    os.write(answers, str(pid).encode())
    _, status = os.waitpid(pid, 0)
    with contextlib.suppress(OSError):  # no one waits for it any more
        os.write(answers, str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _be(argv: list[str], cwd: Path) -> None:
    """What the interpreter does with these arguments."""
    if argv[:2] == ["-m", "pytest"]:
        from lab.cli import forked

        forked._be_pytest(argv[2:], cwd)
    assert argv[0] == "-c"
    sys.argv = ["-c", *argv[2:]]
    sys.path[0] = ""
    exec(compile(argv[1], "<string>", "exec"), {"__name__": "__main__"})

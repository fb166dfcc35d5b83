"""QEMU as a process that cannot outlive its owner: the owner's side of :mod:`lab.vm.supervisor`."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from lab.errors import HostToolError
from lab.vm import supervisor

_LOG = logging.getLogger(__name__)

LOG_FILE = supervisor.LOG_FILE
#: The status file of a detached guest that the last release started. It has ``keeper_pid`` for the supervisor's pid. Read for
#: one release.
_OLD_STATUS_FILE = "keeper.json"
_START_SECONDS = 30.0


class WaitingSupervisor:
    """A supervisor without a QEMU yet. It is started in advance, because its own start takes 12 ms.

    It ends when it is closed, and with its owner.

    Raises:
        OSError: No process can be started.
    """

    def __init__(self) -> None:
        status_read, status_write = os.pipe()
        owner_read, owner_write = os.pipe()
        request_read, request_write = os.pipe()
        self._fds = [status_read, owner_write, request_write]
        self._child: subprocess.Popen[bytes] | None = None
        command = [sys.executable, "-I", "-S", supervisor.__file__, str(os.getpid())]
        try:
            self._child = subprocess.Popen(
                [*command, str(owner_read), str(status_write), str(request_read)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(owner_read, status_write, request_read),
                # The terminal's Ctrl-C is for the owner, which then ends its guests in order.
                start_new_session=True,
            )
        except BaseException:
            self.close()
            raise
        finally:
            for fd in (owner_read, status_write, request_read):
                os.close(fd)

    def request(self, fields: Sequence[str]) -> list[str]:
        """Send the request to start QEMU. Returns the words of the answer; empty when none comes in time.

        Raises:
            ValueError: It was used already, or closed.
        """
        if len(self._fds) != 3:
            raise ValueError("a waiting supervisor can be used only once")
        status_read, _, request_write = self._fds
        self._fds = self._fds[:2]
        # The number of fields comes first: the end of the pipe would come late if a fork of this process still holds it open.
        with contextlib.suppress(BrokenPipeError), open(request_write, "wb") as pipe:  # noqa: PTH123
            pipe.writelines(os.fsencode(field) + b"\0" for field in (str(len(fields)), *fields))
        return _read_words(status_read, _START_SECONDS)

    @property
    def alive(self) -> bool:
        """It waits."""
        return self._child is not None and self._child.poll() is None

    def take(self) -> tuple[subprocess.Popen[bytes] | None, list[int]]:
        """Hand over the process and the two descriptors that keep it alive; the caller owns them from here on."""
        taken, self._child, self._fds = (self._child, self._fds), None, []
        return taken

    def close(self) -> None:
        """End it, unless it was taken. Idempotent."""
        child, fds = self.take()
        for fd in fds:
            os.close(fd)
        if child is None:
            return
        if len(fds) == 3:
            child.kill()  # it may miss the end of the pipes if a fork of this process holds them open
        try:
            child.wait(_START_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


class QemuProcess:
    """A QEMU and its supervisor.

    Safe to use from several threads. Made by :meth:`start` or :meth:`attach`.

    Attributes:
        pid: QEMU's own pid.
        supervisor_pid: The supervisor's pid.
        detached: The guest lives on when this process ends: :meth:`detach` was called, here or by the process that started it.
    """

    def __init__(self, run_dir: Path, pid: int, supervisor_process: psutil.Process | None, *, detached: bool) -> None:
        self.run_dir = run_dir
        self.pid = pid
        self.detached = detached
        self.supervisor_pid = supervisor_process.pid if supervisor_process else 0
        self._supervisor = supervisor_process
        self._child: subprocess.Popen[bytes] | None = None
        self._fds: list[int] = []
        self._lock = threading.Lock()

    @classmethod
    def start(
        cls, argv: Sequence[str], run_dir: Path, *, lock_file: Path | None = None, waiting: WaitingSupervisor | None = None
    ) -> QemuProcess:
        """Start QEMU in ``run_dir``, owned by this process; its messages go to ``qemu.log`` there.

        Args:
            argv: QEMU and its arguments.
            run_dir: Folder that it runs in; it must exist.
            lock_file: The supervisor holds a shared lock on this file until it ends.
            waiting: A supervisor that was started in advance; it is used up in any case.

        Raises:
            HostToolError: QEMU could not be executed, or the supervisor did not start.
        """
        log = run_dir / LOG_FILE
        fields = [str(run_dir.absolute()), str(lock_file) if lock_file else supervisor.NONE, *argv]
        try:
            if not run_dir.is_dir():
                raise HostToolError(argv, None, message=f"{run_dir} is not a folder to run in")
            log.touch()  # the file exists even if nothing is ever written to it
            words = waiting.request(fields) if waiting is not None else []
            if not words:
                # A waiting supervisor may have been killed meanwhile, for example by a clean-up of idle processes.
                if waiting is not None:
                    waiting.close()
                waiting = WaitingSupervisor()
                words = waiting.request(fields)
            if words[:1] != ["started"]:
                message = " ".join(words[1:]) or "the process that starts and guards QEMU did not report in time"
                log_text = log.read_text(encoding="utf-8", errors="backslashreplace")
                raise HostToolError(argv, None, log_text, message=message, hint="`lab doctor` checks QEMU")
        except BaseException:
            if waiting is not None:
                waiting.close()
            raise
        assert waiting is not None
        qemu_pid, supervisor_pid = (int(word) for word in words[1:])
        process = cls(run_dir, qemu_pid, None, detached=False)
        process.supervisor_pid = supervisor_pid
        process._child, process._fds = waiting.take()
        return process

    @classmethod
    def attach(cls, run_dir: Path) -> QemuProcess | None:
        """The detached QEMU of a run folder; None when there is none, or it ended."""
        status = read_status(run_dir)
        if "qemu_pid" not in status or "exit_code" in status:
            return None
        try:
            process = psutil.Process(int(status.get("supervisor_pid") or status["keeper_pid"]))
            # The pid was reused: that process started after the status was written.
            if process.create_time() > float(status["started"]) + 1 or process.status() == psutil.STATUS_ZOMBIE:
                return None
        except psutil.NoSuchProcess:
            return None
        return cls(run_dir, int(status["qemu_pid"]), process, detached=True)

    def detach(self) -> None:
        """Let an owned QEMU live on when this process ends; :meth:`attach` finds it again. Idempotent.

        Until then QEMU ends with its owner, so call this when the VM has been registered elsewhere.
        """
        with self._lock:
            if self._child is None or not self._fds:
                return
            self.detached = True
            if self._child.poll() is None:
                self._supervisor = _find(self._child.pid)
                # Popen warns about a child that is not waited for.
                self._child.returncode = 0
            (status_read, owner_write), self._fds, self._child = self._fds, [], None
        with contextlib.suppress(BrokenPipeError):  # QEMU has ended, and its supervisor too
            os.write(owner_write, supervisor.STAY)
        os.close(owner_write)
        os.close(status_read)

    @property
    def alive(self) -> bool:
        """The supervisor, and so QEMU, is running."""
        with self._lock:
            if self._child:
                return self._child.poll() is None
            try:
                if not self._supervisor or not self._supervisor.is_running():
                    return False
                if self._supervisor.status() != psutil.STATUS_ZOMBIE:
                    return True
                with contextlib.suppress(psutil.TimeoutExpired):
                    self._supervisor.wait(0)  # reaps it where it is our child
            except psutil.NoSuchProcess:
                pass
            return False

    @property
    def exit_code(self) -> int | None:
        """QEMU's exit code, minus the signal's number when one killed it; None while it runs, or when unknown."""
        if self.alive:
            return None
        code = read_status(self.run_dir).get("exit_code")
        return int(code) if code is not None else None

    def wait(self, timeout: float) -> bool:
        """Wait for the end of QEMU and its supervisor; False when the deadline came first."""
        deadline = time.monotonic() + timeout
        with self._lock:
            status_fd = self._fds[0] if self._fds else None
        if status_fd is not None:
            # The supervisor holds the other end until it ends.
            _wait_readable(status_fd, timeout)
        while self.alive:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.01)
        return True

    def terminate(self) -> None:
        """Ask the supervisor to end QEMU: SIGTERM, by which QEMU flushes its disks, then SIGKILL after 5 s."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Have the supervisor kill QEMU at once."""
        self._signal(signal.SIGUSR1)

    def close(self) -> None:
        """Kill an owned QEMU that still runs, and free what belongs to it; a detached one lives on. Idempotent."""
        if self.detached:
            return
        with self._lock:
            child, self._fds, fds = self._child, [], self._fds
        for fd in fds:
            os.close(fd)  # the supervisor sees the end of the pipe and kills QEMU
        if child is None:
            return
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            if self._child:
                self._child.send_signal(number)
            elif self._supervisor:
                self._supervisor.send_signal(number)


def read_status(run_dir: Path) -> dict[str, Any]:
    """The supervisor's status file of a run folder; empty when there is none."""
    for name in (supervisor.STATUS_FILE, _OLD_STATUS_FILE):
        with contextlib.suppress(OSError, ValueError):
            status = json.loads((run_dir / name).read_text(encoding="utf-8"))
            return status if isinstance(status, dict) else {}
    return {}


def _wait_readable(fd: int, timeout: float) -> bool:
    poller = select.poll()
    poller.register(fd, select.POLLIN | select.POLLHUP)
    return bool(poller.poll(max(0, int(timeout * 1000))))


def _read_words(fd: int, timeout: float) -> list[str]:
    """The words of one line from a pipe; none at end of file or when the deadline passed."""
    deadline = time.monotonic() + timeout
    data = b""
    while not data.endswith(b"\n"):
        if not _wait_readable(fd, deadline - time.monotonic()):
            return []
        piece = os.read(fd, 65536)
        if not piece:
            return []
        data += piece
    return data.decode(errors="replace").split()


def _find(pid: int) -> psutil.Process | None:
    """The process, or None when it ended already."""
    try:
        return psutil.Process(pid)
    except psutil.NoSuchProcess:
        return None

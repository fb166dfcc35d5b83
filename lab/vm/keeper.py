"""The keeper: a small process between the lab and one QEMU. QEMU cannot outlive its owner, whatever ends the owner.

    owner --(pipe, pid)--> keeper --(parent-death signal)--> QEMU

The owner may be killed by SIGKILL, and then runs no code. The kernel's parent-death signal alone does not solve it: it
is tied to the *thread* that started the child, so that a guest started by a worker thread would die with that thread.
So the keeper, which has one thread, starts QEMU with that signal, and itself watches the owner: the read end of a pipe
whose only writer is the owner, and the owner's pid (which also covers a fork of the owner that keeps the pipe open).

This file is run by its path, with ``python -I -S``, and imports only the standard library, so that it starts in some
20 ms and works whatever the owner has done to its environment.

Its standard output and error, which QEMU inherits, are a log file. It writes ``keeper.json`` into the run folder,
complete at each time: pids at the start, the exit status at the end.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import select
import signal
import sys
import time
from types import FrameType
from typing import Any

STATUS_FILE = "keeper.json"
_PR_SET_PDEATHSIG = 1
#: Seconds that QEMU gets between SIGTERM, at which it flushes its disks, and SIGKILL.
_TERM_SECONDS = 5.0


def main(options: dict[str, Any], argv: list[str]) -> int:
    """Start QEMU, wait until it, the owner or the keeper's time is over, and leave nothing behind.

    Args:
        options: ``run_dir``; ``owner`` (pid) and ``owner_fd`` (read end of the pipe), or neither for a guest that a
            person keeps; ``status_fd``: the start, or what prevented it, is reported there in one JSON line; ``lock``:
            file on which a shared lock is held as long as the guest lives, or None.
        argv: QEMU and its arguments.
    """
    os.chdir(options["run_dir"])
    for name in ("owner_fd", "status_fd"):
        # QEMU must not hold them: the end of the status pipe means that the keeper has ended.
        os.set_inheritable(options[name], False)
    detached = options.get("owner") is None
    if detached:
        # In two steps, so that the starter can reap its child, and the keeper is nobody's child and has no terminal.
        if os.fork():
            os._exit(0)
        os.setsid()
    wake = _install_handlers()
    poller = select.poll()
    poller.register(wake, select.POLLIN)
    owner_fds = _watch_owner(poller, options)
    if options.get("lock"):
        # Never closed: the kernel lets go of it when this process is gone.
        lock = os.open(options["lock"], os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(lock, fcntl.LOCK_SH)
    status: dict[str, Any] = {"keeper_pid": os.getpid(), "argv": argv, "started": time.time()}
    pid, error = _start(argv)
    if error:
        os.waitpid(pid, 0)
        status |= {"error": error, "exit_code": None}
    else:
        status |= {"qemu_pid": pid}
    _write_status(status)
    with contextlib.suppress(OSError):
        os.write(options["status_fd"], json.dumps(status).encode() + b"\n")
    if error:
        return 1
    if detached:
        os.close(options["status_fd"])
    reason, code = _supervise(pid, poller, wake, owner_fds)
    _write_status(status | {"exit_code": code, "reason": reason, "ended": time.time()})
    return 0


def _install_handlers() -> int:
    """SIGCHLD, SIGTERM and SIGUSR1 arrive as bytes on a pipe; returns its read end. Ctrl-C is the owner's business."""
    read_end, write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)

    def note(_number: int, _frame: FrameType | None) -> None:
        """The wake-up pipe has been written already."""

    signal.signal(signal.SIGCHLD, note)
    signal.signal(signal.SIGTERM, note)
    signal.signal(signal.SIGUSR1, note)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return read_end


def _watch_owner(poller: select.poll, options: dict[str, Any]) -> set[int]:
    owner = options.get("owner")
    if owner is None:
        return set()
    fds = {int(options["owner_fd"])}
    with contextlib.suppress(OSError):
        # Where the kernel has no pidfd (before 5.3) the pipe is the only link; it suffices unless the owner forked.
        fds.add(os.pidfd_open(owner))
    if os.getppid() != owner:
        os._exit(1)  # gone before we looked, and the pid may be another's by now
    for fd in fds:
        poller.register(fd, select.POLLIN | select.POLLHUP)
    return fds


def _start(argv: list[str]) -> tuple[int, str]:
    """Fork and execute QEMU; returns its pid, and the error when it could not be executed."""
    libc = ctypes.CDLL(None, use_errno=True)
    keeper = os.getpid()
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != keeper:
                os._exit(1)
            os.setpgid(0, 0)
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            null = os.open(os.devnull, os.O_RDONLY)
            os.dup2(null, 0)
            os.execvp(argv[0], argv)
        except OSError as error:
            os.write(write_end, f"{argv[0]}: {error.strerror}".encode())
        finally:
            os._exit(127)
    os.close(write_end)
    failure = os.read(read_end, 4096).decode(errors="replace")
    os.close(read_end)
    return pid, failure


def _supervise(pid: int, poller: select.poll, wake: int, owner_fds: set[int]) -> tuple[str, int]:
    """Wait for the first end; returns why, and QEMU's exit code (minus the signal's number when one killed it)."""
    reason = "exit"
    kill_at: float | None = None
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            _kill_group(pid)
            return reason, os.waitstatus_to_exitcode(status)
        now = time.monotonic()
        if kill_at is not None and now >= kill_at:
            _kill_group(pid)
            kill_at = None
        ready = {fd for fd, _ in poller.poll(None if kill_at is None else max(1, int((kill_at - now) * 1000)))}
        if ready & owner_fds:
            # The owner is gone: nobody reads what QEMU could still write.
            reason = "owner gone"
            for fd in owner_fds:
                poller.unregister(fd)
            owner_fds = set()
            _kill_group(pid)
        numbers = os.read(wake, 4096) if wake in ready else b""
        if signal.SIGUSR1 in numbers:
            reason = "killed"
            _kill_group(pid)
        elif signal.SIGTERM in numbers and reason == "exit":
            reason = "stopped"
            kill_at = now + _TERM_SECONDS
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)


def _kill_group(pid: int) -> None:
    """Kill QEMU and the helpers that it started, such as the command of a migration."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _write_status(status: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # the owner may have removed the folder already
        temporary = STATUS_FILE + ".new"
        with open(temporary, "w", encoding="utf-8") as file:  # noqa: PTH123 (pathlib would double the start-up time)
            json.dump(status, file)
        os.replace(temporary, STATUS_FILE)  # noqa: PTH105


if __name__ == "__main__":
    raise SystemExit(main(json.loads(sys.argv[1]), sys.argv[2:]))

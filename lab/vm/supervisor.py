"""The supervisor: a small process between the lab and one QEMU. QEMU cannot outlive its owner, however the owner ends.

    owner --(pipe, pid)--> supervisor --(parent-death signal)--> QEMU

The owner may be killed by SIGKILL, and then runs no code. The kernel's parent-death signal alone does not solve it: it
is tied to the *thread* that started the child, so that a guest started by a worker thread would die with that thread.
So the supervisor, which has one thread, starts QEMU with that signal, and itself watches the owner: the read end of a pipe
whose only writer is the owner, and the owner's pid (which also covers a fork of the owner that keeps the pipe open).

A guest that is to outlive its owner is owned at first, too, so that an owner that is killed early leaves no unregistered guest.
Once the guest is registered, the owner writes :data:`STAY` into the pipe, and the supervisor stops watching it.

This file is run by its path, with ``python -I -S``, and imports as little as it can, because every fork of a guest waits for
it. typing, contextlib and json took three times as long to import as all the rest, so they are not used.

Its standard output and error, which QEMU inherits, are a log file. It writes ``supervisor.json`` into the run folder,
complete at each time: pids at the start, the exit status at the end.
"""

# contextlib and pathlib are too slow to import, see above.
# ruff: noqa: SIM105, PTH105, PTH123

from __future__ import annotations

# _signal is the C part of signal. The Python part makes enumerations of all numbers, which takes 2 of the 12 ms of this start.
import _signal as signal  # type: ignore[import-not-found]
import ctypes
import fcntl
import os
import select
import sys
import time

STATUS_FILE = "supervisor.json"
#: In the run folder: what QEMU and the supervisor write to standard output and error.
LOG_FILE = "qemu.log"
#: Stands for an absent lock among the arguments.
NONE = "-"
#: What an owner writes that lets its guest live on without it.
STAY = b"s"
_PR_SET_PDEATHSIG = 1
#: Seconds that QEMU gets between SIGTERM, at which it flushes its disks, and SIGKILL.
_TERM_SECONDS = 5.0


def main(owner: str, owner_fd: int, status_fd: int, request_fd: int) -> int:
    """Read what to start and start it; wait until it ends, the owner ends or a signal comes; leave no process.

    A supervisor may be started before the request comes; a start of QEMU then takes no longer than QEMU itself.

    Args:
        owner: Pid of the owner.
        owner_fd: Read end of the pipe whose writer is the owner.
        status_fd: QEMU's pid and ours are reported there in one line, or else the reason why it did not start.
        request_fd: Read end of the pipe with the request: the number of the fields that follow; the folder to run in; a file on
            which a shared lock is held as long as the guest lives, or :data:`NONE`; QEMU and its arguments; each ends with a
            zero byte.
    """
    for fd in (owner_fd, status_fd, request_fd):
        # QEMU must not hold them: the end of the status pipe means that the supervisor has ended.
        os.set_inheritable(fd, False)
    wake = _install_handlers()
    poller = select.poll()
    poller.register(wake, select.POLLIN)
    owner_fds = _watch_owner(poller, int(owner), owner_fd)
    request = _read_request(request_fd, {*owner_fds, wake})
    if not request:
        return 0
    run_dir, lock, *argv = request
    try:
        os.chdir(run_dir)
        log = os.open(LOG_FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    except OSError as error:
        os.write(status_fd, f"error {run_dir}: {error.strerror}\n".encode())
        return 1
    os.dup2(log, 1)
    os.dup2(log, 2)
    if lock != NONE:
        # Never closed: the kernel releases it when this process ends.
        fcntl.flock(os.open(lock, os.O_RDONLY | os.O_CLOEXEC), fcntl.LOCK_SH)
    pid, failure = _start(argv)
    if failure:
        os.waitpid(pid, 0)
        os.write(status_fd, f"error {failure}\n".encode())
        return 1
    status = f'"supervisor_pid": {os.getpid()}, "qemu_pid": {pid}, "started": {time.time()}'
    _write_status(status)
    _write_quietly(status_fd, f"started {pid} {os.getpid()}\n".encode())
    reason, code = _supervise(pid, poller, wake, owner_fd, owner_fds, status)
    _write_status(f'{status}, "exit_code": {code}, "reason": "{reason}", "ended": {time.time()}')
    return 0


def _read_request(request_fd: int, ends: set[int]) -> list[str]:
    """What to start; nothing when the owner closed the pipe or ended, or when a signal came (``ends``)."""
    poller = select.poll()
    for fd in (request_fd, *ends):
        poller.register(fd, select.POLLIN | select.POLLHUP)
    data = b""
    while True:
        if any(fd in ends for fd, _ in poller.poll()):
            return []
        part = os.read(request_fd, 65536)
        if not part:
            return []  # the owner closed it in the middle
        data += part
        number, *fields = data.split(b"\0")
        if fields and len(fields) == int(number) + 1:
            os.close(request_fd)
            return [os.fsdecode(field) for field in fields[:-1]]


def _install_handlers() -> int:
    """SIGCHLD, SIGTERM and SIGUSR1 arrive as bytes on a pipe; returns its read end. Ctrl-C is the owner's business."""
    read_end, write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)

    def note(_number: int, _frame: object) -> None:
        """The wake-up pipe has been written already."""

    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, note)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return read_end


def _watch_owner(poller: select.poll, owner: int, owner_fd: int) -> set[int]:
    os.set_blocking(owner_fd, False)
    fds = {owner_fd}
    try:
        fds.add(os.pidfd_open(owner))
    except OSError:
        # The kernel has no pidfd (before 5.3), or the owner is gone. Without it the pipe is the only link, which
        # suffices unless the owner forked.
        pass
    if os.getppid() != owner:
        os._exit(1)  # gone before we looked, and the pid may be another's by now
    for fd in fds:
        poller.register(fd, select.POLLIN | select.POLLHUP)
    return fds


def _start(argv: list[str]) -> tuple[int, str]:
    """Fork and execute QEMU; returns its pid, and the error when it could not be executed."""
    libc = ctypes.CDLL(None, use_errno=True)
    supervisor = os.getpid()
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != supervisor:
                os._exit(1)
            os.setpgid(0, 0)
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            os.execvp(argv[0], argv)
        except OSError as error:
            os.write(write_end, f"{argv[0]}: {error.strerror}".encode())
        finally:
            os._exit(127)
    os.close(write_end)
    failure = os.read(read_end, 4096).decode(errors="replace")  # ends when the execution closes the other end
    os.close(read_end)
    return pid, failure


def _supervise(pid: int, poller: select.poll, wake: int, owner_fd: int, owner_fds: set[int], members: str) -> tuple[str, int]:
    """Wait for the first end; returns why, and QEMU's exit code (minus the signal's number when one killed it).

    ``members`` is what the status file says; that the guest lives on without its owner is added to it.
    """
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
            for fd in owner_fds:
                poller.unregister(fd)
            owner_fds = set()
            # Looked at whichever of them is ready: an owner may write its last byte and be gone between two looks.
            if _read_quietly(owner_fd) == STAY:
                _write_status(f'{members}, "detached": true')
            else:
                # The owner is gone, so no process reads what QEMU could still write.
                reason = "owner ended"
                _kill_group(pid)
        numbers = os.read(wake, 4096) if wake in ready else b""
        if signal.SIGUSR1 in numbers:
            reason = "killed"
            _kill_group(pid)
        elif signal.SIGTERM in numbers and reason == "exit":
            reason = "stopped"
            kill_at = now + _TERM_SECONDS
            os.kill(pid, signal.SIGTERM)  # still ours: it has not been waited for


def _kill_group(pid: int) -> None:
    """Kill QEMU and the helpers that it started, such as the command of a migration."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except OSError:
        pass  # all of them are gone


def _write_status(members: str) -> None:
    """Replace the status file; the values are numbers and plain words, so no JSON library is needed."""
    try:
        with open(f"{STATUS_FILE}.new", "w", encoding="ascii") as file:
            file.write(f"{{{members}}}\n")
        os.replace(f"{STATUS_FILE}.new", STATUS_FILE)
    except OSError:
        pass  # the owner may have removed the folder already


def _read_quietly(fd: int) -> bytes:
    try:
        return os.read(fd, 1)
    except BlockingIOError:
        return b""  # a fork of the owner still holds the other end


def _write_quietly(fd: int, data: bytes) -> None:
    try:
        os.write(fd, data)
    except OSError:
        pass  # the owner is gone; the supervision notices


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))

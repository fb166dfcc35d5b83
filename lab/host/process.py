"""Run a program of the host: with an argument list, a deadline, and its whole process group ended at that deadline."""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.errors import HostToolError

#: How long a process may take to disappear after SIGKILL; one that hangs in the kernel never does.
_REAP_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Finished:
    """A program that ended.

    Attributes:
        argv: The command.
        exit_code: 0..255, or minus the signal's number.
        stdout: Standard output, undecodable bytes shown as escapes.
        stderr: Standard error, likewise.
        duration_s: Seconds from start to end.
    """

    argv: tuple[str, ...]
    exit_code: int
    stdout: str
    stderr: str
    duration_s: float


#: The part of :func:`run` that probes need; a test passes its own.
Runner = Callable[[Sequence[str], float], Finished]


def run(
    argv: Sequence[str | Path],
    timeout: float,
    *,
    check: bool = True,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    on_line: Callable[[str], None] | None = None,
    hint: str = "",
) -> Finished:
    """Run a program to its end and collect what it wrote.

    The program is killed, with all children that stayed in its process group, when the deadline passes, when an
    exception ends the wait (Ctrl-C), and, itself only, when this process dies.

    Args:
        argv: Program and arguments.
        timeout: Seconds until it is killed.
        check: Raise when it ends with anything but 0.
        cwd: Folder to run in.
        env: Its whole environment; None: ours.
        stdin: Its standard input.
        on_line: Called for each line as it is written, to either stream, for progress displays.
        hint: What to try when it fails.

    Raises:
        HostToolError: It is missing, failed, or did not end in time; with its last lines.
    """
    command = [str(item) for item in argv]
    program = find_program(command[0], search=env.get("PATH") if env is not None else None)
    if not program:
        message = f"{command[0]}: there is no such program on this host"
        raise HostToolError(command, None, message=message, hint=hint or "`lab doctor` names its package")
    started = time.monotonic()
    with tempfile.TemporaryFile() as source:
        source.write(stdin)
        source.seek(0)
        try:
            process = subprocess.Popen(
                [*_death_signal(), program, *command[1:]],
                stdin=source,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=cwd,
                env=env,
                start_new_session=True,
            )
        except OSError as error:
            raise HostToolError(command, None, message=f"{command[0]} could not be started: {error}", hint=hint) from error
    collector = _Collector(on_line)
    ended = False
    try:
        ended = _collect(process, collector, started + timeout)
    finally:
        if not ended:
            _kill_group(process)
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
    stdout, stderr = collector.texts()
    said = stderr if stderr.strip() else stdout
    if not ended:
        message = f"{command[0]} did not end within {timeout:g} s and was killed"
        raise HostToolError(command, None, said, message=message, hint=hint)
    if check and process.returncode:
        raise HostToolError(command, process.returncode, said, hint=hint)
    return Finished(tuple(command), process.returncode, stdout, stderr, time.monotonic() - started)


def find_program(name: str, *, search: str | None = None) -> str:
    """Path of a program, or an empty string.

    The system folders are searched too: Debian does not put them on the PATH of ordinary users, and mke2fs lies there.

    Args:
        name: Its name, or its path.
        search: Folders separated by colons; the environment's PATH when None.
    """
    folders = os.environ.get("PATH", os.defpath) if search is None else search
    return shutil.which(name, path=f"{folders}:/usr/sbin:/sbin") or ""


def run_quick(argv: Sequence[str], timeout: float) -> Finished:
    """:func:`run` without the check of the exit code: a :data:`Runner`."""
    return run(argv, timeout, check=False)


def _death_signal() -> list[str]:
    """Prefix that makes the kernel kill the program when the calling thread, which waits for it, ends.

    setpriv sets it and then becomes the program. A preexec function would do the same, but is not safe in a process
    with threads.
    """
    setpriv = find_program("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []


class _Collector:
    """Both streams of a process, kept whole, and passed on line by line."""

    def __init__(self, on_line: Callable[[str], None] | None) -> None:
        self._on_line = on_line
        self._data = {"stdout": bytearray(), "stderr": bytearray()}
        self._passed = {"stdout": 0, "stderr": 0}

    def feed(self, stream: str, data: bytes) -> None:
        kept = self._data[stream]
        kept += data
        if not self._on_line:
            return
        while True:
            end = kept.find(b"\n", self._passed[stream])
            if data and end < 0:
                return
            line = bytes(kept[self._passed[stream] : end if end >= 0 else len(kept)])
            self._passed[stream] = end + 1 if end >= 0 else len(kept)
            if line:
                self._on_line(line.decode("utf-8", "backslashreplace").rstrip("\r"))
            if end < 0:
                return

    def texts(self) -> tuple[str, str]:
        out, err = (bytes(self._data[name]).decode("utf-8", "backslashreplace") for name in ("stdout", "stderr"))
        return out, err


def _collect(process: subprocess.Popen[bytes], collector: _Collector, deadline: float) -> bool:
    """Read both streams to their end and reap the process; False when the deadline came first."""
    with selectors.DefaultSelector() as selector:
        for name, pipe in (("stdout", process.stdout), ("stderr", process.stderr)):
            if pipe is not None:
                selector.register(pipe, selectors.EVENT_READ, name)
        while selector.get_map():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            # A daemon that the program started may keep the streams open: check the program itself now and then.
            ready = selector.select(min(left, 0.5))
            if not ready and process.poll() is not None:
                break
            for key, _ in ready:
                data = os.read(key.fd, 65536)
                collector.feed(str(key.data), data)
                if not data:
                    selector.unregister(key.fileobj)
    try:
        process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return False
    return True


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and its group, and reap it unless it hangs in the kernel."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_REAP_SECONDS)

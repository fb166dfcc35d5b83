"""The launcher that asks a program inside Wine (``launcher/labexec.c``) to start commands.

Streams are named pipes in the run directory, because that is how a Unix process and a Wine process that are not parent
and child share a byte stream at the kernel's speed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import struct
import subprocess
import threading
from pathlib import Path
from typing import IO, Final

from labwinrm.config import Config
from labwinrm.processes import StartError, StartRequest

#: Seconds for the launcher to come up, which includes Wine's own start when nothing of it runs yet.
READY_TIMEOUT_S: Final = 180.0
#: Seconds for one command to be started.
START_TIMEOUT_S: Final = 60.0
#: Exit code of the commands of a launcher that died: STATUS_CONNECTION_ABORTED.
LOST: Final = 0xC0000241

_START, _TERMINATE, _CTRL_C, _CTRL_BREAK, _RELEASE, _END_SHELL = range(1, 7)
_F_SETPIPE_SZ: Final = 1031
_PIPE_SIZE: Final = 1 << 18


class ResidentLauncher:
    """Keeps one launcher program running and starts commands through it.

    Args:
        config: Names the program, the interpreter and the folder for the pipes.
        log: Gets a line when the program comes and goes.
    """

    def __init__(self, config: Config, log: logging.Logger) -> None:
        self._config = config
        self._log = log
        self._lock = threading.Lock()
        self._program: _Program | None = None
        self._count = 0
        self._shells: dict[str, int] = {}
        self._closed = False
        for left_over in config.run_directory.glob("*.pipe"):
            left_over.unlink(missing_ok=True)
        self._running()

    def start(self, request: StartRequest) -> ResidentProcess:
        """See :class:`labwinrm.processes.Launcher`."""
        with self._lock:
            self._count += 1
            number = self._count
            shell = self._shells.setdefault(request.shell, self._count)
        program = self._running()
        if request.use_shell:
            line = f"{self._config.comspec} /C {request.line}"
            application = self._config.comspec
        else:
            line, application = request.line, ""
        if len(line) > 32766:
            raise StartError(206, "the command line is longer than 32766 characters")
        pipes = _Pipes(self._config.run_directory, number)
        try:
            process = ResidentProcess(program, number, pipes)
            folder = request.working_directory or self._config.working_directory
            variables = "".join(f"{name}={value}\0" for name, value in request.environment.items())
            unix = ["\\\\?\\unix" + str(path).replace("/", "\\") for path in pipes.paths]
            program.start(process, struct.pack("<II", shell, request.codepage), (application, line, folder, variables, *unix))
        except BaseException:
            pipes.close()
            raise
        finally:
            pipes.opened()
        return process

    def end_shell(self, shell: str) -> None:
        """See :class:`labwinrm.processes.Launcher`."""
        with self._lock:
            number, program = self._shells.pop(shell, 0), self._program
        if number and program is not None:
            program.send(_END_SHELL, number)

    def close(self) -> None:
        """See :class:`labwinrm.processes.Launcher`."""
        with self._lock:
            self._closed = True
            program, self._program = self._program, None
        if program is not None:
            program.close()

    def _running(self) -> _Program:
        with self._lock:
            if self._closed:
                raise StartError(1115, "the service is shutting down")
            if self._program is not None and not self._program.alive:
                self._log.error("the resident launcher has ended; starting another one")
                self._program.close()
                self._program = None
            if self._program is None:
                self._program = _Program(self._config, self._log)
            return self._program


class _Pipes:
    """The three named pipes of a command; the service's ends are open before the launcher hears of them."""

    def __init__(self, folder: Path, number: int) -> None:
        self.paths = [folder / f"{number}.{name}.pipe" for name in ("in", "out", "err")]
        self._descriptors: list[int] = []
        for path in self.paths:
            os.mkfifo(path, 0o600)
        # Open for both ways at first, or opening would wait for the command; only the writing end is kept.
        self._both = os.open(self.paths[0], os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self.stdin = self._open(0, os.O_WRONLY)
        self.stdout = self._open(1, os.O_RDONLY)
        self.stderr = self._open(2, os.O_RDONLY)

    def _open(self, which: int, mode: int) -> int:
        import fcntl

        descriptor = os.open(self.paths[which], mode | os.O_NONBLOCK | os.O_CLOEXEC)
        self._descriptors.append(descriptor)
        with contextlib.suppress(OSError):  # the kernel's limit for all pipes of a user may be reached
            fcntl.fcntl(descriptor, _F_SETPIPE_SZ, _PIPE_SIZE)
        return descriptor

    def opened(self) -> None:
        """The command has its ends: the names and the helper descriptor are of no more use."""
        os.close(self._both)
        for path in self.paths:
            path.unlink(missing_ok=True)

    def close(self) -> None:
        for descriptor in self._descriptors:
            os.close(descriptor)


class ResidentProcess:
    """A command inside Wine."""

    def __init__(self, program: _Program, number: int, pipes: _Pipes) -> None:
        self.number = number
        self.stdin, self.stdout, self.stderr = pipes.stdin, pipes.stdout, pipes.stderr
        self.exit_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.answered = threading.Event()
        self.error = 0
        self._program = program
        self._lock = threading.Lock()
        self._code: int | None = None
        self._released = False

    def exit_code(self) -> int | None:
        """See :class:`labwinrm.processes.Process`."""
        return self._code

    def ended(self, code: int) -> None:
        """Called once the command's process has ended."""
        with self._lock:
            if self._code is None:
                self._code = code
                if not self._released:
                    os.eventfd_write(self.exit_fd, 1)

    def interrupt(self, *, hard: bool) -> None:
        """See :class:`labwinrm.processes.Process`."""
        self._program.send(_CTRL_BREAK if hard else _CTRL_C, self.number)

    def terminate(self) -> None:
        """See :class:`labwinrm.processes.Process`."""
        self._program.send(_TERMINATE, self.number)

    def release(self) -> None:
        """See :class:`labwinrm.processes.Process`."""
        if self.abandon():
            self._program.forget(self)

    def abandon(self) -> bool:
        """Close the descriptor, once; the thread that reads the launcher may be about to write to it."""
        with self._lock:
            if self._released:
                return False
            self._released = True
            os.close(self.exit_fd)
            return True


class _Program:
    """The running launcher program: frames to it, lines from it."""

    def __init__(self, config: Config, log: logging.Logger) -> None:
        self._log = log
        self._sending = threading.Lock()
        self._processes: dict[int, ResidentProcess] = {}
        self._ready = threading.Event()
        self.alive = True
        try:
            self._popen = subprocess.Popen(
                config.resident_command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, **config.environment},
                start_new_session=True,
                bufsize=0,
            )
        except OSError as error:
            raise StartError(2, f"the resident launcher does not start: {error}") from error
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        self._requests: IO[bytes] = self._popen.stdin
        self._answers: IO[bytes] = self._popen.stdout
        self._reader = threading.Thread(target=self._read, name="labwinrm-launcher", daemon=True)
        self._reader.start()
        if not self._ready.wait(READY_TIMEOUT_S) or not self.alive:
            self.close()
            raise StartError(1053, f"the resident launcher {config.resident_command[0]} did not come up")

    def start(self, process: ResidentProcess, words: bytes, strings: tuple[str, ...]) -> None:
        self._processes[process.number] = process
        payload = words + b"".join(_packed(each) for each in strings)
        self.send(_START, process.number, payload)
        if not process.answered.wait(START_TIMEOUT_S) or process.error:
            self._processes.pop(process.number, None)
            process.abandon()
            raise StartError(process.error or 1460, _reason(process.error or 1460))

    def send(self, operation: int, number: int, payload: bytes = b"") -> None:
        frame = struct.pack("<III", 8 + len(payload), operation, number) + payload
        with self._sending, contextlib.suppress(OSError, ValueError):  # a dead launcher is found by its reader
            self._write(frame)

    def _write(self, frame: bytes) -> None:
        rest = memoryview(frame)
        while rest:
            rest = rest[self._requests.write(rest) :]

    def forget(self, process: ResidentProcess) -> None:
        self._processes.pop(process.number, None)
        self.send(_RELEASE, process.number)

    def close(self) -> None:
        with self._sending:
            self._requests.close()
        try:
            self._popen.wait(10)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        self._reader.join(10)

    def _read(self) -> None:
        with self._answers:
            for line in self._answers:
                self._answer(line)
        self.alive = False
        self._ready.set()
        for process in list(self._processes.values()):
            process.error = process.error or (0 if process.answered.is_set() else 1053)
            process.answered.set()
            process.ended(LOST)

    def _answer(self, line: bytes) -> None:
        word, *numbers = line.decode("ascii", "replace").split()
        if word == "ready":
            self._ready.set()
            return
        try:
            number, value = (int(each) for each in numbers)
        except ValueError:
            self._log.warning("the launcher says %r", line[:80])
            return
        process = self._processes.get(number)
        if process is None:
            if word == "started":  # after its deadline: no request waits for it any more
                self.send(_TERMINATE, number)
                self.send(_RELEASE, number)
            return
        if word == "exit":
            process.ended(value)
        else:
            process.error = value if word == "failed" else 0
            process.answered.set()


def _packed(text: str) -> bytes:
    data = text.encode("utf-16-le", "surrogatepass")
    return struct.pack("<I", len(data) // 2) + data


def _reason(error: int) -> str:
    known = {
        2: "The system cannot find the file specified.",
        3: "The system cannot find the path specified.",
        5: "Access is denied.",
        87: "The parameter is incorrect.",
        193: "The file is not a valid Win32 application.",
        206: "The filename or extension is too long.",
        267: "The directory name is invalid.",
        1053: "The launcher ended while it started the command.",
        1460: "The launcher did not answer in time.",
    }
    return known.get(error, f"The command does not start: Windows error {error}.")

"""A Unix program that does what launcher/labexec.c does, for tests of the service's side of that protocol."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import BinaryIO


@dataclass(frozen=True, slots=True)
class Job:
    """A started command."""

    popen: subprocess.Popen[bytes]
    shell: int


class Double:
    """Reads frames, writes lines."""

    def __init__(self, requests: BinaryIO, answers: BinaryIO) -> None:
        self._requests = requests
        self._answers = answers
        self._lock = threading.Lock()
        self._jobs: dict[int, Job] = {}

    def run(self) -> None:
        self._answer("ready")
        while len(head := self._requests.read(4)) == 4:
            frame = self._requests.read(struct.unpack("<I", head)[0])
            operation, number = struct.unpack_from("<II", frame)
            self._handle(operation, number, frame[8:])
        for job in self._jobs.values():
            self._kill(job, signal.SIGKILL)

    def _handle(self, operation: int, number: int, rest: bytes) -> None:
        if operation == 1:
            self._start(number, rest)
        elif operation == 6:
            for key in [key for key, job in self._jobs.items() if job.shell == number]:
                self._kill(self._jobs.pop(key), signal.SIGKILL)
        elif number in self._jobs and operation in (2, 3, 4):
            self._kill(self._jobs[number], {2: signal.SIGKILL, 3: signal.SIGINT, 4: signal.SIGQUIT}[operation])

    def _start(self, number: int, rest: bytes) -> None:
        shell, codepage = struct.unpack_from("<II", rest)
        at, strings = 8, []
        while at < len(rest):
            (units,) = struct.unpack_from("<I", rest, at)
            strings.append(rest[at + 4 : at + 4 + 2 * units].decode("utf-16-le"))
            at += 4 + 2 * units
        application, line, folder, variables, *streams = strings
        paths = [stream.removeprefix("\\\\?\\unix").replace("\\", "/") for stream in streams]
        line = line.removeprefix(f"{application} /C ") if application else line
        if line == "die":
            os._exit(1)
        if line == "say nothing":
            return
        if line.startswith("fail "):
            self._answer(f"failed {number} {line.removeprefix('fail ')}")
            return
        given = {"CODEPAGE": str(codepage)} | dict(variable.split("=", 1) for variable in variables.split("\0")[:-1])
        with open(paths[0], "rb") as stdin, open(paths[1], "wb") as stdout, open(paths[2], "wb") as stderr:  # noqa: PTH123
            popen = subprocess.Popen(
                ["/bin/sh", "-c", line] if application else line.split(" "),
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                cwd=folder or None,
                env={**os.environ, **given},
                start_new_session=True,
            )
        self._jobs[number] = Job(popen, shell)
        self._answer(f"started {number} {popen.pid}")
        threading.Thread(target=self._wait, args=(number, popen), daemon=True).start()

    def _wait(self, number: int, popen: subprocess.Popen[bytes]) -> None:
        code = popen.wait()
        self._answer(f"exit {number} {code + 0xFFFFFF00 if code >= 0 else 1}")

    def _kill(self, job: Job, number: int) -> None:
        try:
            os.killpg(job.popen.pid, number)
        except ProcessLookupError:
            return

    def _answer(self, line: str) -> None:
        with self._lock:
            self._answers.write(line.encode() + b"\n")
            self._answers.flush()


if __name__ == "__main__":
    Double(sys.stdin.buffer, sys.stdout.buffer).run()

"""A guest that the toy transport reaches: runs the commands with doubles of the guest's programs."""

from __future__ import annotations

import base64
import json
import os
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PROGRAMS = Path(__file__).parents[1] / "guest" / "labfile_double.py"


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        server = self.server
        assert isinstance(server, ToyGuest)
        question = json.loads(self.rfile.readline())
        if question["token"] != server.token:
            return  # the guest hangs up
        line = question["command"]
        program = [sys.executable, "-B", str(_PROGRAMS), *line.split(" ", 1)]
        argv = ["/bin/sh", "-c", line] if line.startswith("echo ") else program
        done = subprocess.run(
            argv,
            input=base64.b64decode(question["stdin"]),
            capture_output=True,
            env={**os.environ, "FAKE_DRIVE_C": str(server.drive_c)},
            timeout=60,
            check=False,
        )
        answer = {
            "exit_code": done.returncode,
            "stdout": base64.b64encode(done.stdout).decode("ascii"),
            "stderr": base64.b64encode(done.stderr).decode("ascii"),
        }
        self.wfile.write(json.dumps(answer).encode() + b"\n")


class ToyGuest(socketserver.ThreadingUnixStreamServer):
    """The guest; ``drive_c`` is the folder that is its drive C."""

    daemon_threads = True

    def __init__(self, run_dir: Path, drive_c: Path, token: str) -> None:
        self.drive_c, self.token = drive_c, token
        super().__init__(str(run_dir / "toy.sock"), _Handler)


@contextmanager
def running(run_dir: Path, drive_c: Path, token: str) -> Iterator[ToyGuest]:
    """The guest serves commands within the ``with``."""
    with ToyGuest(run_dir, drive_c, token) as guest:
        thread = threading.Thread(target=guest.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield guest
        finally:
            guest.shutdown()
            thread.join(10)

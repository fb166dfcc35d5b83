"""What pytest-xdist starts in place of a Python interpreter: it asks for a fork of a process that has all modules imported.

Run as a program of its own, without the lab: ``python -I -S worker_link.py NAME INTERPRETER ARGUMENTS…``. NAME is the address
of the process that forks (:mod:`lab.cli.worker_forks`). The fork gets this process's standard streams, folder and environment,
and this process ends as the fork does; where no fork can be had, it becomes the interpreter. Killed, it takes the fork with it.
"""

import json
import os
import signal
import socket
import sys
from pathlib import Path


def main(name: str, argv: list[str]) -> int:
    """Returns the exit code of the fork."""
    answers = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        answers.connect(f"\0{name}")
        order = json.dumps({"cwd": str(Path.cwd()), "env": dict(os.environ)}).encode()
        socket.send_fds(answers, [order], [0, 1, 2])
    except OSError:  # the process is gone, or the environment is too large for a message
        os.execv(argv[0], argv)
    # It is the fork that an interrupt is for.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The other end sees that the fork has ended by the end of its streams.
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    code = int(answers.recv(64) or b"1")
    if code < 0:
        os.kill(os.getpid(), -code)
    return code & 0xFF


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))

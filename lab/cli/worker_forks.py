"""Workers of pytest-xdist as forks of one process that has their modules imported.

A worker is a Python interpreter that imports pytest and the lab, which takes one to two seconds of a processor, and each run
starts some. A process that is forked before pytest begins has nothing but these modules, and waits; to pytest-xdist, the
command that asks it for a worker (:mod:`lab.cli.worker_link`) is one more interpreter. To the tests, a worker is what a new
process is, by :mod:`lab.cli.fresh`.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import itertools
import json
import logging
import os
import secrets
import select
import shlex
import signal
import socket
import struct
import sys
import threading
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from lab.cli.fresh import run_fresh
from lab.host.lifetime import die_with
from lab.host.passed import passed_over

_LOG = logging.getLogger(__name__)
_LINK = Path(__file__).with_name("worker_link.py")
_MESSAGE = 1 << 20
_STREAMS = 3
_CREDENTIALS = struct.Struct("3i")


def offer_worker_forks(arguments: Sequence[str], modules: Sequence[str]) -> None:
    """In the process that becomes pytest: let the plugin start its workers as forks, if these arguments ask for workers.

    Without effect where the system lacks what it needs: workers are then new interpreters.

    Args:
        arguments: Of pytest.
        modules: What a worker imports.
    """
    # Not for every command that imports this module: it imports pytest.
    from lab.plugin.xdist_hooks import WORKER_PYTHON

    os.environ.pop(WORKER_PYTHON, None)
    if not _wants_workers(arguments) or not hasattr(os, "pidfd_open") or threading.active_count() > 1:
        return
    name = f"lab-workers-{os.getpid()}-{secrets.token_hex(8)}"
    command = shlex.join([sys.executable, "-I", "-S", str(_LINK), name, sys.executable])
    if "//" in command:  # separates the parts of a specification of execnet
        return
    with passed_over(_LOG, "workers are new interpreters", OSError):
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.bind(f"\0{name}")
        listener.listen()
        parent = os.getpid()
        if os.fork() == 0:
            _serve(listener, parent, modules)
        listener.close()
        os.environ[WORKER_PYTHON] = command


def _wants_workers(arguments: Sequence[str]) -> bool:
    """Whether there may be workers: not exact, as an unneeded process does no harm."""
    for argument, following in itertools.pairwise([*arguments, ""]):
        name, equals, value = argument.partition("=")
        if name in ("-n", "--numprocesses", "--tx"):
            return (value if equals else following) != "0"
        if argument.startswith("-n") and argument[2:] != "0":
            return True
    return False


@dataclass(frozen=True, slots=True)
class _Worker:
    """A fork, and the connection of the link that asked for it."""

    pid: int
    link: socket.socket


def _serve(listener: socket.socket, parent: int, modules: Sequence[str]) -> NoReturn:
    """In the process that is forked: fork a worker for each link, until pytest ends, which ends this process, too."""
    try:
        die_with(parent)
        interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
        for module in modules:
            importlib.import_module(module)
        gc.freeze()
        _Forks(listener, ignored=interrupt is signal.SIG_IGN).serve()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


class _Forks:
    """The loop of that process.

    Args:
        listener: Where links connect.
        ignored: SIGINT is ignored in new processes, too.
    """

    def __init__(self, listener: socket.socket, *, ignored: bool) -> None:
        self._listener = listener
        self._ignored = ignored
        self._poll = select.poll()
        self._poll.register(listener, select.POLLIN)
        self._ended: dict[int, _Worker] = {}  # by the descriptor that tells a worker's end
        self._links: dict[int, _Worker] = {}

    def serve(self) -> None:
        """Never returns by itself."""
        while True:
            for descriptor, _ in self._poll.poll():
                if descriptor == self._listener.fileno():
                    self._accept()
                elif worker := self._ended.get(descriptor):
                    self._reap(worker, descriptor)
                elif worker := self._links.get(descriptor):
                    # The link was killed, or has said too much. The worker's end follows.
                    self._poll.unregister(descriptor)
                    del self._links[descriptor]
                    os.kill(worker.pid, signal.SIGKILL)

    def _accept(self) -> None:
        link, _ = self._listener.accept()
        _, user, _ = _CREDENTIALS.unpack(link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
        if user != os.getuid():  # addresses of this kind are open to every user of the host
            link.close()
            return
        message, descriptors, _, _ = socket.recv_fds(link, _MESSAGE, _STREAMS)
        if len(descriptors) == _STREAMS:
            pid = self._fork(json.loads(message), descriptors, link)
            ended = os.pidfd_open(pid)
            self._ended[ended] = self._links[link.fileno()] = _Worker(pid, link)
            self._poll.register(ended, select.POLLIN)
            self._poll.register(link, select.POLLIN)
        else:
            link.close()
        for descriptor in descriptors:
            os.close(descriptor)

    def _reap(self, worker: _Worker, ended: int) -> None:
        _, status = os.waitpid(worker.pid, 0)
        self._poll.unregister(ended)
        os.close(ended)
        del self._ended[ended]
        if self._links.pop(worker.link.fileno(), None):
            self._poll.unregister(worker.link)
            with contextlib.suppress(OSError):  # it was killed just now
                worker.link.send(str(os.waitstatus_to_exitcode(status)).encode())
        worker.link.close()

    def _fork(self, order: dict[str, object], streams: list[int], link: socket.socket) -> int:
        parent = os.getpid()
        pid = os.fork()
        if pid:
            return pid
        for one in (self._listener, link, *(worker.link for worker in self._ended.values())):
            one.close()
        for ended in self._ended:
            os.close(ended)
        if not self._ignored:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        cwd, env = order["cwd"], order["env"]
        assert isinstance(cwd, str)
        assert isinstance(env, dict)
        stdin, stdout, stderr = streams
        main = functools.partial(_be_worker, streams)
        run_fresh(main, parent=parent, cwd=Path(cwd), env=env, streams=(stdin, stdout, stderr))


def _be_worker(copied: Sequence[int]) -> None:
    """What ``python -c`` does with the program that execnet gives it: run the line that arrives at its standard input.

    Args:
        copied: Descriptors that are not needed any more.
    """
    for descriptor in copied:
        os.close(descriptor)
    sys.argv = ["-c"]
    if not sys.flags.safe_path:
        sys.path[0] = ""
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    exec(eval(sys.stdin.readline()), {"__name__": "__main__", "__builtins__": __builtins__})

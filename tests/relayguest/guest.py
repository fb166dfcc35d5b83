"""A guest whose kernel prints really go through labrelay.sys: the drivers and the programs are a model, the prints are not.

The stand-in for a kernel (``tests/prints/relay/target``) runs in QEMU with the finished driver loaded. The model of the lab's
drivers (``tests/kdguest``) makes each of its prints by an order to that kernel.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab.errors import TransportError
from lab.guest.protocol import CommandResult
from tests.kdguest.probe import Probe, async_reader, sync_reader
from tests.kdguest.system import System
from tests.kdguest.target import KernelStopped
from tests.relayguest.orders import ANSWER_S, Orders

#: How many prints the next one loses, after the device control that loses prints.
LOST = 3
_COMMAND_NOT_FOUND = 9009
_DOES_NOT_EXIST = 1060
_FILE_NOT_FOUND = 2
_NO_DEVICE = 31


class RelayKernel:
    """The kernel of the model's drivers.

    Args:
        orders: Of the guest.
    """

    def __init__(self, orders: Orders) -> None:
        self.orders = orders
        self.stopped = False

    def print(self, raw: bytes, cpu: int = 0) -> None:
        """One DbgPrint call; the stand-in has one processor."""
        del cpu
        self.orders.print(raw)

    def load(self, path: str, base: int, size: int) -> None:
        """Nothing: a print relay reports no images."""

    def unload(self, path: str, base: int, size: int) -> None:
        """Nothing: a print relay reports no images."""

    def give_up(self) -> None:
        """Lose prints."""
        self.orders.lose(LOST)

    def bugcheck(self, code: int, *parameters: int) -> None:
        """Nothing runs any more; prints of a bugcheck do not reach a print relay."""
        del code, parameters
        self.orders.halt()
        self.stopped = True
        raise KernelStopped

    def breakpoint(self) -> int:
        """There is no debugger."""
        raise NotImplementedError("the stand-in for a kernel has no debugger")


class StandIn:
    """One guest: its kernel's control port, and the model of everything else.

    Args:
        socket: The control port.
        state: What :meth:`saved` of the guest returned that it is a fork of; None after a boot.
    """

    def __init__(self, socket: Path, state: Mapping[str, str] | None = None) -> None:
        self.orders = Orders(socket)
        self.kernel = RelayKernel(self.orders)
        self.system = System(self.kernel)
        self.files: dict[str, tuple[str, int]] = {}
        if state is not None:
            self.files = {name: (digest, size) for name, (digest, size) in json.loads(state["files"]).items()}
            for name, path, running in json.loads(state["services"]):
                self.system.create(name, path)
                if running:
                    self.system.start(name)

    def saved(self) -> dict[str, str]:
        """The model's part of a snapshot; a driver in it has just been loaded, and no one has used it."""
        services = [(name, one.path, one.driver is not None) for name, one in self.system.services.items()]
        return {"services": json.dumps(services), "files": json.dumps(self.files)}

    def run(self, program: str, arguments: list[str], stdin: bytes, timeout: float) -> tuple[int, bytes, bytes]:
        """Exit code, output and errors of a program."""
        match program:
            case "echo":
                self.orders.count(timeout)
                return 0, " ".join(arguments).encode() + b"\r\n", b""
            case "relaymark.exe":
                return _NO_DEVICE if self.orders.mark(arguments[0], timeout) else 0, b"", b""
            case "labfile.exe" if arguments[0] == "sum":
                return self._sums(arguments[1:])
            case "sc.exe":
                return *self._sc(*arguments), b""
            case "drvprobe.exe":
                return *Probe(self.system).run(stdin.decode() if arguments == ["-"] else " ".join(arguments)), b""
            case "sync_reader.exe":
                return 0, sync_reader(self.system), b""
            case "async_reader.exe":
                return 0, async_reader(self.system), b""
        return _COMMAND_NOT_FOUND, b"", b""

    def put(self, source: Path, target: str) -> None:
        """Take a file, or the files of a folder: only their sums are needed."""
        files = [source] if source.is_file() else [file for file in sorted(source.rglob("*")) if file.is_file()]
        for file in files:
            below = "" if file == source else "\\" + str(file.relative_to(source)).replace("/", "\\")
            data = file.read_bytes()
            self.files[f"{target}{below}".lower()] = (hashlib.sha256(data).hexdigest(), len(data))

    def _sums(self, paths: list[str]) -> tuple[int, bytes, bytes]:
        lines = []
        for path in paths:
            if path.lower() not in self.files:
                return _FILE_NOT_FOUND, b"", f"labfile: {path}: no such file".encode()
            digest, size = self.files[path.lower()]
            lines.append(f"{digest}  {size}  {path}\r\n")
        return 0, "".join(lines).encode(), b""

    def _sc(self, verb: str, name: str, *more: str) -> tuple[int, bytes]:
        system = self.system
        if verb == "create":
            return system.create(name, more[more.index("binPath=") + 1]), b""
        if verb == "start":
            return system.start(name), b""
        if verb == "stop":
            return system.stop(name), b""
        state = system.state(name)
        if state is None:
            return _DOES_NOT_EXIST, b""
        text = f"SERVICE_NAME: {name}\n STATE : {system.state_number(name)} {state}\n WIN32_EXIT_CODE : 0 (0x0)"
        return 0, text.encode()


class StandInTransport:
    """Runs the model's programs; see :class:`lab.guest.protocol.Transport`.

    Args:
        guest: The guest.
    """

    name = "stand-in"

    def __init__(self, guest: StandIn) -> None:
        self._guest = guest

    def run(self, command: str | Sequence[str], *, timeout: float, stdin: bytes = b"", shell: bool = True) -> CommandResult:
        """Run one of them."""
        words = command.split() if isinstance(command, str) else list(command)
        try:
            if self._guest.kernel.stopped:
                raise KernelStopped("the stand-in is halted")
            program = words[0].rsplit("\\", 1)[-1]
            code, out, errors = self._guest.run(program, words[1:], stdin, min(timeout, ANSWER_S))
        except KernelStopped as stopped:
            raise TransportError(str(stopped)) from None
        line = subprocess.list2cmdline(words)
        return CommandResult(command=line, exit_code=code, stdout=out, stderr=errors, duration_s=0.001)

    def put(self, source: Path, target: str, *, timeout: float = 300) -> None:
        """Copy files in."""
        self._guest.put(source, target)

    def get(self, source: str, target: Path, *, timeout: float = 300) -> None:
        """There is nothing to copy out."""
        raise TransportError("the stand-in gives no files")

    def close(self) -> None:
        """Close the control port; a transport that is used again opens it again."""
        self._guest.orders.hang_up()

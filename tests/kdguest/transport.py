"""Runs the model's programs: the transport ``model``, which a run finds as it finds that of an installed package."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.errors import TransportError
from lab.guest.protocol import CommandResult
from lab.guest.transport_kind import GuestAccess
from tests.kdguest.metal_kernel import SOCKET, MetalKernel
from tests.kdguest.probe import Probe, async_reader, sync_reader
from tests.kdguest.system import System
from tests.kdguest.target import KernelStopped

NAME = "model"


@dataclass
class KdTransport:
    """Runs the model's programs."""

    find: Callable[[], System]
    name: str = NAME

    def run(self, command: str | Sequence[str], *, timeout: float, stdin: bytes = b"", shell: bool = True) -> CommandResult:
        words = command.split() if isinstance(command, str) else list(command)
        try:
            system = self.find()
            if system.kernel.stopped:
                raise KernelStopped
            code, out = _run(system, words[0].rsplit("\\", 1)[-1], words[1:], stdin)
        except KernelStopped:
            raise TransportError("the simulated guest does not answer") from None
        line = subprocess.list2cmdline(words)
        return CommandResult(command=line, exit_code=code, stdout=out, stderr=b"", duration_s=0.001)

    def put(self, source: Path, target: str, *, timeout: float = 300) -> None:
        """Files are not needed: the programs are the model's."""

    def get(self, source: str, target: Path, *, timeout: float = 300) -> None:
        raise TransportError("the simulated guest gives no files")

    def close(self) -> None:
        """Nothing to do."""


def _run(system: System, program: str, arguments: list[str], stdin: bytes) -> tuple[int, bytes]:
    match program:
        case "sc.exe":
            return _sc(system, *arguments)
        case "echo":
            return 0, " ".join(arguments).encode() + b"\r\n"
        case "labsay.exe":
            system.kernel.print(" ".join(arguments).encode() + b"\n")
            return 0, b""
        case "drvprobe.exe":
            return Probe(system).run(stdin.decode() if arguments == ["-"] else " ".join(arguments))
        case "sync_reader.exe":
            return 0, sync_reader(system)
        case "async_reader.exe":
            return 0, async_reader(system)
    return 9009, b""


def _sc(system: System, verb: str, name: str, *more: str) -> tuple[int, bytes]:
    if verb == "create":
        return system.create(name, more[more.index("binPath=") + 1]), b""
    if verb == "start":
        return system.start(name), b""
    if verb == "stop":
        return system.stop(name), b""
    state = system.state(name)
    if state is None:
        return 1060, b""
    text = f"SERVICE_NAME: {name}\n STATE : {system.state_number(name)} {state}\n WIN32_EXIT_CODE : 0 (0x0)"
    return 0, text.encode()


class Models:
    """The systems of this process's guests, each found by its VM's run folder."""

    def __init__(self) -> None:
        self._systems: dict[Path, System] = {}
        self._lock = threading.Lock()

    def find(self, run_dir: Path, make: Callable[[], System]) -> System:
        """The system of a guest; made where there is none yet."""
        with self._lock:
            if run_dir not in self._systems:
                self._systems[run_dir] = make()
            return self._systems[run_dir]

    def forget(self, run_dir: Path) -> None:
        """The guest has ended."""
        with self._lock:
            self._systems.pop(run_dir, None)


MODELS = Models()


class ModelKind:
    """The :class:`lab.guest.transport_kind.TransportKind` of guests with the model's drivers, with a QEMU or without one."""

    title = "model"
    port = None
    files_by = NAME

    def connect(self, access: GuestAccess) -> KdTransport:
        def of_a_qemu() -> System:
            try:
                kernel = MetalKernel(access.run_dir / SOCKET)
                return System(kernel, memory=kernel)
            except OSError as error:
                raise TransportError(f"the simulated guest of {access.run_dir} does not answer: {error}") from error

        return KdTransport(lambda: MODELS.find(access.run_dir, of_a_qemu))


KIND = ModelKind()


def install(folder: Path, entries: dict[str, dict[str, str]] | None = None) -> Path:
    """Make a folder that, on ``sys.path``, is an installed package with this transport.

    Args:
        folder: The folder; made when it is missing.
        entries: Further groups of entry points: group → name → ``module:object``.
    """
    info = folder / "lab_kd_model-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lab-kd-model\nVersion: 1.0\n", encoding="utf-8")
    groups = {"driver_test_lab.transports": {NAME: f"{__name__}:KIND"}} | (entries or {})
    lines = [
        line for group, names in groups.items() for line in (f"[{group}]", *(f"{key} = {at}" for key, at in names.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join((*lines, "")), encoding="utf-8")
    return folder

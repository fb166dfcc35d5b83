"""Forks of the bare-metal target of the kernel debugger's tests, made as the lab makes forks: the guest alone is another one.

The target (``tests/prints/kd/target``, scenario ``commands``) is a kernel that runs commands: a byte on COM2 is a command, and
its answer is a line there. With a debugger, each command prints one line, and the kernel stands still until the collector has
acknowledged it. Without, the same program does the same, without the print.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

from lab.bench.protocol import Context, NotHere
from lab.errors import BootTimeout, HostToolError, TransportError
from lab.guest.protocol import CommandResult, Transport
from lab.host.accel import QEMU
from lab.host.assets import checkout
from lab.host.process import run
from lab.host.qemu import probe_features
from lab.host.spare import WaitingProcess
from lab.host.unix_socket import connect_unix
from lab.image.manifest import PrintPort
from lab.live.cd_drive import CdCopy
from lab.live.guest import LiveGuest
from lab.live.payload import Payload
from lab.live.print_wiring import can_resume, open_prints, print_ports, start_helper, starts_paused
from lab.prints.record import PrintSource
from lab.prints.resume import PrintsState
from lab.snapshot.fork_maker import ForkMaker, ForkSteps
from lab.snapshot.fork_request import ForkFigures
from lab.snapshot.template import Template, TemplateWish
from lab.vm.argv import serial_name
from lab.vm.cleanup import RunFolder
from lab.vm.machine import VirtualMachine
from lab.vm.protocol import Machine
from lab.vm.ramfile import RamFile
from lab.vm.snapshot import take_snapshot
from lab.vm.spec import Actions, KernelBoot, SerialPort, VmSpec

Debugger = Literal["waiting", "started", "none"]
_BUILD: Final = "tests.prints.kd.target.build"
_BUILD_S: Final = 120.0
_MEMORY_MB: Final = 32
_READY_S: Final = 60.0
_POLL_S: Final = 0.01
_CHUNK: Final = 4096


def build_program(folder: Path) -> Path:
    """Compile the target; returns a Multiboot kernel.

    Raises:
        NotHere: There is no compiler for it.
    """
    try:
        run([sys.executable, "-m", _BUILD, folder], _BUILD_S, cwd=checkout("lab bench"))
    except HostToolError as error:
        raise NotHere(f"the bare-metal target cannot be built: {error.message}") from error
    return folder / "target.bin"


class SerialCommands:
    """A transport to the target: each command is one byte on a serial port, whatever its text.

    Args:
        path: Unix socket of the port.
    """

    name = "serial"

    def __init__(self, path: Path) -> None:
        self._port = connect_unix(path)

    def run(self, command: str | Sequence[str], *, timeout: float, stdin: bytes = b"", shell: bool = True) -> CommandResult:
        """Send a command and wait for the line that answers it."""
        begin = time.monotonic()
        self._port.settimeout(timeout)
        answer = b""
        try:
            self._port.sendall(b"\n")
            while not answer.endswith(b"\n"):
                part = self._port.recv(_CHUNK)
                if not part:
                    raise TransportError(f"the target ended before it answered; it had said {answer!r}")
                answer += part
        except OSError as error:
            raise TransportError(f"the target does not answer: {error}") from error
        text = command if isinstance(command, str) else " ".join(command)
        return CommandResult(command=text, exit_code=0, stdout=answer, stderr=b"", duration_s=time.monotonic() - begin)

    def put(self, source: Path, target: str, *, timeout: float = 300) -> None:
        """There are no files."""
        raise TransportError("the target has no files")

    def get(self, source: str, target: Path, *, timeout: float = 300) -> None:
        """There are no files."""
        raise TransportError("the target has no files")

    def close(self) -> None:
        """Close the port."""
        self._port.close()


class TargetForks:
    """The template of one kind of target, and forks of it; a context manager, which ends what waits for the next fork.

    Args:
        context: The bench.
        program: The target.
        debugger: ``waiting``: its kernel has a debugger, and the forks take collectors that wait; ``started``: it has one, but
            each fork starts its collector; ``none``: it has none.
        folder: For the template and the run folders; made here.
    """

    def __init__(self, context: Context, program: Path, debugger: Debugger, folder: Path) -> None:
        channel = "none" if debugger == "none" else "kd"
        manifest = context.manifest.model_copy(
            update={
                "name": f"kd-target-{channel}",
                "guest": "the bare-metal target of the kernel debugger's tests",
                "prints": PrintPort(source=channel, serial=0),
            }
        )
        folder.mkdir()
        self._clock = context.clock
        self._program = program
        self._folder = folder
        self._wish = TemplateWish(
            image_dir=folder,
            manifest=manifest,
            payload=Payload(),
            accelerator=context.accelerator,
            qemu=QEMU,
            transport="winrm",
            smp=1,
        )
        self._maker = ForkMaker(
            self._wish,
            ForkFigures(),
            runs_dir=folder / "runs",
            on_close=lambda run, _kept: run.remove(),
            steps=ForkSteps(resume=self._resume, start_helper=start_helper if debugger == "waiting" else lambda _image: None),
            clock=context.clock,
        )
        self._template: Template | None = None

    def take_snapshot(self) -> None:
        """Boot the target, and make the template between two commands.

        Raises:
            NotHere: This host cannot take snapshots.
        """
        begin = self._clock()
        try:
            features = probe_features(QEMU)
        except HostToolError as error:
            raise NotHere(error.message) from error
        manifest = self._wish.manifest
        ram = RamFile(_MEMORY_MB)
        spec = VmSpec(
            name=manifest.name,
            accelerator=self._wish.accelerator,
            memory_mb=_MEMORY_MB,
            memory=ram.memory,
            boot=KernelBoot(self._program, append=f"scenario=commands kd={int(manifest.prints.source == 'kd')}"),
            serials=(print_ports(manifest).serials[0], SerialPort("socket")),
            paused=starts_paused(manifest),
            actions=Actions(reboot="shutdown"),
        )
        folder = self._folder / "template"
        folder.mkdir()
        try:
            with RunFolder.create(self._folder / "runs", "template") as run, VirtualMachine(spec, run.path) as machine:
                machine.start()
                prints = open_prints(manifest, machine, "ascii", _no_transport)
                prints.start()
                try:
                    self._until(lambda: "serving" in _log(machine), "the target's start")
                    machine.pause()
                    state = self._state(prints)
                    take_snapshot(machine, folder, ram=ram, features=features)
                finally:
                    prints.close()
        finally:
            ram.close()
        self._template = Template(
            folder=folder,
            key=manifest.name,
            image=manifest.name,
            image_key=manifest.key,
            guest=manifest.guest,
            drivers=(),
            smp=1,
            transport=self._wish.transport,
            created=time.time(),
            boot_s=self._clock() - begin,
            made_s=self._clock() - begin,
            prints=state,
            base=True,
        )

    def fork(self, guest_id: str) -> LiveGuest:
        """A fork that has answered its first command; its ``boot_s`` counts from before the start of its QEMU."""
        assert self._template is not None
        return self._maker.resumed(guest_id, self._wish, self._template).live

    def get_ready(self) -> None:
        """Start in advance what the next fork needs, as a worker does while a test runs."""
        self._maker.refill()

    def close(self) -> None:
        """End what was started in advance. Idempotent."""
        self._maker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _resume(
        self,
        machine: Machine,
        template: Template,
        wish: TemplateWish,
        /,
        *,
        guest_id: str,
        begin: float | None,
        drive: CdCopy | None,
        helper: WaitingProcess | None,
        on_close: Callable[[bool], None],
    ) -> LiveGuest:
        """What :func:`lab.snapshot.resume.resume_guest` does, with a serial port as the transport."""
        del drive
        state = template.prints_state() if can_resume(wish.manifest) else None
        prints = open_prints(wish.manifest, machine, "ascii", _no_transport, resume=state, helper=helper)
        try:
            prints.start()
            transport = SerialCommands(machine.run_dir / f"{serial_name(1)}.sock")
            if prints.resumable is not None:
                prints.resumable.resume(time.time(), bytes(32), let_run=machine.cont, timeout=_READY_S)
            else:
                machine.cont()
            transport.run("first", timeout=_READY_S)
        except BaseException:
            prints.close()
            raise
        return LiveGuest(
            guest_id=guest_id,
            manifest=wish.manifest,
            machine=machine,
            transport=transport,
            prints=prints,
            smp=1,
            boot_s=self._clock() - (begin or 0.0),
            run_dir=machine.run_dir,
            template=template.key,
            open_transport=lambda _name: _no_transport(),
            on_close=on_close,
        )

    def _state(self, prints: PrintSource) -> PrintsState:
        """The state of the prints' channel; the guest's processors are stopped between two packets."""
        if prints.resumable is None:
            return PrintsState()
        found: list[PrintsState] = []

        def look() -> bool:
            state = prints.resumable.snapshot_state() if prints.resumable else None
            found.extend([state] if state else [])
            return bool(found)

        self._until(look, "the end of the last packet")
        return found[0]

    @staticmethod
    def _until(condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + _READY_S
        while not condition():
            if time.monotonic() >= deadline:
                raise BootTimeout(f"waited {_READY_S:.0f} s for {what}")
            time.sleep(_POLL_S)


def _log(machine: Machine) -> str:
    file = machine.run_dir / f"{serial_name(1)}.log"
    return file.read_text(encoding="ascii", errors="replace") if file.exists() else ""


def _no_transport() -> Transport:
    raise TransportError("the bare-metal target runs no programs")

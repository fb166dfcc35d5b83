"""Which accelerators really work: found by running a tiny guest to its end, never by a device file.

``/dev/kvm`` may exist, open, accept the creation of a virtual machine, and still be of no use: seen with a paravirtual KVM
inside a virtual machine, which ran a guest's first instructions by emulating each, hung with every kernel, and kept one
core busy for ever.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock

from lab.errors import HostToolError
from lab.host.passed import passed_over
from lab.host.probe_rom import MAGIC, probe_rom
from lab.host.process import Runner, find_program, run_quick

_LOG = logging.getLogger(__name__)

QEMU = "qemu-system-x86_64"
AcceleratorName = Literal["kvm", "tcg"]

KVM_DEVICE = Path("/dev/kvm")
#: A working KVM needs some 0.2 s, TCG 0.3 s; the rest is for a loaded host. A KVM that hangs takes all of it, once.
_DEADLINES: Mapping[AcceleratorName, float] = {"kvm": 10.0, "tcg": 60.0}
#: Exit code that QEMU makes of the value that the guest writes to the exit device.
_EXIT_CODE = MAGIC << 1 | 1


@dataclass(frozen=True, slots=True)
class Accelerator:
    """What the probe found out about one accelerator.

    Attributes:
        name: ``kvm`` or ``tcg``.
        usable: A guest ran to its end.
        reason: Why it is not usable, or how it was found to be.
        seconds: What the guest took.
    """

    name: AcceleratorName
    usable: bool
    reason: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Accelerators:
    """Both of them."""

    kvm: Accelerator
    tcg: Accelerator

    @property
    def best(self) -> AcceleratorName | None:
        """KVM where it works, else TCG; None when no guest can run at all."""
        return "kvm" if self.kvm.usable else "tcg" if self.tcg.usable else None


def probe_accelerators(
    cache: Path,
    *,
    qemu: str = QEMU,
    reprobe: bool = False,
    runner: Runner = run_quick,
    device: Path = KVM_DEVICE,
) -> Accelerators:
    """Probe KVM and TCG, or read the result of an earlier probe since this host's boot.

    Args:
        cache: The lab's cache folder.
        qemu: The QEMU binary that guests will run in.
        reprobe: Probe again, whatever was found earlier.
        runner: Runs a command with a deadline.
        device: KVM's device file.
    """
    path = find_program(qemu)
    if not path:
        return Accelerators(*(Accelerator(name, False, f"{qemu} is not installed", 0.0) for name in ("kvm", "tcg")))
    key = _machine_key(path, device)
    file = cache / "accelerators.json"
    # Several workers start at once, and a hanging probe takes a core: the first one probes for all.
    with FileLock(cache / "accelerators.lock"):
        if not reprobe and (known := _load(file, key)):
            return known
        found = Accelerators(_probe("kvm", path, runner, device), _probe("tcg", path, runner, device))
        _store(file, key, found)
    return found


def choose_accelerator(wanted: Literal["auto", "kvm", "tcg"], found: Accelerators) -> AcceleratorName:
    """The accelerator to use: the one asked for, or the best that works.

    Raises:
        HostToolError: It does not work on this host.
    """
    if wanted == "auto":
        best = found.best
        if best is None:
            raise HostToolError(
                [QEMU], None, message=f"no guest can run on this host: {found.tcg.reason}", hint="`lab doctor` says more"
            )
        return best
    chosen = found.kvm if wanted == "kvm" else found.tcg
    if not chosen.usable:
        raise HostToolError(
            [QEMU],
            None,
            message=f"{wanted} does not work here: {chosen.reason}",
            hint="choose auto; `lab doctor` says what works here",
        )
    return wanted


def _probe(name: AcceleratorName, qemu: str, runner: Runner, device: Path) -> Accelerator:
    if name == "kvm" and not device.exists():
        return Accelerator(name, False, f"{device} does not exist", 0.0)
    if name == "kvm" and not os.access(device, os.R_OK | os.W_OK):
        return Accelerator(name, False, f"no permission to open {device}; join its group, usually kvm", 0.0)
    deadline = _DEADLINES[name]
    with tempfile.TemporaryDirectory(prefix="lab-probe-") as folder:
        rom = Path(folder) / "probe.rom"
        rom.write_bytes(probe_rom())
        argv = [qemu, "-nodefaults", "-no-user-config", "-display", "none", "-machine", "pc", "-accel", name]
        argv += [
            "-cpu",
            "host" if name == "kvm" else "max",
            "-m",
            "16",
            "-bios",
            str(rom),
            "-device",
            "isa-debug-exit,iobase=0xf4,iosize=0x04",
            "-no-reboot",
        ]
        try:
            result = runner(argv, deadline)
        except HostToolError as error:
            if error.exit_code is None and not error.output.strip():
                reason = f"a tiny guest did not end within {deadline:g} s"
                if name == "kvm":
                    reason += f"; {device} opens, but its virtual CPU hangs, or emulates every instruction"
                return Accelerator(name, False, reason, deadline)
            return Accelerator(name, False, _last_line(error.output) or error.message, deadline)
    seconds = round(result.duration_s, 3)
    if result.exit_code == _EXIT_CODE:
        return Accelerator(name, True, f"a tiny guest ended after {seconds:.2f} s", seconds)
    reason = f"a tiny guest failed (exit code {result.exit_code})"
    if said := _last_line(result.stderr):
        reason += f"; QEMU said: {said}"
    return Accelerator(name, False, reason, seconds)


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _machine_key(qemu: str, device: Path) -> str:
    """Changes with everything that the result depends on: this boot, the QEMU binary, the rights to the device, the probe."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        boot = "unknown"
    stat = Path(qemu).stat()
    access = os.access(device, os.R_OK | os.W_OK)
    probe = hashlib.sha256(probe_rom()).hexdigest()[:16]
    return f"{boot} {qemu} {stat.st_mtime_ns} {stat.st_size} {device} {device.exists()} {access} {os.getuid()} {probe}"


def _load(file: Path, key: str) -> Accelerators | None:
    try:
        saved = json.loads(file.read_text(encoding="utf-8"))
        if saved["key"] != key:
            return None
        return Accelerators(kvm=Accelerator(**saved["kvm"]), tcg=Accelerator(**saved["tcg"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _store(file: Path, key: str, found: Accelerators) -> None:
    temporary = file.with_suffix(".new")
    # A cache that cannot be written only costs the next probe's time.
    with passed_over(_LOG, "the results of the accelerator check cannot be saved", OSError):
        temporary.write_text(json.dumps({"key": key, **asdict(found)}, indent=1), encoding="utf-8")
        temporary.replace(file)

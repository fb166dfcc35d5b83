"""What a VM is made of, as a value: nothing here starts anything.

Example: a guest from an image folder, one virtual CPU under TCG, prints on serial 1::

    spec = VmSpec(
        name="worker0",
        memory_mb=768,
        cpu="max,smap=off",
        boot=KernelBoot(folder / "vmlinuz", folder / "initrd.img", "root=/dev/vda console=ttyS0"),
        disks=(Disk(folder / "disk.qcow2"),),
        nic=Nic(forwards=(5985, 5986, 22)),
    )
    with VirtualMachine(spec, run_dir) as machine:
        machine.start()
        print(machine.ports[5985], machine.console_tail(5))

A snapshot of such a VM, and the specs of its forks, are :mod:`lab.vm.snapshot`'s business.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Accelerator = Literal["tcg", "kvm"]
#: ``real``: the guest's clocks follow the host's time. ``virtual``: see :attr:`VmSpec.virtual_clock`.
Clock = Literal["real", "virtual"]
DiskFormat = Literal["qcow2", "raw", "vmdk", "vdi", "vhdx", "vpc"]


@dataclass(frozen=True, slots=True)
class KernelBoot:
    """Direct boot of a Linux kernel, without firmware or boot loader.

    Attributes:
        kernel: Kernel file.
        initrd: Initial RAM disk, if there is one.
        append: Kernel command line.
    """

    kernel: Path
    initrd: Path | None = None
    append: str = ""


@dataclass(frozen=True, slots=True)
class Firmware:
    """UEFI firmware in two flash chips.

    Attributes:
        code: Read-only firmware code, for example OVMF_CODE_4M.fd.
        vars: Template of the variable store; each VM gets its own copy ``vars.fd`` in its run folder.
        vars_format: Format of the variable store. QEMU takes internal snapshots only of a qcow2 one.
    """

    code: Path
    vars: Path
    vars_format: Literal["raw", "qcow2"] = "raw"


@dataclass(frozen=True, slots=True)
class Disk:
    """A hard disk.

    Attributes:
        path: The disk file, or, with ``overlay``, the base that is never written to.
        interface: ``virtio`` (virtio-blk) or ``ide`` (AHCI on q35); ``none``: only a drive, for a device of ``VmSpec.extra``.
        overlay: The VM writes to a fresh qcow2 overlay in its run folder instead of to ``path``.
        format: Format of ``path``.
        cache: QEMU's cache mode. ``unsafe`` (never flush) is right for overlays, which are deleted with the run.
        bootindex: Boot order among the bootable devices, 1 first; None: not bootable by firmware.
        blank: An empty overlay of ``path`` that names it without a folder: it is copied, instead of one being made.
        copy_of: A disk to start from: the VM gets a copy of it in its run folder instead of an overlay of ``path``.
        read_only: The guest cannot write to it; only without ``overlay``.
        added: Not part of the image: its controller comes after all others, so that those keep their PCI addresses.
        drive: Name of the drive; empty for one by the disk's index.
        serial: Serial number that the guest sees; empty for QEMU's own.
    """

    path: Path
    interface: Literal["virtio", "ide", "none"] = "virtio"
    overlay: bool = True
    format: DiskFormat = "qcow2"
    cache: Literal["unsafe", "writeback", "none"] = "unsafe"
    bootindex: int | None = None
    blank: Path | None = None
    copy_of: Path | None = None
    read_only: bool = False
    added: bool = False
    drive: str = ""
    serial: str = ""


@dataclass(frozen=True, slots=True)
class CdDrive:
    """A CD drive; drive ``n`` of the spec is the device ``cd<n>`` for ``blockdev-change-medium``.

    Attributes:
        media: ISO in the drive at the start; None: empty.
        bootindex: As for :class:`Disk`.
    """

    media: Path | None = None
    bootindex: int | None = None


@dataclass(frozen=True, slots=True)
class Nic:
    """A network card on QEMU's user network, with loopback ports of the kernel's choice forwarded to the guest.

    Attributes:
        device: ``-device`` text of the card.
        forwards: Guest TCP ports to forward.
        restrict: The guest reaches nothing: neither the host nor any network. Forwarded ports still work.
        hostname: Name that the guest's DHCP client is given; empty for none.
    """

    device: str = "virtio-net-pci,romfile="
    forwards: tuple[int, ...] = ()
    restrict: bool = True
    hostname: str = ""


@dataclass(frozen=True, slots=True)
class SerialPort:
    """Where a serial port's output goes. Every kind but ``null`` keeps it raw in ``<port>.log`` of the run folder.

    Attributes:
        kind: ``file`` only records, and can never block the guest. ``socket`` listens on ``<port>.sock`` too, for
            two-way use; the process that connects must read from the first byte on, because an unread socket stops the guest's
            serial port after some 280 writes. ``null`` discards the output.
    """

    kind: Literal["file", "socket", "null"] = "file"


@dataclass(frozen=True, slots=True)
class MemoryFile:
    """The guest's RAM as a file, for snapshots and forks.

    Attributes:
        path: The file; QEMU makes it when it does not exist.
        share: True: the guest's writes go to the file. False: they stay private to the process (copy on write).
        read_only: Open the file read-only (QEMU >= 8.2); only with ``share=False``.
    """

    path: Path
    share: bool
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Actions:
    """What QEMU does when the guest resets, powers off or panics.

    The panic default leaves the guest running: an event is recorded, and the guest still writes its dump.
    """

    reboot: Literal["reset", "shutdown"] = "reset"
    shutdown: Literal["poweroff", "pause"] = "poweroff"
    panic: Literal["pause", "shutdown", "exit-failure", "none"] = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class VmSpec:
    """One VM. Relative file names in the command line are relative to the run folder.

    Attributes:
        name: For process lists and messages.
        qemu: QEMU binary: a name on PATH or a path.
        accelerator: ``tcg`` or ``kvm``; which of them works is :mod:`lab.host.accel`'s business.
        accelerator_options: Appended to ``-accel``, for example ``tb-size=256``.
        machine: Machine type and its options, for example ``q35,hpet=off``.
        cpu: CPU model and flags.
        smp: Virtual CPUs, in one socket. Two guests of two virtual CPUs on two cores slow each other down 3 to 5 times under
            TCG: use 1 unless the host is otherwise idle.
        memory_mb: RAM in MiB.
        memory: RAM in a file, for snapshots and forks; None: anonymous memory.
        incoming: ``defer``: wait for ``migrate-incoming``; empty: an ordinary start.
        paused: Start with the CPUs stopped, until :meth:`~lab.vm.machine.VirtualMachine.cont`: this gives a kernel debugger on
            a serial socket the time to connect before the guest's first instruction.
        boot: Direct kernel boot; None: firmware, from the disks and CDs by their ``bootindex``.
        firmware: UEFI; None: the machine type's own BIOS.
        bios: Raw BIOS image instead of the machine type's own.
        disks: Hard disks in order.
        cds: CD drives in order.
        nic: Network card; None: no network.
        serials: Serial ports in order: serial 0 is COM1 or ttyS0.
        console: Index of the serial port on which the guest's kernel or boot loader reports; quoted in errors.
        channels: Names of virtio-serial ports; see :mod:`lab.vm.channel`.
        debug_port: A debug console on I/O port 0xE9, recorded as ``debugcon``; None: no such device.
        display: A VGA card, so that screen shots can be taken.
        rng: A virtio random number device.
        panic_device: A pvpanic device, by which a guest kernel can report its panic.
        vmcoreinfo: A device through which Windows (with the fwcfg driver of virtio-win) hands the header of its dump to QEMU.
        rtc: Text of ``-rtc``.
        virtual_clock: None: the guest's clocks follow the host's time. A number N: they count instructions, 2^N ns each, and
            jump over the time in which the guest has nothing to do. Under TCG only, with one virtual CPU; see
            :meth:`lab.vm.protocol.Machine.running`.
        actions: What happens on reset, shutdown and panic.
        extra: More QEMU arguments, appended as they are.
        added: Arguments that come after the added disks: devices that are not part of the image.
    """

    name: str = "lab"
    qemu: str = "qemu-system-x86_64"
    accelerator: Accelerator = "tcg"
    accelerator_options: str = ""
    machine: str = "q35"
    cpu: str = "max"
    smp: int = 1
    memory_mb: int = 512
    memory: MemoryFile | None = None
    incoming: Literal["", "defer"] = ""
    paused: bool = False
    boot: KernelBoot | None = None
    firmware: Firmware | None = None
    bios: Path | None = None
    disks: tuple[Disk, ...] = ()
    cds: tuple[CdDrive, ...] = ()
    nic: Nic | None = None
    serials: tuple[SerialPort, ...] = (SerialPort(), SerialPort())
    console: int = 0
    channels: tuple[str, ...] = ()
    debug_port: SerialPort | None = None
    display: bool = False
    rng: bool = False
    panic_device: bool = False
    vmcoreinfo: bool = False
    rtc: str = "base=utc"
    virtual_clock: int | None = None
    actions: Actions = field(default_factory=Actions)
    extra: tuple[str, ...] = ()
    added: tuple[str, ...] = ()

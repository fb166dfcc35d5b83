"""A spec as QEMU's argument list.

File names that the VM itself makes (sockets, logs, overlays) are relative: QEMU runs in the run folder. This
keeps socket paths under the 108 bytes that the kernel allows, however deep the run folder lies.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from lab.vm.channel import socket_name
from lab.vm.spec import CdDrive, Disk, SerialPort, VmSpec

QMP_SOCKET = "qmp.sock"
VARS_FILE = "vars.fd"


def overlay_name(index: int) -> str:
    """File name of the overlay of disk ``index`` in the run folder."""
    return "overlay.qcow2" if index == 0 else f"overlay{index}.qcow2"


def serial_name(index: int) -> str:
    """Base name of the log (``.log``) and the socket (``.sock``) of serial port ``index``."""
    return f"serial{index}"


def escape(value: str | Path) -> str:
    """A value for one of QEMU's comma-separated option strings, in which a comma is doubled."""
    return str(value).replace(",", ",,")


def build_argv(spec: VmSpec) -> list[str]:
    """The full command, QEMU binary first."""
    argv = [spec.qemu, "-name", f"{escape(spec.name)},debug-threads=on", "-nodefaults", "-no-user-config"]
    argv += ["-display", "none", "-msg", "timestamp=on"]
    argv += _machine(spec)
    argv += ["-chardev", f"socket,id=qmp,path={QMP_SOCKET},server=on,wait=off", "-mon", "chardev=qmp,mode=control"]
    argv += _disks(spec, added=False)
    for index, drive in enumerate(spec.cds):
        argv += _cd(spec, index, drive)
    argv += _nic(spec)
    for index, port in enumerate(spec.serials):
        argv += ["-chardev", _chardev(serial_name(index), port), "-serial", f"chardev:{serial_name(index)}"]
    argv += _channels(spec)
    argv += _devices(spec)
    if spec.paused:
        argv.append("-S")
    if spec.incoming:
        argv += ["-incoming", spec.incoming]
    # Last, so that the image's own devices keep their PCI addresses.
    return [*argv, *spec.extra, *_disks(spec, added=True), *spec.added]


def command_text(argv: list[str], cwd: Path | None = None) -> str:
    """The command for a POSIX shell, one option a line.

    Args:
        argv: The command.
        cwd: Folder that it must run in.
    """
    lines = [shlex.quote(argv[0])]
    for item in argv[1:]:
        quoted = shlex.quote(item)
        if item.startswith("-") and len(item) > 1:
            lines.append(quoted)
        else:
            lines[-1] += " " + quoted
    prefix = f"cd {shlex.quote(str(cwd))} &&\n" if cwd else ""
    return prefix + " \\\n  ".join(lines)


def _machine(spec: VmSpec) -> Iterator[str]:
    backend = ""
    if spec.memory:
        backend = ",memory-backend=pc.ram"
        shared = "on" if spec.memory.share else "off"
        # rom=off is needed beside readonly=on: a read-only backend is otherwise a ROM to the guest (QEMU >= 8.2).
        read_only = ",readonly=on,rom=off" if spec.memory.read_only else ""
        path = escape(spec.memory.path)
        yield "-object"
        yield f"memory-backend-file,id=pc.ram,mem-path={path},size={spec.memory_mb}M,share={shared}{read_only}"
    yield from ("-machine", spec.machine + backend)
    yield from ("-accel", ",".join(filter(None, (spec.accelerator, spec.accelerator_options))))
    yield from ("-cpu", spec.cpu)
    # One socket: client editions of Windows use no more than one or two of them, whatever their cores.
    yield from ("-smp", f"{spec.smp},sockets=1,cores={spec.smp},threads=1")
    yield from ("-m", f"{spec.memory_mb}M")
    yield from ("-rtc", spec.rtc)
    if spec.virtual_clock is not None:
        # sleep=off: an idle guest's clock jumps to its next timer, instead of waiting for it.
        yield from ("-icount", f"shift={spec.virtual_clock},sleep=off")
    actions = spec.actions
    yield from ("-action", f"reboot={actions.reboot},shutdown={actions.shutdown},panic={actions.panic}")
    if spec.bios:
        yield from ("-bios", str(spec.bios))
    if spec.firmware:
        yield from ("-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={escape(spec.firmware.code)}")
        yield from ("-drive", f"if=pflash,unit=1,format={spec.firmware.vars_format},file={VARS_FILE}")
    if spec.boot:
        yield from ("-kernel", str(spec.boot.kernel))
        if spec.boot.initrd:
            yield from ("-initrd", str(spec.boot.initrd))
        yield from ("-append", spec.boot.append)


def _ahci_bus(spec: VmSpec, used: int) -> str:
    """Bus of the next AHCI port; machine types other than q35 choose one themselves."""
    return f",bus=ide.{used}" if spec.machine.split(",")[0].removeprefix("pc-").startswith("q35") else ""


def _boot_option(bootindex: int | None) -> str:
    return "" if bootindex is None else f",bootindex={bootindex}"


def _disks(spec: VmSpec, *, added: bool) -> Iterator[str]:
    for index, disk in enumerate(spec.disks):
        if disk.added is added:
            yield from _disk(spec, index, disk)


def _disk(spec: VmSpec, index: int, disk: Disk) -> Iterator[str]:
    file, kind = (overlay_name(index), "qcow2") if disk.overlay else (escape(disk.path), disk.format)
    drive = disk.drive or f"drive{index}"
    options = f"if=none,id={drive},file={file},format={kind},cache={disk.cache},discard=unmap"
    yield from ("-drive", options + (",readonly=on" if disk.read_only and not disk.overlay else ""))
    if disk.interface == "none":
        return
    if disk.interface == "virtio":
        device = "virtio-blk-pci"
    else:
        before = [other for other in spec.disks[:index] if other.interface == "ide" and other.added == disk.added]
        # CD drives keep their ports.
        used = len(before) + (_own_ide(spec) + len(spec.cds) if disk.added else 0)
        device = "ide-hd" + _ahci_bus(spec, used)
    serial = f",serial={escape(disk.serial)}" if disk.serial else ""
    yield from ("-device", f"{device},id=disk{index},drive={drive}{serial}{_boot_option(disk.bootindex)}")


def _own_ide(spec: VmSpec) -> int:
    """AHCI ports that the guest's own hard disks take."""
    return sum(disk.interface == "ide" and not disk.added for disk in spec.disks)


def _cd(spec: VmSpec, index: int, drive: CdDrive) -> Iterator[str]:
    source = ""
    if drive.media:
        yield from ("-drive", f"if=none,id=media{index},file={escape(drive.media)},format=raw,media=cdrom,readonly=on")
        source = f",drive=media{index}"
    bus = _ahci_bus(spec, index + _own_ide(spec))
    yield from ("-device", f"ide-cd{bus},id=cd{index}{source}{_boot_option(drive.bootindex)}")


def _nic(spec: VmSpec) -> Iterator[str]:
    if not spec.nic:
        return
    options = f"user,id=net0,restrict={'on' if spec.nic.restrict else 'off'}"
    if spec.nic.hostname:
        options += f",hostname={escape(spec.nic.hostname)}"
    # Port 0: the kernel chooses a free one, which is read back from the monitor. No race between workers.
    options += "".join(f",hostfwd=tcp:127.0.0.1:0-:{port}" for port in spec.nic.forwards)
    yield from ("-netdev", options, "-device", f"{spec.nic.device},netdev=net0")


def _chardev(name: str, port: SerialPort) -> str:
    if port.kind == "file":
        return f"file,id={name},path={name}.log"
    if port.kind == "socket":
        return f"socket,id={name},path={name}.sock,server=on,wait=off,logfile={name}.log,logappend=off"
    return f"null,id={name}"


def _channels(spec: VmSpec) -> Iterator[str]:
    if spec.channels:
        # Port 0 belongs to a console. Each port has two queues, and QEMU opens a doorbell for every one when the VM resumes:
        # 15 ms of each fork with the bus's default of 31 ports.
        yield from ("-device", f"virtio-serial-pci,id=channels,max_ports={len(spec.channels) + 1}")
    for index, name in enumerate(spec.channels):
        path = escape(socket_name(name))
        yield from ("-chardev", f"socket,id=channel{index},path={path},server=on,wait=off")
        yield from ("-device", f"virtserialport,bus=channels.0,id=port{index},chardev=channel{index},name={escape(name)}")


def _devices(spec: VmSpec) -> Iterator[str]:
    if spec.debug_port:
        yield from ("-chardev", _chardev("debugcon", spec.debug_port))
        yield from ("-device", "isa-debugcon,iobase=0xe9,chardev=debugcon")
    if spec.display:
        yield from ("-device", "VGA")
    if spec.rng:
        yield from ("-object", "rng-random,id=rng0,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng0")
    if spec.panic_device:
        yield from ("-device", "pvpanic")
    if spec.vmcoreinfo:
        yield from ("-device", "vmcoreinfo")

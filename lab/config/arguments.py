"""Which arguments of QEMU a lab file may not give, and why: the lab's own wiring needs them."""

from __future__ import annotations

_SEVERAL = "every guest of a run would take the same one; they run side by side"
_MONITOR = "the lab talks to QEMU by a monitor of its own, and a second one of QEMU's defaults takes its terminal"
_DISKS = "the lab does not know what it writes to, nor that a template depends on it; use `machine.disks`"
_BOOT = "how the guest boots is a matter of its image"
_FIGURES = "there is a key for it"
_LIFE = "the lab itself decides when a guest's processors run, and when QEMU ends"
_SERIAL = "the serial ports carry the guest's console and its kernel prints"
_SHOWS = "QEMU would print something and end"

_WHY: dict[str, str] = {
    **dict.fromkeys(("m", "smp", "cpu"), f"{_FIGURES}: machine.memory, machine.cpus, machine.cpu"),
    **dict.fromkeys(("accel", "enable-kvm"), f"{_FIGURES}: accelerator"),
    **dict.fromkeys(("M", "machine"), "the machine type belongs to the image, whose system was installed on it"),
    "device": "a device that stands in `machine.devices` is checked, and known to templates and the report",
    **dict.fromkeys(
        ("drive", "blockdev", "hda", "hdb", "hdc", "hdd", "cdrom", "fda", "fdb", "sd", "mtdblock", "pflash", "usbdevice"),
        _DISKS,
    ),
    "snapshot": "guests write to overlays of their own anyhow, and with it a template's disk would be empty",
    **dict.fromkeys(("incoming", "loadvm"), "forks are restored that way, each from its template"),
    **dict.fromkeys(
        ("S", "preconfig", "daemonize", "no-reboot", "no-shutdown", "action", "watchdog-action", "runas", "chroot"), _LIFE
    ),
    **dict.fromkeys(("qmp", "qmp-pretty", "mon", "monitor"), _MONITOR),
    **dict.fromkeys(("nographic", "curses", "display"), "guests have no window; `-vnc unix:PATH` shows one guest's screen"),
    **dict.fromkeys(("serial", "virtioconsole", "debugcon"), _SERIAL),
    **dict.fromkeys(("kernel", "initrd", "append", "dtb", "bios", "boot", "L"), _BOOT),
    "rtc": "prints are credited by the guest's clock",
    **dict.fromkeys(("name", "pidfile", "uuid"), _SEVERAL),
    **dict.fromkeys(("s", "gdb"), f"a port of the debugger's: {_SEVERAL}"),
    **dict.fromkeys(("nodefaults", "no-user-config", "readconfig", "writeconfig"), "the lab writes the whole command line"),
    **dict.fromkeys(("mem-path", "mem-prealloc"), "forks share the file of their template's memory"),
    **dict.fromkeys(("h", "help", "version", "dump-vmstate"), _SHOWS),
    "only-migratable": "the lab finds out itself whether a snapshot of the VM can be taken, and boots guests where it cannot",
}


def why_refused(argument: str) -> str:
    """Why an argument of QEMU cannot be given; empty where it can.

    Args:
        argument: One word. Values never begin with a dash that is followed by the name of one of QEMU's options.
    """
    if not argument.startswith("-"):
        return ""
    # QEMU takes --name for -name.
    return _WHY.get(argument[2:] if argument.startswith("--") else argument[1:], "")

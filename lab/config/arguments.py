"""Which arguments of QEMU a lab file may not give, and why: the lab's own wiring needs them."""

from __future__ import annotations

_SEVERAL = "all guests of a run would use the same one at the same time"
_MONITOR = "the lab uses a monitor of its own, and a second one would take QEMU's terminal"
_DISKS = "the lab could not check which file it writes to and whether a template depends on it; use `vm.disks`"
_BOOT = "the image decides how the guest boots"
_FIGURES = "there is a key for it"
_LIFE = "the lab itself decides when a guest's processors run, and when QEMU ends"
_SERIAL = "the serial ports carry the guest's console and its kernel prints"
_SHOWS = "QEMU would print something and end without starting a guest"

_WHY: dict[str, str] = {
    **dict.fromkeys(("m", "smp", "cpu"), f"{_FIGURES}: vm.memory, vm.cpus, vm.cpu"),
    **dict.fromkeys(("accel", "enable-kvm"), f"{_FIGURES}: accelerator"),
    **dict.fromkeys(("M", "machine"), "the machine type belongs to the image, because its system was installed on it"),
    "device": "write it in `vm.devices`: there it is checked, and templates and the report include it",
    **dict.fromkeys(
        ("drive", "blockdev", "hda", "hdb", "hdc", "hdd", "cdrom", "fda", "fdb", "sd", "mtdblock", "pflash", "usbdevice"),
        _DISKS,
    ),
    "snapshot": "guests write to overlays anyway, and with this option the disk of a template would be empty",
    **dict.fromkeys(("incoming", "loadvm"), "the lab uses it to resume forks from their template"),
    **dict.fromkeys(
        ("S", "preconfig", "daemonize", "no-reboot", "no-shutdown", "action", "watchdog-action", "runas", "chroot"), _LIFE
    ),
    **dict.fromkeys(("qmp", "qmp-pretty", "mon", "monitor"), _MONITOR),
    **dict.fromkeys(("nographic", "curses", "display"), "guests have no window; `-vnc unix:PATH` shows one guest's screen"),
    **dict.fromkeys(("serial", "virtioconsole", "debugcon"), _SERIAL),
    **dict.fromkeys(("kernel", "initrd", "append", "dtb", "bios", "boot", "L"), _BOOT),
    "icount": f"{_FIGURES}: clock",
    "rtc": "the lab orders prints by the guest's clock",
    **dict.fromkeys(("name", "pidfile", "uuid"), _SEVERAL),
    **dict.fromkeys(("s", "gdb"), f"it opens a debugger port: {_SEVERAL}"),
    **dict.fromkeys(
        ("nodefaults", "no-user-config", "readconfig", "writeconfig"), "the lab writes the whole command line itself"
    ),
    **dict.fromkeys(("mem-path", "mem-prealloc"), "forks share the memory file of their template"),
    **dict.fromkeys(("h", "help", "version", "dump-vmstate"), _SHOWS),
    "only-migratable": "the lab finds out itself whether QEMU can take a snapshot, and boots guests if it cannot",
}


def why_refused(argument: str) -> str:
    """Why an argument of QEMU cannot be given; empty where it can.

    Args:
        argument: One word. Values never begin with a dash that is followed by the name of one of QEMU's options.
    """
    if not argument.startswith("-"):
        return ""
    # QEMU accepts --name for -name.
    return _WHY.get(argument[2:] if argument.startswith("--") else argument[1:], "")

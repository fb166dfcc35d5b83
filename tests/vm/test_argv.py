"""The argument list, compared by meaning: options and their keys, not one fixed text."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from lab.host.process import run
from lab.vm.argv import build_argv, command_text, escape
from lab.vm.spec import Actions, CdDrive, Disk, Firmware, KernelBoot, MemoryFile, Nic, SerialPort, VmSpec

IMAGE = Path("/images/wine")


def values(argv: list[str], option: str) -> list[str]:
    """All values of an option."""
    return [argv[index + 1] for index, item in enumerate(argv) if item == option]


def value(argv: list[str], option: str) -> str:
    (only,) = values(argv, option)
    return only


def keys(text: str) -> dict[str, str]:
    """``a,b=c`` as {'a': '', 'b': 'c'}."""
    return {name: rest for name, _, rest in (part.partition("=") for part in text.split(","))}


def with_id(argv: list[str], option: str, name: str) -> dict[str, str]:
    """The one value of an option that carries this id."""
    (found,) = [keys(item) for item in values(argv, option) if keys(item).get("id") == name]
    return found


def test_a_guest_of_the_free_image() -> None:
    spec = VmSpec(
        name="worker0",
        memory_mb=768,
        cpu="max,smap=off",
        boot=KernelBoot(IMAGE / "vmlinuz", IMAGE / "initrd.img", "root=/dev/vda ro"),
        disks=(Disk(IMAGE / "disk.qcow2"),),
        nic=Nic(forwards=(5985, 22)),
        rng=True,
    )
    argv = build_argv(spec)
    assert argv[0] == "qemu-system-x86_64"
    assert "-nodefaults" in argv
    assert value(argv, "-accel") == "tcg"
    assert value(argv, "-cpu") == "max,smap=off"
    assert value(argv, "-m") == "768M"
    assert keys(value(argv, "-smp")) == {"1": "", "sockets": "1", "cores": "1", "threads": "1"}
    assert value(argv, "-kernel") == "/images/wine/vmlinuz"
    assert value(argv, "-initrd") == "/images/wine/initrd.img"
    assert value(argv, "-append") == "root=/dev/vda ro"
    drive = with_id(argv, "-drive", "drive0")
    # The base is named by the overlay only: QEMU writes to the run folder.
    assert (drive["file"], drive["format"], drive["cache"]) == ("overlay.qcow2", "qcow2", "unsafe")
    assert with_id(argv, "-device", "disk0")["drive"] == "drive0"
    assert "virtio-rng-pci,rng=rng0" in values(argv, "-device")
    assert "-S" not in argv
    assert "-incoming" not in argv


def test_the_kernel_chooses_ports_on_loopback_and_the_guest_reaches_nothing() -> None:
    argv = build_argv(VmSpec(nic=Nic("e1000e,romfile=", forwards=(5985, 22))))
    network = value(argv, "-netdev")
    assert keys(network)["restrict"] == "on"
    assert [part for part in network.split(",") if part.startswith("hostfwd")] == [
        "hostfwd=tcp:127.0.0.1:0-:5985",
        "hostfwd=tcp:127.0.0.1:0-:22",
    ]
    assert "e1000e,romfile=,netdev=net0" in values(argv, "-device")
    assert values(build_argv(VmSpec()), "-netdev") == []


def test_serial_ports_are_recorded_and_only_sockets_can_block() -> None:
    spec = VmSpec(serials=(SerialPort("socket"), SerialPort("file"), SerialPort("null")), debug_port=SerialPort())
    argv = build_argv(spec)
    first = with_id(argv, "-chardev", "serial0")
    assert (first["path"], first["logfile"], first["server"], first["wait"]) == ("serial0.sock", "serial0.log", "on", "off")
    second = with_id(argv, "-chardev", "serial1")
    assert second == {"file": "", "id": "serial1", "path": "serial1.log"}
    assert "null" in with_id(argv, "-chardev", "serial2")
    assert values(argv, "-serial") == ["chardev:serial0", "chardev:serial1", "chardev:serial2"]
    assert with_id(argv, "-chardev", "debugcon")["path"] == "debugcon.log"
    assert "isa-debugcon,iobase=0xe9,chardev=debugcon" in values(argv, "-device")


def test_template_and_fork_differ_only_where_they_must() -> None:
    ram = Path("/cache/t.ram")
    template = build_argv(VmSpec(memory=MemoryFile(ram, share=True)))
    fork = build_argv(VmSpec(memory=MemoryFile(ram, share=False), incoming="defer"))
    assert keys(value(template, "-machine"))["memory-backend"] == "pc.ram"
    assert with_id(template, "-object", "pc.ram")["share"] == "on"
    assert with_id(template, "-object", "pc.ram")["size"] == "512M"
    assert fork[-2:] == ["-incoming", "defer"]
    assert [item.replace("share=off", "share=on") for item in fork[:-2]] == template
    read_only = build_argv(VmSpec(memory=MemoryFile(ram, share=False, read_only=True)))
    assert with_id(read_only, "-object", "pc.ram")["rom"] == "off"


def test_disks_and_drives_get_ahci_ports_of_their_own() -> None:
    spec = VmSpec(
        machine="q35,hpet=off",
        disks=(Disk(Path("/w.qcow2"), interface="ide", overlay=False, cache="writeback", bootindex=1),),
        cds=(CdDrive(Path("/setup.iso"), bootindex=2), CdDrive()),
    )
    argv = build_argv(spec)
    assert with_id(argv, "-drive", "drive0")["file"] == "/w.qcow2"
    disk, cd, empty = (with_id(argv, "-device", name) for name in ("disk0", "cd0", "cd1"))
    assert [item["bus"] for item in (disk, cd, empty)] == ["ide.0", "ide.1", "ide.2"]
    assert (disk["bootindex"], cd["bootindex"]) == ("1", "2")
    assert with_id(argv, "-drive", "media0")["readonly"] == "on"
    assert "drive" not in empty
    assert "bus" not in with_id(build_argv(VmSpec(machine="pc", cds=(CdDrive(),))), "-device", "cd0")


def test_windows_options() -> None:
    spec = VmSpec(
        smp=2,
        firmware=Firmware(Path("/code.fd"), Path("/vars.fd")),
        display=True,
        panic_device=True,
        paused=True,
        accelerator="kvm",
        rtc="base=utc,driftfix=slew",
        actions=Actions(reboot="shutdown", panic="pause"),
        vmcoreinfo=True,
        extra=("-device", "edu"),
    )
    argv = build_argv(spec)
    code, variables = (keys(item) for item in values(argv, "-drive"))
    assert (code["file"], code["readonly"]) == ("/code.fd", "on")
    assert variables["file"] == "vars.fd"  # the VM's own copy
    assert keys(value(argv, "-action")) == {"reboot": "shutdown", "shutdown": "poweroff", "panic": "pause"}
    assert keys(value(argv, "-smp"))["cores"] == "2"
    assert {"VGA", "pvpanic", "vmcoreinfo"} <= set(values(argv, "-device"))
    assert "-S" in argv
    assert argv[-2:] == ["-device", "edu"]


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30))
def test_escaped_values_come_back_out_of_an_option_string(text: str) -> None:
    option = f"file={escape(text)},next=1"
    # QEMU's rule: a doubled comma is a comma, a single one separates.
    parts = option.replace(",,", "\0").split(",")
    assert [part.replace("\0", ",") for part in parts] == [f"file={text}", "next=1"] or text.endswith(",")


def test_the_command_as_shell_text_is_the_same() -> None:
    argv = build_argv(VmSpec(name="it's here", boot=KernelBoot(Path("/a b/vmlinuz"), append="root=/dev/vda quiet")))
    text = command_text(argv)
    assert run(["sh", "-c", f"printf '%s\\n' {text}"], 60).stdout.splitlines() == argv
    assert "\\\n  -append 'root=/dev/vda quiet'" in text
    assert command_text(argv, Path("/run/my guest")).startswith("cd '/run/my guest' &&\n")


@given(st.lists(st.sampled_from(["lab.winrm", "lab.prints", "a,b", "c"]), min_size=1, max_size=4, unique=True))
def test_channels_are_numbered_in_the_order_of_their_names(names: list[str]) -> None:
    # A port's number is its place on the bus, which must be the same in a fork as in the snapshot.
    argv = build_argv(VmSpec(channels=tuple(names), rng=True))
    devices = values(argv, "-device")
    bus = devices.index(f"virtio-serial-pci,id=channels,max_ports={len(names) + 1}")
    ports = [
        f"virtserialport,bus=channels.0,id=port{index},chardev=channel{index},name={escape(name)}"
        for index, name in enumerate(names)
    ]
    assert devices[bus + 1 : bus + 1 + len(names)] == ports
    for index, name in enumerate(names):
        assert f"socket,id=channel{index},path={escape(name)}.sock,server=on,wait=off" in values(argv, "-chardev")
    assert build_argv(VmSpec(channels=tuple(names), rng=True)) == argv


def test_a_vm_without_channels_has_no_device_for_them() -> None:
    argv = build_argv(VmSpec())
    assert not [item for item in argv if "virtio-serial" in item or "virtserialport" in item]

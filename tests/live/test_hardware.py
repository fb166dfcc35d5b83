"""What a lab file's `vm:` comes to: figures in the manifest, devices of the VM, and errors before any boot."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lab.config.machine import AddedDevice, AddedDisk, Machine
from lab.config.settings import load_settings
from lab.errors import ConfigError
from lab.host.accel import QEMU
from lab.host.capacity import Capacity
from lab.host.process import run
from lab.host.qemu import probe_features
from lab.lease.slots import slot_count
from lab.live.hardware import attach, check_machine, disk_files, disk_sums, fit
from lab.live.machine_spec import machine_spec
from lab.live.named_files import file_sums, named_files
from lab.live.try_hardware import try_hardware
from lab.snapshot.template import TemplateWish
from lab.vm.argv import build_argv
from lab.vm.spec import CdDrive, Disk, Nic, VmSpec
from tests.simulated import SimulatedSource, manifest

MACHINE = {"machine": "q35", "memory_mb": 256, "disk": "disk.qcow2", "cpu_tcg": "max,smap=off"}


def image(tmp_path: Path) -> Path:
    folder = tmp_path / "image"
    folder.mkdir()
    run(["qemu-img", "create", "-q", "-f", "qcow2", folder / "disk.qcow2", "1M"], 30)
    return folder


def raw(tmp_path: Path, name: str = "data.img") -> Path:
    file = tmp_path / name
    file.write_bytes(b"data" * 512)
    return file


def loaded(tmp_path: Path, lines: str) -> tuple[Machine, Path]:
    file = tmp_path / "lab.yaml"
    file.write_text(f"vm:\n{lines}", encoding="utf-8")
    return load_settings({}, config=file, environ={}).values.vm, file


def test_memory_and_processors_take_the_place_of_the_images() -> None:
    fitted = fit(manifest(machine=MACHINE), Machine(memory=1024, cpus=2, cpu="Nehalem,vme=off")).machine
    assert (fitted.memory_mb, fitted.smp) == (1024, 2)
    # Flags that the image needs under TCG stay; a KVM guest does not get them.
    assert (fitted.cpu_tcg, fitted.cpu_kvm) == ("Nehalem,vme=off,smap=off", "Nehalem,vme=off")
    assert fit(manifest(machine=MACHINE), Machine(cpu="max,+smap")).machine.cpu_tcg == "max,+smap"
    assert fit(manifest(machine=MACHINE), Machine()) == manifest(machine=MACHINE)


def test_larger_guests_are_fewer_at_a_time(tmp_path: Path) -> None:
    source = SimulatedSource(tmp_path)
    host = Capacity(cores=8, memory_mb=16384)
    counts = []
    for machine in (Machine(), Machine(memory=6144), Machine(cpus=4)):
        source.manifest = fit(manifest(machine=MACHINE), machine)
        counts.append((slot_count(source, forks=False, capacity=host), slot_count(source, forks=True, capacity=host)))
    assert counts == [(8, 24), (2, 2), (2, 2)]


def test_devices_and_disks_come_after_the_guests_own(tmp_path: Path) -> None:
    machine = Machine(
        devices=(AddedDevice(driver="edu"), AddedDevice.model_validate({"driver": "nvme", "drive": "fast", "id": "mine"})),
        disks=(
            AddedDisk(file="/d/a.img", format="raw"),
            AddedDisk(file="/d/b.img", format="raw", access="write", serial="S1"),
            AddedDisk(file="/d/c.qcow2", format="qcow2", access="read-only", interface="virtio"),
            AddedDisk(file="/d/d,d.img", format="raw", interface="none", id="fast"),
            AddedDisk(file="/d/e.img", format="raw", interface="ide"),
        ),
        arguments=("-trace", "edu_*"),
    )
    own = VmSpec(disks=(Disk(Path("/i/disk.qcow2"), interface="ide"),), cds=(CdDrive(),), nic=Nic(), rng=True)
    argv = build_argv(attach(own, machine))
    before = build_argv(own)
    # The existing devices keep their PCI addresses: to Windows, a card at another address is another card.
    assert argv[: len(before)] == before
    added = list(zip(argv[len(before) :: 2], argv[len(before) + 1 :: 2], strict=True))
    assert added == [
        ("-drive", "if=none,id=drive1,file=overlay1.qcow2,format=qcow2,cache=unsafe,discard=unmap"),
        ("-device", "ide-hd,bus=ide.2,id=disk1,drive=drive1"),
        ("-drive", "if=none,id=drive2,file=/d/b.img,format=raw,cache=writeback,discard=unmap"),
        ("-device", "ide-hd,bus=ide.3,id=disk2,drive=drive2,serial=S1"),
        ("-drive", "if=none,id=drive3,file=/d/c.qcow2,format=qcow2,cache=unsafe,discard=unmap,readonly=on"),
        ("-device", "virtio-blk-pci,id=disk3,drive=drive3"),
        ("-drive", "if=none,id=fast,file=overlay4.qcow2,format=qcow2,cache=unsafe,discard=unmap"),
        ("-drive", "if=none,id=drive5,file=overlay5.qcow2,format=qcow2,cache=unsafe,discard=unmap"),
        ("-device", "ide-hd,bus=ide.4,id=disk5,drive=drive5"),
        ("-device", "edu,id=added0"),
        ("-device", "nvme,drive=fast,id=mine"),
        ("-trace", "edu_*"),
    ]


@pytest.mark.parametrize(
    ("lines", "where", "words"),
    [
        ("  devices:\n    - driver: edo\n", ":3: vm.devices.0.driver", "no device model 'edo'\n  try: did you mean edu?"),
        ("  devices:\n    - driver: edu\n      dmamask: 1\n", ":4: vm.devices.0.dmamask", "did you mean dma_mask?"),
        ("  cpu: Nehalm\n", ":2: vm.cpu", "no CPU model 'Nehalm'\n  try: did you mean Nehalem"),
        ("  disks:\n    - file: gone.img\n", ":3: vm.disks.0.file", "there is no disk"),
        (
            "  disks:\n    - {file: lab.yaml, access: read-only, interface: ide}\n",
            ":3: vm.disks.0.access",
            "IDE disks cannot be read-only",
        ),
    ],
)
def test_unknown_devices_and_missing_disks_are_reported_with_their_line(
    tmp_path: Path, lines: str, where: str, words: str
) -> None:
    machine, file = loaded(tmp_path, lines)
    with pytest.raises(ConfigError) as caught:
        check_machine(machine, file=file, qemu=QEMU)
    assert f"lab.yaml{where}: " in str(caught.value)
    assert words in str(caught.value)


def test_aliases_and_common_properties_are_accepted(tmp_path: Path) -> None:
    machine, file = loaded(tmp_path, "  devices:\n    - {driver: virtio-balloon, bus: pcie.0, id: b, addr: '0x9'}\n")
    assert check_machine(machine, file=file, qemu=QEMU) == machine


def test_a_disks_format_is_found_out(tmp_path: Path) -> None:
    file = raw(tmp_path)
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", file, "-F", "raw", tmp_path / "top.qcow2"], 30)
    machine = Machine(disks=(AddedDisk(file=str(file)), AddedDisk(file=str(tmp_path / "top.qcow2"))))
    checked = check_machine(machine, file=None, qemu=QEMU)
    assert [disk.format for disk in checked.disks] == ["raw", "qcow2"]
    # The files below an overlay are part of a disk.
    assert disk_files(checked.disks[1]) == [tmp_path / "top.qcow2", file]
    before = disk_sums(checked, tmp_path / "cache")
    assert disk_sums(checked, tmp_path / "cache") == before
    file.write_bytes(b"else" * 512)
    after = disk_sums(checked, tmp_path / "cache")
    assert [old != new for old, new in zip(before, after, strict=True)] == [True, True]


def test_the_template_depends_on_all_of_it(tmp_path: Path) -> None:
    data = str(raw(tmp_path))
    plain = TemplateWish(
        image_dir=image(tmp_path),
        manifest=manifest(machine=MACHINE),
        payload=SimulatedSource(tmp_path / "payload").payload,
        accelerator="tcg",
        qemu="7.2",
        transport="winrm",
        smp=1,
    )
    keys = [plain.key]
    for machine in (
        Machine(devices=(AddedDevice(driver="e1000e"),)),
        Machine(devices=(AddedDevice.model_validate({"driver": "e1000e", "disable_vnet_hdr": True}),)),
        Machine(arguments=("-trace", "x")),
        Machine(memory=512),
        Machine(cpu="Nehalem"),
    ):
        keys.append(replace(plain, manifest=fit(plain.manifest, machine), hardware=machine).key)
    disk = Machine(disks=(AddedDisk(file=data, format="raw"),))
    for sums in (("aa",), ("bb",)):
        keys.append(replace(plain, hardware=disk, disk_sums=sums).key)
    assert len(set(keys)) == len(keys)


def test_files_that_arguments_and_devices_name_belong_to_the_template(tmp_path: Path) -> None:
    table, rom, table_2 = (raw(tmp_path, name) for name in ("table,1.aml", "card.rom", "more.aml"))
    log, dump = raw(tmp_path, "qemu.log"), raw(tmp_path, "net.pcap")
    doubled = str(table).replace(",", ",,")
    machine = Machine(
        devices=(AddedDevice.model_validate({"driver": "e1000e", "romfile": str(rom)}),),
        arguments=(
            *(
                "-acpitable",
                f"sig=SSDT,data={doubled}",
                "-acpitable",
                f"file={table_2}",
                "-D",
                str(log),
                "-kernel-like",
                str(rom),
            ),
            *("-object", f"filter-dump,id=f,netdev=n,file={dump}", "-fw_cfg", "name=opt/x,file=/not/there"),
        ),
    )
    # Files that QEMU writes differ after each run, and do not matter for the next one.
    assert named_files(machine) == (table, table_2, rom)
    wish = TemplateWish(
        image_dir=image(tmp_path),
        manifest=manifest(machine=MACHINE),
        payload=SimulatedSource(tmp_path / "payload").payload,
        accelerator="tcg",
        qemu="7.2",
        transport="winrm",
        smp=1,
        hardware=machine,
    )
    before = file_sums(machine, tmp_path / "cache")
    assert file_sums(machine, tmp_path / "cache") == before
    rom.write_bytes(b"else" * 512)
    after = file_sums(machine, tmp_path / "cache")
    assert [path for path, _ in set(after) - set(before)] == [rom]
    assert replace(wish, file_sums=before).key != replace(wish, file_sums=after).key


def test_added_hardware_is_described_in_words(tmp_path: Path) -> None:
    machine, _ = loaded(
        tmp_path,
        "  memory: 1G\n  cpus: 2\n  devices: [{driver: edu, dma_mask: 7}]\n  disks: [{file: a.img, access: write}]\n"
        "  arguments: [-trace, 'a b']\n",
    )
    assert machine.parts() == [
        "memory 1024 MB",
        "2 virtual CPUs",
        "device edu,dma_mask=7",
        f"disk {tmp_path}/a.img (guests write to it)",
        "arguments -trace 'a b'",
    ]


@pytest.mark.parametrize(
    ("devices", "reason"),
    [
        ("{driver: edu}", "device edu would be lost in a fork: QEMU does not save its state in a snapshot"),
        ("{driver: e1000e}, {driver: virtio-balloon}, {driver: qemu-xhci}, {driver: usb-kbd}", ""),
        ("{driver: pcie-root-port, id: rp, chassis: 1}, {driver: edu, bus: rp}", "device edu would be lost"),
        ("{driver: pcie-root-port, id: rp, chassis: 1}, {driver: e1000e, bus: rp}", ""),
        ("{driver: isa-debug-exit}", "device isa-debug-exit would be lost"),
        ("{driver: nvme, drive: data, serial: s}", "non-migratable device"),
    ],
)
def test_a_device_that_a_fork_would_not_have_is_known_before_a_boot(tmp_path: Path, devices: str, reason: str) -> None:
    raw(tmp_path)
    machine, file = loaded(tmp_path, f"  devices: [{devices}]\n  disks: [{{file: data.img, interface: none, id: data}}]\n")
    checked = check_machine(machine, file=file, qemu=QEMU)
    why = try_hardware(
        checked, manifest(machine=MACHINE), image(tmp_path), accelerator="tcg", runs_dir=tmp_path / "runs", file=file
    )
    assert reason in why if reason else why == ""
    assert list((tmp_path / "runs").glob("trial-*")) == []
    assert (tmp_path / "data.img").read_bytes() == b"data" * 512


def test_a_refusal_of_qemu_is_reported_with_its_words_and_the_line(tmp_path: Path) -> None:
    machine, file = loaded(tmp_path, "  devices:\n    - {driver: e1000e}\n    - {driver: edu, dma_mask: many}\n")
    checked = check_machine(machine, file=file, qemu=QEMU)
    with pytest.raises(ConfigError) as caught:
        try_hardware(checked, manifest(machine=MACHINE), image(tmp_path), accelerator="tcg", runs_dir=tmp_path, file=file)
    assert "lab.yaml:4: vm.devices.1: QEMU refuses this virtual machine: " in str(caught.value)
    assert "dma_mask" in str(caught.value)


def test_a_disk_that_guests_write_to_means_no_forks(tmp_path: Path) -> None:
    machine = Machine(disks=(AddedDisk(file=str(raw(tmp_path)), format="raw", access="write"),))
    why = try_hardware(machine, manifest(machine=MACHINE), image(tmp_path), accelerator="tcg", runs_dir=tmp_path)
    assert why == (
        f"the guest writes to {tmp_path}/data.img, and forks cannot all write to the same file"
        " (`access: overlay` gives each guest an overlay of its own)"
    )


def test_flags_of_the_processor_that_prevent_forks_are_known_without_a_trial(tmp_path: Path) -> None:
    machine = Machine(cpu="host,+invtsc")
    why = try_hardware(
        machine, fit(manifest(machine=MACHINE), machine), image(tmp_path), accelerator="kvm", runs_dir=tmp_path / "runs"
    )
    assert why.startswith("CPU flag invtsc forbids snapshots")
    assert why.endswith("(leave it out, or add tsc-frequency=HZ)")


def test_what_an_empty_guest_does_not_show_to_qemu_prevents_forks_too(tmp_path: Path) -> None:
    machine = Machine(
        devices=(AddedDevice(driver="edu"),), arguments=("-fsdev", f"local,id=f,path={tmp_path},security_model=none")
    )
    why = try_hardware(machine, manifest(machine=MACHINE), image(tmp_path), accelerator="tcg", runs_dir=tmp_path / "runs")
    assert why.startswith("the shared folder (-fsdev) forbids snapshots as soon as the guest uses it")


@pytest.fixture
def in_use(tmp_path: Path) -> Iterator[Path]:
    """A disk that another VM writes to."""
    file = raw(tmp_path)
    words = ["-accel", "tcg", "-M", "microvm", "-S", "-display", "none", "-nodefaults", "-qmp", "stdio"]
    drive = f"driver=file,node-name=d,filename={file}"
    argv = [QEMU, *words, "-blockdev", drive, "-device", "virtio-blk-device,drive=d"]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert b"QMP" in process.stdout.readline(), "QEMU is there, and so is its lock"
        yield file
    finally:
        process.kill()
        process.communicate(timeout=60)


@pytest.mark.parametrize("access", ["write", "overlay"])
def test_a_disk_that_another_guest_writes_to_is_reported_with_its_line(tmp_path: Path, in_use: Path, access: str) -> None:
    machine, file = loaded(tmp_path, f"  memory: 256\n  disks:\n    - {{file: data.img, access: {access}}}\n")
    checked = check_machine(machine, file=file, qemu=QEMU)
    folder = image(tmp_path)

    def tried(*, forks: bool) -> str:
        runs = tmp_path / "runs"
        return try_hardware(
            checked, manifest(machine=MACHINE), folder, accelerator="tcg", runs_dir=runs, file=file, forks=forks
        )

    with pytest.raises(ConfigError) as caught:
        tried(forks=False)
    assert f"lab.yaml:4: vm.disks.0: another guest, or another program, has {in_use} open" in str(caught.value)
    assert "`lab ps`" in caught.value.hint
    if access == "write":
        # A worker of a run checks while the run's own guest is up.
        assert tried(forks=True).startswith(f"the guest writes to {in_use}, and forks")


def test_the_spec_of_a_guest_has_the_hardware(tmp_path: Path) -> None:
    machine = Machine(devices=(AddedDevice(driver="edu"),))
    spec = machine_spec(manifest(machine=MACHINE), tmp_path, name="g", accelerator="tcg", hardware=machine)
    assert spec.added == ("-device", "edu,id=added0")
    assert probe_features(QEMU).text_migration or probe_features(QEMU).file_migration

"""The key `vm:` of a lab file: accepted values, and the errors for others."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from lab.config.arguments import why_refused
from lab.config.machine import AddedDevice, Machine
from lab.config.settings import load_settings
from lab.errors import ConfigError


def load(tmp_path: Path, text: str) -> Machine:
    (tmp_path / "lab.yaml").write_text(text, encoding="utf-8")
    return load_settings({}, cwd=tmp_path, environ={}).values.vm


def refusal(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    return str(caught.value)


def test_every_key_of_vm_is_read(tmp_path: Path) -> None:
    machine = load(
        tmp_path,
        """\
vm:
  memory: 2G
  cpus: 2
  cpu: Skylake-Client,avx2=off
  devices:
    - {driver: edu, dma_mask: 0xffffffff, addr: '05.0', multifunction: true}
    - {driver: nvme, drive: data, serial: 'a,b', id: fast}
  disks:
    - {file: data.img, interface: none, id: data}
    - {file: /abs/x.qcow2, access: read-only, format: qcow2, serial: S1}
  arguments: [-object, 'rng-random,id=mine,filename=/dev/urandom']
""",
    )
    assert (machine.memory, machine.cpus, machine.cpu) == (2048, 2, "Skylake-Client,avx2=off")
    assert [device.text() for device in machine.devices] == [
        "edu,dma_mask=4294967295,addr=05.0,multifunction=on",
        "nvme,drive=data,serial=a,,b,id=fast",
    ]
    assert [(disk.file, disk.access) for disk in machine.disks] == [
        (str(tmp_path / "data.img"), "overlay"),
        ("/abs/x.qcow2", "read-only"),
    ]
    assert machine.adds
    assert machine.attaches
    assert not machine.writes


def test_nothing_is_added_without_the_key(tmp_path: Path) -> None:
    machine = load(tmp_path, "workers: 1\n")
    assert machine == Machine()
    assert not machine.adds


@pytest.mark.parametrize(("text", "mib"), [("512", 512), ("512M", 512), ("2G", 2048), ("1 GiB", 1024), ("'768 mb'", 768)])
def test_memory_is_read_with_its_unit(tmp_path: Path, text: str, mib: int) -> None:
    assert load(tmp_path, f"vm: {{memory: {text}}}\n").memory == mib


@pytest.mark.parametrize(
    ("line", "key", "words"),
    [
        ("memory: lots", "vm.memory", "a number of MiB, or a text such as 512M or 2G"),
        ("memory: 1.5", "vm.memory", "a whole number of MiB"),
        ("memory: 64", "vm.memory", "greater than or equal to 128"),
        ("cpus: 0", "vm.cpus", "greater than or equal to 1"),
        ("cpus: two", "vm.cpus", "must be a valid integer"),
        ("cpu: ''", "vm.cpu", "a CPU model of QEMU"),
        ("memmory: 512", "vm.memmory", "there is no such key\n  try: did you mean memory?"),
        ("devices: [edu]", "vm.devices.0", "dict"),
        ("devices: [{model: edu}]", "vm.devices.0", "driver is missing"),
        ("devices: [{driver: 'edu,dma_mask=1'}]", "vm.devices.0.driver", "write its properties as keys"),
        ("devices: [{driver: edu, addr: 05.0}]", "vm.devices.0.addr", "put it in quotes"),
        ("devices: [{driver: edu, romfile: }]", "vm.devices.0.romfile", "must be a text"),
        ("devices: [{driver: edu, id: net0}]", "vm.devices.0", "the lab uses this name"),
        ("devices: [{driver: edu, id: a}, {driver: edu, id: a}]", "vm", "the id 'a' is used twice"),
        ("disks: [{access: write}]", "vm.disks.0", "file is missing"),
        ("disks: [{file: a, access: rw}]", "vm.disks.0.access", "'overlay', 'read-only' or 'write'"),
        ("disks: [{file: a, interface: none}]", "vm.disks.0", "needs an `id`"),
        ("disks: [{file: a, id: drive0}]", "vm.disks.0.id", "choose another one"),
        ("arguments: [-snapshot]", "vm.arguments.0", "write to overlays anyway"),
        ("arguments: [-trace, x, --S]", "vm.arguments.2", "the lab itself decides"),
    ],
)
def test_a_wrong_value_is_reported_with_its_key_and_line(tmp_path: Path, line: str, key: str, words: str) -> None:
    said = refusal(tmp_path, f"workers: 1\nvm:\n  {line}\n")
    where = "2: vm: " if key == "vm" else f"3: {key}: "
    assert f"lab.yaml:{where}" in said
    assert words in said


@pytest.mark.parametrize(
    "argument",
    [
        "-incoming",
        "-S",
        "-qmp",
        "-mon",
        "-snapshot",
        "-drive",
        "-device",
        "-m",
        "-smp",
        "-machine",
        "-kernel",
        "-serial",
        "--name",
    ],
)
def test_qemu_arguments_that_the_lab_sets_itself_are_refused(argument: str) -> None:
    assert why_refused(argument)
    with pytest.raises(ValidationError, match="cannot be used: "):
        Machine(arguments=(argument,))


@pytest.mark.parametrize(
    "argument", ["-object", "-trace", "-global", "-netdev", "-chardev", "-d", "-vnc", "-smbios", "S", "m", ""]
)
def test_other_arguments_are_taken(argument: str) -> None:
    assert why_refused(argument) == ""


def test_a_device_is_written_as_qemu_reads_it() -> None:
    device = AddedDevice.model_validate({"driver": "nvme", "serial": "a,b", "cmb_size_mb": 4, "use-intel-id": False})
    assert device.text() == "nvme,serial=a,,b,cmb_size_mb=4,use-intel-id=off"


def test_the_environment_has_no_variable_for_it(tmp_path: Path) -> None:
    values = load_settings({}, cwd=tmp_path, environ={"LAB_VM": "{}"}).values
    assert values.vm == Machine()


def test_the_old_name_of_the_key_works_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert load(tmp_path, "machine: {memory: 2G}\n").memory == 2048
    assert "lab.yaml: `machine:` is the old name of `vm:`" in capsys.readouterr().err
    assert "2: vm.cpus: " in refusal(tmp_path, "machine:\n  cpus: two\n")


def test_only_the_first_process_that_reads_the_file_prints_the_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "lab.yaml").write_text("machine: {memory: 2G}\n", encoding="utf-8")
    assert load_settings({}, cwd=tmp_path, environ={}, note=False).values.vm.memory == 2048
    assert capsys.readouterr().err == ""


def test_both_names_of_the_key_are_refused(tmp_path: Path) -> None:
    assert "2: machine: is the old name of `vm`, which is there, too" in refusal(tmp_path, "vm: {cpus: 2}\nmachine: {}\n")

"""A print channel of an installed package: VM, prints of a test, a run that joins, `lab prints`, evidence; no file changed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from lab.errors import ConfigError, PluginError
from lab.guest.protocol import CommandResult
from lab.image.manifest import ImageManifest, PrintPort
from lab.lease.print_file import print_file
from lab.live.guest_logs import find_logs
from lab.live.machine_spec import machine_spec
from lab.live.print_wiring import can_resume, join_prints, open_prints, starts_paused, why_not_forked
from lab.prints.channel import GuestLink, PrintChannel
from lab.prints.live import all_lines
from lab.prints.matching import PrintMismatch
from lab.prints.record import PrintSource
from lab.prints.registry import CHANNELS
from lab.prints.resume import PrintsState
from lab.prints.window import PrintLedger
from lab.vm.spec import SerialPort
from tests.extending.packages import Packages, source
from tests.machines import MachineDouble
from tests.simulated import manifest

GROUP = "driver_test_lab.print_channels"


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ImageManifest:
    """An image whose manifest names the channel; the package that has it is installed."""
    Packages(tmp_path / "site", monkeypatch).install(
        "lab_toy", {"toy_channel": source("toy_channel.py")}, GROUP, {"toy": "toy_channel:CHANNEL"}
    )
    return manifest(prints=PrintPort(source="toy", serial=1, encoding="cp1252"))


class Toy:
    """A guest that prints to its port, and whose program writes the markers there."""

    name = "winrm"

    def __init__(self, port: Path) -> None:
        self.port = port
        self.closed = 0

    def say(self, line: bytes) -> None:
        with self.port.open("ab") as file:
            file.write(line + b"\n")

    def run(self, command: str | Sequence[str], *, timeout: float, stdin: bytes = b"", shell: bool = True) -> CommandResult:
        assert command[0] == "toymark.exe"
        self.say(b"mark " + command[1].encode())
        return CommandResult(command=command[0], exit_code=0, stdout=b"", stderr=b"", duration_s=0.0)

    def put(self, source: Path, target: str, *, timeout: float = 300) -> None:
        raise NotImplementedError

    def get(self, source: str, target: Path, *, timeout: float = 300) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path / "serial1.log")


def test_the_vm_has_its_ports_and_is_booted_cold(image: ImageManifest, tmp_path: Path) -> None:
    spec = machine_spec(image, tmp_path, name="g", accelerator="tcg")
    assert (spec.serials, spec.debug_port, spec.paused) == ((SerialPort(), SerialPort()), None, False)
    assert not starts_paused(image)
    assert not can_resume(image)
    assert why_not_forked(image) == "an image with the toy's lines cannot be forked yet"


def test_its_prints_are_those_of_the_test_that_caused_them(image: ImageManifest, tmp_path: Path, toy: Toy) -> None:
    toy.say(b"a print of the boot")
    prints = open_prints(image, MachineDouble(tmp_path), "cp1252", lambda: toy)
    prints.start()
    ledger = PrintLedger(prints, "g-1")
    stream = ledger.open("t")
    toy.say(b"caf\xe9")
    [record] = stream.expect(["café"])
    assert (record.source, record.raw) == ("toy", b"caf\xe9")
    with pytest.raises(PrintMismatch):
        stream.expect("tea", timeout=0.01)
    prints.close()
    assert toy.closed >= 1


def test_a_guest_that_is_up_is_joined(image: ImageManifest, tmp_path: Path, toy: Toy) -> None:
    toy.say(b"long ago")
    prints = join_prints(image, MachineDouble(tmp_path), "cp1252", lambda: toy, guest_id="g-1")
    toy.say(b"now")
    texts = [getattr(record, "text", "") for record in prints.wait(0, lambda records: len(records) == 1, timeout=30)]
    prints.close()
    assert texts == ["now"]


def test_the_file_is_shown_and_is_evidence(image: ImageManifest, tmp_path: Path, toy: Toy) -> None:
    toy.say(b"hello")
    file = print_file(image, tmp_path, guest="g-1")
    assert file is not None
    assert file.kind == "toy"
    [line] = all_lines(file)
    assert line.endswith("hello")
    assert toy.port in find_logs(tmp_path, image)


def test_without_the_package_the_image_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        machine_spec(manifest(prints=PrintPort(source="toy")), tmp_path, name="g", accelerator="tcg")
    assert caught.value.message == "image simulated: there is no print channel 'toy'"
    assert "wine, kd, relay, none" in caught.value.hint


def test_an_object_that_is_not_a_channel_is_refused_with_its_missing_members(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modules = {"half_channel": "class Half:\n    name = 'half'\n    words = 'a half'\nCHANNEL = Half()\n"}
    Packages(tmp_path / "site", monkeypatch).install("lab_half", modules, GROUP, {"half": "half_channel:CHANNEL"})
    with pytest.raises(PluginError, match=r"'half' of lab_half 1\.2 .* has no evidence, file, .*open"):
        open_prints(manifest(prints=PrintPort(source="half")), MachineDouble(tmp_path), "utf-8", lambda: Toy(tmp_path))


def test_every_channel_of_the_lab_declares_the_abilities_of_its_sources() -> None:
    channels = CHANNELS.load_all(PrintChannel)
    assert {name: (channel.resumes, channel.starts_paused) for name, channel in channels.items()} == {
        "wine": (True, False),
        "kd": (True, True),
        "relay": (True, False),
        "none": (True, False),
    }


class Unfinished(PrintChannel):
    """A channel whose author has forgotten a member."""

    name = "unfinished"
    words = "half a channel"

    def open(self, link: GuestLink, *, resume: PrintsState | None = None) -> PrintSource:
        raise AssertionError(f"{link} and {resume} are of no use to it")


def test_a_channel_that_lacks_a_member_cannot_be_made() -> None:
    """The error comes when its package is imported, and not in the middle of a run."""
    with pytest.raises(TypeError, match=r"abstract method '?read"):
        Unfinished()  # type: ignore[abstract]

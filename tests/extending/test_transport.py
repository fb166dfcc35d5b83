"""A transport of a package is used by its entry point alone: nothing of the lab is changed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lab.cli.choices import beginning, check_transport
from lab.config import load_settings
from lab.config.kinds import TRANSPORTS, transport_names, ways_of_files
from lab.config.schema import lab_schema
from lab.errors import ConfigError, PluginError, TransportError
from lab.guest import capability
from lab.guest.protocol import Transport
from lab.guest.readiness import wait_ready
from lab.guest.transport_kind import ParksInGuest, title_of, transport_kind
from lab.image.manifest import Credentials, ImageManifest, TransportOffer, usual_offers
from lab.live.connect import connect
from lab.live.delivery import Delivered, Delivery
from lab.live.machine_spec import machine_spec
from tests.extending import guest_double
from tests.extending.packages import Packages, source
from tests.simulated import manifest

GROUP = TRANSPORTS.group


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The toy's package, installed."""
    modules = {"toy_transport": source("toy_transport.py")}
    return Packages(tmp_path / "packages", monkeypatch).install("labtoy", modules, GROUP, {"toy": "toy_transport:TOY"})


@pytest.fixture
def guest(tmp_path: Path) -> Iterator[guest_double.ToyGuest]:
    (tmp_path / "c").mkdir()
    with guest_double.running(tmp_path, tmp_path / "c", "sesame") as served:
        yield served


def image() -> ImageManifest:
    offers = {"toy": TransportOffer(), **usual_offers("winrm")}
    return manifest(transports=offers, capabilities=("driver_load", "toy"))


def open_toy(run_dir: Path, token: str = "sesame") -> Transport:
    machine: Any = SimpleNamespace(ports={5985: 1}, channels=None, run_dir=run_dir, spec=SimpleNamespace(virtual_clock=None))
    return connect("toy", image(), Credentials(username="lab", password="x", others={"toy": token}), machine)


@pytest.mark.usefixtures("package")
def test_the_name_is_known_wherever_users_write_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert transport_names() == ("winrm", "ssh", "toy")
    assert ways_of_files() == ("media", "winrm", "sftp", "toy")
    file = tmp_path / "lab.yaml"
    file.write_text("transport: toy\nfiles: toy\n", encoding="utf-8")
    values = load_settings({}, config=file, environ={}).values
    assert (values.transport, values.files) == ("toy", "toy")
    assert load_settings({"transport": "toy"}, environ={}, cwd=tmp_path).sources["transport"] == "option"
    assert load_settings({}, environ={"LAB_TRANSPORT": "toy"}, cwd=tmp_path).values.transport == "toy"
    assert json.loads(lab_schema())["properties"]["transport"]["enum"] == ["winrm", "ssh", "toy"]
    assert beginning(transport_names)("t") == ["toy"]
    check_transport("toy")
    assert title_of("toy") == "Toy"
    assert capability.describe("toy") == "commands can be run over Toy"
    monkeypatch.undo()
    with pytest.raises(ConfigError, match=r"lab\.yaml:1: transport: must be 'winrm' or 'ssh', not 'toy'"):
        load_settings({}, config=file, environ={})


def test_pytest_takes_it_as_an_option(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "suite").mkdir()
    test = tmp_path / "suite" / "test_it.py"
    test.write_text("def test_it(lab_config):\n    assert lab_config.transport == 'toy'\n", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(package))
    line = [sys.executable, "-m", "pytest", "-q", "--lab-transport=toy", "-p", "no:cacheprovider", f"--rootdir={test.parent}"]
    done = subprocess.run(
        [*line, f"--lab-out={tmp_path / 'run'}", str(test)], capture_output=True, text=True, timeout=120, check=False
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.usefixtures("package")
def test_commands_and_files_reach_the_guest(guest: guest_double.ToyGuest, tmp_path: Path) -> None:
    transport = wait_ready(lambda: open_toy(tmp_path), deadline=1e9, alive=lambda: True)
    with pytest.raises(TransportError, match="no answer"):
        open_toy(tmp_path, token="wrong").run("echo lab", timeout=10)
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "a.sys").write_bytes(bytes(range(256)))
    transport.put(folder, "C:\\lab\\run")
    assert (guest.drive_c / "lab" / "run" / "a.sys").read_bytes() == bytes(range(256))
    transport.get("C:\\lab\\run", tmp_path / "back")
    assert (tmp_path / "back" / "a.sys").read_bytes() == bytes(range(256))
    transport.close()


@pytest.mark.usefixtures("package")
def test_files_can_use_it_beside_another_transport(guest: guest_double.ToyGuest, tmp_path: Path) -> None:
    def open_transport(name: str) -> Transport:
        assert name == "toy"
        return open_toy(tmp_path)

    file = tmp_path / "a.txt"
    file.write_bytes(b"a")
    usual: Any = SimpleNamespace(name="winrm")
    delivered = Delivery("toy", usual, open_transport).put(file, "C:\\a.txt")
    assert delivered == Delivered(by="toy", copied=1)
    assert (guest.drive_c / "a.txt").read_bytes() == b"a"
    assert Delivery("media", open_toy(tmp_path), open_transport).put(file, "C:\\b.txt").by == "toy"


@pytest.mark.usefixtures("package")
def test_a_vm_forwards_no_port_for_it_and_a_snapshot_is_taken_without_it(tmp_path: Path) -> None:
    spec = machine_spec(image(), tmp_path, name="g", accelerator="tcg")
    assert spec.nic is not None
    assert spec.nic.forwards == (5985, 1)  # WinRM, and the marks of prints
    assert not isinstance(transport_kind("toy"), ParksInGuest)


def test_a_package_for_another_version_of_the_lab_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = source("toy_transport.py").replace("    def connect(self, access", "    def join(self, access")
    Packages(tmp_path, monkeypatch).install("labtoy", {"toy_transport": text}, GROUP, {"toy": "toy_transport:TOY"})
    with pytest.raises(PluginError, match=r"the transport 'toy' of labtoy 1\.2 \(entry point toy = .*\) has no connect\n"):
        open_toy(tmp_path)

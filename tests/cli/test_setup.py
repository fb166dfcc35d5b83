"""`lab setup`: packages and image, each only where it is missing."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from lab.cli import setup as command
from lab.errors import HostToolError


class Machine:
    """Stands for apt and the image's build."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *missing: str) -> None:
        self.missing = missing
        self.installed: list[str] = []
        self.images: list[str] = []
        monkeypatch.setattr(command, "missing_packages", lambda names: self.missing)
        monkeypatch.setattr(command, "install_commands", lambda names: (("apt-get", "install", *names),))
        monkeypatch.setattr(command, "install_packages", self.install)
        monkeypatch.setattr(command, "ensure_image", self.image)

    def install(self, names: tuple[str, ...]) -> None:
        self.installed += names

    def image(self, name: str, _progress: object) -> Path:
        self.images.append(name)
        return Path("/images/wine-1")

    def run(self, *arguments: str) -> Result:
        app = typer.Typer()
        command.register(app)
        app.callback()(lambda: None)
        return CliRunner().invoke(app, ["setup", *arguments])


def test_a_ready_machine_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    done = machine.run()
    assert (done.exit_code, machine.installed, machine.images) == (0, [], ["wine"])
    assert "are installed" in done.output
    assert "/images/wine-1" in done.output


def test_what_is_missing_is_installed_before_the_image_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, "mmdebstrap")
    done = machine.run()
    assert (done.exit_code, machine.installed, machine.images) == (0, ["mmdebstrap"], ["wine"])


@pytest.mark.parametrize(("option", "installed", "images"), [("--no-image", ["uidmap"], []), ("--no-packages", [], ["wine"])])
def test_either_half_alone(option: str, installed: list[str], images: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, "uidmap")
    assert machine.run(option).exit_code == 0
    assert (machine.installed, machine.images) == (installed, images)


def test_a_network_that_wants_a_log_in_is_not_blamed_on_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, "uidmap")
    said = "E: The repository 'http://deb.example InRelease' is not signed.\nE: Clearsigned file isn't valid, got 'NOSPLIT'"

    def install(_names: object) -> None:
        raise HostToolError(["apt-get"], 100, said, message="apt-get … ended with 100")

    monkeypatch.setattr(command, "install_packages", install)
    error = machine.run().exception
    assert isinstance(error, HostToolError)
    assert "log in with a browser" in error.hint
    assert machine.images == []

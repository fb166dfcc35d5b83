"""`lab setup`: packages and image, each only where it is missing."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from lab.cli import setup as command
from lab.errors import HostToolError
from lab.toolchain.clang import Clang


class Machine:
    """A double of apt and the image's build."""

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


def test_a_ready_host_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    done = machine.run()
    assert (done.exit_code, machine.installed, machine.images) == (0, [], ["wine"])
    assert "are installed" in done.output
    assert "/images/wine-1" in done.output


def test_missing_packages_are_installed_before_the_image_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, "mmdebstrap")
    done = machine.run()
    assert (done.exit_code, machine.installed, machine.images) == (0, ["mmdebstrap"], ["wine"])


@pytest.mark.parametrize(("option", "installed", "images"), [("--no-image", ["uidmap"], []), ("--no-packages", [], ["wine"])])
def test_packages_and_image_can_be_missing_alone(
    option: str, installed: list[str], images: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(monkeypatch, "uidmap")
    assert machine.run(option).exit_code == 0
    assert (machine.installed, machine.images) == (installed, images)


def test_a_network_login_page_is_not_reported_as_a_key_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, "uidmap")
    said = "E: The repository 'http://deb.example InRelease' is not signed.\nE: Clearsigned file isn't valid, got 'NOSPLIT'"

    def install(_names: object) -> None:
        raise HostToolError(["apt-get"], 100, said, message="apt-get … ended with 100")

    monkeypatch.setattr(command, "install_packages", install)
    error = machine.run().exception
    assert isinstance(error, HostToolError)
    assert "log in with a browser" in error.hint
    assert machine.images == []


GUARDED = (
    "#include <ntddk.h>\nNTSTATUS DriverEntry(PDRIVER_OBJECT d, PUNICODE_STRING p) { __try { return 0; } __finally { } }\n"
)


@pytest.mark.parametrize("manifest", [True, False])
@pytest.mark.parametrize("there", [True, False])
def test_clang_is_installed_if_a_driver_needs_it(
    manifest: bool, there: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "lab.yaml").write_text("", encoding="utf-8")
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "drv.c").write_text(GUARDED, encoding="utf-8")
    if manifest:
        (tmp_path / "src" / "driver.yaml").write_text("name: drv\nimage: drv.sys\nsources: [drv.c]\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    machine = Machine(monkeypatch)
    monkeypatch.setattr(command, "missing_packages", lambda names: tuple(name for name in names if "clang" in name))
    monkeypatch.setattr(command, "look_for_clang", lambda: (Clang("clang", "19") if there else None, "there is none"))
    done = machine.run("--no-image")
    assert (done.exit_code, machine.installed) == (0, [] if there else ["clang-19"])
    assert (": drv.c:2 uses __try" in done.output) is not there


def test_a_project_without_such_a_driver_needs_no_clang(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text("", encoding="utf-8")
    (tmp_path / "drv.c").write_text(GUARDED.replace("__try", "/* __try */").replace("__finally", ""), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    machine = Machine(monkeypatch)
    monkeypatch.setattr(command, "missing_packages", lambda names: tuple(name for name in names if "clang" in name))
    assert (machine.run("--no-image").exit_code, machine.installed) == (0, [])

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from lab.cli import doctor
from lab.host import survey as survey_module
from lab.host.accel import Accelerator, Accelerators
from lab.host.capacity import Capacity
from lab.host.qemu import QemuFeatures
from lab.host.survey import Folder, Survey
from lab.host.tools import TOOLS, Tool, ToolState

WORKS = Accelerator("tcg", True, "a tiny guest ended after 0.07 s", 0.07)
OPTIONAL = Tool("optional-tool", "build drivers", "some-package", required=False)
FEATURES = QemuFeatures(
    x_ignore_shared=True,
    mapped_ram=False,
    file_migration=False,
    text_migration=True,
    read_only_ram_file=False,
    blockdev_change_medium=True,
    panic_none=True,
    dump_formats=("elf", "win-dmp"),
)


def found(*, missing: tuple[str, ...] = (), tcg: Accelerator = WORKS, qemu: QemuFeatures | None = FEATURES) -> Survey:
    states = [
        ToolState(tool, "", "", "not installed") if tool.name in missing else ToolState(tool, f"/bin/{tool.name}", "9.9", "")
        for tool in (*TOOLS, OPTIONAL)
    ]
    kvm = Accelerator("kvm", False, "/dev/kvm does not exist", 0.0)
    folders = {"cache": Folder(Path("/cache"), 5000)}
    return Survey(tuple(states), Accelerators(kvm, tcg), qemu, Capacity(2, 8192), folders)


@pytest.fixture
def app() -> typer.Typer:
    application = typer.Typer()
    doctor.register(application)
    application.callback()(lambda: None)
    return application


def run(app: typer.Typer, monkeypatch: pytest.MonkeyPatch, survey: Survey, *options: str) -> tuple[int, str]:
    monkeypatch.setattr(doctor, "survey", lambda *, reprobe: survey)
    result = CliRunner().invoke(app, ["doctor", *options])
    return result.exit_code, result.output


def test_a_ready_host(app: typer.Typer, monkeypatch: pytest.MonkeyPatch) -> None:
    code, text = run(app, monkeypatch, found())
    assert code == 0
    assert "Ready: guests run under tcg" in text
    assert "/dev/kvm does not exist" in text


def test_missing_tools_come_with_the_command_that_installs_them(app: typer.Typer, monkeypatch: pytest.MonkeyPatch) -> None:
    code, text = run(app, monkeypatch, found(missing=("mmdebstrap", "qemu-img", "optional-tool")))
    assert code == 1
    # The optional one is not asked for.
    assert "apt-get install -y mmdebstrap qemu-utils\n" in text
    assert "mmdebstrap: not installed (needed to build the free guest)" in text


def test_an_installation_without_its_data_is_not_ready(app: typer.Typer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It called a wheel without recipes "Ready"."""
    lacking = replace(found(), missing_data=("driver/relay/driver.yaml",))
    code, text = run(app, monkeypatch, lacking)
    assert code == 1
    assert "lacks driver/relay/driver.yaml: install the lab again: pip install --force-reinstall PATH" in text.replace(
        "\n", " "
    )
    assert "1 of" in text
    code, text = run(app, monkeypatch, lacking, "--json")
    assert json.loads(text)["data"] == {"ok": False, "missing": ["driver/relay/driver.yaml"]}


def test_an_optional_tool_does_not_matter(app: typer.Typer, monkeypatch: pytest.MonkeyPatch) -> None:
    code, text = run(app, monkeypatch, found(missing=("optional-tool",)))
    assert code == 0
    assert "not installed" in text


def test_json_has_the_documented_keys(app: typer.Typer, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Accelerator("tcg", False, "exit code 1", 0.1)
    code, text = run(app, monkeypatch, found(missing=("osslsigncode",), tcg=broken), "--json")
    values = json.loads(text)
    assert code == 1
    assert values["ok"] is False
    assert values["accelerators"]["kvm"] == {"usable": False, "reason": "/dev/kvm does not exist", "seconds": 0.0}
    assert values["accelerators"]["tcg"]["usable"] is False
    assert values["tools"]["qemu-system-x86_64"]["version"] == "9.9"
    assert values["tools"]["osslsigncode"]["ok"] is False
    assert values["tools"]["osslsigncode"]["hint"].endswith("osslsigncode")
    assert values["qemu"]["features"]["dump_formats"] == ["elf", "win-dmp"]
    assert values["folders"]["cache"] == {"path": "/cache", "free_mb": 5000}
    assert len(values["problems"]) == 2


@pytest.mark.parametrize(
    ("qemu", "words"),
    [
        (FEATURES, "a RAM file that forks share, state by exec: and fd: (this QEMU: it has x-ignore-shared, and is too old"),
        (replace(FEATURES, file_migration=True, text_migration=False), "share, state by file: (this QEMU: it has x-ignore"),
        (replace(FEATURES, x_ignore_shared=False), "a stream of all RAM, state by exec: and fd: (this QEMU: it lacks x-ignore"),
        (
            replace(FEATURES, text_migration=False),
            "nothing, so guests are booted: this QEMU's `migrate` lists",
        ),
        (None, "nothing, so guests are booted: QEMU does not report its features"),
    ],
)
def test_the_method_of_snapshots_is_named_with_its_reason(
    app: typer.Typer, monkeypatch: pytest.MonkeyPatch, qemu: QemuFeatures | None, words: str
) -> None:
    code, text = run(app, monkeypatch, found(qemu=qemu), "--json")
    assert code == 0
    assert words in json.loads(text)["snapshots_by"]
    _, table = run(app, monkeypatch, found(qemu=qemu))
    assert words[:7] in table


def test_this_host_can_be_surveyed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CACHE", "DATA", "STATE"):
        monkeypatch.setenv(f"LAB_{name}", str(tmp_path / name))
    here = survey_module.survey()
    assert here.accelerators.tcg.usable, here.accelerators.tcg.reason
    assert here.features is not None
    assert here.as_json()["capacity"]["guests"] >= 1
    assert here.folders["cache"].path == tmp_path / "CACHE"

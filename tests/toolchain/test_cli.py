from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import typer
from typer.testing import CliRunner, Result

from lab.cli import driver
from lab.errors import ConfigError
from lab.image.manifest import KernelFacts
from lab.toolchain.codeview import codeview
from lab.toolchain.sign import SigningKey, sign, signing_key

if TYPE_CHECKING:
    from tests.toolchain.conftest import DriverFolder


@pytest.fixture(autouse=True)
def own_data_folder(monkeypatch: pytest.MonkeyPatch, key: SigningKey, tmp_path: Path) -> None:
    """Commands sign with the tests' key, never with the user's; no guest's image is built."""
    monkeypatch.setenv("LAB_CACHE", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "signing").symlink_to(key.key.parent)
    monkeypatch.setenv("LAB_DATA", str(tmp_path / "data"))


def lab(*arguments: str | Path) -> Result:
    app = typer.Typer()
    driver.register(app)
    app.command("other")(lambda: None)  # with one command alone, typer would drop its name
    return CliRunner().invoke(app, ["driver", *map(str, arguments)])


def test_build_prints_each_file_with_its_hash(driver_folder: DriverFolder, tmp_path: Path) -> None:
    result = lab("build", driver_folder(), "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    progress, line = result.output.splitlines()
    assert progress == "tiny: building tiny.sys for x64"
    sha256, _, path = line.partition("  ")
    assert len(sha256) == 64
    assert path == str(tmp_path / "out" / "tiny.sys")
    checked = lab("check", path)
    assert checked.exit_code == 0
    assert "x64, signed by this lab" in checked.output
    record = codeview(tmp_path / "out" / "tiny.sys")
    assert record
    assert f"  debug id: {record.build_id}\n" in checked.output


def test_build_for_x86_without_a_signature(driver_folder: DriverFolder, tmp_path: Path) -> None:
    assert lab("build", driver_folder(), "--arch", "x86", "--unsigned", "--out", tmp_path / "out").exit_code == 0
    checked = lab("check", tmp_path / "out" / "tiny.sys")
    assert "x86, not signed" in checked.output
    # A 32-bit Windows loads it all the same.
    assert checked.exit_code == 0
    assert "577" not in checked.output


def test_check_says_that_windows_refuses_an_unsigned_driver(unsigned: Path) -> None:
    result = lab("check", unsigned)
    assert result.exit_code == 1
    assert "x64, not signed" in result.output
    assert "problem: it is not signed: Windows does not load it (error 577)" in result.output


def test_check_reports_a_broken_signature(unsigned: Path, key: SigningKey, tmp_path: Path) -> None:
    signed = tmp_path / "signed.sys"
    sign(unsigned, signed, "signed", key)
    content = signed.read_bytes()
    signed.write_bytes(content[:-40])
    result = lab("check", signed)
    assert result.exit_code == 1
    assert "with an invalid signature" in result.output
    assert f"would end at byte {len(content)}, and the file has {len(content) - 40}" in result.output


def test_check_names_a_foreign_signature_without_an_error(unsigned: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs.sys"
    other = signing_key(tmp_path / "theirs")
    sign(unsigned, theirs, "theirs", other)
    result = lab("check", theirs)
    assert result.exit_code == 0
    assert "signed by Driver Test Lab (test signing only) (not by this lab)" in result.output
    assert f"subject CN=Driver Test Lab (test signing only); SHA-256 of the certificate {other.fingerprint()}" in result.output
    assert "no time stamp" in result.output
    assert "note: it is signed by" in result.output
    assert "Windows loads it in test mode only" in result.output
    assert "problem" not in result.output


def test_check_makes_no_key(unsigned: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LAB_DATA", str(tmp_path / "fresh"))
    lab("check", unsigned)
    assert not (tmp_path / "fresh" / "signing").exists()


@pytest.mark.parametrize("content", [b"", b"MZ and no more", b"\x7fELF"])
def test_check_of_a_file_that_is_not_a_driver_is_a_usage_error(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "half.sys"
    file.write_bytes(content)
    assert isinstance(lab("check", file).exception, ConfigError)


def test_check_reports_a_driver_that_is_not_announced_to_a_debugger(unsigned: Path, link: Callable[..., Path]) -> None:
    assert "debug id: none; a kernel does not announce its load to a debugger" in lab("check", link()).output
    assert "debug id: none" not in lab("check", unsigned).output


def test_list_shows_the_checkouts_components() -> None:
    result = lab("list")
    assert result.exit_code == 0
    names = {line.split()[0] for line in result.output.splitlines()}
    assert {"sync", "async", "drvprobe", "labfile"} <= names


def test_an_unknown_name_is_a_config_error() -> None:
    assert isinstance(lab("build", "snyc").exception, ConfigError)


@pytest.mark.parametrize(("arch", "said"), [("x64", True), ("x86", False)])
def test_check_says_what_the_free_guest_lacks_for_a_driver(
    unsigned: Path, monkeypatch: pytest.MonkeyPatch, arch: str, said: bool
) -> None:
    assert "free guest" not in lab("check", unsigned).output, "nothing is known of a guest that is not built"
    guest = SimpleNamespace(arch=arch, guest="free guest: Wine 10.0", kernel=KernelFacts(modules={}))
    monkeypatch.setattr(driver, "existing_image", lambda _name: Path("image"))
    monkeypatch.setattr(driver, "read_manifest", lambda _folder: guest)
    line = "note: free guest: Wine 10.0: unsigned.sys: this guest has no module ntoskrnl.exe: its tests are skipped"
    assert (line in lab("check", unsigned).output) is said


def test_list_names_components_that_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lab.yaml").touch()
    (tmp_path / "driver.yaml").write_text("name: kettle\nnonsense: 1\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    result = lab("list")
    assert result.exit_code == 0, result.output
    assert "left out: " in result.output
    assert "nonsense" in result.output

"""`lab image build windows-…` and the names of Windows images: what is refused, with which message, before anything begins."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lab.cli.main import app
from lab.errors import ConfigError, HostToolError
from lab.host.accel import Accelerator, Accelerators
from lab.image.progress import Progress
from lab.image.recipes import existing_image, recipe_names, recipe_of
from lab.image.store import images_dir
from lab.image.windows import order
from lab.image.windows.recipe import windows_names, windows_recipe
from tests.image.windows.media import SERVER, wim, wim_xml, write_iso

NAMES = ("windows-10", "windows-11", "windows-server-2022", "windows-server-2025")
KVM = Accelerators(kvm=Accelerator("kvm", True, "ran", 0.2), tcg=Accelerator("tcg", True, "ran", 0.3))
NO_KVM = Accelerators(kvm=Accelerator("kvm", False, "hangs", 10.0), tcg=Accelerator("tcg", True, "ran", 0.3))


@pytest.fixture
def iso(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in ("CACHE", "DATA", "STATE"):
        monkeypatch.setenv(f"LAB_{variable}", str(tmp_path / variable.lower()))
    return write_iso(tmp_path / "w.iso", {"sources/install.wim": wim(wim_xml(SERVER))})


def lab(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, [str(item) for item in arguments])


def nothing_was_begun(tmp_path: Path) -> bool:
    return not (tmp_path / "state" / "builds").exists() and not any(images_dir(tmp_path / "cache").glob("*windows*/"))


def test_the_checkout_s_windows_recipes_are_known_by_name() -> None:
    assert windows_names() == NAMES
    assert recipe_names() == ("wine", *NAMES)
    for name in NAMES:
        assert windows_recipe(name).name == name
    with pytest.raises(ConfigError, match=r"did you mean windows-1[01]"):
        windows_recipe("windows-12")


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_windows_image_is_reported_with_the_command_that_builds_it(iso: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="is not built yet") as caught:
        existing_image(name)
    assert f"lab image build {name} --iso PATH" in caught.value.hint
    with pytest.raises(ConfigError, match="your own Windows ISO"):
        recipe_of(name)


@pytest.mark.parametrize("command", [("run", "--guest"), ("up", "--guest"), ("image", "path")])
def test_every_command_that_takes_a_guest_says_so(
    iso: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "suites").mkdir()
    result = lab(*command, "windows-server-2022")
    assert isinstance(result.exception, ConfigError)
    assert "the image windows-server-2022 is not built yet" in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_without_an_iso_the_command_says_what_is_needed(iso: Path) -> None:
    result = lab("image", "build", "windows-11")
    assert isinstance(result.exception, ConfigError)
    assert "--iso PATH" in str(result.exception)


@pytest.mark.parametrize(
    "option", [("--iso", "x.iso"), ("--allow-tcg",), ("--keep",), ("--openssh-msi", "x"), ("--certificate", "x")]
)
def test_options_of_windows_are_refused_for_the_free_guest(iso: Path, option: tuple[str, ...]) -> None:
    result = lab("image", "build", "wine", *option)
    assert isinstance(result.exception, ConfigError)
    assert f"{option[0]}: only for Windows images" in str(result.exception)


def test_a_wrong_file_and_a_missing_edition_are_reported_on_any_host(
    iso: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order, "probe_accelerators", lambda _cache: NO_KVM)
    notes = tmp_path / "notes.txt"
    notes.write_text("no ISO")
    for file, name, said in (
        (notes, "windows-10", "notes.txt is not an ISO file"),
        (tmp_path / "none.iso", "windows-10", "none.iso cannot be opened"),
        (iso, "windows-11", "2: Windows Server 2022 Standard Evaluation (Desktop Experience)"),
    ):
        result = lab("image", "build", name, "--iso", file)
        assert isinstance(result.exception, ConfigError)
        assert said in str(result.exception)
    assert nothing_was_begun(tmp_path)


def test_a_host_without_kvm_is_refused_unless_the_user_allows_tcg(
    iso: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order, "probe_accelerators", lambda _cache: NO_KVM)
    result = lab("image", "build", "windows-server-2022", "--iso", iso)
    assert isinstance(result.exception, HostToolError)
    assert "--allow-tcg installs without KVM" in str(result.exception)
    assert nothing_was_begun(tmp_path)


def test_a_wrong_product_key_ends_before_anything_and_is_not_quoted(iso: Path, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("12345-SECRET")
    result = lab("image", "build", "windows-server-2022", "--iso", iso, "--product-key-file", tmp_path / "key")
    assert isinstance(result.exception, ConfigError)
    assert "SECRET" not in str(result.exception)
    assert nothing_was_begun(tmp_path)


@pytest.mark.parametrize(("found", "arguments", "accelerator"), [(KVM, (), "kvm"), (NO_KVM, ("--allow-tcg", "--keep"), "tcg")])
def test_what_was_asked_for_reaches_the_build(
    iso: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    found: Accelerators,
    arguments: tuple[str, ...],
    accelerator: str,
) -> None:
    seen: list[Any] = []

    def build_image(recipe: Any, _progress: Progress, **options: Any) -> tuple[Path, bool]:
        seen.append((recipe, options))
        return tmp_path / "image", True

    monkeypatch.setattr(order, "probe_accelerators", lambda _cache: found)
    monkeypatch.setattr("lab.image.store.build_image", build_image)
    result = lab("image", "build", "windows-server-2022", "--iso", iso, "--force", *arguments)
    assert result.exit_code == 0, result.output
    ((recipe, options),) = seen
    assert recipe.inputs.iso.path == iso
    assert recipe.name == "windows-server-2022"
    assert options["force"] is True
    chosen = recipe._options
    assert (chosen.accelerator, chosen.keep_failed) == (accelerator, "--keep" in arguments)
    assert chosen.log_dir.parent == tmp_path / "state" / "builds"
    assert str(chosen.log_dir) in result.output
    assert "lab run --guest windows-server-2022" in result.output


def test_an_interrupt_is_reported_and_is_no_verdict_on_a_driver(
    iso: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_arguments: Any, **_options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(order, "probe_accelerators", lambda _cache: KVM)
    monkeypatch.setattr("lab.image.store.build_image", interrupted)
    result = lab("image", "build", "windows-server-2022", "--iso", iso)
    assert result.exit_code == 130
    assert "interrupted (SIGINT); nothing of the image is kept" in result.output


def test_an_image_in_another_cache_folder_is_run_by_its_folder(
    iso: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "my cache" / "images" / "windows-server-2022-k"
    monkeypatch.setattr(order, "probe_accelerators", lambda _cache: KVM)
    monkeypatch.setattr("lab.image.store.build_image", lambda *_arguments, **_options: (folder, True))
    result = lab("image", "build", "windows-server-2022", "--iso", iso, "--cache", tmp_path / "my cache")
    said = result.output.rpartition("try: ")[2]
    assert re.fullmatch(r"\S*lab image doctor --cache '(.*)'; \S*lab run --guest '(.*)'\n", said), result.output
    assert f"--cache '{tmp_path / 'my cache'}'" in said
    assert f"--guest '{folder}'" in said

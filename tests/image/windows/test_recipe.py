"""The recipes of the lab, and the errors for a wrong one."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.errors import ConfigError
from lab.host.assets import data_root
from lab.image.windows.recipe import STAGES, load_recipe

NAMES = ("windows-server-2022", "windows-server-2025", "windows-11", "windows-10")


def write(tmp_path: Path, text: str, name: str = "windows-10") -> Path:
    folder = tmp_path / name
    folder.mkdir()
    (folder / "recipe.yaml").write_text(text, encoding="utf-8")
    return folder


GOOD = """name: windows-10
windows: "10"
title: t
editions: [Windows 10 Pro]
capabilities: [nt_kernel]
"""


@pytest.mark.parametrize("name", NAMES)
def test_the_lab_s_own_recipes_are_valid(name: str) -> None:
    recipe = load_recipe(data_root() / "vm-images" / name)
    assert recipe.name == name
    assert "nt_kernel" in recipe.capabilities
    assert recipe.evaluation_days == (180 if recipe.is_server else 90)


@pytest.mark.parametrize("name", NAMES)
def test_prints_are_claimed_by_the_relay_and_the_debugger_by_its_boot_alone(name: str) -> None:
    recipe = load_recipe(data_root() / "vm-images" / name)
    assert "relay" in recipe.ordered_stages
    assert "dbgprint" in recipe.capabilities
    assert "kernel_debugger" not in recipe.capabilities


def test_winrm_is_the_last_stage_but_the_end(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, GOOD + "stages: [finish, winrm, certificates, codeintegrity, tools, network]\n"))
    assert recipe.ordered_stages == ("network", "tools", "certificates", "codeintegrity", "winrm", "finish")
    assert STAGES[-2:] == ("winrm", "finish")


@pytest.mark.parametrize(
    ("more", "key", "said"),
    [
        ("disk: 1\n", "disk", "no such key"),
        ("machine: {disk_gb: 5}\n", "machine.disk_gb", "greater than or equal to 32"),
        ("machine: {firmware: efi}\n", "machine.firmware", "'uefi' or 'bios'"),
        ("stages: [network, reboot]\n", "stages", "no stage 'reboot'"),
        ("stages: [network]\n", "stages", "cannot be left out"),
        ("bypasses: [cpu]\n", "bypasses.0", "'tpm'"),
    ],
)
def test_an_error_names_file_key_and_line(tmp_path: Path, more: str, key: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_recipe(write(tmp_path, GOOD + more))
    assert caught.value.key == key
    assert caught.value.line == 6
    assert caught.value.file.endswith("windows-10/recipe.yaml")
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"10"', '"11"\nmachine: {firmware: bios}', "cannot start from a BIOS"),
        ('"10"', '"11"\nmachine: {vcpus: 1}', "needs 2 vcpus"),
        ('"10"', '"10"\nbypasses: [tpm]', "for windows 11 only"),
        ("nt_kernel", "nt_kernle", "did you mean nt_kernel"),
        ("nt_kernel", "nt_kernel, ssh", "needs the stage ssh"),
        ("[nt_kernel]", "[dbgprint]\nstages: [network, tools, certificates, codeintegrity, winrm, finish]", "the stage relay"),
        ("Windows 10 Pro", "''", "name is empty"),
        ("name: windows-10", "name: windows-7", "as the folder is named"),
    ],
)
def test_keys_that_contradict_each_other_are_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_recipe(write(tmp_path, GOOD.replace(old, new)))
    assert said in str(caught.value)
    assert "recipe.yaml" in caught.value.message


def test_the_old_name_of_a_stage_works_with_a_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stages = "\nstages: [network, tools, certificates, codeintegrity, tap, winrm, finish]"
    recipe = load_recipe(write(tmp_path, GOOD.replace("[nt_kernel]", "[dbgprint]" + stages)))
    assert "relay" in recipe.ordered_stages
    [note] = capsys.readouterr().err.splitlines()
    assert "recipe.yaml: `stages: tap` is the old name of `relay`" in note

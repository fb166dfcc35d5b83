"""mmdebstrap's command line, the stages it goes through, and errors that say what to do."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from lab.errors import ConfigError, HostToolError
from lab.host.assets import data_root
from lab.image import debian
from lab.image.bootstrap_hints import hint_for
from lab.image.wine.contents import braces, winrm_settings
from lab.image.wine.recipe import WineRecipe

PLAN = debian.Bootstrap(
    suite="trixie",
    packages=("wine64", "python3"),
    exclude_paths=("/usr/share/doc/*",),
    include_paths=("/usr/share/doc/keep",),
    hooks=('echo "$1"',),
)


def test_no_mirror_is_named_and_what_is_included_comes_after_what_is_excluded() -> None:
    argv = PLAN.argv()
    assert argv[0] == "mmdebstrap"
    assert argv[-2:] == ["trixie", "/dev/null"]
    assert not any("://" in item for item in argv)
    assert "--include=wine64,python3" in argv
    assert argv.index("--dpkgopt=path-exclude=/usr/share/doc/*") < argv.index("--dpkgopt=path-include=/usr/share/doc/keep")
    assert '--customize-hook=echo "$1"' in argv


def test_hooks_quote_host_paths() -> None:
    assert debian.hook_in(Path("/a b/c"), "/in") == "sync-in '/a b/c' /in"
    assert debian.hook_out("/out", Path("/it's")) == """download /out '/it'"'"'s'"""


@pytest.fixture
def fake_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder, first in the PATH, for a double of mmdebstrap; its scratch folders are below the test's."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    yield tmp_path / "mmdebstrap"
    assert [path.name for path in scratch.glob("*/*")] in ([], [".lock"])  # no tree


def play(tool: Path, script: str) -> tuple[list[str], list[str]]:
    tool.write_text("#!/bin/sh\n" + script)
    tool.chmod(0o755)
    stages: list[str] = []
    details: list[str] = []
    debian.bootstrap(PLAN, on_stage=stages.append, on_detail=details.append)
    return stages, details


def test_stages_are_distinguished_from_details(fake_tool: Path) -> None:
    said = ["I: running apt-get update...", "Get:1 something", "lab-stage: make the Wine prefix"]
    stages, details = play(fake_tool, "".join(f"echo '{line}' >&2\n" for line in said))
    assert stages == ["read Debian's package lists", "make the Wine prefix"]
    assert details == ["Get:1 something"]


def test_the_tree_is_made_in_a_folder_that_is_gone_afterwards(fake_tool: Path) -> None:
    _, details = play(fake_tool, 'echo "$TMPDIR $INITRD" >&2; mkdir -p "$TMPDIR/tree/deep"; stat -c %a "$TMPDIR" >&2\n')
    folder, initrd = details[0].split()
    assert (initrd, details[1]) == ("No", "1777")
    assert not Path(folder).exists()


def test_folders_of_a_killed_build_are_removed_and_those_of_a_running_one_stay(fake_tool: Path) -> None:
    scratch = fake_tool.parent / "scratch" / f"lab-image-{os.geteuid()}"
    left, living = scratch / ".tree.01234567.tmp", scratch / ".tree.89abcdef.tmp"
    for folder in (left, living):
        (folder / "tree").mkdir(parents=True)
    with FileLock(living / "builder.lock"):
        play(fake_tool, "true\n")
        assert not left.exists()
        assert (living / "tree").is_dir()
    play(fake_tool, "true\n")


def test_a_scratch_folder_of_another_user_is_not_used(fake_tool: Path) -> None:
    """Its name can be guessed, and all users may write into its parent folder."""
    scratch = fake_tool.parent / "scratch" / f"lab-image-{os.geteuid()}"
    elsewhere = fake_tool.parent / "elsewhere"
    elsewhere.mkdir()
    scratch.symlink_to(elsewhere)
    with pytest.raises(ConfigError, match="is not a folder of yours"):
        play(fake_tool, "true\n")
    assert list(elsewhere.iterdir()) == []
    scratch.unlink()


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("E: GPG error: trixie Release: NO_PUBKEY 6ED0E7B82643E131", "debian-archive-keyring"),
        ("sh: 1: newuidmap: not found", "uidmap"),
        ("tar: No space left on device", "TMPDIR"),
        ("E: Failed to fetch http package", "network"),
    ],
)
def test_a_failure_says_what_to_do(fake_tool: Path, said: str, hint: str) -> None:
    with pytest.raises(HostToolError) as caught:
        play(fake_tool, f"mkdir \"$TMPDIR/left\"; echo '{said}' >&2; exit 25\n")
    assert caught.value.exit_code == 25
    assert said in str(caught.value)
    assert hint in caught.value.hint
    # Hundreds of options would bury the message.
    assert caught.value.argv == ("mmdebstrap",)


def test_missing_programs_are_named_with_the_command_that_installs_them(tmp_path: Path) -> None:
    with pytest.raises(HostToolError) as caught:
        debian.require_tools(("mmdebstrap", "qemu-img"), path=str(tmp_path))
    assert "mmdebstrap, qemu-img" in caught.value.message
    assert caught.value.hint.endswith("apt-get install mmdebstrap qemu-utils")


def test_the_keys_are_found_by_either_name_and_their_package_is_named(tmp_path: Path) -> None:
    old, new = tmp_path / "keys.gpg", tmp_path / "keys.pgp"
    with pytest.raises(HostToolError) as caught:
        debian.find_keyring((old, new))
    assert "debian-archive-keyring" in caught.value.hint
    new.touch()
    assert debian.find_keyring((old, new)) == new
    old.touch()
    assert debian.find_keyring((old, new)) == old


def test_braces_expand_as_in_a_shell() -> None:
    assert braces("a") == ["a"]
    assert braces("x{a,b}*") == ["xa*", "xb*"]
    assert sorted(braces("{a,w{1,2}}.{d,e}")) == sorted(["a.d", "a.e", "w1.d", "w1.e", "w2.d", "w2.e"])


def test_the_recipe_asks_for_what_its_guest_files_use() -> None:
    inputs = WineRecipe().inputs()
    inittab = inputs["recipe/guest/inittab"].decode()
    for line in inittab.splitlines():
        command = line.split(":")[-1].split()[0] if line and not line.startswith("#") else ""
        if command.startswith("/usr/lib/lab/"):
            assert f"recipe/guest/{Path(command).name}" in inputs
    # Paths that both halves must agree on.
    settings = winrm_settings()
    customize = inputs["recipe/customize.py"].decode()
    assert str(settings["drive_c"]).removesuffix("/drive_c") in customize
    assert b"/usr/lib/lab/winrm" in inputs["recipe/guest/run-winrm"]


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ('warn:debugstr:DbgPrint "labcompat: 57 of 57 functions replaced\\n"', ""),
        ("labcompat: 56 of 57 functions replaced", "LabCompat replaced 56 of 57 functions"),
        # Loaded once more after Wine's own start of it: the last start counts.
        ("labcompat: 56 of 57 functions replaced\nlabcompat: 57 of 57 functions replaced", ""),
        ("[SC] StartService FAILED 1114", "LabCompat did not say"),
    ],
)
def test_a_guest_whose_compatibility_driver_refuses_is_not_built(said: str, wrong: str) -> None:
    """Such an image was called ready, and its guests accused drivers of differences between Wine and NT."""
    spec = importlib.util.spec_from_file_location("customize", data_root() / "vm-images" / "wine" / "customize.py")
    assert spec is not None
    assert spec.loader is not None
    customize = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(customize)
    found = customize.check_compat(said)
    assert found.startswith(wrong) if wrong else found == ""
    if wrong:
        assert "driver/wine-compat" in hint_for(f"err:ntoskrnl\nlab: {found}\nE: setup failed: E: command failed")

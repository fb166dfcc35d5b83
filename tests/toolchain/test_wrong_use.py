"""Wrong use of `warnings`, `libraries`, `clients` and of sets: each has the file, the line, and what to try."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.errors import ConfigError
from lab.toolchain.select import resolve_drivers
from lab.toolchain.sign import SigningKey
from tests.toolchain.conftest import TINY_DRIVER

MANIFEST = "name: crane\nimage: crane.sys\nsources: [crane.c]\n"
DRIVER_OF_TOOLS = "name: winch\nimage: winch.sys\nsources: [winch.c]\n"
BEEP = TINY_DRIVER.replace("NTSTATUS", "int __stdcall MessageBeep(unsigned kind);\nNTSTATUS", 1).replace(
    "(path);", "(path); MessageBeep(0);"
)


def refused(tmp_path: Path, files: dict[str, str], key: SigningKey) -> ConfigError:
    """The error about ``dock`` in a project of these files."""
    for name, text in {"lab.yaml": "", "dock/crane.c": TINY_DRIVER, **files}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        resolve_drivers([tmp_path / "dock"], into=tmp_path / "run", out=tmp_path / "out", project=tmp_path, key=key)
    return caught.value


@pytest.mark.parametrize(
    ("line", "files", "where", "words", "hint"),
    [
        ("warnings: some", {}, "warnings", "must be 'errors', 'on' or 'off', not 'some'", ""),
        ("libraries: ksecdd", {}, "libraries", "must be a list, not 'ksecdd'", "write [ksecdd]"),
        ("libraries: [nowhere]", {}, "libraries.0", "cannot find -lnowhere", "the path of an .a or .lib"),
        ("libraries: [../lib/gone.a]", {}, "libraries.0", "there is no file", "relative to the manifest's folder"),
        ("libraries: [ksecdd, ../lib/x.a]", {"lib/x.a": "text"}, "libraries.1", "file format not recognized", "no library for"),
        ("libraries: [/usr/lib/x.a]", {}, "libraries", "such as ../x.a", ""),
        ("libraries: [user32]", {"dock/crane.c": BEEP}, "libraries", "MessageBeep from user32.dll", "kernel modules"),
        ("clients: [../tools/gone.driver.yaml]", {}, "clients.0", "there is no ", "paths count from"),
        (
            "clients: [../tools/winch.driver.yaml]",
            {"tools/winch.driver.yaml": DRIVER_OF_TOOLS, "tools/winch.c": TINY_DRIVER},
            "clients.0",
            "describes a driver (winch), and a client is a program",
            "`needs`",
        ),
        ("clients: [{name: Crane, sources: [crane.c]}]", {}, "clients.0", "Crane is the name of the driver, too", "-client"),
        (
            "clients: [drvprobe, {name: hook, sources: [crane.c]}, {name: hook, sources: [crane.c]}]",
            {},
            "clients.2",
            "hook is the name of another program, too",
            "hook-client",
        ),
        ("clients: [../tools]", {"tools/notes.txt": ""}, "clients.0", "there is no driver.yaml in ", "docs/drivers.md"),
    ],
)
def test_a_wrong_value_is_reported_with_its_line(
    tmp_path: Path, key: SigningKey, line: str, files: dict[str, str], where: str, words: str, hint: str
) -> None:
    error = refused(tmp_path, {"dock/driver.yaml": f"{MANIFEST}{line}\n", **files}, key)
    assert str(error).startswith(f"{tmp_path}/dock/driver.yaml:4: {where}: ")
    assert words in error.message
    assert hint in error.hint
    assert ".building-" not in str(error), "a scratch folder that is gone helps nobody"


@pytest.mark.parametrize(
    ("second", "line", "words"),
    [
        (MANIFEST, 1, "both have the driver name crane"),
        (MANIFEST.replace("name: crane", "name: winch"), 2, "crane.sys is also the image of the driver crane"),
    ],
)
def test_duplicates_in_a_set_are_reported_with_file_and_line(
    tmp_path: Path, key: SigningKey, second: str, line: int, words: str
) -> None:
    error = refused(tmp_path, {"dock/a.driver.yaml": MANIFEST, "dock/b.driver.yaml": second}, key)
    assert str(error).startswith(f"{tmp_path}/dock/b.driver.yaml:{line}: ")
    assert words in error.message
    assert str(tmp_path / "dock" / "a.driver.yaml") in error.message
    assert error.hint

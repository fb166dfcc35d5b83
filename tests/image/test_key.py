"""The key of an image changes with everything that the image is made from, and with nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.host.assets import data_root
from lab.image.key import KEY_LENGTH, content_key, source_files, tree_inputs
from lab.image.wine import recipe
from lab.image.wine.recipe import WineRecipe
from lab.toolchain import flags

NAMES = st.text(min_size=1, max_size=8)
CONTENTS = st.dictionaries(NAMES, st.binary(max_size=20), min_size=1, max_size=6)


@given(CONTENTS)
def test_the_order_of_inputs_does_not_matter(inputs: dict[str, bytes]) -> None:
    assert content_key(inputs) == content_key(dict(reversed(inputs.items())))
    assert len(content_key(inputs)) == KEY_LENGTH


@given(CONTENTS, CONTENTS)
def test_different_inputs_have_different_keys(left: dict[str, bytes], right: dict[str, bytes]) -> None:
    assert (content_key(left) == content_key(right)) == (left == right)


def test_moving_a_byte_from_a_name_to_its_content_changes_the_key() -> None:
    assert content_key({"ab": b"c"}) != content_key({"a": b"bc"})
    assert content_key({"a": b"", "b": b"x"}) != content_key({"a": b"x", "b": b""})


def test_left_overs_of_editors_and_python_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "sub" / "__pycache__").mkdir(parents=True)
    for name in ("a.py", "a.py~", "b.pyc", "README.md", "sub/c", "sub/__pycache__/a.cpython-313.pyc"):
        (tmp_path / name).write_text(name)
    assert [path.relative_to(tmp_path).as_posix() for path in source_files(tmp_path)] == ["a.py", "sub/c"]
    assert set(tree_inputs(tmp_path, "x")) == {"x/a.py", "x/sub/c"}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the parts of the checkout that go into the free guest."""
    root = data_root()
    for part in ("vm-images", "driver/common", "driver/wine-compat"):
        shutil.copytree(root / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_the_place_of_the_checkout_is_not_part_of_the_key(checkout: Path) -> None:
    assert WineRecipe(checkout).key() == WineRecipe().key()


@pytest.mark.parametrize(
    "name",
    [
        "vm-images/wine/recipe.yaml",
        "vm-images/wine/customize.py",
        "vm-images/wine/make-disk",
        "vm-images/wine/guest/printd.py",
        "vm-images/wine/guest/inittab",
        "vm-images/wine/winrm/labwinrm/service.py",
        "vm-images/wine/winrm/launcher/labexec.c",
        "vm-images/tools/labfile/labfile.c",
        "vm-images/tools/labfile/sha256.c",
        "vm-images/tools/labfile/pax.h",
        "vm-images/tools/labshell/labshell.c",
        "driver/common/arguments.c",
        "driver/common/program.h",
        "driver/wine-compat/labcompat.c",
        "driver/wine-compat/driver.yaml",
    ],
)
def test_the_key_of_the_free_guest_changes_with_each_source(checkout: Path, name: str) -> None:
    before = WineRecipe(checkout).key()
    path = checkout / name
    path.write_bytes(path.read_bytes() + b"\n")
    assert WineRecipe(checkout).key() != before


def test_the_key_of_the_free_guest_covers_a_new_file_what_is_done_and_the_schema(checkout: Path) -> None:
    before = WineRecipe(checkout)
    key = before.key()
    (checkout / "vm-images/wine/guest/new").write_text("")
    assert WineRecipe(checkout).key() != key
    assert {"schema", "plan"} <= set(before.inputs())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CAPABILITIES", ("dbgprint",)),
        ("HOSTNAME", "other"),
        ("MACHINE", recipe.MACHINE.model_copy(update={"memory_mb": 1024})),
        ("REVISION", recipe.REVISION + 1),
        ("MARK_PORT", 6000),
    ],
)
def test_the_key_changes_with_what_the_code_does(monkeypatch: pytest.MonkeyPatch, name: str, value: object) -> None:
    before = WineRecipe().key()
    monkeypatch.setattr(recipe, name, value)
    assert WineRecipe().key() != before


def test_the_plan_names_all_that_is_installed_and_nothing_of_this_host(checkout: Path) -> None:
    plan = json.loads(WineRecipe(checkout).plan())
    targets = {entry["target"] for entry in plan["customize"]["install"]}
    assert {"/etc/inittab", "/etc/lab/winrm.json", "/home/lab/wine/drive_c/lab/labexec.exe"} <= targets
    assert str(checkout) not in json.dumps(plan)
    assert plan["customize"]["password"] == "PASSWORD"


def test_the_key_of_the_free_guest_covers_how_its_programs_are_compiled(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The compiler's options decide the bytes of labcompat.sys as its sources do."""
    before = WineRecipe(checkout)
    key = before.key()
    assert {"kernel headers/wdk.h", "kernel headers/wdm.h", "build/driver/wine-compat/driver.yaml"} <= set(before.inputs())
    assert str(checkout).encode() not in b"".join(before.inputs().values())
    monkeypatch.setattr(flags, "_COMPILE", (*flags._COMPILE, "-fno-inline"))
    changed = WineRecipe(checkout).key()
    assert changed != key
    monkeypatch.setattr(flags, "_LINK", (*flags._LINK, "-Wl,--no-seh"))
    assert WineRecipe(checkout).key() not in (key, changed)

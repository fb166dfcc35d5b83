from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Protocol

import pytest

from lab.errors import ConfigError, PluginError
from lab.host.plugins import Kinds, missing_members
from tests.extending.packages import Packages
from tests.host.sizes import METRE, Size

GROUP = "driver_test_lab.sizes"


SIZES = Kinds(what="size", group=GROUP, builtin={"metre": "tests.host.sizes:METRE"})


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Packages:
    return Packages(tmp_path, monkeypatch)


INCH = "class Inch:\n    unit = 'in'\n    def metres(self):\n        return 0.0254\n\ninch = Inch()\n"


def test_a_package_adds_a_kind_by_its_entry_point(packages: Packages) -> None:
    assert SIZES.names() == ("metre",)
    packages.install("imperial", {"imperial_module": INCH}, GROUP, {"inch": "imperial_module:inch"})
    assert SIZES.names() == ("metre", "inch")
    assert SIZES.knows("inch")
    assert SIZES.load("inch", Size).metres() == 0.0254
    assert SIZES.load("metre", Size) is METRE
    assert {name: kind.unit for name, kind in SIZES.load_all(Size).items()} == {"metre": "m", "inch": "in"}


def test_names_are_read_without_importing_anything(packages: Packages) -> None:
    packages.install("broken", {"broken_module": "raise OSError('no licence file')\n"}, GROUP, {"ell": "broken_module:ell"})
    assert SIZES.names() == ("metre", "ell")
    assert "broken_module" not in sys.modules


def test_an_unknown_name_is_the_users_mistake(packages: Packages) -> None:
    with pytest.raises(ConfigError, match=r"image toy: there is no size 'meter'\n  try: did you mean metre\?"):
        SIZES.load("meter", Size, why="image toy")
    packages.install("imperial", {"imperial_module": INCH}, GROUP, {"inch": "imperial_module:inch"})
    with pytest.raises(ConfigError, match=r"there is no size 'parsec'\n  try: known are metre, inch; .*docs/extending.md"):
        SIZES.load("parsec", Size)


def test_a_package_that_cannot_be_imported_is_named(packages: Packages, caplog: pytest.LogCaptureFixture) -> None:
    packages.install("broken", {"broken_module": "raise OSError('no licence file')\n"}, GROUP, {"ell": "broken_module:ell"})
    with pytest.raises(PluginError) as caught:
        SIZES.load("ell", Size)
    assert caught.value.message == (
        "the size 'ell' of broken 1.2 (entry point ell = broken_module:ell) cannot be imported: OSError: no licence file"
    )
    assert "import broken_module" in caught.value.hint
    with caplog.at_level(logging.WARNING):
        assert list(SIZES.load_all(Size)) == ["metre"]
    assert "no licence file" in caplog.text


def test_a_wrong_object_name_is_named(packages: Packages) -> None:
    packages.install("imperial", {"imperial_module": INCH}, GROUP, {"inch": "imperial_module:inches"})
    with pytest.raises(PluginError, match=r"of imperial 1\.2 .*cannot be imported: AttributeError.*inches"):
        SIZES.load("inch", Size)


def test_missing_members_of_an_object_are_named(packages: Packages) -> None:
    packages.install("imperial", {"imperial_module": "inch = object()\n"}, GROUP, {"inch": "imperial_module:inch"})
    with pytest.raises(PluginError, match=r"of imperial 1\.2 .* has no metres, unit\n  try: .*tests\.host\.sizes\.Size"):
        SIZES.load("inch", Size)


def test_two_packages_cannot_add_the_same_name(packages: Packages) -> None:
    packages.install("imperial", {"imperial_module": INCH}, GROUP, {"inch": "imperial_module:inch"})
    packages.install(
        "customary", {"customary_module": INCH}, GROUP, {"inch": "customary_module:inch", "metre": "customary_module:inch"}
    )
    with pytest.raises(PluginError, match=r"'inch' is there more than once: (customary|imperial) 1\.2 .*, (customary|imp)"):
        SIZES.load("inch", Size)
    with pytest.raises(PluginError, match=r"'metre' is there more than once: the lab itself, customary 1\.2"):
        SIZES.load("metre", Size)
    assert SIZES.names() == ("metre", "inch")


def test_a_package_that_is_on_the_path_twice_counts_once(packages: Packages, monkeypatch: pytest.MonkeyPatch) -> None:
    packages.install("imperial", {"imperial_module": INCH}, GROUP, {"inch": "imperial_module:inch"})
    monkeypatch.setattr(sys, "path", [*sys.path, sys.path[0]])
    assert SIZES.load("inch", Size).unit == "in"


def test_members_of_inherited_protocols_are_required_too() -> None:
    class Named(Size, Protocol):
        name: str

    assert missing_members(METRE, Named) == ("name",)

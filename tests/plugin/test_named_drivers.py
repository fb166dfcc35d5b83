"""Which drivers a run has: those that the user names, and those of the project that a marker names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from lab.errors import NoDriver
from lab.host.assets import data_root
from lab.live.chosen_drivers import ChosenDrivers
from lab.live.payload import Payload
from lab.toolchain.build import build_drivers
from lab.toolchain.files import sha256_of
from lab.toolchain.select import DriverPackage
from tests.toolchain.conftest import TINY_DRIVER

_SYNC = data_root() / "driver" / "sync"
_TEST = "import pytest\n\n@pytest.mark.lab_driver('teacup')\ndef test_it(driver):\n    assert driver\n"


def _take(out: Path, *paths: Path, marked: Sequence[str] = (), project: Path | None = None) -> tuple[DriverPackage, ...]:
    return ChosenDrivers(paths=paths, project=project).take_once("x64", into=out / "drivers", marked=marked)


def test_a_marker_adds_a_driver_by_its_name(tmp_path: Path) -> None:
    packages = _take(tmp_path, _SYNC, marked=["sync", "async", "teacup"])
    assert sorted(package.name for package in packages) == ["async", "sync"]
    # The next worker takes the same copies.
    again = _take(tmp_path, tmp_path / "gone", marked=["sync", "async", "teacup"])
    assert {package.image for package in again} == {package.image for package in packages}


def test_drivers_needed_by_a_markers_driver_are_the_runs_own(tmp_path: Path) -> None:
    """The project's build of it replaced the user's file without a message."""
    _driver(tmp_path, "upper", "needs: [lower]\n")
    _driver(tmp_path, "lower")
    (built,) = build_drivers([f"{tmp_path / 'lower'}/"], out=tmp_path / "built", project=tmp_path)
    own = tmp_path / "release" / "lower.sys"
    own.parent.mkdir()
    own.write_bytes(built.path.read_bytes() + bytes(8))
    for _worker in range(2):
        packages = _take(tmp_path / "run", own, marked=["upper", "lower"], project=tmp_path)
        assert [(package.name, package.needs) for package in packages] == [("lower", ()), ("upper", ("lower",))]
        payload = Payload.of(packages)
        assert payload.drivers["lower"].sha256 == sha256_of(own)
        assert payload.load_order(["upper"]) == ("lower", "upper")


def _driver(folder: Path, name: str, more: str = "") -> None:
    """A driver of the project, with the folder's name."""
    (folder / name).mkdir()
    (folder / name / f"{name}.c").write_text(TINY_DRIVER, encoding="utf-8")
    manifest = f"name: {name}\nimage: {name}.sys\nsources: [{name}.c]\n{more}"
    (folder / name / "driver.yaml").write_text(manifest, encoding="utf-8")


def test_a_run_without_the_drivers_of_its_tests_says_how_to_name_one(tmp_path: Path) -> None:
    """The lab's own two drivers were part of the run, and the test's was called unknown."""
    with pytest.raises(NoDriver, match="has no driver, and its tests ask for teacup") as caught:
        _take(tmp_path, marked=["teacup"], project=tmp_path)
    assert all(word in caught.value.hint for word in ("--driver PATH", "--lab-driver", "lab.yaml", "lab init"))
    assert _take(tmp_path / "guests-only", project=tmp_path) == ()


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["alone", "workers"])
def test_pytest_ends_with_a_usage_error_of_its_own(workers: tuple[str, ...], pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=_TEST)
    pytester.makeconftest(
        """
import lab.plugin.run_guests as source
from lab.errors import NoDriver

def none(*_arguments, **_options):
    raise NoDriver("this run has no driver", hint="name one")

source.make_source = none
"""
    )
    done = pytester.runpytest_subprocess("-p", "no:hypothesispytest", *workers, timeout=120)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    assert "this run has no driver" in done.stdout.str() + done.stderr.str()


@pytest.mark.parametrize(("arguments", "notes"), [((), 1), (("-n", "2"), 1), (("--lab-prepared", "-n", "2"), 0)])
def test_an_old_name_in_the_lab_file_is_noted_once_for_all_processes(
    inner: Any, arguments: tuple[str, ...], notes: int
) -> None:
    inner.prepare()
    (inner.pytester.path / "lab.yaml").write_text("machine: {memory: 2G}\n", encoding="utf-8")
    result = inner.run("def test_nothing(guest): assert guest.alive\n", *arguments)
    result.assert_outcomes(passed=1)
    assert result.stderr.str().count("`machine:` is the old name of `vm:`") == notes

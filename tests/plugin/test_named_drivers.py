"""Which drivers a run has: those that are named, and those of the project that a marker names."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.errors import NoDriver
from lab.host.assets import data_root
from lab.plugin.source import _own_drivers

_SYNC = data_root() / "driver" / "sync"
_TEST = "import pytest\n\n@pytest.mark.lab_driver('teacup')\ndef test_it(driver):\n    assert driver\n"


def test_a_marker_brings_a_driver_that_can_be_told_by_name(tmp_path: Path) -> None:
    packages = _own_drivers([_SYNC], tmp_path, arch="x64", marked=["sync", "async", "teacup"])
    assert sorted(package.name for package in packages) == ["async", "sync"]
    # The next worker takes the same copies.
    again = _own_drivers([tmp_path / "gone"], tmp_path, arch="x64", marked=["sync", "async", "teacup"])
    assert {package.image for package in again} == {package.image for package in packages}


def test_a_run_whose_tests_want_drivers_and_that_has_none_says_how_to_name_one(tmp_path: Path) -> None:
    """The lab's own two were part of it, and the test's was called unknown."""
    with pytest.raises(NoDriver, match="has no driver, and its tests ask for teacup") as caught:
        _own_drivers([], tmp_path, arch="x64", marked=["teacup"], project=tmp_path)
    assert all(word in caught.value.hint for word in ("--driver PATH", "--lab-driver", "lab.yaml", "lab init"))
    assert _own_drivers([], tmp_path / "guests-only", arch="x64", project=tmp_path) == ()


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["alone", "workers"])
def test_pytest_ends_with_a_usage_error_of_its_own(workers: tuple[str, ...], pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=_TEST)
    pytester.makeconftest(
        """
import lab.plugin.source as source
from lab.errors import NoDriver

def none(*_arguments, **_options):
    raise NoDriver("this run has no driver", hint="name one")

source.make_source = none
"""
    )
    done = pytester.runpytest_subprocess("-p", "no:hypothesispytest", *workers, timeout=120)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    assert "this run has no driver" in done.stdout.str() + done.stderr.str()

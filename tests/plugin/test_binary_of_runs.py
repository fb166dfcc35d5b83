"""A file in the guest that is not the run's own: an error of the lab, and no verdict about the driver."""

from __future__ import annotations

from pathlib import Path

from lab.live.chosen_drivers import ChosenDrivers
from lab.toolchain.select import PACKAGES_FILE
from tests.plugin.conftest import Inner

_TESTS = r"""
pytestmark = pytest.mark.lab_driver("sync")

def test_first(guest, driver, reader):
    assert reader.read(length=20)[0].text == "slot A"
    driver.stop()
    guest.transport.contents["c:\\lab\\run\\sim.sys"] = b"another driver"

def test_second(driver):
    assert False, "it must never come here"

def test_third(driver, reader):
    assert reader.read(length=20)[0].text == "slot A"
"""


def test_a_test_that_overwrites_the_driver_allows_no_verdict_about_it(inner: Inner) -> None:
    """The next test in the same guest tested that file, under the hash of the run."""
    inner.run(_TESTS)
    assert inner.verdicts == {"test_first": "passed", "test_second": "infra", "test_third": "passed"}
    second = inner.test("test_second")
    assert "sim.sys has SHA-256" in second.reason + second.details
    assert {guest.guest_id for guest in inner.report.guests} == {"master-1", "master-2"}


def test_a_worker_uses_the_existing_copies(tmp_path: Path) -> None:
    """`lab run`, or the worker that came first, has taken them: the present file at the user's path does not matter."""
    (tmp_path / "drivers").mkdir()
    (tmp_path / "drivers" / PACKAGES_FILE).write_text(
        '[{"name": "mine", "service": "Mine", "image": "/run/mine.sys", "sha256": "00", "arch": "x64",'
        ' "load_order_group": "", "links": [], "clients": {}, "encoding": "utf-8"}]'
    )
    (package,) = ChosenDrivers(paths=(tmp_path / "gone.sys",)).take_once("x64", into=tmp_path / "drivers")
    assert (package.name, package.image) == ("mine", Path("/run/mine.sys"))

"""The plugin's markers: their meaning, and what a test asks for with them."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from lab.errors import ConfigError, SuiteError
from lab.guest.capability import check_names

if TYPE_CHECKING:
    from lab.live.payload import Payload

#: Signature and one line for ``pytest --markers``.
_MARKERS = {
    "lab_driver": (
        "lab_driver(name, *names, reload=True)",
        "drivers that must be loaded; reload=False keeps drivers that an earlier test loaded",
    ),
    "lab_needs": ("lab_needs(capability, *capabilities)", "skip the test if the guest lacks one of these capabilities"),
    "lab_fresh": ("lab_fresh", "needs a guest that no other test has used"),
    "lab_cpus": ("lab_cpus(n)", "needs a guest with n virtual CPUs, and the host without other guests"),
    "lab_clock": (
        'lab_clock("real")',
        "needs a guest whose time is the host's, also where the other guests of the run have a virtual clock",
    ),
    "lab_expect_fault": (
        "lab_expect_fault(code)",
        "the test provokes a driver fault with this code, and fails if it does not happen",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the markers of one test ask for.

    Attributes:
        drivers: Names of the drivers, in the marker's order.
        reload: Load them afresh for this test.
        needs: Capabilities, without duplicates, nearest marker first.
        fresh: A guest that no test has used.
        cpus: Virtual CPUs; None for the image's own number.
        real_clock: A guest whose time is the host's.
        brought: Those of ``drivers`` that were added because others need them.
        expected_fault: Code of the fault that the test provokes.
        wrong: Why the markers are wrong; empty if they are right. Only the test with such a marker fails, at its setup.
    """

    drivers: tuple[str, ...] = ()
    reload: bool = True
    needs: tuple[str, ...] = ()
    fresh: bool = False
    cpus: int | None = None
    real_clock: bool = False
    brought: tuple[str, ...] = ()
    expected_fault: int | None = None
    wrong: str = ""


def register(config: pytest.Config) -> None:
    """Make the markers known to pytest."""
    for signature, text in _MARKERS.values():
        config.addinivalue_line("markers", f"{signature}: {text}")


def has_marker(item: pytest.Item) -> bool:
    """Whether a test carries one of the lab's markers."""
    return any(item.get_closest_marker(name) for name in _MARKERS)


def read_wishes(item: pytest.Item) -> Wishes:
    """What a test asks for; of one with a marker that is used wrongly, the reason, which quotes the marker's signature."""
    try:
        return _read_wishes(item)
    except SuiteError as error:
        return Wishes(wrong=str(error))


def _read_wishes(item: pytest.Item) -> Wishes:
    driver = item.get_closest_marker("lab_driver")
    reload = True
    drivers: tuple[str, ...] = ()
    if driver is not None:
        reload = driver.kwargs.get("reload", True)
        drivers = driver.args
        if not drivers or set(driver.kwargs) - {"reload"} or not isinstance(reload, bool) or not _all_text(drivers):
            raise _wrong(driver)
    needs: dict[str, None] = {}
    for marker in item.iter_markers("lab_needs"):
        if not marker.args or marker.kwargs or not _all_text(marker.args):
            raise _wrong(marker)
        try:
            needs.update(dict.fromkeys(check_names(marker.args)))
        except ConfigError as error:
            raise SuiteError(f"@pytest.mark.lab_needs: {error.message}", hint=error.hint) from None
    if "prints" in getattr(item, "fixturenames", ()):
        # If prints do not reach the host, a test that waits for one would accuse the driver.
        needs["dbgprint"] = None
    fresh = item.get_closest_marker("lab_fresh")
    if fresh is not None and (fresh.args or fresh.kwargs):
        raise _wrong(fresh)
    return Wishes(
        drivers=drivers,
        reload=reload,
        needs=tuple(needs),
        fresh=fresh is not None,
        cpus=_one_number(item, "lab_cpus", least=1),
        real_clock=_real_clock(item),
        expected_fault=_one_number(item, "lab_expect_fault", least=0),
    )


def with_needs(wishes: Wishes, payload: Payload) -> Wishes:
    """Add the drivers that those of the marker need, and the capability that packages need; unknown names stay as they are."""
    if not wishes.drivers or any(name not in payload.drivers for name in wishes.drivers):
        return wishes
    order = payload.load_order(wishes.drivers)
    brought = tuple(name for name in order if name not in wishes.drivers)
    pnp = ("pnp",) if any(payload.drivers[name].inf for name in order) else ()
    needs = tuple(dict.fromkeys((*wishes.needs, *pnp)))
    return replace(wishes, drivers=(*wishes.drivers, *brought), brought=brought, needs=needs)


def unknown_driver(wishes: Wishes, known: Collection[str]) -> str:
    """The error text for a driver that the run does not have, with similar names; empty if it has them all."""
    for name in wishes.drivers:
        if name not in known:
            close = difflib.get_close_matches(name, sorted(known))
            meant = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
            return f"no driver {name!r} in this run (available: {', '.join(sorted(known)) or 'none'}){meant}"
    return ""


def _one_number(item: pytest.Item, name: str, *, least: int) -> int | None:
    marker = item.get_closest_marker(name)
    if marker is None:
        return None
    if len(marker.args) != 1 or marker.kwargs or type(marker.args[0]) is not int or marker.args[0] < least:
        raise _wrong(marker)
    return int(marker.args[0])


def _real_clock(item: pytest.Item) -> bool:
    marker = item.get_closest_marker("lab_clock")
    if marker is None:
        return False
    if marker.args != ("real",) or marker.kwargs:
        raise _wrong(marker)
    return True


def _all_text(values: tuple[object, ...]) -> bool:
    return all(isinstance(value, str) and value for value in values)


def _wrong(marker: pytest.Mark) -> SuiteError:
    arguments = ", ".join([*map(repr, marker.args), *(f"{key}={value!r}" for key, value in marker.kwargs.items())])
    return SuiteError(f"@pytest.mark.{marker.name}({arguments}) is wrong; write {_MARKERS[marker.name][0]}")

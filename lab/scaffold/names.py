"""Unique names for the drivers of one repository: in manifests, in the guest, and as files of suites."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from lab.scaffold.found import FoundDriver

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.-]+")
_LONGEST = 64


def driver_name(stem: str) -> str:
    """A stem, changed to a name that manifests allow."""
    return _NOT_IN_NAMES.sub("-", stem).strip("-_.")[:_LONGEST] or "driver"


def identifier(name: str) -> str:
    """A driver's name, changed to the name of a Python module."""
    return "".join(char if char.isalnum() else "_" for char in name).lower()


def told_apart(drivers: Sequence[FoundDriver], root: Path) -> tuple[tuple[FoundDriver, ...], dict[Path, str]]:
    """The drivers, each with a unique name, image, service and manifest; and those for which that is impossible, and why.

    Drivers with the same name get the name of their folder as a suffix: ``cancel-sys`` and ``cancel-startio``. One that has a
    manifest keeps its name. Two finished files of one name cannot be in one guest: the later one is left out.

    Args:
        drivers: As they were found.
        root: The repository.
    """
    drivers, left_out = _of_different_files(drivers)
    often = Counter(identifier(driver.name) for driver in drivers)
    taken = {identifier(driver.name) for driver in drivers if driver.manifest or often[identifier(driver.name)] == 1}
    found = []
    for driver in drivers:
        if not driver.manifest and often[identifier(driver.name)] > 1:
            name = next(name for name in _names(driver, drivers, root) if identifier(name) not in taken)
            taken.add(identifier(name))
            image = f"{name}.sys" if driver.sources else driver.image
            driver = replace(driver, name=name, image=image)
        found.append(driver)
    services = Counter((driver.service or driver.name).lower() for driver in found)
    new = Counter(driver.folder for driver in found if not driver.manifest)
    return tuple(
        driver
        if driver.manifest
        else replace(
            driver,
            service=driver.service if services[(driver.service or driver.name).lower()] == 1 else "",
            alone=driver.alone and new[driver.folder] == 1,
        )
        for driver in found
    ), left_out


def _of_different_files(drivers: Sequence[FoundDriver]) -> tuple[list[FoundDriver], dict[Path, str]]:
    images: dict[str, FoundDriver] = {}
    left_out: dict[Path, str] = {}
    for driver in sorted(drivers, key=lambda one: one.manifest is None):
        if driver.sources:
            continue
        other = images.setdefault(Path(driver.image).name.lower(), driver)
        if other is not driver and not driver.manifest:
            left_out[driver.origin] = (
                f"{driver.image} has the same name as that of {other.origin.name}: a guest can have only one of them"
            )
    return [driver for driver in drivers if driver.origin not in left_out], left_out


def _names(driver: FoundDriver, drivers: Sequence[FoundDriver], root: Path) -> Iterator[str]:
    """Candidate names for one of several drivers with the same name: with its folder, with more folders, with a number."""
    same = [one for one in drivers if identifier(one.name) == identifier(driver.name)]
    parts = driver.folder.relative_to(root).parts if driver.folder.is_relative_to(root) else driver.folder.parts
    if sum(one.folder == driver.folder for one in same) == 1:
        for count in range(1, len(parts) + 1):
            yield _behind(driver.name, driver_name("-".join(parts[-count:])))
    yield driver.name
    for number in range(2, len(drivers) + 2):
        yield _behind(driver.name, str(number))


def _behind(name: str, word: str) -> str:
    return f"{name[: max(1, _LONGEST - 1 - len(word))]}-{word}"[:_LONGEST]

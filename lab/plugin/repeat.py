"""``--lab-repeat N``: each selected test N times, each time in a fresh fork, by any free worker.

pytest-xdist hands out tests by their ids, so a repetition is a copy of the test with an id of its own:
``test_it.py::test_x@2[parameters]``. The first one keeps the id. All records have the test's own id, so that the report has one
entry for it.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import re
from pathlib import Path

import pytest

_NUMBER = re.compile(r"@(\d+)$", re.ASCII)
#: Below the folder of the workers' files: a file for each test that was red.
_RED = "red"
_COPIED = "lab_repetition_id"


def expand(items: list[pytest.Item], count: int) -> None:
    """Add the copies, all second runs after all first ones, so that with ``--lab-until-red`` no decided test begins."""
    firsts = list(items)
    for number in range(2, count + 1):
        items += [_copy(item, number) for item in firsts]


def origin(nodeid: str) -> str:
    """The id of the test that a repetition is of."""
    file, name, parameters = _parts(nodeid)
    return file + _NUMBER.sub("", name) + parameters


def number_of(nodeid: str) -> int:
    """Which repetition this is, from 1."""
    found = _NUMBER.search(_parts(nodeid)[1])
    return int(found[1]) if found else 1


def _parts(nodeid: str) -> tuple[str, str, str]:
    """File, names and parameters of an id; they are the id when put together. Parameters may hold anything."""
    file, separator, rest = nodeid.partition("::")
    name, bracket, parameters = rest.partition("[")
    return file + separator, name, bracket + parameters


class RedTests:
    """The tests of a run that were red so far, in any worker.

    Args:
        workers: Folder of the workers' files.
    """

    def __init__(self, workers: Path) -> None:
        self._folder = workers / _RED

    def note(self, nodeid: str) -> None:
        """A test was red."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._file(nodeid).touch()

    def has(self, nodeid: str) -> bool:
        """Whether a test was red."""
        return self._file(nodeid).exists()

    def _file(self, nodeid: str) -> Path:
        return self._folder / hashlib.sha256(origin(nodeid).encode("utf-8", "backslashreplace")).hexdigest()


class UntilRed:
    """Leaves out the repetitions of a test that was red; a plugin of pytest.

    Args:
        red: The tests that were.
    """

    def __init__(self, red: RedTests) -> None:
        self._red = red

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        """Leave out a test: no report of it is made."""
        if not self._red.has(item.nodeid):
            return None
        # The test before did not end the fixtures of its module and class, because this one uses them.
        item.session._setupstate.teardown_exact(nextitem)
        return True


def _copy(item: pytest.Item, number: int) -> pytest.Item:
    twin = copy.copy(item)
    # The id is no attribute that can be set: its private name differs from one version of pytest to the next.
    twin.__class__ = _repetition_of(type(item))
    file, name, parameters = _parts(item.nodeid)
    twin.__dict__[_COPIED] = f"{file}{name}@{number}{parameters}"
    twin.stash = twin._store = pytest.Stash()
    twin.user_properties = []
    twin._report_sections = []
    if isinstance(item.parent, pytest.Class):
        # Each run of a method has an instance of its own.
        twin.__dict__.pop("_obj", None)
        twin.__dict__.pop("_instance", None)
    if hasattr(twin, "_initrequest"):
        twin._initrequest()
    return twin


@functools.cache
def _repetition_of(kind: type[pytest.Item]) -> type[pytest.Item]:
    members: dict[str, object] = {"__slots__": (), "nodeid": property(lambda self: self.__dict__[_COPIED])}
    if isinstance(structured := getattr(kind, "id", None), property):
        # From pytest 9.2 on: the same id in its parts, from which reports are made.
        parse = functools.partial(_parsed, structured)
        members["id"] = property(parse)
    return type(kind.__name__, (kind,), members)


def _parsed(structured: property, item: pytest.Item) -> object:
    return type(structured.__get__(item)).parse(item.nodeid)

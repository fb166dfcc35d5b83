"""The tests of the harbour's owner; :mod:`tests.e2e.test_own_project` runs it in a copy of this folder."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from lab.plugin.drivers import LoadedDriver
from lab.plugin.fixtures import Client
from lab.prints.stream import PrintStream

#: The disk of the lab file, after the guest's own.
DISK = r"Z:\dev\vdb"
SECTOR = 1


@pytest.mark.lab_driver("crane")
def test_the_crane_calls_both_of_its_libraries(prints: PrintStream) -> None:
    prints.expect(["crane: USB 200, tide 42"])


@pytest.mark.lab_driver("crane")
def test_the_client_writes_into_the_logbook(client: Client) -> None:
    done = client("logbook", DISK, str(SECTOR), f"entry {SECTOR}").check()
    assert done.text.strip() == "logbook of the harbour"


@pytest.mark.lab_driver("winch", "crane")
def test_both_of_the_set_are_loaded(drivers: Mapping[str, LoadedDriver], prints: PrintStream) -> None:
    assert list(drivers) == ["winch", "crane"]
    prints.expect(["winch: ready"])

"""Driver packages by pnputil, with the answers of its documentation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from lab.errors import ServiceError, TransportError
from lab.guest.pnp import PNPUTIL, install_package, remove_package
from lab.guest.protocol import CommandResult

_ADDED = """Microsoft PnP Utility

Adding driver package:  boiler.inf
Driver package added successfully.
Published Name:         oem12.inf
Driver package installed on device: ROOT\\SYSTEM\\0001

Total driver packages:  1
Added driver packages:  1
"""


class Answering:
    """A transport that answers each command alike."""

    name = "answering"

    def __init__(self, text: str, code: int = 0) -> None:
        self.text, self.code = text, code
        self.commands: list[Sequence[str]] = []

    def run(self, command: str | Sequence[str], *, timeout: float, stdin: bytes = b"", shell: bool = True) -> CommandResult:
        assert not shell
        assert not isinstance(command, str)
        self.commands.append(command)
        return CommandResult(
            command=" ".join(command), exit_code=self.code, stdout=self.text.encode(), stderr=b"", duration_s=0
        )

    def put(self, source: Path, target: str, *, timeout: float = 300) -> None:
        raise AssertionError

    def get(self, source: str, target: Path, *, timeout: float = 300) -> None:
        raise AssertionError

    def close(self) -> None:
        pass


@pytest.mark.parametrize("code", [0, 259], ids=["installed", "no device wants it"])
def test_a_package_is_installed_and_removed_by_the_name_that_windows_gave_it(code: int) -> None:
    transport = Answering(_ADDED, code)
    assert install_package(transport, "C:\\lab\\run\\boiler.inf") == "oem12.inf"
    transport.code = 0
    remove_package(transport, "oem12.inf")
    assert transport.commands == [
        [PNPUTIL, "/add-driver", "C:\\lab\\run\\boiler.inf", "/install"],
        [PNPUTIL, "/delete-driver", "oem12.inf", "/uninstall", "/force"],
    ]


def test_the_name_is_found_in_any_language() -> None:
    assert install_package(Answering("Veröffentlichter Name:  OEM7.INF\n"), "x.inf") == "oem7.inf"


def test_a_refusal_of_windows_counts_against_the_driver_and_a_needed_restart_does_not() -> None:
    with pytest.raises(ServiceError) as caught:
        install_package(Answering("Failed to add driver package", 0x0000E0B), "x.inf")
    assert caught.value.exit_code == 0xE0B
    with pytest.raises(TransportError, match="asks for a restart"):
        install_package(Answering(_ADDED, 3010), "x.inf")
    with pytest.raises(TransportError, match="did not print the name"):
        install_package(Answering("done"), "x.inf")
    with pytest.raises(ServiceError):
        remove_package(Answering("in use", 5), "oem1.inf")
    remove_package(Answering("", 3010), "oem1.inf")

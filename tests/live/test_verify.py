"""Files in the guest must be those of the run; otherwise there is no verdict about the driver."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from lab.errors import TransportError, WrongBinary
from lab.guest.files import TOOLS_DIR, sum_of
from lab.guest.protocol import CommandResult
from lab.live.deploy import deploy
from lab.live.verify import verify
from tests.simulated import SimulatedSource
from tests.simulated_guest import SimulatedMachine, SimulatedPrints, SimulatedTransport

WANTED = {"a.sys": sum_of(b"a").sha256, "B.sys": sum_of(b"b").sha256}


def guest(**contents: bytes) -> SimulatedTransport:
    """A guest with these files of the payload's folder."""
    machine = SimulatedMachine()
    transport = SimulatedTransport(machine, SimulatedPrints(machine))
    transport.contents = {f"c:\\lab\\run\\{name}.sys": data for name, data in contents.items()}
    return transport


def test_the_right_files_are_recognized_in_any_case() -> None:
    assert verify(guest(a=b"a", b=b"b"), WANTED, tools_dir=TOOLS_DIR) == WANTED
    assert verify(guest(), {}, tools_dir=TOOLS_DIR) == {}


def test_a_file_with_another_content_is_named_with_both_hashes() -> None:
    with pytest.raises(WrongBinary) as caught:
        verify(guest(a=b"a", b=b"other"), WANTED, tools_dir=TOOLS_DIR)
    assert f"B.sys has SHA-256 {sum_of(b'other').sha256}, not {WANTED['B.sys']}" in caught.value.message
    assert "a.sys has" not in caught.value.message
    assert isinstance(caught.value, TransportError)  # an error of the lab, and a reason for another guest


def test_a_file_that_was_removed() -> None:
    with pytest.raises(WrongBinary, match="no longer in the guest"):
        verify(guest(a=b"a"), WANTED, tools_dir=TOOLS_DIR)


def test_a_guest_that_cannot_compute_sums() -> None:
    class Refusing(SimulatedTransport):
        def run(self, *_args: object, **_options: object) -> CommandResult:
            return CommandResult(command="labfile", exit_code=5, stdout=b"", stderr=b"labfile: no", duration_s=0.0)

    machine = SimulatedMachine()
    with pytest.raises(TransportError, match="could not compute SHA-256 of its files") as caught:
        verify(Refusing(machine, SimulatedPrints(machine)), WANTED, tools_dir=TOOLS_DIR)
    assert not isinstance(caught.value, WrongBinary)


def test_a_foreign_guest_without_labfile_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert verify(guest(), WANTED, tools_dir=TOOLS_DIR) == {}
    assert "cannot be compared" in caplog.text


def test_delivered_files_are_compared_for_every_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transport that copies other bytes without an error: only a check in the guest finds that."""
    source = SimulatedSource(tmp_path)
    live = source.boot("gw0-1")
    assert isinstance(live.transport, SimulatedTransport)
    assert deploy(live, source.payload).sums == source.payload.sums()
    other = source.boot("gw0-2")
    assert isinstance(other.transport, SimulatedTransport)
    transport, right = other.transport, other.transport.put

    def put(folder: Path, target: str, *, timeout: float = 300) -> None:
        right(folder, target, timeout=timeout)
        transport.contents["c:\\lab\\run\\sim.sys"] = b"of another run"

    monkeypatch.setattr(transport, "put", put)
    with pytest.raises(WrongBinary, match=r"sim\.sys has SHA-256"):
        deploy(other, source.payload)
    assert not transport.services

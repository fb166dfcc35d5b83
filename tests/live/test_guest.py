"""A live guest closes its parts in order, reports whether it answers, and opens further connections."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.errors import ServiceError, TransportError
from lab.live.deploy import deploy
from lab.live.guest import LiveGuest
from tests.simulated import SimulatedSource
from tests.simulated_guest import SimulatedTransport


@pytest.fixture
def source(tmp_path: Path) -> SimulatedSource:
    return SimulatedSource(tmp_path / "payload")


@pytest.fixture
def guest(source: SimulatedSource) -> LiveGuest:
    return source.boot("g-1")


def test_a_live_guest_answers(guest: LiveGuest) -> None:
    assert guest.alive
    assert guest.answers()
    guest.machine.kill()
    assert not guest.alive
    assert not guest.answers()


def test_a_live_guest_opens_the_other_transport(guest: LiveGuest) -> None:
    with guest.open("ssh") as other:
        assert other.name == "ssh"
        assert other.run("echo hello", timeout=1).text == "hello\n"


def test_capabilities_are_those_of_the_image(guest: LiveGuest) -> None:
    assert guest.capabilities == {"dbgprint", "driver_load"}


def test_closing_goes_from_the_connection_to_the_prints(guest: LiveGuest, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    # A transport that can be abandoned is: its shell ends with the VM.
    monkeypatch.setattr(guest.transport, "abandon", lambda: order.append("transport"))
    monkeypatch.setattr(guest.machine, "kill", lambda: order.append("kill"))
    monkeypatch.setattr(guest.machine, "close", lambda: order.append("machine"))
    monkeypatch.setattr(guest.prints, "close", lambda: order.append("prints"))
    guest.on_close = lambda kept: order.append(f"kept={kept}")
    guest.close()
    guest.close()
    assert order == ["transport", "kill", "machine", "prints", "kept=False"]


def test_a_dead_vm_is_closed_without_a_request(guest: LiveGuest, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise AssertionError("nobody is there")

    guest.machine.kill()
    monkeypatch.setattr(guest.transport, "close", fail)
    guest.close()
    assert not guest.alive


def test_a_service_that_cannot_be_created_is_an_error_of_the_lab(guest: LiveGuest, source: SimulatedSource) -> None:
    transport = guest.transport
    assert isinstance(transport, SimulatedTransport)
    transport.refuse_create = True
    with pytest.raises(TransportError, match="a service cannot be created") as caught:
        deploy(guest, source.payload)
    assert isinstance(caught.value.__cause__, ServiceError)

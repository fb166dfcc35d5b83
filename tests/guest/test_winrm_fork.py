"""WinRM over TCP after a fork: a new connection with a new login, as soon as the service answers, and the shell from before."""

from __future__ import annotations

import base64
import datetime
import logging
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from labwinrm.http import HttpConnection, Request
from spnego._ntlm_raw.messages import FileTime

from lab.errors import GuestHung, TransportError
from lab.guest.probeserve import framed, standing_probe
from lab.guest.transport_kind import GuestAccess
from lab.guest.winrm.errors import LoginRejected
from lab.guest.winrm.kind import WinRmKind
from lab.guest.winrm.transport import WinRmTransport
from lab.image.manifest import Credentials
from tests.guest.conftest import PASSWORD, WinRmGuest
from tests.guest.fakes import UNTOLD, everything_shown

PROBE = standing_probe(r"C:\lab\run\drvprobe.exe")
SECOND = standing_probe(r"C:\lab\other\drvprobe.exe")
_EPOCH = datetime.datetime(1601, 1, 1, tzinfo=datetime.UTC)


class Passing:
    """A clock that passes by sleeping alone; what happens meanwhile is the test's."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept = 0
        self.meanwhile: Callable[[int], None] = lambda _count: None

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept += 1
        self.meanwhile(self.slept)


@pytest.fixture
def passing() -> Passing:
    return Passing()


@pytest.fixture
def kind(passing: Passing) -> WinRmKind:
    return WinRmKind(passing, passing.sleep)


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


class Forwarded(GuestAccess):
    """Access by QEMU's forwarded port, to a service that is not there yet: ``refusing`` connections are refused first."""

    refusing = 0

    def needed_port(self) -> int:
        if Forwarded.refusing > 0:
            Forwarded.refusing -= 1
            return closed_port()
        return super().needed_port()


@pytest.fixture
def access(winrm_guest: WinRmGuest, tmp_path: Path) -> GuestAccess:
    Forwarded.refusing = 0
    return Forwarded(
        image="simulated",
        account=Credentials(username="lab", password=PASSWORD),
        port=winrm_guest.port,
        tools_dir=r"C:\lab\bin",
        run_dir=tmp_path,
        standing=PROBE,
        beside=(SECOND,),
    )


@pytest.fixture
def state(kind: WinRmKind, access: GuestAccess) -> dict[str, str]:
    """What is left in the guest before its snapshot; the connection to it is closed."""
    return dict(kind.park(kind.connect(access), access, timeout=300, progress=pytest.fail).state)


@pytest.fixture
def logins(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The NTLM messages that end a login, as the service reads them."""
    seen: list[bytes] = []
    read = HttpConnection.read

    def noted(connection: HttpConnection) -> Request | None:
        request = read(connection)
        if request is not None:
            message = base64.b64decode(request.headers.get("authorization", "").partition(" ")[2])
            seen.extend([message] if message[8:9] == b"\3" else [])
        return request

    monkeypatch.setattr(HttpConnection, "read", noted)
    return seen


def answers(transport: WinRmTransport) -> bool:
    return transport.run("echo here && true", timeout=300).text == "here\n"


def test_a_fork_logs_in_anew_and_uses_the_shell_that_was_left(
    kind: WinRmKind, access: GuestAccess, state: dict[str, str], winrm_guest: WinRmGuest, logins: list[bytes]
) -> None:
    transport = kind.resume(access, state, timeout=60)
    try:
        assert len(logins) == 1
        assert answers(transport)
        assert transport.ask(SECOND, framed("tick", "t1"), timeout=300).exit_code is None
        # One login, one shell, and no further process: the first commands of the test find all of it ready.
        assert len(logins) == 1
        assert list(winrm_guest.server._shells._shells) == [state["shell"]]
    finally:
        transport.close()


def test_a_service_that_refuses_connections_for_a_while_is_waited_for(
    kind: WinRmKind, access: GuestAccess, state: dict[str, str], passing: Passing, winrm_guest: WinRmGuest
) -> None:
    Forwarded.refusing = 3
    transport = kind.resume(access, state, timeout=60)
    assert passing.slept == 3
    assert answers(transport)
    transport.close()
    assert list(winrm_guest.server._shells._shells) == []  # the one that was left, and no other


def test_a_service_that_refuses_all_connections_is_an_error_at_the_deadline(
    kind: WinRmKind, access: GuestAccess, state: dict[str, str], passing: Passing
) -> None:
    Forwarded.refusing = 1000
    with pytest.raises(TransportError, match=r"127\.0\.0\.1:.*refused"):
        kind.resume(access, state, timeout=3)
    assert passing.now >= 3


def test_a_login_that_is_refused_once_is_tried_again(
    kind: WinRmKind, access: GuestAccess, state: dict[str, str], passing: Passing, tmp_path: Path, logins: list[bytes]
) -> None:
    users = tmp_path / "users"
    good = users.read_text()
    users.write_text(f":lab:{UNTOLD}\n")

    def repaired(_count: int) -> None:
        users.write_text(good)

    passing.meanwhile = repaired
    transport = kind.resume(access, state, timeout=60)
    assert answers(transport)
    assert len(logins) == 3
    transport.close()


def test_refused_logins_end_before_windows_would_lock_the_account(
    kind: WinRmKind, access: GuestAccess, state: dict[str, str], tmp_path: Path, logins: list[bytes]
) -> None:
    """A policy of Windows may lock an account after ten of them."""
    (tmp_path / "users").write_text(f":lab:{UNTOLD}\n")
    with pytest.raises(LoginRejected, match="the guest rejected the credentials") as caught:
        kind.resume(access, state, timeout=60)
    assert len(logins) == 4
    assert UNTOLD not in everything_shown(caught)
    assert PASSWORD not in everything_shown(caught)


def test_a_shell_that_the_service_has_given_up_is_replaced_and_logged(
    kind: WinRmKind, access: GuestAccess, state: dict[str, str], winrm_guest: WinRmGuest, caplog: pytest.LogCaptureFixture
) -> None:
    winrm_guest.server._shells.delete(state["shell"])
    with caplog.at_level(logging.WARNING):
        transport = kind.resume(access, state, timeout=60)
    assert "the shell that was left in the guest is gone; the fork has a new one" in caplog.text
    assert answers(transport)
    transport.close()


def test_a_process_that_does_not_answer_is_not_waited_for_twice(
    kind: WinRmKind, access: GuestAccess, state: dict[str, str], passing: Passing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hangs(*_args: object, **_settings: object) -> bool:
        raise GuestHung("drvprobe.exe did not answer")

    monkeypatch.setattr(WinRmTransport, "resume", hangs)
    with pytest.raises(GuestHung):
        kind.resume(access, state, timeout=60)
    assert passing.slept == 0


@pytest.fixture(params=[-30, 400])
def days_off(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """The service's clock is off by days: it runs in other threads than its client."""
    days: int = request.param

    def now(_kind: object, tz: datetime.tzinfo | None = None) -> FileTime:
        here = threading.current_thread() is threading.main_thread()
        off = datetime.timedelta(days=0 if here else days)
        return FileTime.from_datetime(datetime.datetime.now(tz or datetime.UTC) + off)

    monkeypatch.setattr(FileTime, "now", classmethod(now))
    return days


def test_the_login_follows_the_clock_of_the_guest(
    kind: WinRmKind, access: GuestAccess, state: dict[str, str], logins: list[bytes], days_off: int
) -> None:
    """A Windows refuses a response that is too old by its own clock. [MS-NLMP] 3.1.5.1.2: the challenge has the time to use."""
    transport = kind.resume(access, state, timeout=60)
    transport.close()
    (message,) = logins
    size, _, at = struct.unpack_from("<HHI", message, 20)
    response = message[at : at + size]
    (ticks,) = struct.unpack_from("<Q", response, 24)  # proof 16, two versions, six reserved bytes, the client's time
    moment = _EPOCH + datetime.timedelta(microseconds=ticks / 10)
    off = moment - datetime.datetime.now(datetime.UTC)
    assert abs(off - datetime.timedelta(days=days_off)) < datetime.timedelta(hours=1)

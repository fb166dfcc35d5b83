"""The clock of a resumed Windows guest, set over the lab's own WinRM service with a double of PowerShell."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import tree_sitter
import tree_sitter_powershell
from pydantic import SecretStr

from lab.errors import CommandFailed, SnapshotFailed, TransportError
from lab.guest.protocol import CommandResult, Transport
from lab.guest.standing import Answer, Question, StandingProgram
from lab.guest.winrm.transport import WinRmTransport, open_winrm
from lab.image.manifest import load_manifest
from lab.image.windows.clock import CLOCK_PROGRAM, RENEW_AFTER_S, _script, set_clock
from lab.snapshot.fork_clock import clock_programs, require_fork_clock, set_fork_clock
from tests.guest.conftest import PASSWORD, WinRmGuest, serve_winrm
from tests.image.windows.conftest import MakeImage
from tests.simulated import manifest

PARSER = tree_sitter.Parser(tree_sitter.Language(tree_sitter_powershell.language()))
HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
#: Far less than the clocks are moved, far more than an answer takes on a host that is busy.
NEAR_S = 600.0


class Woken:
    """A guest that wakes with an old clock."""

    def __init__(self, guest: WinRmGuest) -> None:
        self.guest = guest
        self.transport = open_winrm("127.0.0.1", guest.port, "lab", SecretStr(PASSWORD), grace_s=20)
        self.set_back(0)

    def set_back(self, seconds: float) -> None:
        (self.guest.drive_c / "clock").write_text(str(-seconds))

    @property
    def off_s(self) -> float:
        """Seconds by which its clock is off."""
        return float((self.guest.drive_c / "clock").read_text())

    def lines(self, name: str) -> list[str]:
        file = self.guest.drive_c / name
        return file.read_text().splitlines() if file.exists() else []


@pytest.fixture
def woken(tmp_path: Path) -> Iterator[Woken]:
    with serve_winrm(tmp_path) as guest:
        made = Woken(guest)
        yield made
        made.transport.close()


class OneByOne:
    """The same connection without programs that stay: SSH has none on Windows before the first question."""

    name = "ssh"

    def __init__(self, inner: WinRmTransport) -> None:
        self._inner = inner

    def run(self, command: str | Sequence[str], *, timeout: float, stdin: bytes = b"", shell: bool = True) -> CommandResult:
        return self._inner.run(command, timeout=timeout, stdin=stdin, shell=shell)

    def put(self, source: Path, target: str, *, timeout: float = 300) -> None:
        raise NotImplementedError

    def get(self, source: str, target: Path, *, timeout: float = 300) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self._inner.close()


@pytest.mark.parametrize("stays", [True, False])
@pytest.mark.parametrize("back_s", [0.0, 2 * HOUR_S, -HOUR_S])
def test_an_old_clock_is_set_to_the_hosts(woken: Woken, back_s: float, stays: bool) -> None:
    woken.set_back(back_s)
    transport: Transport = woken.transport if stays else OneByOne(woken.transport)
    moved = set_clock(transport, timeout=300)
    assert moved == pytest.approx(back_s, abs=NEAR_S)
    assert woken.off_s == pytest.approx(0, abs=NEAR_S)
    # Its address is that of every guest in a network of its own, so nothing is renewed.
    assert woken.lines("network.log") == []


def test_one_powershell_sets_the_clock_again_and_again(woken: Woken) -> None:
    """A paused fork is set once more when it is used: no process starts for that."""
    for back_s in (2 * HOUR_S, HOUR_S):
        woken.set_back(back_s)
        set_clock(woken.transport, timeout=300)
    assert len({line.split()[0] for line in woken.lines("powershell.log")}) == 1


def test_a_powershell_that_starts_slowly_is_asked_once_more(woken: Woken) -> None:
    """The time that it gets with its start is old when it sets it."""
    woken.set_back(2 * HOUR_S)
    walls = iter([0.0, 0.0, 10.0, 10.0, 10.0, 10.1])
    sent: list[bytes] = []
    told = woken.transport.ask

    def ask(program: StandingProgram, question: Question, *, timeout: float, line: str = "") -> Answer:
        sent.append(question.data)
        return told(program, question, timeout=timeout, line=line)

    woken.transport.ask = ask  # type: ignore[method-assign]
    base = time.time()
    set_clock(woken.transport, timeout=300, wall=lambda: base + next(walls, 10.1))
    ticks = [int(re.search(rb"new\((\d+)", data)[1]) for data in sent]  # type: ignore[index]
    assert [round((one - ticks[0]) / 1e7) for one in ticks] == [0, 10]


@pytest.mark.parametrize("back_s", [RENEW_AFTER_S + HOUR_S, 30 * DAY_S, -2 * DAY_S])
def test_after_more_than_half_a_lease_the_address_is_renewed(woken: Woken, back_s: float) -> None:
    woken.set_back(back_s)
    assert set_clock(woken.transport, timeout=300) == pytest.approx(back_s, abs=NEAR_S)
    assert woken.lines("network.log") == ["/renew"]
    assert woken.transport.run("echo still && true", timeout=30).text == "still\n"


def test_a_refusal_is_shown_in_windows_own_words(woken: Woken) -> None:
    (woken.guest.drive_c / "refuse").write_text("A required privilege is not held by the client.")
    with pytest.raises(CommandFailed) as caught:
        set_clock(woken.transport, timeout=300)
    assert caught.value.message == "in the guest, `Set-Date` ended with 1: A required privilege is not held by the client."
    assert "--no-fork" in caught.value.hint


class Time:
    """A clock that passes by sleeping, and each time it is read."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_a_clock_that_something_else_keeps_wrong_is_an_error_after_the_deadline(woken: Woken) -> None:
    woken.set_back(2 * HOUR_S)
    (woken.guest.drive_c / "deaf").touch()
    clock = Time()
    with pytest.raises(TransportError, match=r"the guest's clock is -\d{4}\.\d s off the host's after it was set"):
        set_clock(woken.transport, timeout=5, clock=clock, sleep=clock.sleep)
    assert clock.now >= 5
    assert len(woken.lines("powershell.log")) > 1


def test_a_powershell_that_has_ended_is_replaced(woken: Woken) -> None:
    set_clock(woken.transport, timeout=300)
    woken.transport._shell.drop(forget_shell=True)  # as a fork whose service has given up the shell
    woken.set_back(2 * HOUR_S)
    assert set_clock(woken.transport, timeout=300) == pytest.approx(2 * HOUR_S, abs=NEAR_S)


def test_a_guest_without_powershell_says_what_it_has_instead(woken: Woken, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.image.windows.clock._POWERSHELL", r"C:\none\powershell.exe")
    with pytest.raises(CommandFailed, match=r"in the guest, `powershell\.exe` ended with 2"):
        set_clock(OneByOne(woken.transport), timeout=300)


def test_powershell_can_read_the_line(woken: Woken) -> None:
    script = _script(639_000_000_000_000_000, "t0")
    assert "\n" not in script
    assert not PARSER.parse(script.encode("ascii")).root_node.has_error
    assert "-Command" in CLOCK_PROGRAM.words


def test_only_kinds_without_an_agent_for_the_clock_are_asked(woken: Woken, make_image: MakeImage) -> None:
    windows = load_manifest(make_image())
    assert clock_programs(windows) == (CLOCK_PROGRAM,)
    assert clock_programs(manifest()) == ()
    woken.set_back(HOUR_S)
    set_fork_clock(manifest(), woken.transport, timeout=300)
    assert woken.off_s == -HOUR_S
    set_fork_clock(windows, woken.transport, timeout=300, wall=lambda: time.time() + HOUR_S)
    assert woken.off_s == pytest.approx(HOUR_S, abs=NEAR_S)


def test_a_guest_that_refuses_it_does_not_become_a_template(woken: Woken, make_image: MakeImage) -> None:
    (woken.guest.drive_c / "refuse").write_text("Access is denied.")
    with pytest.raises(SnapshotFailed, match=r"the clock of forks cannot be set: .*Access is denied\."):
        require_fork_clock(load_manifest(make_image()), woken.transport, timeout=300)

"""Driver Verifier is brought into force in a guest of each Windows, or the error says what the guest answered."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lab.config.verifier import BUILT_IN, VerifierProfile
from lab.errors import BootTimeout, ConfigError, GuestError, GuestExited, TransportError, VerifierNotInForce
from lab.guest.protocol import Transport
from lab.live.restart import boot_id, restart_guest
from lab.live.verifier import InForce, VerifierWish, bring_into_force, read_back, verifier_wish, wanted_profile
from tests.simulated import manifest
from tests.verifier_double import Fault, WindowsVerifier
from tests.windows_double import WindowsConnection, WindowsGuest

DRIVERS = ("async.sys", "sync.sys")


def guest(build: int, *faults: Fault, **more: object) -> WindowsGuest:
    return WindowsGuest(WindowsVerifier(build=build, faults=frozenset(faults)), **more)  # type: ignore[arg-type]


def bring(windows: WindowsGuest, profile: str | VerifierProfile = "standard") -> tuple[WindowsConnection, InForce]:
    name = profile if isinstance(profile, str) else "own"
    wish = VerifierWish(name=name, profile=BUILT_IN[profile] if isinstance(profile, str) else profile, drivers=DRIVERS)

    def restart(old: Transport) -> WindowsConnection:
        new = restart_guest(
            windows.machine,
            old,
            windows.connect,
            timeout=300,
            clock=windows.clock,
            sleep=windows.sleep,
        )
        assert isinstance(new, WindowsConnection)
        return new

    connection, found = bring_into_force(
        wish,
        windows.connect(),
        restart=restart,
        alive=lambda: windows.machine.alive,
        clock=lambda: windows.now,
        sleep=windows.sleep,
    )
    assert isinstance(connection, WindowsConnection)
    return connection, found


@pytest.mark.parametrize(
    ("build", "profile", "way"),
    [
        (26100, "standard", "now"),
        (22631, "special-pool", "now"),
        (22631, "systematic", "now"),
        (22631, "lowres", "volatile"),
        (20348, "standard", "volatile"),
        (19045, "lowres", "volatile"),
        (19045, "systematic", "reboot"),
        (7601, "standard", "reboot"),
        (7601, "lowres", "reboot"),
    ],
)
def test_each_profile_on_each_windows(build: int, profile: str, way: str) -> None:
    windows = guest(build)
    _, found = bring(windows, profile)
    assert (found.way, found.drivers, found.notes) == (way, DRIVERS, ())
    assert set(windows.verifier.drivers) == set(DRIVERS)
    assert windows.boot == (42 if way == "reboot" else 41)
    assert windows.verifier.systematic == (profile == "systematic")


def test_a_restart_ends_the_vm_at_a_reset_again() -> None:
    windows = guest(7601)
    connection, _ = bring(windows)
    assert windows.machine.monitor.actions == ["reset", "shutdown"]
    assert windows.machine.alive
    assert connection.boot == windows.boot


def test_what_a_way_without_a_restart_leaves_out_is_known() -> None:
    _, found = bring(guest(22631))
    assert found.left_out == ("deadlock", "dma", "wdf")
    _, whole = bring(guest(22631), VerifierProfile(checks=("standard",), reboot=True))
    assert (whole.way, whole.left_out) == ("reboot", ())
    assert whole.unseen == ("wdf",)


@pytest.mark.parametrize(
    ("build", "fault", "note"),
    [
        (22631, "now is refused", r"now: in the guest, `verifier /dif 1 2 .* ended with 1"),
        (
            19045,
            "volatile has no effect",
            r"volatile: these checks are not in force: Special pool(.*\n)*.*Flags: 0x0+",
        ),
        (19045, "volatile needs a reboot", r"volatile: Windows 19045 asks for a restart"),
    ],
)
def test_a_way_that_does_not_work_is_followed_by_a_restart(build: int, fault: Fault, note: str) -> None:
    windows = guest(build, fault)
    _, found = bring(windows)
    assert found.way == "reboot"
    assert len(found.notes) == 1
    assert re.search(note, found.notes[0])


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        (["refuses everything"], "Access is denied"),
        (["now is refused", "forgets at the reboot"], "reboot: these checks are not in force.*these drivers are not verified"),
        (["verifies another driver"], "these drivers are not verified: async.sys, sync.sys"),
        (["answers in German"], "not in English"),
        (["answers nothing"], "(nothing)"),
        (["answers with the settings"], "answer of /querysettings"),
    ],
)
def test_what_is_not_in_force_is_an_error_with_the_answer(faults: list[Fault], words: str) -> None:
    with pytest.raises(VerifierNotInForce) as caught:
        bring(guest(26100, *faults))
    assert "profile standard is not in force" in caught.value.message
    assert words in caught.value.message or re.search(words, caught.value.message)
    assert "--verifier off" in caught.value.hint


def test_a_lost_check_is_an_error_in_every_way() -> None:
    with pytest.raises(VerifierNotInForce, match="these checks are not in force: Special pool"):
        bring(guest(19045, "loses a check", "forgets at the reboot"))


@pytest.mark.parametrize("boot_s", [0.0, 500.0])
def test_low_resources_begin_before_the_first_test(boot_s: float) -> None:
    # The kernel may have started just before the first answer: the time of firmware and boot loader does not count.
    windows = guest(19045, now=boot_s)
    bring(windows, VerifierProfile(checks=("low_resources",), delay_minutes=3))
    assert boot_s + 180 + 30 <= windows.now < boot_s + 180 + 35
    fast = guest(19045)
    bring(fast, "special-pool")
    assert fast.now < 1


def test_after_a_restart_the_minutes_without_failures_begin_with_the_new_boots_answer() -> None:
    # The old boot ends its services first, and still answers meanwhile.
    windows = guest(7601, old_answers=20)
    answered: list[float] = []
    connect = windows.connect

    def noted() -> WindowsConnection:
        connection = connect()
        if connection.boot == 42:
            answered.append(windows.now)
        return connection

    windows.connect = noted  # type: ignore[method-assign]
    bring(windows, "lowres")
    assert answered[0] > 10
    assert windows.now >= answered[0] + 60 + 30


# A restart


def test_answers_of_the_old_boot_are_no_restart() -> None:
    windows = guest(7601, old_answers=3)
    connection, _ = bring(windows)
    assert connection.boot == windows.boot == 42


def test_a_guest_without_a_boot_number_says_when_it_booted() -> None:
    windows = guest(7601, no_boot_id=True)
    assert boot_id(windows.connect()).startswith("booted at ")
    connection, _ = bring(windows)
    assert connection.boot == 42


def test_a_restart_that_does_not_come_is_an_error() -> None:
    windows = guest(7601, stays_up=True)
    with pytest.raises(GuestError, match=r"did not restart within 300 s after `shutdown /r`: QEMU reported no reset"):
        bring(windows)
    assert windows.machine.monitor.actions == ["reset", "shutdown"]


def test_a_guest_that_switches_itself_off_is_an_error() -> None:
    with pytest.raises(GuestExited, match="switched itself off instead of restarting"):
        bring(guest(7601, switches_off=True))


def test_a_guest_that_never_leaves_its_old_boot_is_an_error() -> None:
    with pytest.raises(BootTimeout, match=r"still answers from the boot before its reset \(boot 41\), after 300 s"):
        bring(guest(7601, old_answers=10_000))


def test_a_guest_that_says_nothing_of_its_boot_is_an_error() -> None:
    class Mute(WindowsConnection):
        def run(self, command, **more):  # type: ignore[no-untyped-def]
            result = super().run(command, **more)
            return type(result)(command="", exit_code=1, stdout=b"?", stderr=b"", duration_s=0)

    with pytest.raises(TransportError, match="neither the number nor the time of its boot"):
        boot_id(Mute(guest(7601), 41))


# Forks, and what the settings say


def test_a_fork_reads_it_back() -> None:
    windows = guest(22631)
    _, made = bring(windows)
    windows.verifier.load("sync.sys")
    found = read_back(windows.connect(), made)
    assert (found.way, found.checks) == (made.way, made.checks)
    assert "sync.sys (load: 1 / unload: 0)" in found.answer
    windows.verifier.active.clear()
    with pytest.raises(VerifierNotInForce, match=r"not in force in a fork: these checks(.*\n)+.*Verifier"):
        read_back(windows.connect(), made)


def test_a_guest_without_driver_verifier_is_refused() -> None:
    free = manifest().model_copy(update={"capabilities": ("driver_load",), "guest": "free guest: Wine 10"})
    assert wanted_profile("off", {}, free, file=None) is None
    with pytest.raises(ConfigError, match=r"lab\.yaml.*`verifier: lowres` needs a guest.*Wine 10 has none"):
        wanted_profile("lowres", {}, free, file=Path("lab.yaml"))
    with pytest.raises(ConfigError, match="no profile 'low'"):
        wanted_profile("low", {}, free, file=None)
    windows = free.model_copy(update={"capabilities": ("driver_verifier",)})
    assert wanted_profile("lowres", {}, windows, file=None) == BUILT_IN["lowres"]


def test_a_run_without_drivers_has_nothing_to_verify() -> None:
    assert verifier_wish("off", None, []) is None
    wish = verifier_wish("standard", BUILT_IN["standard"], ["sync.sys", "async.sys"])
    assert wish is not None
    assert wish.drivers == DRIVERS
    with pytest.raises(ConfigError, match="has no driver to verify"):
        verifier_wish("standard", BUILT_IN["standard"], [])


def test_the_key_of_a_template_knows_profile_and_drivers() -> None:
    keys = {
        VerifierWish(name=name, profile=BUILT_IN[name], drivers=drivers).key
        for name in BUILT_IN
        for drivers in (DRIVERS, ("sync.sys",))
    }
    assert len(keys) == 2 * len(BUILT_IN)

"""Driver Verifier in a live guest: brought into force once after its boot, and read back in each fork.

It happens before any driver of the run is copied in or loaded: Driver Verifier knows drivers by their file names. A guest of
which a template is made has it from then on, and so have all forks, whichever way it took.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lab.config.verifier import CHECKS, LOW_RESOURCES, SYSTEMATIC, Check, VerifierProfile, profile_named
from lab.errors import CommandFailed, ConfigError, TransportError, VerifierNotInForce
from lab.guest.protocol import Transport
from lab.guest.verifier.query import VerifierState, shown
from lab.guest.verifier.run import finish, read_build, read_state, switch_on
from lab.guest.verifier.ways import Attempt, Way, plan
from lab.image.manifest import ImageManifest

_LOG = logging.getLogger(__name__)
CAPABILITY = "driver_verifier"
_POLL_S = 1.0
#: Windows counts the minutes without failures from its kernel's start, which the host does not see. The guest's first answer is
#: later than that, so that they are over when as much time has passed since then. This much more is for a guest whose clock
#: is slower than the host's. A template whose snapshot is too early would have forks in which no allocation ever fails.
_MARGIN_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierWish:
    """What a run wants of Driver Verifier.

    Attributes:
        name: Of the profile.
        profile: The checks.
        drivers: File names of the drivers to verify, sorted.
    """

    name: str
    profile: VerifierProfile
    drivers: tuple[str, ...]

    @property
    def key(self) -> str:
        """Text that differs whenever a guest would be different."""
        return json.dumps([self.profile.model_dump(), self.drivers], sort_keys=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """What is in force in a guest, as its ``verifier /query`` shows it.

    Attributes:
        profile: Name of the profile.
        way: How it was switched on: ``now``, ``volatile`` or ``reboot``.
        checks: Names of the checks that are on, see :data:`lab.config.verifier.CHECKS`.
        unseen: Those of them that the guest's answer cannot show.
        left_out: Standard checks of the profile that cannot be switched on in this way.
        drivers: File names of the drivers.
        flags: The flags that the guest reports.
        notes: Ways that were tried before, and why they do not count.
        answer: The answer of ``/query``.
    """

    profile: str
    way: Way
    checks: tuple[str, ...]
    unseen: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    drivers: tuple[str, ...]
    flags: int = 0
    notes: tuple[str, ...] = ()
    answer: str = ""

    @property
    def fails_allocations(self) -> bool:
        """Whether allocations fail on purpose."""
        return not {LOW_RESOURCES, SYSTEMATIC}.isdisjoint(self.checks)


def wanted_profile(
    name: str, own: Mapping[str, VerifierProfile], manifest: ImageManifest, *, file: Path | None
) -> VerifierProfile | None:
    """The profile that the settings name; None for ``off``.

    Args:
        name: Value of the setting ``verifier``.
        own: Value of ``verifier_profiles``.
        manifest: The guests' image.
        file: The lab file, for errors.

    Raises:
        ConfigError: There is no such profile, or these guests have no Driver Verifier.
    """
    profile = profile_named(name, own)
    if profile is not None and CAPABILITY not in manifest.capabilities:
        raise ConfigError(
            f"`verifier: {name}` needs a guest with Driver Verifier, and {manifest.guest} has none",
            file=str(file or ""),
            hint="use a Windows image with --guest, or --verifier off",
        )
    return profile


def verifier_wish(name: str, profile: VerifierProfile | None, drivers: Sequence[str]) -> VerifierWish | None:
    """What guests of a run get; None without a profile.

    Args:
        name: The profile's name.
        profile: The profile.
        drivers: File names of the run's drivers.

    Raises:
        ConfigError: There is no driver to verify.
    """
    if profile is None:
        return None
    if not drivers:
        raise ConfigError(
            f"`verifier: {name}` has no driver to verify: this run has none",
            hint="name one with --driver, or use --verifier off",
        )
    return VerifierWish(name=name, profile=profile, drivers=tuple(sorted(drivers)))


def bring_into_force(
    wish: VerifierWish,
    transport: Transport,
    *,
    restart: Callable[[Transport], Transport],
    alive: Callable[[], bool],
    progress: Callable[[str], None] = lambda _text: None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[Transport, InForce]:
    """Switch a profile on, in the first way that works, and read it back.

    Args:
        wish: The profile and the drivers. None of these may be loaded.
        transport: Of a guest that was just booted, and answers.
        restart: Restarts the guest; takes the old connection and returns a new one to the guest that answers again.
        alive: The VM runs.
        progress: Gets a line for each step.
        clock: Monotonic clock in seconds.
        sleep: Sleeps for some seconds.

    Returns:
        The connection, which is another one after a restart, and what is in force.

    Raises:
        VerifierNotInForce: No way works; the message has what the guest printed.
        GuestError: The guest did not restart.
    """
    answers_since = clock()
    notes: list[str] = []
    build = read_build(transport)
    for attempt in plan(wish.profile, wish.drivers, build):
        progress(f"Driver Verifier: {wish.name}, {_WAYS[attempt.way]}")
        try:
            reboot = switch_on(transport, attempt)
            if reboot and attempt.way != "reboot":
                # The registry has these settings now. The way with a restart has all checks.
                notes.append(f"{attempt.way}: Windows {build} asks for a restart")
                continue
            if reboot:
                transport = restart(transport)
                answers_since = clock()
            state = read_state(transport)
            missing = state.missing(attempt.checks, wish.drivers)
            if not missing:
                finish(transport, attempt)
        except (CommandFailed, TransportError) as error:
            notes.append(f"{attempt.way}: {error.message}")
            _LOG.warning("Driver Verifier was not switched on: %s", notes[-1])
            continue
        if missing:
            notes.append(f"{attempt.way}: {'; '.join(missing)}; verifier /query printed:\n{shown(state.text)}")
            _LOG.warning("Driver Verifier was not switched on: %s", notes[-1])
            continue
        _wait_for_faults(wish.profile, answers_since, alive, progress, clock, sleep)
        return transport, _in_force(wish, attempt, state, notes)
    raise VerifierNotInForce(
        f"Driver Verifier's profile {wish.name} is not in force in the guest (Windows build {build}):\n" + "\n".join(notes),
        hint="docs/verifier.md lists what each Windows can switch on; --verifier off runs without it",
    )


def read_back(transport: Transport, made: InForce) -> InForce:
    """Ask a fork whether it still has what its template had.

    Raises:
        VerifierNotInForce: Something is missing; the message has what the guest printed.
        TransportError: The guest does not answer, or not readably.
    """
    state = read_state(transport)
    missing = state.missing(_checks(made.checks), made.drivers)
    if missing:
        raise VerifierNotInForce(
            f"Driver Verifier's profile {made.profile} is not in force in a fork: {'; '.join(missing)};"
            f" verifier /query printed:\n{shown(state.text)}",
            hint="--no-fork boots every guest",
        )
    return replace(made, flags=state.flags, answer=state.text)


_WAYS: Mapping[Way, str] = {
    "now": "without a restart (/dif … /now)",
    "volatile": "without a restart (/volatile)",
    "reboot": "with a restart of the guest",
}


def _wait_for_faults(
    profile: VerifierProfile,
    answers_since: float,
    alive: Callable[[], bool],
    progress: Callable[[str], None],
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> None:
    """Low resources are simulated some minutes after the start only: a test before that would see none, and prove nothing."""
    if not any(check.name == LOW_RESOURCES for check in profile.chosen):
        return
    until = answers_since + 60.0 * profile.delay_minutes + _MARGIN_S
    if clock() < until:
        progress(f"waiting until the guest is up for {profile.delay_minutes} min: before that, no allocation fails")
    while clock() < until and alive():
        sleep(_POLL_S)


def _in_force(wish: VerifierWish, attempt: Attempt, state: VerifierState, notes: Sequence[str]) -> InForce:
    return InForce(
        profile=wish.name,
        way=attempt.way,
        checks=_names(attempt.checks),
        unseen=_names([check for check in attempt.checks if not state.can_show(check)]),
        left_out=_names(attempt.left_out),
        drivers=wish.drivers,
        flags=state.flags,
        notes=tuple(notes),
        answer=state.text,
    )


def _names(checks: Sequence[Check]) -> tuple[str, ...]:
    return tuple(check.name for check in checks)


def _checks(names: Sequence[str]) -> tuple[Check, ...]:
    return tuple(CHECKS[name] for name in names)

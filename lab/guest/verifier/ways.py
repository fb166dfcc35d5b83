"""The command lines that switch Driver Verifier on, for each Windows: without a restart where that is possible.

Three ways, from https://learn.microsoft.com/windows-hardware/drivers/devtest/verifier-command-line:

- ``now``: ``/dif CLASS … /now /driver NAME …``, since Windows 11;
- ``volatile``: ``/volatile /flags N /adddriver NAME …``, for some checks, see
  https://learn.microsoft.com/windows-hardware/drivers/devtest/using-volatile-settings;
- ``reboot``: settings in the registry, and one restart. It has all checks.

People report guests on which the first two end with an error, or with success and without any effect (``/query`` lists the
driver, with flags of 0). So no way counts until ``/query`` shows its checks, and the next one is tried if it does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from lab.config.verifier import LOW_RESOURCES, STANDARD, SYSTEMATIC, Check, VerifierProfile
from lab.errors import TransportError

VERIFIER = r"C:\windows\system32\verifier.exe"
#: The settings are in the registry, and work after a restart. No failure.
REBOOT_NEEDED = 2

_WINDOWS_11 = 22000
_WINDOWS_10 = 10240
#: The first Windows with /ruleclasses: 1803.
_RULE_CLASSES = 17134
_VERSION = re.compile(r"\b\d+\.\d+\.(\d{4,6})\b")

Way = Literal["now", "volatile", "reboot"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One way to switch a profile on.

    Attributes:
        way: Which.
        commands: Argument lists after ``verifier``, in their order.
        after: More of them, once the checks are in force.
        checks: What it switches on.
        left_out: Checks of the profile that this way cannot switch on.
    """

    way: Way
    commands: tuple[tuple[str, ...], ...]
    after: tuple[tuple[str, ...], ...] = ()
    checks: tuple[Check, ...]
    left_out: tuple[Check, ...] = ()


def windows_build(text: str) -> int:
    """The build number in the answer of cmd's ``ver``: 22631 in ``Microsoft Windows [Version 10.0.22631.2428]``.

    Raises:
        TransportError: There is none.
    """
    found = _VERSION.search(text)
    if found is None:
        raise TransportError(f"`ver` in the guest did not print the version of Windows: {text.strip()[-200:]!r}")
    return int(found[1])


def plan(profile: VerifierProfile, drivers: Sequence[str], build: int) -> tuple[Attempt, ...]:
    """The ways to try, in this order.

    Args:
        profile: What to switch on.
        drivers: File names of the drivers to verify, at least one.
        build: The build number of the guest's Windows, see :func:`windows_build`.
    """
    live = () if profile.reboot else _without_restart(profile, drivers, build)
    return (*live, _with_restart(profile, drivers, build))


def _without_restart(profile: VerifierProfile, drivers: Sequence[str], build: int) -> Iterator[Attempt]:
    """Each way that has all checks that the profile names; of those that ``standard`` stands for, it may lack some."""
    if build >= _WINDOWS_11:
        now = tuple(check for check in profile.chosen if check.now)
        # /dif includes class 36, DIF mode, by itself.
        classes = tuple(str(check.rule_class) for check in now)
        if _suffices(profile, now):
            yield _attempt("now", profile, now, (("/dif", *classes, "/now", "/driver", *drivers),))
            return
    if build >= _WINDOWS_10:
        on_11 = build >= _WINDOWS_11
        volatile = tuple(check for check in profile.chosen if (check.volatile_11 if on_11 else check.volatile))
        if _suffices(profile, volatile):
            yield _attempt("volatile", profile, volatile, _volatile(profile, volatile, drivers))


def _suffices(profile: VerifierProfile, checks: Sequence[Check]) -> bool:
    there = {check.name for check in checks}
    return bool(there) and all(name in there for name in profile.checks if name != STANDARD)


def _volatile(profile: VerifierProfile, checks: Sequence[Check], drivers: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    flags = sum(check.flag for check in checks)
    added = ("/adddriver", *drivers)
    if not any(check.name == LOW_RESOURCES for check in checks):
        return (("/volatile", "/flags", f"0x{flags:x}", *added),)
    faults = ("/volatile", *_faults(profile))
    if len(checks) == 1:
        return ((*faults, *added),)
    # The document forbids the flag 0x4 beside the parameters of /faults, so they are two commands.
    return (faults, ("/volatile", "/flags", f"0x{flags:x}", *added))


def _with_restart(profile: VerifierProfile, drivers: Sequence[str], build: int) -> Attempt:
    chosen = profile.chosen
    low = any(check.name == LOW_RESOURCES for check in chosen)
    commands = [_faults(profile)] if low else []
    if build >= _RULE_CLASSES:
        classes = tuple(str(check.rule_class) for check in chosen)
        if build >= _WINDOWS_11 and any(check.name == SYSTEMATIC for check in chosen):
            classes = (*classes, "36")  # systematic simulation needs DIF mode, which /ruleclasses does not include
        commands.append(("/ruleclasses", *classes, "/driver", *drivers))
        checks = chosen
    else:
        checks = tuple(check for check in chosen if check.flag)
        commands.append(("/flags", f"0x{sum(check.flag for check in checks):x}", "/driver", *drivers))
    # A driver that crashes at its load would crash at each boot. Guests of the lab boot with these settings once.
    commands.append(("/bootmode", "oneboot"))
    return _attempt("reboot", profile, checks, tuple(commands))


def _attempt(way: Way, profile: VerifierProfile, checks: tuple[Check, ...], commands: tuple[tuple[str, ...], ...]) -> Attempt:
    after: tuple[tuple[str, ...], ...] = ()
    if any(check.name == SYSTEMATIC for check in checks):
        # Without it, the check is on and injects nothing: `disableboottime` is its default.
        after = (("/faultssystematic", "enableruntime"),)
    left_out = tuple(check for check in profile.chosen if check not in checks)
    return Attempt(way=way, commands=commands, after=after, checks=checks, left_out=left_out)


def _faults(profile: VerifierProfile) -> tuple[str, ...]:
    """``/faults PROBABILITY TAGS APPLICATIONS MINUTES``; an empty text keeps the place of a default.

    https://learn.microsoft.com/windows-hardware/drivers/devtest/low-resources-simulation
    """
    tags, programs = " ".join(profile.pool_tags), " ".join(profile.applications)
    return ("/faults", str(profile.probability), tags, programs, str(profile.delay_minutes))

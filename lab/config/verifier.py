"""Driver Verifier: its checks, and profiles of them, which the keys ``verifier`` and ``verifier_profiles`` of a lab file name.

The numbers are the rule classes of Windows' ``verifier /ruleclasses``; what can be switched on without a restart, on which
Windows, is from the same documents:
https://learn.microsoft.com/windows-hardware/drivers/devtest/verifier-command-line and
https://learn.microsoft.com/windows-hardware/drivers/devtest/using-volatile-settings
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from lab.errors import ConfigError

#: Driver Verifier is not switched on.
OFF = "off"
#: Stands for all standard checks in a profile's list.
STANDARD = "standard"
#: The check that ``probability``, ``pool_tags``, ``applications`` and ``delay_minutes`` belong to.
LOW_RESOURCES = "low_resources"
SYSTEMATIC = "systematic"
#: The checks with a flag have the classes 1 to 32: class n is bit n-1 of ``/flags``.
_LAST_WITH_FLAG = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check of Driver Verifier.

    Attributes:
        name: As in a profile.
        rule_class: Its number for ``/ruleclasses`` and ``/dif``.
        title: As Windows prints it.
        standard: One of the standard checks.
        now: ``/dif … /now`` of Windows 11 switches it on without a restart.
        volatile: ``/volatile`` of Windows 10 does so.
        volatile_11: ``/volatile`` of Windows 11 does so.
    """

    name: str
    rule_class: int
    title: str
    standard: bool = False
    now: bool = False
    volatile: bool = False
    volatile_11: bool = False

    @property
    def flag(self) -> int:
        """Its bit for ``/flags``; 0 if it has none."""
        return 1 << (self.rule_class - 1) if self.rule_class <= _LAST_WITH_FLAG else 0


def _table(*checks: Check) -> Mapping[str, Check]:
    return MappingProxyType({check.name: check for check in checks})


#: Name → check, in the order of the rule classes. DIF mode (class 36) is no check: `/dif` includes it by itself.
CHECKS = _table(
    Check(name="special_pool", rule_class=1, title="Special pool", standard=True, now=True, volatile=True),
    Check(name="force_irql", rule_class=2, title="Force IRQL checking", standard=True, now=True, volatile=True),
    Check(name=LOW_RESOURCES, rule_class=3, title="Randomized low resources simulation", volatile=True, volatile_11=True),
    Check(name="pool_tracking", rule_class=4, title="Pool tracking", standard=True, now=True, volatile=True),
    Check(name="io", rule_class=5, title="I/O verification", standard=True, now=True, volatile=True),
    Check(name="deadlock", rule_class=6, title="Deadlock detection", standard=True, volatile=True, volatile_11=True),
    Check(name="dma", rule_class=8, title="DMA checking", standard=True, volatile=True, volatile_11=True),
    Check(name="security", rule_class=9, title="Security checks", standard=True, now=True, volatile=True),
    Check(name="pending_io", rule_class=10, title="Force pending I/O requests", volatile=True, volatile_11=True),
    Check(name="irp_logging", rule_class=11, title="IRP logging", volatile=True, volatile_11=True),
    Check(name="miscellaneous", rule_class=12, title="Miscellaneous checks", standard=True, now=True, volatile=True),
    Check(name="mdl_stack", rule_class=14, title="Invariant MDL checking for stack", volatile=True),
    Check(name="mdl_driver", rule_class=15, title="Invariant MDL checking for driver", volatile=True),
    Check(name="miniport", rule_class=17, title="Port/miniport interface checking"),
    Check(name="ddi", rule_class=18, title="DDI compliance checking", standard=True, now=True),
    Check(name=SYSTEMATIC, rule_class=19, title="Systematic low resources simulation", now=True),
    Check(name="ddi_additional", rule_class=20, title="DDI compliance checking (additional)", now=True),
    Check(name="ndis_wifi", rule_class=22, title="NDIS/WIFI verification"),
    Check(name="sync_delay", rule_class=24, title="Kernel synchronization delay fuzzing"),
    Check(name="vm_switch", rule_class=25, title="VM switch verification"),
    Check(name="code_integrity", rule_class=26, title="Code integrity checks"),
    Check(name="wdf", rule_class=34, title="WDF verification", standard=True),
)


class VerifierProfile(BaseModel):
    """Checks of Driver Verifier that a run switches on for its drivers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    checks: tuple[str, ...] = Field(
        min_length=1, description=f"names of checks, see docs/verifier.md; {STANDARD} stands for all standard ones"
    )
    probability: int = Field(
        default=600, ge=1, le=10_000, description=f"{LOW_RESOURCES}: of 10000 allocations, how many fail on average"
    )
    pool_tags: tuple[str, ...] = Field(
        default=(), description=f"{LOW_RESOURCES}: only allocations with these tags fail; * is a wildcard. Default: all"
    )
    applications: tuple[str, ...] = Field(
        default=(), description=f"{LOW_RESOURCES}: allocations fail only while one of these programs asks. Default: all"
    )
    # Windows' own default is 7 or 8 minutes, in which most suites would see no failed allocation at all. Its help asks for
    # a positive number.
    delay_minutes: int = Field(
        default=1, ge=1, description=f"{LOW_RESOURCES}: minutes after the guest's start in which nothing fails"
    )
    reboot: bool = Field(
        default=False,
        description="restart the guest for it, with all checks; false: if the guest's Windows can switch checks on without"
        " a restart, only those",
    )

    @field_validator("checks")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name != STANDARD and name not in CHECKS:
                near = difflib.get_close_matches(name, [STANDARD, *CHECKS], n=2)
                also = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join([STANDARD, *CHECKS])}"
                raise ValueError(f"there is no check {name!r} ({also})")
        return value

    @field_validator("pool_tags")
    @classmethod
    def _tags(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for tag in value:
            if not 1 <= len(tag) <= 4 or not tag.isascii() or not tag.isprintable() or set(tag) & set(' "'):
                raise ValueError(f"{tag!r} is not a pool tag: one to four printable characters, without spaces")
        return value

    @field_validator("applications")
    @classmethod
    def _programs(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not name or set(name) & set(' "\\/'):
                raise ValueError(f"{name!r} is not the file name of a program, such as drvprobe.exe")
        return value

    @model_validator(mode="after")
    def _belongs_to_low_resources(self) -> VerifierProfile:
        if LOW_RESOURCES not in self.checks:
            for key in ("probability", "pool_tags", "applications", "delay_minutes"):
                if key in self.model_fields_set:
                    raise ValueError(f"{key} belongs to the check {LOW_RESOURCES}, which is not among the checks")
        return self

    @property
    def chosen(self) -> tuple[Check, ...]:
        """The checks, in the order of their rule classes."""
        return tuple(
            check for check in CHECKS.values() if check.name in self.checks or (check.standard and STANDARD in self.checks)
        )


#: The profiles that need no entry in a lab file.
BUILT_IN: Mapping[str, VerifierProfile] = MappingProxyType(
    {
        STANDARD: VerifierProfile(checks=(STANDARD,)),
        "special-pool": VerifierProfile(checks=("special_pool", "pool_tracking")),
        "lowres": VerifierProfile(checks=(LOW_RESOURCES,)),
        SYSTEMATIC: VerifierProfile(checks=(SYSTEMATIC,)),
    }
)


def profile_named(name: str, own: Mapping[str, VerifierProfile]) -> VerifierProfile | None:
    """The profile of a name; one of the lab file takes precedence over a built-in one of the same name.

    Args:
        name: Of a profile, or ``off``.
        own: ``verifier_profiles`` of the lab file.

    Returns:
        None for ``off``.

    Raises:
        ConfigError: There is no profile of this name.
    """
    if name == OFF:
        return None
    known = {**BUILT_IN, **own}
    if name not in known:
        raise ConfigError(
            f"there is no profile {name!r} of Driver Verifier",
            key="verifier",
            hint=f"known are {', '.join([OFF, *known])}; docs/verifier.md says how to add one",
        )
    return known[name]

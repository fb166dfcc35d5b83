"""A bugcheck as a Windows kernel reports it: as debugger text, or as QEMU's panic event."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lab.crash.codes import bugcheck_hint, bugcheck_name
from lab.errors import GuestCrashed

__all__ = ["Bugcheck", "bugcheck_hint", "bugcheck_name", "find_bugcheck", "from_guest_panicked"]

_HEX = r"0x([0-9a-f]{1,16})"
_FATAL = re.compile(
    rf"\*\*\* Fatal System Error: 0x([0-9a-f]{{1,8}})\s{{0,200}}\(\s?{_HEX},\s?{_HEX},\s?{_HEX},\s?{_HEX}\)", re.IGNORECASE
)
# Either "Driver at fault: x.sys." or a line of its own: "***  x.sys - Address …". A name counts only when the character after
# it has arrived: the text may be incomplete.
_DRIVER = re.compile(
    r"\s{0,20}Driver at fault:\s{0,20}(?:\*\*\*\s{0,20})?(?:([^\s*]{1,260}?)\.?\s|([^\s*]{1,255}\.[^\s*.]{1,4})\.\Z)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Bugcheck:
    """A bugcheck.

    Attributes:
        code: For example 0xD1.
        parameters: Its four parameters, as unsigned numbers.
        driver: File name of the driver that Windows names as the cause; empty when it names none.
        text: The text or the event that it was read from.
    """

    code: int
    parameters: tuple[int, int, int, int]
    driver: str = ""
    text: str = ""

    @property
    def name(self) -> str:
        """The code's symbol; empty when unknown."""
        return bugcheck_name(self.code)

    @property
    def hint(self) -> str:
        """What the parameters mean; empty when unknown."""
        return bugcheck_hint(self.code, self.parameters)

    def __str__(self) -> str:
        values = ", ".join(f"0x{value:x}" for value in self.parameters)
        title = f"bugcheck 0x{self.code:08X}" + (f" {self.name}" if self.name else "")
        return f"{title} ({values})" + (f" in {self.driver}" if self.driver else "")

    def as_error(self) -> GuestCrashed:
        """The bugcheck as the error whose verdict is a crash."""
        return GuestCrashed(self.code, self.parameters, message=f"the guest crashed: {self}", hint=self.hint)


def find_bugcheck(text: str) -> Bugcheck | None:
    """Look for the message that Windows sends to a kernel debugger at a bugcheck.

    Args:
        text: The kernel's prints, concatenated: the message comes in several. The last few KiB are enough.

    Returns:
        The last complete message in the text; None when there is none (yet). The driver's name comes a little later than
        code and parameters.
    """
    messages = list(_FATAL.finditer(text))
    if not messages:
        return None
    found = messages[-1]
    code, first, second, third, fourth = (int(group, 16) for group in found.groups())
    driver = _DRIVER.match(text, found.end())
    end = driver.end() if driver else found.end()
    name = (driver[1] or driver[2]).rstrip(".") if driver else ""
    return Bugcheck(code, (first, second, third, fourth), name, text[found.start() : end].rstrip())


def from_guest_panicked(data: Mapping[str, Any]) -> Bugcheck | None:
    """The bugcheck in QEMU's event GUEST_PANICKED.

    Args:
        data: The event's data.

    Returns:
        None when the event carries no code: the Hyper-V crash registers have one, a panic device does not.
    """
    info = data.get("info")
    if not isinstance(info, Mapping) or info.get("type") != "hyper-v":
        return None
    values = [info.get(f"arg{number}") for number in range(1, 6)]
    if not all(isinstance(value, int) for value in values):
        return None
    code, first, second, third, fourth = (int(value or 0) & 0xFFFF_FFFF_FFFF_FFFF for value in values)
    return Bugcheck(code & 0xFFFF_FFFF, (first, second, third, fourth), text=f"GUEST_PANICKED {dict(info)}")

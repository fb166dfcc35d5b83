"""What ``verifier /query`` prints: the checks and drivers that are in force now.

``/querysettings`` prints what the next boot will have, in a similar form; it proves nothing, and is refused here.

Two forms are known. Since Windows 8: ``Verifier Flags: 0x000209bb``, a table of marked flags, and for each driver a line
``MODULE: NAME (load: 1 / unload: 0)``; volatile settings may have a line ``Verifier Volatile Flags``. Before:
``Level: 000209BB``, and ``Name: NAME, loads: 1, unloads: 0``. The counters are described at
https://learn.microsoft.com/windows-hardware/drivers/devtest/monitoring-individual-counters
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from lab.config.verifier import Check
from lab.errors import TransportError

_FLAGS = re.compile(r"^\s*Verifier (?P<kind>Volatile )?Flags:\s*0x(?P<flags>[0-9a-f]{1,16})\b", re.IGNORECASE)
_LEVEL = re.compile(r"^\s*Level:\s*(?:0x)?(?P<flags>[0-9a-f]{1,16})\s*$", re.IGNORECASE)
_MARKED = re.compile(r"^\s*\[X\]\s*(?P<text>\S.*?)\s*$", re.IGNORECASE)
_MARKED_FLAG = re.compile(r"\(?0x(?P<flag>[0-9a-f]{1,16})\)?", re.IGNORECASE)
_MODULE = re.compile(r"^\s*MODULE:\s*(?:0x[0-9a-f]+\s+)?(?P<name>\S.*?)\s*\((?P<rest>[^()]*)\)\s*$", re.IGNORECASE)
_OLD_MODULE = re.compile(r"^\s*Name:\s*(?P<name>[^,]+?),\s*(?P<rest>loads:.*)$", re.IGNORECASE)
_LOADS = re.compile(r"\bloads?:\s*(?P<loads>\d+)\s*[/,]\s*unloads?:\s*(?P<unloads>\d+)", re.IGNORECASE)
_CURRENT = re.compile(r"^\s*Current Pool Allocations:\s*\(\s*(\d+)\s*/\s*(\d+)\s*\)", re.IGNORECASE)
_OLD_CURRENT = re.compile(r"^\s*Current(?:Paged|NonPaged)PoolAllocations:\s*(\d+)\s*$", re.IGNORECASE)
_INJECTED = re.compile(
    r"^\s*(?:Faults Injected|(?:Pool |Resource )?Allocations ?Failed ?Deliberately)\s*:?\s*(\d+)\s*$", re.IGNORECASE
)
_SETTINGS = re.compile(r"^\s*Verified Drivers:", re.IGNORECASE)
_NONE = re.compile(r"No drivers are currently (?:being )?verified", re.IGNORECASE)
#: How much of an answer an error shows.
_SHOWN = 1500


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedDriver:
    """One driver of the list.

    Attributes:
        name: Its file name.
        loads: How often it was loaded since it is verified; None if the answer does not say.
        unloads: How often it was unloaded.
        allocations: How many of its pool allocations are not freed now; None if the answer does not say.
    """

    name: str
    loads: int | None = None
    unloads: int | None = None
    allocations: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierState:
    """What is in force.

    Attributes:
        flags: All flags, those of volatile settings included.
        marked: Titles of the checks that the table marks, in lower case; empty for answers without a table.
        drivers: The drivers by their file name in lower case.
        injected: How many allocations Driver Verifier has failed on purpose; None if the answer does not say.
        text: The answer.
    """

    flags: int = 0
    marked: frozenset[str] = frozenset()
    drivers: Mapping[str, VerifiedDriver] = field(default_factory=dict)
    injected: int | None = None
    text: str = ""

    def has(self, check: Check) -> bool:
        """Whether a check is on, as far as the answer shows it."""
        return bool(check.flag & self.flags) or check.title.lower() in self.marked

    def can_show(self, check: Check) -> bool:
        """Whether the answer would show it: a check without a flag is only in a table that names it."""
        return bool(check.flag) or check.title.lower() in self.text.lower()

    def missing(self, checks: Iterable[Check], drivers: Sequence[str]) -> list[str]:
        """What should be in force and is not, in words; empty if all of it is."""
        absent = [check.title for check in checks if self.can_show(check) and not self.has(check)]
        unknown = [name for name in drivers if name.lower() not in self.drivers]
        return [
            *([f"these checks are not in force: {', '.join(absent)}"] if absent else []),
            *([f"these drivers are not verified: {', '.join(unknown)}"] if unknown else []),
        ]


def parse_query(text: str) -> VerifierState:
    """Read the answer of ``verifier /query``.

    Raises:
        TransportError: It is not such an answer; the message has its beginning.
    """
    flags: int | None = None
    marked: set[str] = set()
    drivers: dict[str, VerifiedDriver] = {}
    injected: int | None = None
    current: str | None = None
    for line in text.splitlines():
        if _SETTINGS.match(line):
            raise TransportError(f"this is the answer of /querysettings, which shows the next boot:\n{shown(text)}")
        if found := _FLAGS.match(line) or _LEVEL.match(line):
            flags = (flags or 0) | int(found["flags"], 16)
        elif found := _MARKED.match(line):
            number = _MARKED_FLAG.search(found["text"])
            flags = (flags or 0) | (int(number["flag"], 16) if number else 0)
            marked.add(_title(found["text"]))
        elif found := _MODULE.match(line) or _OLD_MODULE.match(line):
            current = found["name"].lower()
            counts = _LOADS.search(found["rest"])
            drivers[current] = VerifiedDriver(
                name=found["name"],
                loads=int(counts["loads"]) if counts else None,
                unloads=int(counts["unloads"]) if counts else None,
            )
        elif (found := _CURRENT.match(line) or _OLD_CURRENT.match(line)) and current is not None:
            known = drivers[current]
            count = sum(map(int, found.groups())) + (known.allocations or 0)
            drivers[current] = VerifiedDriver(name=known.name, loads=known.loads, unloads=known.unloads, allocations=count)
        elif (found := _INJECTED.match(line)) and current is None:
            injected = int(found[1])
    if flags is None and not drivers and not _NONE.search(text):
        raise TransportError(
            f"verifier /query did not print what is in force, or not in English:\n{shown(text)}",
            hint="use an image of an English Windows",
        )
    return VerifierState(
        flags=flags or 0, marked=frozenset(marked), drivers=MappingProxyType(drivers), injected=injected, text=text
    )


def shown(text: str) -> str:
    """An answer as an error shows it: its beginning, indented."""
    lines = [line.rstrip() for line in text.strip()[:_SHOWN].splitlines() if line.strip()]
    return "\n".join("    " + line for line in lines) or "    (nothing)"


def _title(text: str) -> str:
    """The title of a marked line, without its number and its full stop."""
    return _MARKED_FLAG.sub("", text).strip(" .").lower()

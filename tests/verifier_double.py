"""A stand-in for Windows' ``verifier.exe``: the documented command lines, exit codes and answers of each Windows.

It knows the documents and what people report of real guests, and nothing of the lab: its tables are its own. A *fault* makes it
behave as such reports say, or as no Windows should.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

#: What may be wrong with it.
Fault = Literal[
    "now is refused",  # /dif … /now ends with 1 and prints nothing: reported of Windows 11 and Server 2025
    "volatile has no effect",  # ends with 0, and /query lists the driver with flags of 0: reported, too
    "volatile needs a reboot",
    "refuses everything",
    "forgets at the reboot",
    "verifies another driver",
    "loses a check",
    "answers in German",
    "answers nothing",
    "answers with the settings",
]
Result = tuple[int, str]

_NAMES = {
    1: "Special pool",
    2: "Force IRQL checking",
    3: "Randomized low resources simulation",
    4: "Pool tracking",
    5: "I/O verification",
    6: "Deadlock detection",
    8: "DMA checking",
    9: "Security checks",
    10: "Force pending I/O requests",
    11: "IRP logging",
    12: "Miscellaneous checks",
    14: "Invariant MDL checking for stack",
    15: "Invariant MDL checking for driver",
    17: "Port/miniport interface checking",
    18: "DDI compliance checking",
    19: "Systematic low resources simulation",
    20: "DDI compliance checking (additional)",
    22: "NDIS/WIFI verification",
    24: "Kernel synchronization delay fuzzing",
    25: "VM switch verification",
    26: "Code integrity checks",
    34: "WDF verification",
    36: "DIF mode",
}
_STANDARD = (1, 2, 4, 5, 6, 8, 9, 12, 18)
_NOW = {1, 2, 4, 5, 9, 12, 18, 19, 20, 36}
_VOLATILE_10 = {1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 14, 15}
_VOLATILE_11 = {3, 6, 8, 10, 11}


@dataclass
class Verified:
    """The counters of one verified driver."""

    loads: int = 0
    unloads: int = 0
    nonpaged: int = 0


@dataclass
class WindowsVerifier:
    """One Windows with its Driver Verifier.

    Attributes:
        build: 7601 (Windows 7), 17763 and 19045 (10), 20348 (Server 2022), 22631 (11), 26100 (Server 2025).
        faults: What is wrong with it.
        active: The rule classes in force.
        drivers: What is verified now.
        saved: Classes and drivers of the registry.
        parameters: Of /faults, as they were given.
        systematic: Whether systematic faults are injected.
        calls: Every command line.
    """

    build: int = 22631
    faults: frozenset[Fault] = frozenset()
    active: set[int] = field(default_factory=set)
    drivers: dict[str, Verified] = field(default_factory=dict)
    saved: tuple[set[int], list[str]] = field(default_factory=lambda: (set(), []))
    boot_mode: str = "persistent"
    parameters: tuple[str, ...] = ()
    systematic: bool = False
    loaded: set[str] = field(default_factory=set)
    calls: list[tuple[str, ...]] = field(default_factory=list)
    boots: int = 1

    def run(self, arguments: Sequence[str]) -> Result:
        """``verifier`` with these arguments: its exit code, and what it prints."""
        words = tuple(arguments)
        self.calls.append(words)
        if words == ("/query",):
            return 0, self._query()
        if "refuses everything" in self.faults:
            return 1, "Access is denied.\r\n"
        if words[0] == "/volatile":
            return self._volatile(words[1:])
        if words[0] == "/dif":
            return self._now(words[1:])
        if words[0] == "/faultssystematic":
            self.systematic = 19 in self.active and words[1] == "enableruntime"
            return (0 if self.systematic else 1), ""
        if words[0] == "/bootmode":
            self.boot_mode = words[1]
            return 2, "The system must be rebooted for the change to take effect.\r\n"
        return self._save(words)

    def boot(self) -> None:
        """The Windows has restarted."""
        self.boots += 1
        self.active, self.drivers, self.systematic, self.loaded = set(), {}, False, set()
        classes, names = self.saved
        if "forgets at the reboot" not in self.faults:
            self.active = set(classes)
            self.drivers = {name: Verified() for name in names}
        if self.boot_mode == "oneboot":
            self.saved, self.boot_mode = (set(), []), "persistent"

    def load(self, name: str) -> None:
        """A driver is loaded."""
        self.loaded.add(name)
        if name in self.drivers:
            self.drivers[name].loads += 1

    def _save(self, words: Sequence[str]) -> Result:
        classes: set[int] = set(self.saved[0])
        if words[0] == "/standard":
            classes = {*_STANDARD, *((34,) if self.build >= 17134 else ())}
        elif words[0] == "/flags":
            classes = _classes(int(words[1], 0))
        elif words[0] in ("/ruleclasses", "/rc"):
            if self.build < 17134:
                return 1, "Invalid argument.\r\n"
            classes = {int(word) for word in words[1:] if word.isdigit()}
        elif words[0] == "/faults":
            if not self._take_faults(words[1:]):
                return 1, "Invalid argument.\r\n"
            classes = {*classes, 3}
        else:
            return 1, "Invalid argument.\r\n"
        names = _after(words, "/driver")
        if "verifies another driver" in self.faults and names:
            names = ["other.sys"]
        self.saved = (classes, names or self.saved[1])
        return 2, f"\r\nVerifier Flags: 0x{_mask(classes):08x}\r\n\r\nThe system must be rebooted.\r\n"

    def _now(self, words: Sequence[str]) -> Result:
        classes = {int(word) for word in words if word.isdigit()}
        allowed = self.build >= 22000 and "/now" in words and classes <= _NOW and not self.active
        if not allowed or "now is refused" in self.faults:
            return 1, ""
        self._start({*classes, 36}, _after(words, "/driver"))
        return 0, "New verifier settings are in effect.\r\n"

    def _volatile(self, words: Sequence[str]) -> Result:
        can = _VOLATILE_11 if self.build >= 22000 else _VOLATILE_10
        classes: set[int] = set()
        if "/flags" in words:
            classes = _classes(int(words[words.index("/flags") + 1], 0))
            if not classes <= can:
                return 1, "The specified flags cannot be changed without a reboot.\r\n"
        if "/faults" in words:
            if "/flags" in words:
                return 1, "Invalid argument.\r\n"
            rest = words[words.index("/faults") + 1 :]
            if not self._take_faults([word for word in rest[: rest.index("/adddriver") if "/adddriver" in rest else None]]):
                return 1, "Invalid argument.\r\n"
            classes = {3}
        if "volatile needs a reboot" in self.faults:
            return 2, "The system must be rebooted.\r\n"
        if "volatile has no effect" in self.faults:
            classes = set()
        self._start(classes, _after(words, "/adddriver"))
        return 0, "The new settings are in effect until you restart this computer or change them again.\r\n"

    def _start(self, classes: Iterable[int], names: Sequence[str]) -> None:
        self.active = set(classes)
        if "loses a check" in self.faults:
            self.active.discard(min(self.active))
        names = ["other.sys"] if "verifies another driver" in self.faults and names else names
        for name in names:
            self.drivers.setdefault(name, Verified())

    def _take_faults(self, words: Sequence[str]) -> bool:
        values = [word for word in words if not word.startswith("/")]
        numbers = [word for place, word in enumerate(values) if place in (0, 3) and word]
        if not all(word.isdigit() and int(word) > 0 for word in numbers):
            return False
        self.parameters = tuple(values)
        return True

    def _query(self) -> str:
        if "answers nothing" in self.faults:
            return ""
        if "answers in German" in self.faults:
            return "Zeitstempel: 30.11.2026\r\n\r\nÜberprüfungsflags: 0x000209bb\r\n\r\nÜberprüfte Treiber:\r\n\r\nsync.sys\r\n"
        if "answers with the settings" in self.faults:
            return f"Verifier Flags: 0x{_mask(self.saved[0]):08x}\r\n\r\nVerified Drivers:\r\n\r\nsync.sys\r\n"
        if not self.drivers and not self.active:
            return "\r\nTime Stamp: 11/30/2026 17:05:11.301\r\n\r\nNo drivers are currently verified.\r\n"
        return self._query_7() if self.build < 9200 else self._query_10()

    def _query_7(self) -> str:
        lines = ["11/30/2026, 5:05:11 PM", f"Level: {_mask(self.active):08X}", "RaiseIrqls: 0", "AcquireSpinLocks: 17"]
        lines += ["AllocationsAttempted: 3", "AllocationsFailedDeliberately: 0", ""]
        for name, driver in self.drivers.items():
            lines += [f"Name: {name}, loads: {driver.loads}, unloads: {driver.unloads}", "CurrentPagedPoolAllocations: 0"]
            lines += [f"CurrentNonPagedPoolAllocations: {driver.nonpaged}", "PeakPagedPoolAllocations: 0", ""]
        return "\r\n".join(lines)

    def _query_10(self) -> str:
        kind = "Volatile " if self.build >= 22000 and self.active <= _VOLATILE_11 else ""
        lines = ["", "Time Stamp: 11/30/2026 17:05:11.301", "", f"Verifier {kind}Flags: 0x{_mask(self.active):08x}", ""]
        for title, standard in (("Standard Flags:", True), ("Additional Flags:", False)):
            lines += [f"  {title}", ""]
            for number, name in _NAMES.items():
                if (number in _STANDARD) == standard and number <= 32:
                    mark = "X" if number in self.active else " "
                    lines.append(f"    [{mark}] 0x{1 << (number - 1):08x} {name}.")
            lines.append("")
        lines += ["    [X] Indicates flag is enabled.", "", "Verifier Statistics", "", "  Faults Injected: 0", ""]
        lines += ["Driver Verification List", ""]
        for name, driver in self.drivers.items():
            lines += [f"  MODULE: {name} (load: {driver.loads} / unload: {driver.unloads})", ""]
            lines += ["    Pool Allocation Statistics: ( NonPaged / Paged )", ""]
            lines += [f"      Current Pool Allocations:  ({driver.nonpaged:>7} /      0 )", ""]
        return "\r\n".join(lines)


def _classes(flags: int) -> set[int]:
    return {bit + 1 for bit in range(32) if flags >> bit & 1}


def _mask(classes: Iterable[int]) -> int:
    return sum(1 << (number - 1) for number in classes if number <= 32)


def _after(words: Sequence[str], option: str) -> list[str]:
    """The names after an option."""
    names: list[str] = []
    if option in words:
        for word in words[words.index(option) + 1 :]:
            if word.startswith("/"):
                break
            names.append(word)
    return names

"""The imports of a driver that a guest's kernel lacks, from the driver and the guest's manifest."""

from __future__ import annotations

from lab.guest.lacks import in_words
from lab.image.kernel import ImportGaps, import_gaps
from lab.image.manifest import KernelFacts
from lab.toolchain import pe
from lab.toolchain.select import DriverPackage

#: How many missing functions a line names.
_MOST_NAMES = 8


def gaps_of(package: DriverPackage, kernel: KernelFacts | None, *, own: frozenset[str] = frozenset()) -> ImportGaps:
    """What a driver imports and a guest does not have.

    Args:
        package: The driver.
        kernel: What the guest has.
        own: File names of the run's drivers, in lower case.
    """
    return import_gaps(pe.inspect(package.image).imports, kernel, own=own) if kernel is not None else ImportGaps()


def gap_lines(driver: str, gaps: ImportGaps) -> list[str]:
    """Lines for the user about what a guest lacks for a driver; none when it lacks nothing."""
    lines = []
    if gaps.hopeless:
        lines.append(f"{driver}: {'; '.join(map(in_words, gaps.hopeless))}: its tests are skipped on this guest")
    elif gaps.calls:
        names = [name.rpartition("!")[2] for name in gaps.calls]
        shown = ", ".join(names[:_MOST_NAMES]) + (f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else "")
        lines.append(
            f"{driver} imports functions that this guest's kernel only declares: {shown}; a test that reaches a call is skipped"
        )
    return lines

r"""Headers whose names are spelled as Windows takes them: ``<Ntddk.h>`` for ntddk.h, ``"..\Inc\Common.h"`` for ../inc/common.h.

Windows ignores case and accepts both slashes, and drivers make use of that. For each such name, a header is written that
includes the right one; the user's files stay as they are.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_MISSING = re.compile(
    r"^(?P<file>[^:\n]+):\d+:\d+: fatal error: '?(?P<name>.+?)(?:: No such file or directory|' file not found)$", re.MULTILINE
)
#: A name may go up so many folders: the header for it is still in the scratch folder.
_DEPTH = "spelling/a/b/c"


@dataclass(frozen=True, slots=True)
class Spelling:
    """The headers of one compilation whose names are spelled otherwise.

    Args:
        folder: Of the component: the compiler runs there.
        work: The compilation's scratch folder.
        include: Folders of headers that the component names, from ``folder``.
        systems: Folders of the compiler's own headers, the first one first.
    """

    folder: Path
    work: Path
    include: Sequence[str]
    systems: Sequence[Path]

    def flags(self) -> list[str]:
        """Options with which the compiler finds them; none as long as there are no headers."""
        place = self.work / _DEPTH
        return ["-iquote", ".", "-I", str(place)] if place.exists() else []

    def mend(self, output: str) -> bool:
        """Write the header that the compiler missed, if there is one of that name in another spelling.

        Args:
            output: What the compiler wrote.

        Returns:
            Whether it is worth another try.
        """
        missing = _MISSING.search(output)
        if missing is None:
            return False
        name = missing["name"]
        found = self._find(name, Path(missing["file"]).parent)
        target = Path(os.path.normpath(self.work / _DEPTH / name))
        if not found or target.exists() or not target.is_relative_to(self.work):
            return False
        (self.work / _DEPTH).mkdir(parents=True, exist_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(f"#include {found}\n", encoding="utf-8", errors="surrogateescape")
        return True

    def _find(self, name: str, beside: Path) -> str:
        """The right spelling as #include takes it; empty when there is none."""
        parts = PurePosixPath(name.replace("\\", "/")).parts
        for base in dict.fromkeys([self.folder / beside, self.folder, *(self.folder / one for one in self.include)]):
            own = resolve(base, parts)
            if own is not None:
                return f'"{os.path.relpath(own, self.folder)}"'
        for base in self.systems:
            system = resolve(base, parts)
            if system is not None:
                return f"<{system.relative_to(base).as_posix()}>"
        return ""


def resolve(base: Path, parts: Sequence[str]) -> Path | None:
    """The file below ``base`` whose name differs from these parts at most in its case."""
    path = base
    for part in parts:
        if part in ("..", "."):
            path = path / part
            continue
        try:
            names = sorted(entry.name for entry in path.iterdir())
        except OSError:
            return None
        near = [name for name in names if name.lower() == part.lower()]
        if not near:
            return None
        path /= part if part in near else near[0]
    return path if path.is_file() else None

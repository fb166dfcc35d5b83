"""Clang, which compiles what GCC cannot: structured exception handling (``__try``) for x64.

GCC's binary tools still link. Not every Clang is usable. Up to version 16, and in later ones without ``-fasync-exceptions``, a
``__try`` catches what is raised in functions that it calls, and not what its own statements raise: ``__try { *pointer = 1; }``
is compiled as if there were no ``__try``. For mingw-w64 that option is ignored as unused, unless it goes to the compiler proper
(``-Xclang``). So each Clang is tried before it is used: it compiles such a function, and the table of its scopes is checked.
Seen with 14.0.6 and 16.0.6 (empty table) and with 19.1.7; ``findings/clang-mingw-seh-own-statements.sh`` shows it.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lab.errors import HostToolError
from lab.host.process import find_program, run

#: The package with a usable one, in Debian 12 and 13 and Ubuntu 24.04.
PACKAGE = "clang-19"
OBJDUMP = "x86_64-w64-mingw32-objdump"
TARGET = "--target=x86_64-w64-mingw32"
#: Faults of the block's own statements are caught, too.
ASYNC = ("-Xclang", "-fasync-exceptions")
#: What compiles ``<intrin.h>`` of mingw-w64 into functions.
INLINED = (
    *(TARGET, "-std=gnu11", "-O2", "-ffreestanding", "-fms-extensions", "-fno-addrsig", "-fno-ident", "-w"),
    *("-mno-stack-arg-probe", "-D__MINGW_INTRIN_INLINE="),
)
_TIMEOUT_S = 60.0
_NAME = re.compile(r"clang-(\d+)")
_TRIAL = "int Trial(int *p) { int caught = 0; __try { *p = 1; } __except (1) { caught = 1; } return caught; }\n"
#: An address of the image in a table: of the handler, and three of each scope.
_ADDRESS = re.compile(r"^[0-9a-f]+ +\S*ADDR32NB\b", re.MULTILINE)
_OF_ONE_SCOPE = 4


@dataclass(frozen=True, slots=True)
class Clang:
    """A Clang that compiles structured exception handling as Microsoft's compiler does.

    Attributes:
        program: Its name on PATH.
        version: First line of ``--version``; part of what a build depends on.
    """

    program: str
    version: str


def look_for_clang() -> tuple[Clang | None, str]:
    """The Clang to use: ``clang`` where that is usable, else the newest usable one of ``clang-19`` and the like.

    Returns:
        It, and an empty text; or None, and the reason.
    """
    found: list[str] = []
    for program in _candidates():
        version = run([program, "--version"], _TIMEOUT_S).stdout.splitlines()[0]
        if _catches(program):
            return Clang(program, version), ""
        found.append(version)
    return None, f"none here catches exceptions of the block itself ({', '.join(found)})" if found else "Clang is not installed"


def find_clang(why: str) -> Clang:
    """:func:`look_for_clang` for a build.

    Args:
        why: What needs it, for the error: ``guard.c:12 uses __try``.

    Raises:
        HostToolError: There is none, or no usable one.
    """
    clang, lacking = look_for_clang()
    if clang is None:
        raise HostToolError(
            ["clang"],
            None,
            message=f"{why}, which needs Clang; {lacking}",
            hint=f"`lab setup` in this project installs it (apt-get install {PACKAGE}); if that code is not compiled,"
            " write `compiler: gcc` into the manifest",
        )
    return clang


def _candidates() -> list[str]:
    plain = ["clang"] if find_program("clang") else []
    return [*plain, *sorted(_numbered(os.get_exec_path()), key=lambda name: -int(name.partition("-")[2]))]


def _numbered(folders: Iterable[str]) -> set[str]:
    names: set[str] = set()
    for folder in folders:
        try:
            names |= {path.name for path in Path(folder).iterdir() if _NAME.fullmatch(path.name) and os.access(path, os.X_OK)}
        except OSError:
            continue  # PATH may name what is not there
    return names


def _catches(program: str) -> bool:
    with tempfile.TemporaryDirectory(prefix="lab-clang-") as folder:
        (Path(folder) / "trial.c").write_text(_TRIAL, encoding="ascii")
        words = [TARGET, "-O2", "-fms-extensions", "-ffreestanding", *ASYNC, "-c", "trial.c", "-o", "trial.o"]
        try:
            run([program, *words], _TIMEOUT_S, cwd=Path(folder))
            said = run([OBJDUMP, "-r", "-j", ".xdata", "trial.o"], _TIMEOUT_S, cwd=Path(folder)).stdout
        except HostToolError:
            return False  # too old for either option
    return len(_ADDRESS.findall(said)) >= _OF_ONE_SCOPE

"""Compiles the code that is linked to a driver whose lines are counted: ``driver/coverage``, for each driver anew."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from lab.host.process import run
from lab.toolchain.flags import Arch, compile_flags, header_flags
from lab.toolchain.instrument import LONGEST_NAME, runtime_folder
from lab.toolchain.manifest import MANIFEST_NAME, Component, load_component

_TIMEOUT_S = 120.0
_STANDARD = ("-std=gnu11", "-O2", "-fno-ident", "-c")


class Tools(Protocol):
    """A compiler; see :class:`lab.toolchain.compile.Compiler`."""

    @property
    def arch(self) -> Arch:
        """What it compiles for."""

    @property
    def program(self) -> str:
        """Its name."""

    @property
    def kernel_headers(self) -> Path:
        """Folder of ``ntddk.h``."""

    def tool(self, name: str) -> str:
        """One of the binary tools that belong to it."""


def counting_objects(component: Component, tools: Tools, work: Path) -> Sequence[str]:
    """Compile it in a scratch folder.

    Args:
        component: The driver.
        tools: For its processor.
        work: The folder.

    Returns:
        What is linked after the driver's own objects, and before its libraries.
    """
    folder = runtime_folder()
    flags = compile_flags(load_component(folder / MANIFEST_NAME), tools.arch, "c")
    flags += header_flags(component, tools.kernel_headers, "c")
    name = f'-DLABCOV_DRIVER="{component.name[:LONGEST_NAME]}"'
    for file in ("runtime", "adding", "aborting"):
        argv = [tools.program, *_STANDARD, *flags, name, str(folder / f"{file}.c"), "-o", f"{file}.o"]
        run(argv, _TIMEOUT_S, cwd=work)
    run([tools.tool("ar"), "rcsD", "counting.a", "adding.o", "aborting.o"], _TIMEOUT_S, cwd=work)
    # libgcov's own function for sums would bring files and the environment along, so the one of counting.a comes first.
    return ("runtime.o", "counting.a", "-lgcov", "counting.a")

"""The programs that the lab needs, what for, which package has each, and how each prints its version."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from lab.errors import HostToolError
from lab.host.process import Runner, find_program, run_quick

_SECONDS = 20.0
#: Debian writes "(GCC) 12-win32"
_GCC = r"\(GCC\) (\S+)"


@dataclass(frozen=True, slots=True)
class Tool:
    """A program of the host.

    Attributes:
        name: As it is found on PATH.
        purpose: What the lab does with it.
        package: Debian and Ubuntu package.
        arguments: Make it print its version.
        pattern: Finds the version in what it printed, as group 1.
        required: The main job on the free guest needs it.
        minimum: Lowest version that works; empty: any.
        unprivileged_only: Only needed by users other than root.
    """

    name: str
    purpose: str
    package: str
    arguments: tuple[str, ...] = ("--version",)
    pattern: str = r"(\d+(?:\.\d+)+)"
    required: bool = True
    minimum: str = ""
    unprivileged_only: bool = False


TOOLS: tuple[Tool, ...] = (
    Tool("qemu-system-x86_64", "run guests", "qemu-system-x86", minimum="6.2"),
    Tool("qemu-img", "run guests", "qemu-utils"),
    Tool("mmdebstrap", "build the free guest", "mmdebstrap"),
    Tool("mke2fs", "build the free guest", "e2fsprogs", arguments=("-V",)),
    # It always prints its usage, and never a version.
    Tool("newuidmap", "build the free guest", "uidmap", pattern="", unprivileged_only=True),
    Tool("x86_64-w64-mingw32-gcc", "build drivers", "gcc-mingw-w64-x86-64", pattern=_GCC),
    Tool("i686-w64-mingw32-gcc", "build drivers", "gcc-mingw-w64-i686", pattern=_GCC),
    Tool("x86_64-w64-mingw32-g++", "build drivers", "g++-mingw-w64-x86-64", pattern=_GCC, required=False),
    # Older ones write page hashes that Windows does not accept.
    Tool("osslsigncode", "build drivers", "osslsigncode", minimum="2.5"),
)


@dataclass(frozen=True, slots=True)
class ToolState:
    """What was found of a tool.

    Attributes:
        tool: The tool.
        path: Where it is; empty when it is missing.
        version: Its version; empty when it is missing or prints none.
        problem: What is wrong with it; empty when nothing is.
    """

    tool: Tool
    path: str
    version: str
    problem: str

    @property
    def ok(self) -> bool:
        """It is there, runs, and is new enough."""
        return not self.problem

    @property
    def hint(self) -> str:
        """The command that installs it; empty when nothing is wrong."""
        return "" if self.ok else install_command([self.tool])


def needed(*, root: bool | None = None) -> tuple[Tool, ...]:
    """The tools that this user needs.

    Args:
        root: The user is root; asked of the system when None.
    """
    return for_user(TOOLS, root=root)


def for_user(tools: Iterable[Tool], *, root: bool | None = None) -> tuple[Tool, ...]:
    """Those of the tools that this user needs; see :func:`needed`."""
    is_root = os.geteuid() == 0 if root is None else root
    return tuple(tool for tool in tools if not (is_root and tool.unprivileged_only))


def inspect(tool: Tool, runner: Runner = run_quick, *, path: str | None = None) -> ToolState:
    """Find a tool and ask for its version.

    Args:
        tool: Which.
        runner: Runs a command with a deadline.
        path: Where it is; searched for on PATH when None, missing when empty.
    """
    found = find_program(tool.name) if path is None else path
    if not found:
        return ToolState(tool, "", "", "not installed")
    if not tool.pattern:
        return ToolState(tool, found, "", "")
    try:
        result = runner([found, *tool.arguments], _SECONDS)
    except HostToolError as error:
        return ToolState(tool, found, "", error.message)
    match = re.search(tool.pattern, result.stdout + result.stderr)
    if not match:
        return ToolState(tool, found, "", f"did not report its version (exit code {result.exit_code})")
    version = match[1]
    if tool.minimum and parse_version(version) < parse_version(tool.minimum):
        return ToolState(tool, found, version, f"older than {tool.minimum}")
    return ToolState(tool, found, version, "")


def require_tools(purposes: Collection[str], find: Callable[[str], str] = find_program, *, also: Iterable[Tool] = ()) -> None:
    """Have all programs for some purposes, or say at once which are missing.

    Without the compiler for 32-bit drivers: guests have 64 bits.

    Args:
        purposes: What is about to be done.
        find: Finds a program on this host.
        also: Further programs that are needed.

    Raises:
        HostToolError: Some are missing; with the commands that install them.
    """
    wanted = [tool for tool in TOOLS if tool.purpose in purposes and not tool.name.startswith("i686-")]
    lacking = [tool for tool in for_user((*wanted, *also)) if tool.required and not find(tool.name)]
    if lacking:
        names = ", ".join(tool.name for tool in lacking)
        raise HostToolError(
            [lacking[0].name],
            None,
            message=f"this host lacks {names}",
            hint=f"`lab setup` installs everything that the lab needs; only these packages: {install_command(lacking)}",
        )


def parse_version(text: str) -> tuple[int, ...]:
    """``7.2.22`` as (7, 2, 22), for comparisons."""
    return tuple(int(part) for part in re.findall(r"\d+", text))


def install_command(tools: Iterable[Tool], *, root: bool | None = None) -> str:
    """The one command that installs these tools on Debian and Ubuntu; empty when there are none."""
    packages = sorted({tool.package for tool in tools})
    is_root = os.geteuid() == 0 if root is None else root
    return f"{'' if is_root else 'sudo '}apt-get install -y {' '.join(packages)}" if packages else ""

"""Packages of Debian and Ubuntu that the lab needs on its host: which are missing, and how they are installed."""

from __future__ import annotations

import logging
import os
import re
import shlex
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from lab.errors import ConfigError, HostToolError
from lab.host.assets import data_root
from lab.host.process import Runner, find_program, run_quick
from lab.host.textfile import read_text

_LOG = logging.getLogger(__name__)
#: The list, one name a line; `lab doctor` checks the same packages.
LIST = "ci/packages.txt"
_QUERY_S = 60.0
#: A slow mirror, and up to five minutes until another apt lets go of its lock.
_INSTALL_S = 3600.0
_AFTER_INTERRUPT_S = 60.0
_NAME = re.compile(r"[a-z0-9][a-z0-9.+-]+")
_ENVIRONMENT = ("env", "DEBIAN_FRONTEND=noninteractive")
_APT = ("apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300")


def needed_packages(more: Sequence[Path] = ()) -> tuple[str, ...]:
    """Names of the packages that the lab needs, and of those in further lists.

    Args:
        more: Files with one name a line; ``#`` begins a comment.

    Raises:
        ConfigError: A list cannot be read, or holds what is not a package name.
    """
    found: dict[str, None] = {}
    for file in (data_root() / LIST, *more):
        for number, line in enumerate(read_text(file).splitlines(), start=1):
            name = line.partition("#")[0].strip()
            if name and not _NAME.fullmatch(name):
                raise ConfigError(f"{name!r} is not a package name", file=str(file), line=number, hint="one name a line")
            found |= {name: None} if name else {}
    return tuple(found)


def missing_packages(names: Sequence[str], runner: Runner = run_quick) -> tuple[str, ...]:
    """Those of the packages that are not installed; all of them where there is no dpkg.

    Args:
        names: Names of packages.
        runner: Runs a command with a deadline.
    """
    if not names or not find_program("dpkg-query"):
        return tuple(names)
    # It ends with 1 where it does not know one, and still prints the others.
    done = runner(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\\n", *names], _QUERY_S)
    installed = {line.split()[0] for line in done.stdout.splitlines() if line.endswith(" installed")}
    return tuple(name for name in names if name not in installed)


def install_commands(names: Iterable[str], *, root: bool | None = None) -> tuple[tuple[str, ...], ...]:
    """The commands that install packages: read the lists, install.

    Args:
        names: Names of packages.
        root: We are root; asked of the system when None.

    Raises:
        HostToolError: There is no apt here, or no way to become root.
    """
    wanted = tuple(names)
    is_root = os.geteuid() == 0 if root is None else root
    if not find_program("apt-get"):
        raise HostToolError(
            ["apt-get"],
            None,
            message="this system has no apt; the lab needs Debian 12 or later, or Ubuntu 24.04 or later",
            hint=f"install the equivalents of these packages yourself: {' '.join(wanted)}; then run `lab setup --no-packages`",
        )
    if not is_root and not find_program("sudo"):
        raise HostToolError(
            ["sudo"], None, message="not root, and there is no sudo", hint=f"as root: apt-get install {' '.join(wanted)}"
        )
    prefix = (*(() if is_root else ("sudo",)), *_ENVIRONMENT, *_APT)
    return (*prefix, "update"), (*prefix, "install", "-y", "--no-install-recommends", *wanted)


def install_packages(names: Sequence[str]) -> None:
    """Install packages; sudo may ask for a password on the terminal.

    Raises:
        HostToolError: It did not work; with the last lines of what apt said, which is kept as a whole.
    """
    commands = install_commands(names)
    handle, log = tempfile.mkstemp(prefix="lab-apt-", suffix=".log")
    with os.fdopen(handle, "wb") as said:
        for command in commands:
            code = _in_foreground(command, said.fileno())
            if code:
                text = Path(log).read_text(encoding="utf-8", errors="replace")
                raise HostToolError(command, code, text, message=f"{shlex.join(command[:-1])} … ended with {code}; see {log}")
    Path(log).unlink()


def _in_foreground(command: Sequence[str], output: int) -> int:
    """Run a command in our own session, where sudo finds the terminal. It is asked to end, never killed: dpkg must finish."""
    _LOG.info("runs %s", shlex.join(command))
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        return process.wait(_INSTALL_S)
    except KeyboardInterrupt:
        process.wait(_AFTER_INTERRUPT_S)
        raise
    except subprocess.TimeoutExpired:
        process.terminate()
        process.wait(_AFTER_INTERRUPT_S)
        raise HostToolError(command, None, message=f"{command[0]} did not end within {_INSTALL_S:.0f} s") from None

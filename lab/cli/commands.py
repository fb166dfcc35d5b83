"""The module of each command. A module is imported when one of its commands is used, and all of them for the help.

All modules together take half a second to import, most of it for commands that were not asked for.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator, MutableMapping
from typing import Any, Literal

import typer
from typer.core import TyperGroup

from lab.host.console import is_terminal

#: Command → module of this package whose ``register`` adds it, in the order of the help.
MODULES = {
    "run": "run",
    "report": "run",
    "compare": "compare",
    "baseline": "baseline",
    "bisect": "bisect",
    "open": "report",
    "up": "guest",
    "shell": "guest",
    "run-in-guest": "guest",
    "down": "guest",
    "ps": "guest",
    "put": "files",
    "get": "files",
    "prints": "prints",
    "setup": "setup",
    "init": "init",
    "debug": "debug",
    "doctor": "doctor",
    "driver": "driver",
    "image": "image",
    "windows": "windows",
    "kd": "kd",
    "relay": "relay",
    "tap": "relay",
    "crash": "crash",
    "selftest": "selftest",
    "snapshot": "templates",
    "fork": "templates",
    "templates": "templates",
    "freeze": "templates",
    "bench": "bench",
}
_NOT_IN_A_WHEEL = "bench"


def markup_mode() -> Literal["rich"] | None:
    """How help and usage errors look: in boxes on a terminal, as plain lines anywhere else.

    typer itself draws boxes wherever ``GITHUB_ACTIONS`` or ``FORCE_COLOR`` is set.
    """
    return "rich" if is_terminal(sys.stdout) and is_terminal(sys.stderr) else None


def commands_of(module: str) -> dict[str, Any]:
    """The commands that a module of this package registers, as objects of the command line library, in order."""
    app = typer.Typer(rich_markup_mode=markup_mode())
    if module == _NOT_IN_A_WHEEL and importlib.util.find_spec(f"lab.cli.{module}") is None:
        module = "checkout_only"
    importlib.import_module(f"lab.cli.{module}").register(app)
    # Without a callback, typer makes an application of a single command that command itself.
    app.callback()(_nothing)
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    return dict(group.commands)


class Commands(MutableMapping[str, Any]):
    """Commands by name, each made when it is first asked for.

    Args:
        modules: See :data:`MODULES`.
    """

    def __init__(self, modules: dict[str, str]) -> None:
        self._modules = dict(modules)
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            self._made |= commands_of(self._modules[name])
        return self._made[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._modules[name] = ""
        self._made[name] = command

    def __delitem__(self, name: str) -> None:
        del self._modules[name]
        self._made.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __len__(self) -> int:
        return len(self._modules)


class CommandGroup(TyperGroup):
    """The group of all commands."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = Commands(MODULES)


def _nothing() -> None:
    """The group of a single module does nothing by itself."""

"""Kinds that are chosen by name: those of the lab itself, and those that installed packages add by entry points.

A group lists its built-in kinds as an entry point does, ``name -> "module:object"``, so a checkout without installed metadata
has them, and no kind is imported before it is used. A package adds one in its ``pyproject.toml``; docs/extending.md shows how.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import logging
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

from lab.errors import ConfigError, PluginError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

_LOG = logging.getLogger(__name__)
_Kind = TypeVar("_Kind")


def installed(group: str) -> Iterable[EntryPoint]:
    """The entry points of a group, of every distribution on ``sys.path``; one that is found twice counts once."""
    return _on_path(group, tuple(sys.path))


@functools.lru_cache(maxsize=32)
def _on_path(group: str, path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    # Some milliseconds for each look, and tens for the first import: users of the lab's own kinds do not pay for it.
    from importlib.metadata import entry_points

    del path  # the answer depends on nothing else
    return tuple(entry_points(group=group))


@dataclass(frozen=True, slots=True, kw_only=True)
class Kinds:
    """One group of kinds.

    Attributes:
        what: What one of them is, in messages: ``transport``.
        group: The entry points' group: ``driver_test_lab.transports``.
        builtin: The lab's own, name → ``module:object``.
    """

    what: str
    group: str
    builtin: Mapping[str, str]

    def names(self) -> tuple[str, ...]:
        """All names: the lab's own in their order, then those of plugins by the alphabet. Nothing is imported."""
        return (*self.builtin, *sorted({entry.name for entry in installed(self.group)} - self.builtin.keys()))

    def knows(self, name: str) -> bool:
        """Whether there is one of this name. Plugins are looked for only when the lab itself has none."""
        return name in self.builtin or any(entry.name == name for entry in installed(self.group))

    def load(self, name: str, protocol: Callable[..., _Kind], *, why: str = "") -> _Kind:
        """The kind of a name.

        Args:
            name: Its name.
            protocol: The Protocol that it must have.
            why: Who wants it, for the message: ``image toy``.

        Raises:
            ConfigError: There is none of this name.
            PluginError: A plugin's kind cannot be imported or lacks members, or two packages add the same name.
        """
        entries = [entry for entry in installed(self.group) if entry.name == name]
        if not entries and name not in self.builtin:
            names = self.names()
            near = difflib.get_close_matches(name, names, n=1)
            known = f"known are {', '.join(names)}; packages add more: docs/extending.md"
            hint = f"did you mean {near[0]}?" if near else known
            raise ConfigError(f"{why + ': ' if why else ''}there is no {self.what} {name!r}", hint=hint)
        origins = (["the lab itself"] if name in self.builtin else []) + [_origin(entry) for entry in entries]
        if len(origins) > 1:
            raise PluginError(
                f"the {self.what} {name!r} is there more than once: {', '.join(origins)}",
                hint="uninstall all of these packages but one, or have its author rename the entry point",
            )
        if name in self.builtin:
            module, _, attribute = self.builtin[name].partition(":")
            return cast(_Kind, getattr(importlib.import_module(module), attribute))
        return self._plugin(entries[0], protocol)

    def load_all(self, protocol: Callable[..., _Kind]) -> dict[str, _Kind]:
        """All kinds by name, as far as they can be used; for lists of choices.

        A plugin that is broken is left out with a warning in the log: it breaks only those who use it, see :meth:`load`.
        """
        found = {}
        for name in self.names():
            try:
                found[name] = self.load(name, protocol)
            except PluginError as error:
                _LOG.warning("left out: %s", error.message)
        return found

    def _plugin(self, entry: EntryPoint, protocol: Callable[..., _Kind]) -> _Kind:
        try:
            found = entry.load()
        except Exception as error:
            # Whatever a foreign module raises when it is imported.
            raise PluginError(
                f"the {self.what} {entry.name!r} of {_origin(entry)} cannot be imported: {type(error).__name__}: {error}",
                hint=f"python -c 'import {entry.module}' shows where; or uninstall the package",
            ) from error
        lacks = missing_members(found, cast(type, protocol))
        if lacks:
            raise PluginError(
                f"the {self.what} {entry.name!r} of {_origin(entry)} has no {', '.join(lacks)}",
                hint=f"the package must fit this version of the lab: it needs what {protocol.__module__}."
                f"{protocol.__qualname__} names",
            )
        return cast(_Kind, found)


def missing_members(value: object, protocol: type[Any]) -> tuple[str, ...]:
    """The public members of a Protocol that an object does not have, sorted."""
    wanted = {name for part in protocol.__mro__ for name in (*vars(part), *vars(part).get("__annotations__", {}))}
    return tuple(sorted(name for name in wanted if not name.startswith("_") and not hasattr(value, name)))


def _origin(entry: EntryPoint) -> str:
    package = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "a package"
    return f"{package} (entry point {entry.name} = {entry.value})"

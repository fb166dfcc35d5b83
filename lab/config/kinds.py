"""Kinds that settings choose by name. The lab's own are listed here; packages add more by entry points: docs/extending.md.

The entries are names of modules, which are imported when a kind is used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from lab.host.plugins import Kinds

#: How commands and files reach a guest; see :class:`lab.guest.transport_kind.TransportKind`.
TRANSPORTS = Kinds(
    what="transport",
    group="driver_test_lab.transports",
    builtin={
        "winrm": "lab.guest.winrm.kind:WINRM",
        "ssh": "lab.guest.ssh.kind:SSH",
    },
)
#: Files on an ISO in the guest's CD drive; all other ways are those of transports.
MEDIA = "media"


class _CopiesFiles(Protocol):
    """The part of a transport that the settings need."""

    @property
    def files_by(self) -> str:
        """Its way to copy files, by the name that users write: ``sftp``."""


def transport_names() -> tuple[str, ...]:
    """The names of all transports."""
    return TRANSPORTS.names()


def ways_of_files() -> tuple[str, ...]:
    """The names of all ways by which files get into a guest: ``media``, and those of the transports."""
    return tuple(dict.fromkeys((MEDIA, *(kind.files_by for kind in TRANSPORTS.load_all(_CopiesFiles).values()))))


def transport_of_files(way: str) -> str:
    """The transport that copies files in a way; empty for ``media`` and for a way that does not exist."""
    return next((name for name, kind in TRANSPORTS.load_all(_CopiesFiles).items() if kind.files_by == way), "")


@dataclass(frozen=True, slots=True)
class OneOf:
    """An annotation of pydantic: a text that is one of some names, which are looked up when a value is checked.

    Attributes:
        names: Returns them.
    """

    names: Callable[[], Sequence[str]]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """See pydantic."""
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """See pydantic: the names that exist when the schema is made."""
        return {**handler(schema), "enum": list(self.names())}

    def _check(self, value: str) -> str:
        names = self.names()
        if value not in names:
            quoted = [repr(name) for name in names]
            raise ValueError("must be " + " or ".join([", ".join(quoted[:-1]), quoted[-1]] if quoted[1:] else quoted))
        return value

"""The packet ids of a session, which must be stored with a snapshot."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from lab.errors import ConfigError
from lab.prints.kd.packet import INITIAL_ID


@dataclass(frozen=True, slots=True)
class SessionIds:
    """The positions of both id streams.

    They are stored with a snapshot, because the snapshot contains the guest's own positions.

    Attributes:
        receive: Id of the target's next packet; None if nothing came yet: any id is right.
        send: Id of our next packet; None if the session began in mid-stream and the expected id is unknown.
        last: SHA-256 of the last packet, hexadecimal, to recognise a repetition; empty if there was none.
    """

    receive: int | None
    send: int | None
    last: str = ""

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps({"receive": self.receive, "send": self.send, "last": self.last})

    @classmethod
    def from_json(cls, text: str) -> SessionIds:
        """The ids of a line of :meth:`to_json`; other keys are ignored.

        Raises:
            ValueError: It is no such line.
        """
        data = json.loads(text)
        if not isinstance(data, dict):
            raise ValueError("not the ids of a debugger session")
        receive, send, last = data.get("receive"), data.get("send"), data.get("last", "")
        known = (INITIAL_ID, INITIAL_ID | 1)
        if "send" not in data or send not in (None, *known) or receive not in (None, *known) or not isinstance(last, str):
            raise ValueError("not the ids of a debugger session")
        return cls(receive, send, last)


def read_ids(file: Path) -> SessionIds:
    """Read the ids of a file, as :meth:`SessionIds.to_json` writes them.

    Raises:
        ConfigError: It cannot be read, or has other contents.
    """
    hint = "`lab kd control SOCKET status` prints them before a snapshot of the guest is taken"
    try:
        return SessionIds.from_json(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}", hint=hint) from None
    except ValueError as error:
        raise ConfigError(f"{file}: {error}", hint=hint) from None

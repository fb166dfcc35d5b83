"""The packet ids of a session: what must be kept of it with a snapshot."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from lab.errors import ConfigError
from lab.prints.kd.packet import INITIAL_ID


@dataclass(frozen=True, slots=True)
class SessionIds:
    """Where both id streams stand: kept with a snapshot of the guest, which has its own.

    Attributes:
        receive: Id of the target's next packet; None when it has not been heard: whatever it begins with is right.
        send: Id of our next packet; None when the target was met in mid-stream and has not told what it expects.
        last: SHA-256 of the last packet, hexadecimal, by which a repetition of it is known; empty when there was none.
    """

    receive: int | None
    send: int | None
    last: str = ""

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps({"receive": self.receive, "send": self.send, "last": self.last})

    @classmethod
    def from_json(cls, text: str) -> SessionIds:
        """The ids of a line of :meth:`to_json`; other keys in it are passed over.

        Raises:
            ValueError: It is not one.
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
    """The ids that a file holds, as :meth:`SessionIds.to_json` writes them.

    Raises:
        ConfigError: It cannot be read, or holds something else.
    """
    hint = "`lab kd tell SOCKET status` prints them before a snapshot of the guest is taken"
    try:
        return SessionIds.from_json(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}", hint=hint) from None
    except ValueError as error:
        raise ConfigError(f"{file}: {error}", hint=hint) from None

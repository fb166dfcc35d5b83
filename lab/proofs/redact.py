"""Takes secrets and names out of a record: passwords, product keys, users, hosts, folders of a home."""

from __future__ import annotations

import getpass
import logging
import os
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from lab.host.passed import passed_over
from lab.image.manifest import Credentials
from lab.proofs.record import ProofRecord

_LOG = logging.getLogger(__name__)
_PRODUCT_KEY = re.compile(r"(?<![A-Za-z0-9-])[A-Za-z0-9]{5}(?:-[A-Za-z0-9]{5}){4}(?![A-Za-z0-9-])")
#: `slmgr` prints the last group of the key: the words before it are in the language of Windows, and the line ends with it.
_PARTIAL_KEY = re.compile(r"(?i)((?:partial|teil)[^\n:]*key[^\n:]*:\s*)[A-Za-z0-9]{5}\b")
_HOME = re.compile(r"/home/[^/\s:'\"]+")
_PROFILE = re.compile(r"(?i)([a-z]:\\users\\)(?!public\b)[^\\\r\n\"'<>|]+")
_SID = re.compile(r"\bS-1-5-21(?:-\d+){3,4}\b")
#: Names of accounts that say nothing of a person. A text without the word "lab" could not be read.
_NO_PERSON = frozenset(
    {"", "lab", "root", "user", "users", "admin", "administrator", "test", "build", "runner", "windows", "localhost"}
)


@dataclass(frozen=True, slots=True)
class Redactor:
    """Replaces secrets and names in texts.

    Attributes:
        secrets: Passwords and private keys.
        users: Names of users of the host and the guest.
        hosts: Names of the host.
        homes: Folders of the user.
    """

    secrets: tuple[str, ...] = field(default=(), repr=False)
    users: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    homes: tuple[str, ...] = ()

    @classmethod
    def here(cls, credentials: Credentials) -> Redactor:
        """For this host, its user, and a guest with these credentials."""
        users = [credentials.username, os.environ.get("USER", ""), os.environ.get("SUDO_USER", "")]
        with passed_over(_LOG, "the name of this user", OSError, KeyError):
            users.append(getpass.getuser())
        host = socket.gethostname()
        homes = [str(Path.home())] if Path.home() != Path("/root") else []
        return cls(credentials.secrets, _persons(users), _persons([host, host.partition(".")[0]]), tuple(homes))

    def text(self, text: str) -> str:
        """The text without them."""
        for secret in self.secrets:
            text = text.replace(secret, "<secret>")
        text = _PRODUCT_KEY.sub("<product key>", text)
        text = _PARTIAL_KEY.sub(r"\1<product key>", text)
        for home in self.homes:
            text = text.replace(home, "~")
        text = _HOME.sub("~", text)
        text = _PROFILE.sub(r"\1<user>", text)
        text = _SID.sub("<SID>", text)
        for names, shown in ((self.users, "<user>"), (self.hosts, "<host>")):
            for name in names:
                text = re.sub(rf"(?i)(?<![\w-]){re.escape(name)}(?![\w-])", shown, text)
        return text

    def record(self, record: ProofRecord) -> ProofRecord:
        """The record with all texts cleaned that do not come from the lab itself."""
        subject = record.subject
        free = ("guest", "windows", "edition", "iso_label", "host")
        changed = subject.model_copy(update={name: self.text(getattr(subject, name)) for name in free})
        rows = tuple(row.model_copy(update={"said": self.text(row.said)}) for row in record.rows)
        return record.model_copy(update={"subject": changed, "rows": rows})


def _persons(names: Iterable[str]) -> tuple[str, ...]:
    """Names worth replacing, the longest first: a short one may be a part of it."""
    found = dict.fromkeys(name for name in names if len(name) > 2 and name.lower() not in _NO_PERSON)
    return tuple(sorted(found, key=len, reverse=True))

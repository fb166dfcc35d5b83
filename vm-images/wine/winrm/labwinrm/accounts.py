"""The accounts that may log in, for Basic and for NTLM."""

from __future__ import annotations

import hmac
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Accounts:
    """Accounts of a file with a ``DOMAIN:user:password`` line each, read anew at every login.

    The guest is a stand-alone machine, and such a Windows machine takes any domain name for its own accounts. pyspnego
    compares the domain, though, so each NTLM login gets a private store in which the accounts stand under the
    domain that the client gave.

    Args:
        path: The account file.
        store: Where the private store for pyspnego is written, mode 0600.
    """

    def __init__(self, path: Path, store: Path) -> None:
        self._path = path
        self._store = store
        self._lock = threading.Lock()

    def check(self, user: str, password: str) -> bool:
        """Whether a Basic login is right; a domain in front of the user is passed over."""
        name = user.rpartition("\\")[2].casefold().encode()
        found = False
        for known, secret in self._read():
            same = hmac.compare_digest(known.casefold().encode(), name)
            found |= same & hmac.compare_digest(secret.encode(), password.encode())
        return found

    @contextmanager
    def ntlm_store(self, domain: str) -> Iterator[None]:
        """Have pyspnego see the accounts, under no domain and under ``domain``; one login at a time."""
        domains = {"", domain if not set(domain) & set(":\r\n\0") else ""}
        lines = [f"{each}:{user}:{secret}\n" for each in sorted(domains) for user, secret in self._read()]
        with self._lock:
            descriptor = os.open(self._store, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.writelines(lines)
            before = os.environ.get("NTLM_USER_FILE")
            # The variable is the only way to name the store to pyspnego.
            os.environ["NTLM_USER_FILE"] = str(self._store)
            try:
                yield
            finally:
                if before is None:
                    del os.environ["NTLM_USER_FILE"]
                else:
                    os.environ["NTLM_USER_FILE"] = before

    def _read(self) -> list[tuple[str, str]]:
        accounts = []
        for line in self._path.read_text(encoding="utf-8").splitlines():
            _, user, secret = (*line.split(":", 2), "", "")[:3]
            if user:
                accounts.append((user, secret))
        return accounts

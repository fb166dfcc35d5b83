"""SHA-256 of large files of the user's, computed once for each state of a file: by path, size, inode and times."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from pathlib import Path

from filelock import FileLock

_LOG = logging.getLogger(__name__)
_FILE = "filesums.json"
#: A list of so many files is cleared: entries of removed files would stay for ever.
_MOST = 1000


def file_sum(path: Path, cache: Path) -> str:
    """SHA-256 of a file, from the cache when the file is as it was.

    Args:
        path: The file.
        cache: Folder of the cache.

    Raises:
        OSError: It cannot be read.
    """
    status = path.stat()
    state = [status.st_size, status.st_ino, status.st_dev, status.st_mtime_ns, status.st_ctime_ns]
    cache.mkdir(parents=True, exist_ok=True)
    name = str(path.absolute())
    with FileLock(cache / f"{_FILE}.lock"):
        known = _read(cache / _FILE)
        found = known.get(name)
        if isinstance(found, list) and found[:-1] == state:
            return str(found[-1])
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if len(known) >= _MOST:
            known = {}
        part = cache / f".{_FILE}.{os.getpid()}"
        part.write_text(json.dumps({**known, name: [*state, digest]}), encoding="utf-8")
        part.replace(cache / _FILE)
    return digest


def _read(file: Path) -> dict[str, object]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        _LOG.warning("%s is made anew: %s", file, error)
        return {}
    return found if isinstance(found, dict) else {}

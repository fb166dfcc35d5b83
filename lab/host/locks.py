"""Locks that all runs on this host share, of all checkouts and users. The kernel releases them when a holder dies.

They are lock files in one folder that all users may write to. No file has content, so no user can damage anything there.
`fuser` finds a process that never releases a lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import stat
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

from lab.errors import ConfigError
from lab.host.paths import APP_NAME, make_folder, state_dir

_LOG = logging.getLogger(__name__)
#: In a container these are its own: it shares no locks with the host, and its control group limits what it may use.
_PLACES = (Path("/run/lock"), Path("/tmp"))
_FOR_ALL = 0o1777
_FILE_FOR_ALL = 0o666
# struct flock: type, whence, start, length, process (0 for locks of an open file).
_FLOCK = struct.Struct("@hhqqi4x")


def locks_dir(places: Sequence[Path] = _PLACES) -> Path:
    """The folder of the host's lock files; ``LAB_LOCKS`` names another one.

    Where there is none that all users may write to, the user's own: runs of one user then know of each other.
    """
    if os.environ.get("LAB_LOCKS"):
        return make_folder(Path(os.environ["LAB_LOCKS"]).expanduser().absolute(), "locks", hint="set LAB_LOCKS to another one")
    for place in places:
        folder = place / APP_NAME
        with contextlib.suppress(OSError):
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
                folder.chmod(_FOR_ALL)
            if stat.S_ISDIR(folder.lstat().st_mode) and os.access(folder, os.W_OK | os.X_OK):
                return folder
    own = make_folder(state_dir() / "locks", "locks", hint="set LAB_LOCKS to a folder of yours")
    _LOG.warning(
        "no folder for locks that all users share among %s: this run does not wait for runs of other users", [*map(str, places)]
    )
    return own


def open_lock(folder: Path, name: str) -> int:
    """Open a lock file of :func:`locks_dir`, made if it is missing; gives a file descriptor that no child inherits.

    Raises:
        ConfigError: It cannot be opened.
    """
    path = folder / name
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        while True:
            # Not with O_CREAT alone: Linux (fs.protected_regular) refuses that for other users' files in a sticky folder.
            with contextlib.suppress(FileNotFoundError):
                return os.open(path, flags)
            with contextlib.suppress(FileExistsError):
                fd = os.open(path, flags | os.O_CREAT | os.O_EXCL, _FILE_FOR_ALL)
                os.fchmod(fd, _FILE_FOR_ALL)  # in spite of the umask
                return fd
    except OSError as error:
        raise ConfigError(
            f"the lock file cannot be opened: {error.strerror}",
            file=str(path),
            hint="remove it if no one uses it, or set LAB_LOCKS to a folder of yours",
        ) from None


@contextlib.contextmanager
def locked(folder: Path, name: str, kind: int) -> Iterator[None]:
    """Hold a lock file, shared (``LOCK_SH``) or alone (``LOCK_EX``); waits as long as that takes."""
    fd = open_lock(folder, name)
    try:
        fcntl.flock(fd, kind)
        yield
    finally:
        os.close(fd)


def free_ranges(fd: int, start: int, length: int) -> Iterator[tuple[int, int]]:
    """The parts of a range of a file, as start and length, on which no one else holds a lock."""
    if length <= 0:
        return
    asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, start, length, 0)
    kind, _, at, size, _ = _FLOCK.unpack(fcntl.fcntl(fd, fcntl.F_OFD_GETLK, asked))
    if kind == fcntl.F_UNLCK:
        yield start, length
        return
    # The kernel reports any conflicting lock, not the first one.
    yield from free_ranges(fd, start, at - start)
    yield from free_ranges(fd, at + size, start + length - at - size)


def lock_range(fd: int, start: int, length: int) -> None:
    """Lock a range that is free; closing the file releases it.

    Raises:
        BlockingIOError: Another process holds it.
    """
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, start, length, 0))

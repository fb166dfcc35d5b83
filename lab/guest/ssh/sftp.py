"""Files and folders over an open SFTP session."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable
from pathlib import Path, PureWindowsPath

import paramiko

from lab.errors import ConfigError, TransportError


def sftp_path(path: str) -> str:
    r"""The SFTP name of an absolute Windows path: ``C:\lab\x.sys`` is ``/C:/lab/x.sys``.

    Raises:
        ConfigError: The path has no drive or is relative.
    """
    windows = PureWindowsPath(path)
    if not re.fullmatch("[A-Za-z]:", windows.drive) or not windows.root:
        raise ConfigError(f"not an absolute Windows path: {path!r}", hint=r"write it like C:\lab\x.sys")
    return "/" + windows.as_posix()


def put(sftp: paramiko.SFTPClient, source: Path, remote: str, *, check_time: Callable[[], None]) -> None:
    """Copy a file or folder to ``remote``; parents are created.

    Args:
        sftp: The session.
        source: File or folder of the host.
        remote: SFTP path of the copy, including its name.
        check_time: Called before each file; raises when the copy has taken too long.
    """
    if not source.is_dir():
        _make_folders(sftp, remote.rpartition("/")[0])
        sftp.put(str(source), remote, confirm=False)
        return
    _make_folders(sftp, remote)
    for path in sorted(source.rglob("*")):
        name = f"{remote}/{path.relative_to(source).as_posix()}"
        if path.is_dir():
            _make_folders(sftp, name, below=remote)
        elif path.is_file():
            check_time()
            sftp.put(str(path), name, confirm=False)


def get(sftp: paramiko.SFTPClient, remote: str, place: Path, *, check_time: Callable[[], None]) -> None:
    """Copy a file or folder to ``place``, which must not exist; see :func:`put`.

    Raises:
        TransportError: The guest lists an entry that is not a file name.
    """
    check_time()
    if not stat.S_ISDIR(sftp.stat(remote).st_mode or 0):
        with place.open("xb") as file:
            sftp.getfo(remote, file)
        return
    place.mkdir()
    for entry in sorted(sftp.listdir(remote)):
        if "/" in entry or "\\" in entry or entry in (".", ".."):
            raise TransportError(f"the guest lists an entry that is not a file name: {entry!r}")
        get(sftp, f"{remote}/{entry}", place / entry, check_time=check_time)


def _make_folders(sftp: paramiko.SFTPClient, remote: str, *, below: str = "") -> None:
    """Make a folder and its parents, from ``below`` on."""
    done = below
    for part in remote.removeprefix(below).strip("/").split("/"):
        done = f"{done}/{part}"
        try:
            sftp.stat(done)
        except FileNotFoundError:
            sftp.mkdir(done)

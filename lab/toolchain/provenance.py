"""Where a driver comes from, for readers of a report: its version, its signer, and the commit of its folder."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pefile

from lab.errors import HostToolError
from lab.host.git import git
from lab.toolchain.peimage import opened

_LOG = logging.getLogger(__name__)
#: Long enough for a repository of gigabytes on a slow disk; without an answer only this entry of the report is missing.
_GIT_TIMEOUT_S = 20.0
_RESOURCES = pefile.DIRECTORY_ENTRY["IMAGE_DIRECTORY_ENTRY_RESOURCE"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """What is known about a driver's file beside its bytes.

    Attributes:
        size: Bytes.
        file_version: Of its version resource, for example ``1.4.0.7``; empty where it has none.
        signer: Common name of the signer; empty where the file is not signed, or the signature cannot be read.
        commit: Git commit of the folder that it was built from, all of it; empty where that is in no repository. Of a finished
            image: of the repository that it lies in.
        dirty: Something in that folder, or among the files that it was built from, is not as in the commit; of a finished
            image, anything in the repository. None: unknown.
        compiler: What compiled it, the first line of its ``--version``; empty for a finished image.
    """

    size: int = 0
    file_version: str = ""
    signer: str = ""
    commit: str = ""
    dirty: bool | None = None
    compiler: str = ""


def file_version(image: Path) -> str:
    """The file version of an image's version resource; empty where it has none.

    Raises:
        ConfigError: It is not a PE image.
    """
    with opened(image) as (_, parsed):
        try:
            parsed.parse_data_directories(directories=[_RESOURCES])
        except Exception as error:
            # Windows loads a driver with damaged resources, too; pefile raises errors of many kinds for them.
            _LOG.info("%s: its resources cannot be read: %s", image, error)
            return ""
        fixed = getattr(parsed, "VS_FIXEDFILEINFO", None)
        if not fixed:
            return ""
        high, low = fixed[0].FileVersionMS, fixed[0].FileVersionLS
        return f"{high >> 16}.{high & 0xFFFF}.{low >> 16}.{low & 0xFFFF}"


def commit_of(folder: Path, files: Iterable[Path] = ()) -> tuple[str, bool | None]:
    """The commit of a folder, and whether it, or one of some files, differs from the commit.

    Args:
        folder: The folder that something was built from.
        files: Files elsewhere that it was built from; those outside of the repository do not count.

    Returns:
        The commit, empty where the folder is in no repository (or git is not there, or refuses it), and whether something
        differs; None where that is unknown.
    """
    try:
        top, commit = _git(folder, "rev-parse", "--show-toplevel", "HEAD").splitlines()[:2]
        root = Path(top)
        inside = [path for path in dict.fromkeys(file.resolve() for file in files) if path.is_relative_to(root)]
        changed = _git(folder, "status", "--porcelain", "--untracked-files=normal", "--", ".", *map(str, inside))
    except (HostToolError, ValueError) as error:
        _LOG.info("cannot read the commit of %s: %s", folder, str(error).splitlines()[0])
        return "", None
    return commit, bool(changed.strip())


def commit_around(folder: Path) -> tuple[str, bool | None]:
    """The commit of the repository around a finished image, and whether the repository differs from it.

    The sources of the image may be anywhere in the repository; its own folder is often one that git ignores.

    Args:
        folder: The image's folder.

    Returns:
        As :func:`commit_of`. Also None where only untracked files differ: they may be sources, or results of earlier runs.
    """
    try:
        commit = _git(folder, "rev-parse", "HEAD").strip()
        changed = _git(folder, "status", "--porcelain", "--untracked-files=normal", "--", ":/").splitlines()
    except (HostToolError, ValueError) as error:
        _LOG.info("%s is in no git repository: %s", folder, str(error).splitlines()[0])
        return "", None
    if any(not line.startswith("??") for line in changed):
        return commit, True
    return commit, None if changed else False


def _git(folder: Path, *arguments: str) -> str:
    return git(folder, *arguments, timeout=_GIT_TIMEOUT_S).stdout

"""Where results go when their own folder is full: a full disk must not lose the results of a run."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from lab.errors import LabError
from lab.host.passed import passed_over
from lab.host.paths import state_dir

_LOG = logging.getLogger(__name__)

_FOLDER = "results"


def other_folders(out: Path) -> Iterator[Path]:
    """Folders for the results of a run, in the order in which they are tried: the state folder, temporary files, memory.

    They are the same in every process of the run, and not made by this.
    """
    path = out.absolute()
    name = f"{path.name}-{hashlib.sha256(str(path).encode(errors='surrogateescape')).hexdigest()[:8]}"
    with passed_over(_LOG, "results cannot be written to the state folder", LabError, OSError, level=logging.DEBUG):
        yield state_dir() / _FOLDER / name
    yield Path(tempfile.gettempdir()) / f"driver-test-lab-{_FOLDER}" / name
    yield Path("/dev/shm") / f"driver-test-lab-{_FOLDER}" / name


def all_folders(out: Path) -> list[Path]:
    """The folder of a run, and the other ones that have files of it."""
    return [out, *(folder for folder in other_folders(out) if folder.is_dir())]


def find(out: Path, name: str) -> Path:
    """A file of a run, wherever it was written; its usual path if it does not exist. The newest one counts."""
    found = [folder / name for folder in all_folders(out) if (folder / name).is_file()]
    return max(found, key=lambda path: path.stat().st_mtime_ns) if found else out / name


def put_aside(out: Path) -> None:
    """A new run begins: rename the other folders in which an earlier run of the same folder has left files."""
    for folder in all_folders(out)[1:]:
        number = 1
        while (aside := folder.with_name(f"{folder.name}.{number}")).exists():
            number += 1
        with passed_over(_LOG, f"results of an earlier run stay in {folder}", OSError):
            folder.rename(aside)


def write_somewhere(out: Path, name: str, write: Callable[[Path], None]) -> Path:
    """Write a file of a run, in one step: into its folder, or into the first other one with room.

    Args:
        out: Folder of the run.
        name: The file.
        write: Writes all of it to the given path.

    Returns:
        Where it is.

    Raises:
        OSError: No folder has room; the error is that of the first one.
    """
    first: OSError | None = None
    for folder in (out, *other_folders(out)):
        part = folder / f"{name}.part"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write(part)
            return part.replace(folder / name)
        except OSError as error:
            first = first or error
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
    assert first is not None
    raise first


def write_text(out: Path, name: str, text: str) -> Path:
    """:func:`write_somewhere` for text."""
    return write_somewhere(out, name, lambda part: _write(part, text))


def _write(part: Path, text: str) -> None:
    part.write_text(text, encoding="utf-8", errors="backslashreplace")

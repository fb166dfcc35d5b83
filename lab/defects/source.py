"""Plants a defect in a driver's source."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path

from lab.defects.catalogue import Change, Planted
from lab.errors import ConfigError
from lab.host.textfile import read_text
from lab.toolchain.files import replace_with


def changed_source(planted: Planted) -> str:
    """The text of the driver's source with the defect.

    Raises:
        ConfigError: The defect does not fit the source of today, or changes nothing.
    """
    before = read_text(planted.folder / planted.file)
    after = before
    for change in planted.defect.changes:
        after = _replaced(after, change, planted)
    if after.split() == before.split():
        raise ConfigError(f"the defect {planted.name} changes nothing", hint=f"correct `changes` at {planted.place}")
    return after


def diff_of(planted: Planted) -> str:
    """The defect as a unified diff."""
    before = read_text(planted.folder / planted.file).splitlines(keepends=True)
    after = changed_source(planted).splitlines(keepends=True)
    return "".join(difflib.unified_diff(before, after, planted.file, f"{planted.file} with {planted.name}"))


def write_changed(planted: Planted, folder: Path) -> Path:
    """Copy the driver's folder, with the defect; a file that is the same already is not touched, so a build stays fresh.

    Args:
        planted: The defect.
        folder: Folder of the copy; files that the driver's folder does not have are removed.

    Returns:
        The folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = {path.name for path in planted.folder.iterdir() if path.is_file()}
    for path in folder.iterdir():
        if path.name not in names:
            path.unlink()
    for name in names:
        data = (planted.folder / name).read_bytes()
        _write(folder / name, changed_source(planted).encode() if name == planted.file else data)
    return folder


def _write(file: Path, data: bytes) -> None:
    if not file.exists() or file.read_bytes() != data:
        with replace_with(file) as temporary:
            temporary.write_bytes(data)


def _replaced(text: str, change: Change, planted: Planted) -> str:
    places = list(re.finditer(_pattern(change.old.split()), text))
    if len(places) != 1:
        times = "is not in" if not places else f"is {len(places)} times in"
        raise ConfigError(
            f"the defect {planted.name} does not fit: the text to replace {times} {planted.folder / planted.file}:"
            f" {' '.join(change.old.split())}",
            hint=f"correct `old` at {planted.place}: it must be there exactly once",
        )
    [place] = places
    indent = text[text.rfind("\n", 0, place.start()) + 1 : place.start()]
    new = change.new.replace("\n", f"\n{indent}" if indent.isspace() else "\n")
    return text[: place.start()] + new + text[place.end() :]


def _pattern(words: Sequence[str]) -> str:
    """Matches the words with any white space between them."""
    return r"\s+".join(map(re.escape, words))

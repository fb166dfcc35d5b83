"""The stamp of a build: a record of its inputs beside the finished file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from lab.toolchain.inputs import Inputs


@dataclass(frozen=True, slots=True)
class Stamp:
    """The record about a finished file.

    Attributes:
        manifest: Of the component that it was built from, relative to the folder of the file.
        recipe: See :func:`lab.toolchain.compile.recipe_hash`, and how it was signed.
        inputs: All files that were read.
        sha256: Of the finished file.
        compiler: The first line of its ``--version``; empty in stamps of older versions.
    """

    manifest: str
    recipe: str
    inputs: Inputs
    sha256: str
    compiler: str = ""


def stamp_file(image: Path) -> Path:
    """Where the stamp of a finished file lies."""
    return image.parent / ".stamps" / f"{image.name}.json"


def write_stamp(path: Path, stamp: Stamp) -> None:
    """Write a stamp; names that are no valid text are escaped."""
    path.write_text(json.dumps(asdict(stamp), indent=1), encoding="ascii")


def read_stamp(image: Path) -> Stamp | None:
    """The stamp of a finished file; None when there is none, or one that this version does not understand."""
    try:
        said = json.loads(stamp_file(image).read_text(encoding="ascii"))
        inputs = Inputs(dict(said["inputs"]["files"]), tuple(said["inputs"]["shadows"]))
        compiler = str(said.get("compiler", ""))
        return Stamp(str(said["manifest"]), str(said["recipe"]), inputs, str(said["sha256"]), compiler)
    except (OSError, ValueError, KeyError, TypeError):
        return None

"""Baselines: runs that later runs are compared with, by name. Each name has one run for each key (:mod:`lab.compare.key`).

The folder, which a project may commit::

    NAME/KEY/baseline.json   what was kept, and when
    NAME/KEY/run.json        the report of the run
    NAME/KEY/coverage        the lines of its drivers, if they were counted
    .files/AB/SHA256         the files of all drivers, by content
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lab.compare.kept_drivers import FileStore, KeptFile, keep_drivers, restore_drivers
from lab.compare.key import RunKey, key_of
from lab.compare.recorded import Recorded, read_recorded
from lab.coverage.model import COVERAGE_DIR, COVERAGE_FILE
from lab.errors import ConfigError
from lab.report.outdir import COPIES
from lab.report.runfiles import RUN_FILE
from lab.toolchain.files import replace_with

BASELINE_FILE = "baseline.json"
SCHEMA_VERSION = 1
_FILES = ".files"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
#: What counts most first, where no baseline has the key of a run: the same guest on another accelerator is nearer than another
#: guest.
_WEIGHTS = {"image": 32, "arch": 16, "clock": 8, "accelerator": 4, "flavour": 2, "image_key": 1}


class BaselineRecord(BaseModel):
    """``baseline.json``."""

    model_config = ConfigDict(extra="forbid")

    schema_version: int = SCHEMA_VERSION
    name: str
    saved: str = Field(description="UTC, ISO 8601")
    key: RunKey
    files: list[KeptFile] = Field(default_factory=list, description="the drivers; none if the run's folder had none any more")


class NoBaseline(ConfigError):
    """There is no baseline of a name. A damaged one is another error: a pipeline must not take it for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """A run that is kept under a name.

    Attributes:
        folder: Where it is.
        record: What was kept.
    """

    folder: Path
    record: BaselineRecord

    def read(self) -> Recorded:
        """The run.

        Raises:
            ConfigError: Its report cannot be read.
        """
        return read_recorded(self.folder / RUN_FILE, label=f"baseline {self.record.name}")


class Baselines:
    """All baselines of a folder.

    Args:
        folder: The folder; made when the first one is saved.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._store = FileStore(folder / _FILES)

    def save(self, name: str, run: Path, *, now: str, replace: bool = False) -> Baseline:
        """Keep a run under a name.

        Args:
            name: The name.
            run: Folder of the run, or its ``run.json``: then its drivers are looked for beside it.
            now: The time, UTC, ISO 8601.
            replace: Replace what has this name and the run's key.

        Raises:
            ConfigError: The name or the run is none, nothing ran in it, or there is such a baseline.
        """
        _check_name(name)
        read = read_recorded(run)
        report = read.report
        if not report.tests:
            raise ConfigError(f"{run} has no test, so there is nothing to compare with", hint="save a run of the suites")
        key = key_of(report)
        folder = self._folder / name / key.slug
        before = self._read(folder) if folder.exists() else None
        if folder.exists() and not replace:
            raise ConfigError(
                f"there is a baseline {name} of this guest and architecture already: {folder}",
                hint="--replace puts this run in its place, or choose another name",
            )
        files = keep_drivers((run if run.is_dir() else run.parent) / COPIES, self._store)
        record = BaselineRecord(name=name, saved=now, key=key, files=files)
        folder.mkdir(parents=True, exist_ok=True)
        with replace_with(folder / RUN_FILE) as temporary:
            shutil.copyfile(read.file, temporary)
        _keep_coverage(read.file.parent, folder)
        with replace_with(folder / BASELINE_FILE) as temporary:
            temporary.write_text(record.model_dump_json(indent=2) + "\n", encoding="utf-8")
        if before is not None:
            used = [file.sha256 for baseline in self.all() for file in baseline.record.files]
            self._store.forget((file.sha256 for file in before.record.files), used=used)
        return Baseline(folder=folder, record=record)

    def all(self, name: str = "") -> list[Baseline]:
        """All baselines, or those of a name, by name and key."""
        return [baseline for folder in self._folders(name) if (baseline := self._read(folder)) is not None]

    def named(self, name: str) -> list[Baseline]:
        """Those of a name.

        Raises:
            NoBaseline: There is none.
            ConfigError: The name is none, or one of them cannot be read.
        """
        _check_name(name)
        found = self.all(name)
        if not found:
            names = sorted({baseline.record.name for baseline in self.all()})
            there = f"there are {', '.join(names)}" if names else f"`lab baseline save {name}` keeps the last run"
            raise NoBaseline(f"there is no baseline {name} in {self._folder}", hint=there)
        return found

    def nearest(self, name: str, key: RunKey) -> Baseline:
        """The baseline of a name whose key is that of a run, or else is most like it; of several, the newest.

        Raises:
            ConfigError: There is none of this name.
        """
        return max(self.named(name), key=lambda one: (_likeness(one.record.key, key), one.record.saved))

    def restore(self, baseline: Baseline, into: Path) -> None:
        """Put the drivers of a baseline into the folder of a run's drivers.

        Raises:
            ConfigError: They were not kept, or a file is missing or damaged.
        """
        if not baseline.record.files:
            raise ConfigError(
                f"the baseline {baseline.record.name} has no drivers: the run's folder had none when it was saved",
                hint="save it again, from a folder that `lab run` has made",
            )
        restore_drivers(baseline.record.files, self._store, into.absolute())

    def _folders(self, name: str) -> Iterator[Path]:
        if not self._folder.is_dir():
            return
        names: Sequence[Path] = [self._folder / name] if name else sorted(self._folder.iterdir())
        for folder in names:
            if _NAME.fullmatch(folder.name) and folder.is_dir():
                yield from sorted(path for path in folder.iterdir() if path.is_dir())

    @staticmethod
    def _read(folder: Path) -> Baseline | None:
        """The baseline of a folder; None if it is none."""
        file = folder / BASELINE_FILE
        try:
            record = BaselineRecord.model_validate_json(file.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError as error:
            said = str(error).partition("\n")[0]
            raise ConfigError(f"is no {BASELINE_FILE}: {said}", file=str(file), hint=f"remove {folder}") from None
        return Baseline(folder=folder, record=record)


def _keep_coverage(run: Path, folder: Path) -> None:
    """Keep the lines of a run's drivers, if they were counted; those of an earlier baseline go."""
    source, target = (place / COVERAGE_DIR / COVERAGE_FILE for place in (run, folder))
    if source.is_file():
        target.parent.mkdir(exist_ok=True)
        with replace_with(target) as temporary:
            shutil.copyfile(source, temporary)
    else:
        target.unlink(missing_ok=True)


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"a baseline cannot have the name {name!r}", hint="use letters, digits, '.', '_' and '-', and begin with a letter"
        )


def _likeness(one: RunKey, other: RunKey) -> int:
    """How much two keys have in common."""
    before, after = one.model_dump(), other.model_dump()
    return sum(weight for field, weight in _WEIGHTS.items() if before[field] == after[field])

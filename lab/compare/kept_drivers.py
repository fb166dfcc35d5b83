"""The drivers of a run, kept by content: each file once, under its SHA-256, and a list of what lay where.

What `lab run` copied into its folder (``drivers/``) is all that a guest gets: drivers, symbols, clients, files, registry
values. Its ``packages.json`` has absolute paths, which are replaced on the way in and out.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from lab.errors import ConfigError
from lab.toolchain.files import replace_with, sha256_of
from lab.toolchain.package import PACKAGES_FILE, read_packages, write_packages

#: Stands for the folder of the copies in a list of packages.
_HERE = "<drivers>/"


class KeptFile(BaseModel):
    """A file of a run's drivers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str = Field(description="relative to the folder of the run's drivers")
    sha256: str


class FileStore:
    """A folder of files that are named by their content.

    Args:
        folder: Made when the first file is kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, sha256: str) -> Path:
        """Where the file with this content is."""
        return self.folder / sha256[:2] / sha256

    def keep(self, file: Path) -> str:
        """Keep a file, unless one with this content is there; return its SHA-256."""
        sha256 = sha256_of(file)
        kept = self.path(sha256)
        if not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            with replace_with(kept) as temporary:
                shutil.copyfile(file, temporary)
        return sha256

    def restore(self, sha256: str, to: Path) -> None:
        """Copy a file out.

        Raises:
            ConfigError: It is not there, or is damaged.
        """
        kept = self.path(sha256)
        if not kept.is_file():
            raise ConfigError(f"the baseline's file {kept} is missing", hint="save the baseline again, or restore its folder")
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(kept, to)
        if sha256_of(to) != sha256:
            raise ConfigError(
                f"the baseline's file {kept} is damaged: its content does not fit its name",
                hint="save the baseline again. In git, the folder needs `* -text` in its .gitattributes",
            )

    def forget(self, files: Iterable[str], *, used: Iterable[str]) -> None:
        """Remove files that nothing uses any more."""
        for sha256 in {*files} - {*used}:
            self.path(sha256).unlink(missing_ok=True)


def keep_drivers(copies: Path, store: FileStore) -> list[KeptFile]:
    """Keep the drivers of a run.

    Args:
        copies: Folder of the run's drivers.
        store: Where to.

    Returns:
        The files; none if the run's folder has no drivers any more.
    """
    if not (copies / PACKAGES_FILE).is_file():
        return []
    found = []
    for file in sorted(path for path in copies.rglob("*") if path.is_file()):
        relative = file.relative_to(copies).as_posix()
        sha256 = _keep_list(file, copies, store) if file.name == PACKAGES_FILE else store.keep(file)
        found.append(KeptFile(path=relative, sha256=sha256))
    return found


def with_clients_of(base: Path, new: Path) -> None:
    """Give the restored drivers of a baseline the clients of another run: they belong to its tests, as the suites do.

    Args:
        base: Folder of the drivers of the baseline; its lists of packages are changed.
        new: Folder of the drivers of the run whose tests are run.
    """
    clients = {
        package.name: package.clients for file in new.rglob(PACKAGES_FILE) for package in read_packages(file.parent) or ()
    }
    for file in base.rglob(PACKAGES_FILE):
        packages = read_packages(file.parent) or ()
        changed = (replace(one, clients={**one.clients, **clients.get(one.name, {})}) for one in packages)
        write_packages(file.parent, tuple(changed))


def restore_drivers(files: Sequence[KeptFile], store: FileStore, into: Path) -> None:
    """Put kept drivers into a folder, as `lab run` would have copied them there.

    Args:
        files: What :func:`keep_drivers` returned.
        store: Where they are.
        into: Folder of the drivers of a run; absolute.

    Raises:
        ConfigError: A file is missing or damaged.
    """
    for file in files:
        target = into / file.path
        store.restore(file.sha256, target)
        if target.name == PACKAGES_FILE:
            _rewrite(target, target, lambda text: _replace_start(text, _HERE, f"{into}/"))


def _keep_list(file: Path, copies: Path, store: FileStore) -> str:
    before = _old_folder(file, copies)
    with tempfile.TemporaryDirectory(prefix="lab-baseline-") as folder:
        changed = Path(folder) / file.name
        _rewrite(file, changed, lambda text: _replace_start(text, before, _HERE))
        return store.keep(changed)


def _old_folder(file: Path, copies: Path) -> str:
    """The folder that the copies were in when the list was written: a run may have been moved since."""
    packages: list[Mapping[str, Any]] = json.loads(file.read_bytes())
    for package in packages:
        parts = Path(str(package["image"])).parts
        for number in range(1, len(parts)):
            if copies.joinpath(*parts[number:]).is_file():
                return str(Path(*parts[:number])) + "/"
    return f"{copies}/"


def _rewrite(file: Path, to: Path, change: Callable[[str], str]) -> None:
    text = json.dumps(_changed(json.loads(file.read_bytes()), change), indent=1)
    to.write_text(text, encoding="ascii")


def _changed(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {key: _changed(one, change) for key, one in value.items()}
    if isinstance(value, list):
        return [_changed(one, change) for one in value]
    return change(value) if isinstance(value, str) else value


def _replace_start(text: str, before: str, after: str) -> str:
    return after + text[len(before) :] if text.startswith(before) else text

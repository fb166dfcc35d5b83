"""Throw-away packages: a folder on ``sys.path`` that has modules and the metadata of an installed distribution."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

HERE = Path(__file__).parent


class Packages:
    """Installs packages until the end of a test.

    Args:
        root: An empty folder.
        monkeypatch: Undoes it.
    """

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._root = root
        self._monkeypatch = monkeypatch

    def install(self, name: str, modules: Mapping[str, str], group: str, entries: Mapping[str, str]) -> Path:
        """Install a package, version 1.2.

        Args:
            name: Its name.
            modules: Module name -> source.
            group: Group of its entry points.
            entries: Name -> ``module:object``.

        Returns:
            Its folder. As an item of ``PYTHONPATH`` it makes the package known to other processes.
        """
        folder = self._root / name
        info = folder / f"{name}-1.2.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n", encoding="utf-8")
        lines = [f"[{group}]", *(f"{key} = {value}" for key, value in entries.items()), ""]
        (info / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
        for module, source in modules.items():
            (folder / f"{module}.py").write_text(source, encoding="utf-8")
            if module in sys.modules:  # of another test
                self._monkeypatch.delitem(sys.modules, module)
        self._monkeypatch.syspath_prepend(str(folder))
        return folder


def source(name: str) -> str:
    """The text of a file of this folder."""
    return (HERE / name).read_text(encoding="utf-8")

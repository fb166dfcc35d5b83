"""docs/settings.md, made from the table of settings: ``python -m tests.config.reference > docs/settings.md``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from lab.config.model import LabFile
from lab.config.setting_table import Key, keys_of

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "settings.md"
COMMAND = "python -m tests.config.reference > docs/settings.md"

HEAD = """\
# Settings

Each key of the lab file, `lab.yaml`, and the other places where it can be set. The first place in this order that gives a value
wins:

1. An option of `lab`, or of pytest where you start pytest yourself. `lab run` passes its settings on to pytest.
2. The environment variable. Several paths in one variable are separated by `:`.
3. With plain pytest, its ini file (`pytest.ini`, `pyproject.toml`, …). The ini key is the name of the option, with underscores:
   `lab_image`, `lab_boot_timeout`.
4. The lab file. The lab looks for it in the current folder and in the folders above it, up to the edge of the repository;
   `--config` (pytest: `--lab-config`) or `LAB_CONFIG` names another one.
5. The default.

A relative path starts from the folder of the file that it is written in; in an option or a variable, from the current folder.

This page is generated from the code (`COMMAND`).
[lab.schema.json](lab.schema.json) has the types, and the keys of `known` and `vm`; [vm.md](vm.md) explains
`vm`. Options that are no settings, such as `--out` and `--on`, are in `lab run --help`.

| key | what it means | default | environment | pytest | `lab` |
|---|---|---|---|---|---|
"""


def row(key: Key) -> str:
    """The row of one key."""
    choices = ", ".join(f"`{choice}`" for choice in key.choices())
    meaning = key.description.replace("|", r"\|") + (f" ({choices})" if choices else "")
    flags = " ".join(f"`{flag}`" for flag in key.command_flags)
    commands = f"{flags} ({', '.join(key.commands)})" if flags else ""
    cells = (f"`{key.name}`", meaning, _default(key.default), _code(key.variable), _code(key.pytest_flag), commands)
    return f"| {' | '.join(cells)} |"


def _default(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(f"`{one}`" for one in value)
    return f"`{value}`" if isinstance(value, str) else ""


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def document() -> str:
    """The whole page."""
    return HEAD.replace("COMMAND", COMMAND) + "\n".join(row(key) for key in keys_of(LabFile)) + "\n"


if __name__ == "__main__":
    sys.stdout.write(document())

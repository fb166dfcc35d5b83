"""Reads a lab file, whose keys may have their names of the last release."""

from __future__ import annotations

from pathlib import Path

from lab.config.yamlfile import YamlDocument, read_yaml
from lab.host.renamed import note_old_name

#: Old name of a key → its name; for one release.
_OLD_KEYS = {"machine": "vm"}


def read_lab_file(file: Path, *, note: bool = False) -> YamlDocument:
    """Read a lab file; old names of keys become the present ones.

    Args:
        file: The file.
        note: Write a line to standard error for each old name.

    Raises:
        ConfigError: See :func:`lab.config.yamlfile.read_yaml`; or the file has both names of a key.
    """
    document = read_yaml(file)
    for old, new in _OLD_KEYS.items():
        if note and old in document.data:
            note_old_name(f"{old}:", f"{new}:", where=str(file))
        document = document.renamed(old, new)
    return document

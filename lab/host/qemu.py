"""What a QEMU binary can do, from its own schema: by capability, not by version."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.errors import HostToolError
from lab.host.process import run

_SECONDS = 60.0
_QUESTION = b'{"execute":"qmp_capabilities"}\n{"execute":"query-qmp-schema"}\n{"execute":"quit"}\n'


@dataclass(frozen=True, slots=True)
class QemuFeatures:
    """What the lab would like to use of a QEMU.

    Attributes:
        x_ignore_shared: Migration may leave shared RAM out: snapshots and forks in milliseconds.
        mapped_ram: A migration file may have RAM at fixed places (QEMU 9.0).
        file_migration: ``migrate`` knows ``file:`` addresses (QEMU 8.2).
        text_migration: ``migrate`` takes addresses as plain text only (before QEMU 8.2), so that the schema lists no kinds.
        read_only_ram_file: A RAM file can be opened read-only by forks (QEMU 8.2).
        blockdev_change_medium: ISOs can be put into a CD drive while the guest runs.
        panic_none: A guest that reports a panic may continue to run and write its dump.
        dump_formats: Formats of ``dump-guest-memory``; ``win-dmp`` is the one for Windows debuggers.
    """

    x_ignore_shared: bool
    mapped_ram: bool
    file_migration: bool
    text_migration: bool
    read_only_ram_file: bool
    blockdev_change_medium: bool
    panic_none: bool
    dump_formats: tuple[str, ...]


def probe_features(qemu: str) -> QemuFeatures:
    """Start QEMU without a guest, read its schema, end it: some 0.2 s.

    Args:
        qemu: The binary.

    Raises:
        HostToolError: It is missing, failed, or gave no schema.
    """
    with tempfile.TemporaryDirectory(prefix="lab-qemu-") as folder:
        answer = Path(folder) / "answer"
        argv = [qemu, "-machine", "none", "-nodefaults", "-no-user-config", "-display", "none", "-qmp", "stdio"]
        # A file, not a pipe: on its way out QEMU 7.2 drops what a pipe did not take at once, and the schema is 200 KB.
        to_file = ["sh", "-c", 'exec "$@" > "$0"', str(answer)]
        result = run([*to_file, *argv], _SECONDS, stdin=_QUESTION, hint="`lab doctor` checks QEMU")
        text = answer.read_text(encoding="utf-8") if answer.exists() else ""
    try:
        for line in text.splitlines():
            message = json.loads(line)
            if isinstance(message.get("return"), list):
                return features_of(message["return"])
    except ValueError as error:
        text = f"{error}: {text[-200:]}"
    said = result.stderr or text
    raise HostToolError(argv, result.exit_code, said, message=f"{qemu} did not report the schema of its monitor")


def qemu_version(qemu: str) -> str:
    """The version that QEMU prints, for example ``7.2.22``.

    Raises:
        HostToolError: It is missing or failed.
    """
    first = run([qemu, "--version"], 30, hint="`lab doctor` names the package").stdout.partition("\n")[0]
    return first.partition("version ")[2].split(" ")[0] or first


def features_of(schema: Sequence[Mapping[str, Any]]) -> QemuFeatures:
    """Pick the features out of the answer to ``query-qmp-schema``."""
    types = {str(entry["name"]): entry for entry in schema}
    capabilities = _words(types, "migrate-set-capabilities")
    return QemuFeatures(
        x_ignore_shared="x-ignore-shared" in capabilities,
        mapped_ram="mapped-ram" in capabilities,
        file_migration="file" in _words(types, "migrate"),
        text_migration="uri" in _members(types, "migrate") and "channels" not in _members(types, "migrate"),
        read_only_ram_file="rom" in _variant_members(types, "object-add", "memory-backend-file"),
        blockdev_change_medium="blockdev-change-medium" in types,
        panic_none="none" in _words(types, "set-action"),
        dump_formats=tuple(sorted(_member_values(types, "dump-guest-memory", "format"))),
    )


def _arguments(types: Mapping[str, Mapping[str, Any]], command: str) -> Mapping[str, Any]:
    entry = types.get(command)
    return types.get(str(entry["arg-type"]), {}) if entry and entry["meta-type"] == "command" else {}


def _members(types: Mapping[str, Mapping[str, Any]], command: str) -> set[str]:
    """Names of a command's arguments."""
    return {str(item["name"]) for item in _arguments(types, command).get("members", ())}


def _member_values(types: Mapping[str, Mapping[str, Any]], command: str, member: str) -> set[str]:
    """Values of an argument that is an enumeration."""
    for item in _arguments(types, command).get("members", ()):
        if item["name"] == member:
            return set(types.get(str(item["type"]), {}).get("values", ()))
    return set()


def _variant_members(types: Mapping[str, Mapping[str, Any]], command: str, case: str) -> set[str]:
    """Names of the arguments that a command takes in one of its cases."""
    for item in _arguments(types, command).get("variants", ()):
        if item["case"] == case:
            return {member["name"] for member in types[str(item["type"])].get("members", ())}
    return set()


def _words(types: Mapping[str, Mapping[str, Any]], command: str) -> set[str]:
    """Every value of every enumeration that a command's arguments lead to."""
    words: set[str] = set()
    seen: set[str] = set()
    todo = [str(types[command]["arg-type"])] if command in types else []
    while todo:
        name = todo.pop()
        if name in seen or name not in types:
            continue
        seen.add(name)
        entry = types[name]
        words.update(entry.get("values", ()))
        todo += [str(member["type"]) for key in ("members", "variants") for member in entry.get(key, ()) if "type" in member]
        if "element-type" in entry:
            todo.append(str(entry["element-type"]))
    return words

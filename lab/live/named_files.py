"""Files that a lab file's arguments and devices of QEMU name: what is in them is part of the guests' VM."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from lab.config.machine import Machine
from lab.errors import ConfigError
from lab.host.filesums import file_sum

#: Options with files that QEMU writes.
_WRITES = frozenset({"D", "chardev"})
#: Keys with such files.
_WRITTEN = frozenset({"logfile"})
#: ``-trace events=…,file=…`` and ``-object filter-dump,file=…`` write to their ``file``.
_WRITE_THEIR_FILE = re.compile(r"(-?-trace) .*|-?-object (qom-type=)?filter-dump,.*")
_IN_JSON = re.compile(r'"(/[^"\\]*)"')


def named_files(machine: Machine) -> tuple[Path, ...]:
    """The files that exist and that QEMU reads by an absolute name; it runs in the guest's folder.

    They are a word of their own (``-acpitable``'s are ``file=…``), the value of a key in an argument (``-fw_cfg
    name=…,file=…``, ``-global virtio-net-pci.romfile=…``), or a device's property (``romfile``).
    """
    found = [*_of_arguments(machine.arguments)]
    found += [text for device in machine.devices for text in device.properties.values() if isinstance(text, str)]
    paths = [Path(text) for text in dict.fromkeys(found) if text.startswith("/") and "\0" not in text]
    return tuple(path for path in paths if path.is_file())


def file_sums(machine: Machine, cache: Path) -> tuple[tuple[Path, str], ...]:
    """Those files and the SHA-256 of each.

    Args:
        machine: What the lab file adds.
        cache: Folder of the cache.

    Raises:
        ConfigError: One cannot be read.
    """
    sums = []
    for path in named_files(machine):
        try:
            sums.append((path, file_sum(path, cache)))
        except OSError as error:
            raise ConfigError(f"{path}, which `vm:` names, cannot be read: {error.strerror}") from None
    return tuple(sums)


def _of_arguments(arguments: tuple[str, ...]) -> Iterator[str]:
    option = ""
    for word in arguments:
        if word.startswith("-"):
            option = word
            continue
        if option.lstrip("-") in _WRITES:
            continue
        if word.startswith("{"):
            yield from _IN_JSON.findall(word)
            continue
        yield word
        written = _WRITTEN | {"file"} if _WRITE_THEIR_FILE.fullmatch(f"{option} {word}") else _WRITTEN
        # In a value, a comma is written twice.
        for part in word.replace(",,", "\0").split(","):
            key, _, value = part.partition("=")
            if value and key not in written:
                yield value.replace("\0", ",")

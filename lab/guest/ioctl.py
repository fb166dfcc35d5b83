"""Device control codes: composes them as the driver kit's ``CTL_CODE`` does, and splits them for messages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal

from lab.errors import ConfigError

__all__ = ["ctl_code", "parse_ctl_code"]

Method = Literal["buffered", "in_direct", "out_direct", "neither"]
ControlAccess = Literal["any", "read", "write", "read_write"]

_METHODS: Final[Mapping[str, int]] = {"buffered": 0, "in_direct": 1, "out_direct": 2, "neither": 3}
_ACCESSES: Final[Mapping[str, int]] = {"any": 0, "special": 0, "read": 1, "write": 2, "read_write": 3}
#: ``FILE_DEVICE_…`` of the driver kit's ``devioctl.h`` (and of the SDK's ``winioctl.h``), without the prefix.
_DEVICE_NAMES: Final = """
    beep cd_rom cd_rom_file_system controller datalink dfs disk disk_file_system file_system inport_port keyboard mailslot
    midi_in midi_out mouse multi_unc_provider named_pipe network network_browser network_file_system null parallel_port
    physical_netcard printer scanner serial_mouse_port serial_port screen sound streams tape tape_file_system transport unknown
    video virtual_disk wave_in wave_out 8042_port network_redirector battery bus_extender modem vdm mass_storage smb ks changer
    smartcard acpi dvd fullscreen_video dfs_file_system dfs_volume serenum termsrv ksec fips infiniband
"""
DEVICES: Final[Mapping[str, int]] = {name: number for number, name in enumerate(_DEVICE_NAMES.split(), 1)}
_PARTS: Final = re.compile(r"CTL_CODE\s*\(([^()]*)\)")


def ctl_code(device: int | str, function: int, method: int | Method = "buffered", access: int | ControlAccess = "any") -> int:
    """A device control code, as ``CTL_CODE(DeviceType, Function, Method, Access)`` makes it.

    >>> hex(ctl_code("unknown", 0x800))
    '0x222000'
    >>> hex(ctl_code(0x8000, 0x801, "out_direct", "read"))
    '0x80006006'

    Args:
        device: Device type: a number up to 0xFFFF, or a name such as ``unknown``, ``FILE_DEVICE_UNKNOWN``.
        function: Function, up to 0xFFF; 0x800 and above are yours.
        method: ``buffered``, ``in_direct``, ``out_direct``, ``neither``, or 0 to 3; or the full name, such as
            ``METHOD_BUFFERED``.
        access: ``any``, ``read``, ``write``, ``read_write``, or 0 to 3: what the handle must have been opened for.

    Raises:
        ConfigError: A part is out of its range, or has an unknown name.
    """
    return _code(device, function, method, access)


def parse_ctl_code(text: str) -> int:
    """Parse a code of a script: a number, or ``CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800, METHOD_BUFFERED, FILE_ANY_ACCESS)``.

    Raises:
        ConfigError: It is neither; the message says what a part may be.
    """
    found = _PARTS.fullmatch(text)
    if found is None:
        code = _number(text)
        if code is None or code > 0xFFFFFFFF:
            raise ConfigError(
                f"not a device control code: {text}", hint="a number, or CTL_CODE(device, function, method, access)"
            )
        return code
    parts = [part.strip() for part in found[1].split(",")]
    if len(parts) != 4 or not all(parts):
        raise ConfigError(f"CTL_CODE has four parts: {text}", hint="CTL_CODE(device, function, method, access)")
    return _code(*(part if (number := _number(part)) is None else number for part in parts))


def needed_access(code: int) -> Literal["r", "w", "rw"]:
    """The access that a handle needs for this code; ``r`` if any access will do."""
    rights: tuple[Literal["r", "w", "rw"], ...] = ("r", "r", "w", "rw")
    return rights[code >> 14 & 3]


def _code(device: int | str, function: int | str, method: int | str, access: int | str) -> int:
    return (
        _part("device type", device, DEVICES, "FILE_DEVICE_", 0xFFFF) << 16
        | _part("access", access, _ACCESSES, "FILE_", 3) << 14
        | _part("function", function, {}, "", 0xFFF) << 2
        | _part("method", method, _METHODS, "METHOD_", 3)
    )


def _number(text: str) -> int | None:
    return int(text, 0) if re.fullmatch(r"0[xX][0-9a-fA-F]+|[0-9]+", text) and not re.fullmatch(r"0\d+", text) else None


def _part(what: str, value: int | str, names: Mapping[str, int], prefix: str, most: int) -> int:
    number = _named(value, names, prefix) if isinstance(value, str) else value
    if isinstance(number, int) and not isinstance(number, bool) and 0 <= number <= most:
        return number
    by_name = f", or one of {', '.join(names)}" if names else ""
    raise ConfigError(f"not the {what} of a device control code: {value!r}", hint=f"0 to {most:#x}{by_name}")


def _named(value: str, names: Mapping[str, int], prefix: str) -> int | None:
    """``FILE_READ_ACCESS | FILE_WRITE_ACCESS``, ``METHOD_NEITHER``, ``unknown``."""
    number = 0
    for word in value.split("|"):
        name = word.strip().lower().removeprefix(prefix.lower())
        name = re.sub(r"_(access|data)$", "", name) if names is _ACCESSES else name
        if name not in names:
            return None
        number |= names[name]
    return number

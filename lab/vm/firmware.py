"""UEFI firmware for VMs, as distributions install it."""

from __future__ import annotations

from pathlib import Path

from lab.errors import HostToolError
from lab.vm.spec import Firmware

#: Code and variable store, as distributions name them. Never the ones with Microsoft's keys in them (``.ms.fd``):
#: those turn Secure Boot on, and Windows then refuses test signing.
_FIRMWARE = (
    ("usr/share/OVMF/OVMF_CODE_4M.fd", "usr/share/OVMF/OVMF_VARS_4M.fd"),  # Debian, Ubuntu
    ("usr/share/OVMF/OVMF_CODE.fd", "usr/share/OVMF/OVMF_VARS.fd"),  # older ones
    ("usr/share/edk2/ovmf/OVMF_CODE.fd", "usr/share/edk2/ovmf/OVMF_VARS.fd"),  # Fedora
    ("usr/share/edk2/x64/OVMF_CODE.4m.fd", "usr/share/edk2/x64/OVMF_VARS.4m.fd"),  # Arch
)


def find_firmware(root: Path = Path("/")) -> Firmware:
    """UEFI firmware of this host, without enrolled keys.

    Args:
        root: Where the host's file system begins.

    Raises:
        HostToolError: There is none; names the package.
    """
    for code, variables in _FIRMWARE:
        if (root / code).is_file() and (root / variables).is_file():
            return Firmware(root / code, root / variables)
    raise HostToolError(
        ["OVMF"],
        None,
        message="no UEFI firmware (OVMF) for virtual machines on this host; sought: "
        + ", ".join(str(root / code) for code, _variables in _FIRMWARE),
        hint="apt-get install -y ovmf (Fedora: dnf install edk2-ovmf), or choose the BIOS firmware",
    )

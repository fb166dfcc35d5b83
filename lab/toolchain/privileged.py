"""Whether the instruction at an address in a driver is privileged.

A guest whose drivers run without a kernel's privilege ends a driver at such an instruction: that is a limit of the guest. A
driver that jumps into data may execute such an instruction by chance (the letters l to o are port input and output): that is
the driver's fault.
"""

from __future__ import annotations

from pathlib import Path

from lab.errors import ConfigError
from lab.toolchain.peimage import opened

#: Images are loaded at multiples of this.
_GRANULARITY = 0x10000
_EXECUTABLE = 0x20000000
_LONGEST_INSTRUCTION = 15
#: Operand and address size, segments, lock, repetitions.
_PREFIXES = frozenset(b"\x66\x67\x2e\x36\x3e\x26\x64\x65\xf0\xf2\xf3")
_REX = range(0x40, 0x50)
#: Intel SDM, volume 3, "Privileged Instructions", and what the I/O privilege level governs: in, out, ins, outs, cli, sti.
_ONE_BYTE = frozenset(b"\x6c\x6d\x6e\x6f\xe4\xe5\xe6\xe7\xec\xed\xee\xef\xf4\xfa\xfb")
#: After 0F: lldt and ltr, lgdt and the like, clts, sysret, invd, wbinvd, mov to and from control and debug registers, wrmsr,
#: rdmsr, rdpmc, sysexit.
_TWO_BYTES = frozenset(b"\x00\x01\x06\x07\x08\x09\x20\x21\x22\x23\x30\x32\x33\x35")


def may_be_privileged(image: Path, address: int) -> bool:
    """Whether a driver may have a privileged instruction at an address; its load address is unknown.

    An image is loaded at a multiple of 64 KiB, so the address is one of a few offsets in its code.

    Args:
        image: The driver's file. If it cannot be read, the answer is yes.
        address: Where the instruction was executed.
    """
    try:
        with opened(image) as (_, pe):
            for section in pe.sections:
                if not section.Characteristics & _EXECUTABLE:
                    continue
                start = int(section.VirtualAddress)
                first = start + (address - start) % _GRANULARITY
                for offset in range(first, start + int(section.Misc_VirtualSize), _GRANULARITY):
                    if is_privileged(bytes(section.get_data(offset, _LONGEST_INSTRUCTION)), x64=pe.PE_TYPE == 0x20B):
                        return True
    except ConfigError:
        return True
    return False


def is_privileged(code: bytes, *, x64: bool) -> bool:
    """Whether bytes begin with a privileged instruction.

    Args:
        code: Up to fifteen bytes.
        x64: x64 code, in which 40 to 4F are prefixes.
    """
    rest = code
    while rest and (rest[0] in _PREFIXES or (x64 and rest[0] in _REX)):
        rest = rest[1:]
    if rest[:1] == b"\x0f":
        return rest[1:2] != b"" and rest[1] in _TWO_BYTES
    return rest[:1] != b"" and rest[0] in _ONE_BYTE

"""The tiny guest of the accelerator probe, assembled: ``probe_rom.S`` beside this file is its source, and says what it does.

The bytes are here because a user's host may have no assembler. After a change of the source, put its new bytes and digest
here::

    as -o rom.o probe_rom.S && ld --image-base 0 -Ttext 0 -o rom.exe rom.o && objcopy -O binary -j .text rom.exe rom.bin

(each with the prefix ``x86_64-w64-mingw32-``). Tests compare what both do: an assembler may choose its encodings.
"""

from __future__ import annotations

from typing import Final

#: What the guest writes to the exit device (I/O port 0xF4) when it has reached its end.
MAGIC: Final = 0x2A
#: SHA-256 of the text that ``CODE`` was assembled from.
SOURCE_SHA256: Final = "4cd828d891401260924d4c418b5445921099d8bc340e3dba10c0867432c9be92"
CODE: Final = bytes.fromhex(
    "fafc31c08ed88ec0bf0010b9000c6631c066f3abc70600100720c70600200730c706003087002e660f0116980066b8200000000f22e0"
    "66b8001000000f22d866b9800000c00f320d00010f3066b8010000800f22c066ea9e000f000800f4f4f40000000000000000ffff0000"
    "009baf00ffff00000093cf00ffff000000f3cf00ffff000000fbaf0067000050008900000000000000000000370060000f00b8100000"
    "008ed88ed0bc00700000c704250450000000780000c704250850000000000000b8280000000f00d8bf00400000b9c400000031c0f3ab"
    "bf60400000b846010000e868000000bf00430000b83c010000e85900000066c70425006000000f0348c7042502600000004000000f01"
    "1c250060000031db0f0b83fb017526b9002d3101ffc975fc6a1b68006800006a026a236838010f0048cfcd30eb0766baf400b02aeef4"
    "ebfdffc3488304240248cf66890766c74702080066c7470400ee66c747060f00c3"
)
_SIZE: Final = 0x10000
_RESET_VECTOR: Final = 0xFFF0
#: The rest is filled with HLT instructions.
_HALT: Final = b"\xf4"


def probe_rom(code: bytes = CODE) -> bytes:
    """A BIOS image of 64 KiB that does what a kernel does first, ends QEMU through its exit device, and nothing else.

    Args:
        code: The source, assembled.
    """
    # A far jump to F000:0000, the copy of this ROM below 1 MiB, which its page tables map.
    jump = bytes.fromhex("ea 0000 00f0")
    return code.ljust(_RESET_VECTOR, _HALT) + jump.ljust(_SIZE - _RESET_VECTOR, _HALT)

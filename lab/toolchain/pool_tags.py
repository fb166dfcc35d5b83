"""The pool tags that a driver's code allocates with, read from the code: no guest is needed, and no symbols.

A tag is the third parameter of ExAllocatePoolWithTag and ExAllocatePool2, mostly a constant of four characters. On x64 the
compilers of Microsoft, LLVM and GNU load it by ``mov r8d, constant`` (41 B8), on x86 they push it (68). A tag that the
driver computes is not found.
"""

from __future__ import annotations

import re
from pathlib import Path

from lab.errors import ConfigError
from lab.toolchain.peimage import opened

_EXECUTABLE = 0x20000000
_X64 = 0x20B
_ALLOCATES = re.compile(rb"ExAllocatePool(?:With|2|3|Priority)|ExAllocateFromNPaged")
_TAG_X64 = re.compile(rb"\x41\xb8(?P<tag>[!-~]{3}[ -~])")
_TAG_X86 = re.compile(rb"\x68(?P<tag>[!-~]{3}[ -~])")


def pool_tags(image: Path) -> tuple[str, ...]:
    """The tags, sorted; empty for a driver that allocates no pool, and for a file that cannot be read."""
    found: set[str] = set()
    try:
        with opened(image) as (pages, pe):
            if not _ALLOCATES.search(pages.read(0, len(pages))):
                return ()
            form = _TAG_X64 if pe.PE_TYPE == _X64 else _TAG_X86
            for section in pe.sections:
                if section.Characteristics & _EXECUTABLE:
                    found |= {match["tag"].decode("ascii") for match in form.finditer(bytes(section.get_data()))}
    except ConfigError:
        return ()
    return tuple(sorted(found))

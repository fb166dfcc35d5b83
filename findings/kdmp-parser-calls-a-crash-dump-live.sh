#!/bin/bash
# kdmp-parser 0.7.4 names dump type 6 LiveKernelBitmapDump, whatever the dump is of.
#
# A good engineer who sees that name takes it for a dump of a running system, and the dump of a bugcheck for none. But 6 is
# DUMP_TYPE_BITMAP_KERNEL of the WDK (DUMP_TYPE, KBUGCHECK_ADD_PAGES), which is what Windows 8 and later write at every
# bugcheck that is configured for a kernel or an automatic dump. Whether the system ran on is told by the bugcheck code alone (0x161).
#
# Seen: a bitmap dump with bugcheck 0xD1 gives "type 6 is LiveKernelBitmapDump, bugcheck 0xd1".
# Ends with 0 while that is so, with 1 when it changes.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check kdmp-parser==0.7.4
cat > "$work/look.py" <<'PYTHON'
import struct
import sys

import kdmp_parser

HEADER, CONTEXT = 0x2000, 0x348
header = bytearray(b"PAGE" * (HEADER // 4))
header[:8] = b"PAGEDU64"
struct.pack_into("<II", header, 0x08, 15, 19041)  # version, build
struct.pack_into("<4Q", header, 0x10, 0x1000, 0, 0, 0)  # page tables, and lists that nobody looks at
struct.pack_into("<II", header, 0x30, 0x8664, 1)
struct.pack_into("<I", header, 0x38, 0xD1)  # DRIVER_IRQL_NOT_LESS_OR_EQUAL
struct.pack_into("<4Q", header, 0x40, 0x10, 2, 0, 0xFFFFF80012345678)
struct.pack_into("<IIQQQ", header, 0x88, 1, 0, 1, 0, 1)  # one run of one page
header[CONTEXT : CONTEXT + 0xBB8] = bytes(0xBB8)
struct.pack_into("<I", header, CONTEXT + 0x30, 0x10000F)
struct.pack_into("<I", header, CONTEXT + 0x34, 0x1F80)
struct.pack_into("<6H", header, CONTEXT + 0x38, 0x10, 0x2B, 0x2B, 0x53, 0x2B, 0x18)
struct.pack_into("<I", header, CONTEXT + 0x118, 0x1F80)
struct.pack_into("<I", header, 0xF98, 6)
struct.pack_into("<Q", header, 0xFA0, HEADER + 0x2000)
bitmap = bytearray(0x1000)
bitmap[:8] = b"SDMPDUMP"
struct.pack_into("<3Q", bitmap, 0x20, HEADER + 0x1000, 1, 8)  # first page, pages in the file, bits
bitmap[0x38] = 1
with open(sys.argv[1], "wb") as file:
    file.write(header + bitmap + bytes(0x1000))
dump = kdmp_parser.KernelDumpParser(sys.argv[1])
name = kdmp_parser.DumpType(dump.type).name
print(f"type {int(dump.type)} is {name}, bugcheck {dump.header.BugCheckCode:#x}")
sys.exit(0 if (name, dump.header.BugCheckCode) == ("LiveKernelBitmapDump", 0xD1) else 1)
PYTHON
"$work/venv/bin/python" "$work/look.py" "$work/crash.dmp"

#!/bin/bash
# pefile 2024.8.26 computes the checksum of an image over bytes that are not the file's: a sound image "has a wrong checksum".
#
# verify_checksum() and generate_checksum() sum what pefile writes again from the structures that it has parsed. A text of a
# version resource with a character beyond U+FFFF comes out of that shorter than it went in. With fast_load the resource is not
# parsed, and the same file has the right checksum. So the answer depends on how the file was opened.
#
# Seen: "fast_load: True, parsed: False" for one file, whose checksum the linker wrote and a loop over its words confirms.
# Ends with 0 while that is so, with 1 when it changes. Needs Debian's gcc-mingw-w64-x86-64.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check pefile==2024.8.26
cat > v.rc <<'RC'
#pragma code_page(65001)
1 VERSIONINFO
FILEVERSION 2,7,1,8
BEGIN
 BLOCK "StringFileInfo"
 BEGIN
  BLOCK "040904b0"
  BEGIN
   VALUE "FileDescription", "Made-up tool 🔧"
  END
 END
END
RC
echo 'int main(void) { return 0; }' > m.c
x86_64-w64-mingw32-windres -c 65001 v.rc v.o
x86_64-w64-mingw32-gcc -O2 -s m.c v.o -o m.exe
venv/bin/python - <<'PYTHON'
import struct

import pefile

data = open("m.exe", "rb").read()
fast = pefile.PE(data=data, fast_load=True)
at = fast.OPTIONAL_HEADER.get_field_absolute_offset("CheckSum")
total = 0
for (word,) in struct.iter_unpack("<H", data[:at] + bytes(4) + data[at + 4 :] + bytes(len(data) % 2)):
    total += word
    total = (total & 0xFFFF) + (total >> 16)
print(f"stored {fast.OPTIONAL_HEADER.CheckSum:#x}, over the words of the file {total + len(data):#x}")
assert total + len(data) == fast.OPTIONAL_HEADER.CheckSum
said = fast.verify_checksum(), pefile.PE(data=data).verify_checksum()
print(f"fast_load: {said[0]}, parsed: {said[1]}")
raise SystemExit(said != (True, False))
PYTHON

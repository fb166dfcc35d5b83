#!/usr/bin/env bash
# A driver that is compiled with mingw-w64's wdm.h and hands *ExEventObjectType to ObReferenceObjectByHandle hands over garbage.
#
# Versions: Debian 13 (trixie), gcc-mingw-w64-x86-64-win32 14.2.0 with mingw-w64 headers 12.0.0.
#
# The kernel exports variables of type POBJECT_TYPE. With Microsoft's headers the name ExEventObjectType is the variable's address,
# and * gives the object type: behind the import, one load. mingw-w64 declares the name as an imported variable that is itself a
# POBJECT_TYPE *: the compiler reads the variable for the name, and the first bytes of the object type for the *: two loads. Both
# compile and link without a word. The check of the handle's type then compares with something that is no type.
# A variable that is declared as a POBJECT_TYPE is read once, and needs no *.
#
# Output seen (Debian 13):
#   *ExEventObjectType: 2 loads behind the address of the import
#   a variable of type POBJECT_TYPE: 1
#
# Needs mmdebstrap and root (or user namespaces). Ends with 0 while it is so, with 1 when that has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
mmdebstrap --quiet --variant=apt --include=gcc-mingw-w64-x86-64-win32 trixie "$work/root" >&2
cat >"$work/root/tmp/types.c" <<'C'
#include <ntddk.h>
extern __declspec(dllimport) POBJECT_TYPE OwnObjectType;
PVOID OfTheKernel(void) { return (PVOID)*ExEventObjectType; }
PVOID OfOurOwn(void) { return (PVOID)OwnObjectType; }
C
chroot "$work/root" dpkg-query -W -f '${Package} ${Version}\n' gcc-mingw-w64-x86-64-win32 mingw-w64-common
include=/usr/x86_64-w64-mingw32/include/ddk
chroot "$work/root" x86_64-w64-mingw32-gcc -O2 -c -isystem "$include" -o /tmp/types.o /tmp/types.c
loads() { # of a function: movs from memory, without the one that reads the import's own address
    chroot "$work/root" x86_64-w64-mingw32-objdump -d --no-show-raw-insn --disassemble="$1" /tmp/types.o |
        grep -cE 'mov +0x0\(%rip\)|mov +\(%r'
}
kernel=$(($(loads OfTheKernel) - 1))
own=$(($(loads OfOurOwn) - 1))
printf '*ExEventObjectType: %s loads behind the address of the import\na variable of type POBJECT_TYPE: %s\n' "$kernel" "$own"
((kernel == 2 && own == 1))

#!/usr/bin/env bash
# mingw-w64's ntddk.h does not compile in C++ at all, although it has extern "C" blocks for it: not even alone.
#
# Versions: Debian 13 (trixie), g++-mingw-w64-x86-64-win32 14.2.0 with mingw-w64 headers 12.0.0. Debian 12 has 12.2.0 with 10.0.0,
# and is the same.
#
# ntddk.h includes wdm.h, which includes intrin.h, where InterlockedBitTestAndSet and …Reset are functions with gnu_inline; behind
# that, wdm.h defines both once more, `static __inline__`. In C the second definition takes the place of a gnu_inline one; G++ says
# "redeclared inline without 'gnu_inline' attribute". Two macros around the #include give wdm.h's two other names, and that does.
#
# Output seen (Debian 13):
#   C: ok
#   C++: error: 'BOOLEAN InterlockedBitTestAndSet(volatile LONG*, LONG)' redeclared inline without 'gnu_inline' attribute
#   C++, functions of wdm.h renamed: ok
#
# Needs mmdebstrap and root (or user namespaces). Ends with 0 while it is so, with 1 when that has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
mmdebstrap --quiet --variant=apt --include=g++-mingw-w64-x86-64-win32 trixie "$work/root" >&2
printf '#include <ntddk.h>\n' >"$work/root/tmp/plain.c"
cp "$work/root/tmp/plain.c" "$work/root/tmp/plain.cpp"
cat >"$work/root/tmp/renamed.cpp" <<'C'
#include <ntdef.h>
#include <intrin.h>
#define InterlockedBitTestAndSet OfWdmSet
#define InterlockedBitTestAndReset OfWdmReset
#include <wdm.h>
#undef InterlockedBitTestAndSet
#undef InterlockedBitTestAndReset
#include <ntddk.h>
C
chroot "$work/root" dpkg-query -W -f '${Package} ${Version}\n' g++-mingw-w64-x86-64-win32 mingw-w64-common
compile() {
    local said words=(-c -o /dev/null -isystem /usr/x86_64-w64-mingw32/include/ddk "$2")
    if said=$(LC_ALL=C chroot "$work/root" "x86_64-w64-mingw32-$1" "${words[@]}" 2>&1); then
        echo ok
    else
        grep -m1 -o 'error: .*' <<<"$said"
    fi
}
c=$(compile gcc /tmp/plain.c)
cxx=$(compile g++ /tmp/plain.cpp)
renamed=$(compile g++ /tmp/renamed.cpp)
printf 'C: %s\nC++: %s\nC++, functions of wdm.h renamed: %s\n' "$c" "$cxx" "$renamed"
[[ $c == ok && $renamed == ok && $cxx == *"without 'gnu_inline' attribute"* ]]

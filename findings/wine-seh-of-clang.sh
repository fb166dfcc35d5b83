#!/usr/bin/env bash
# A program of Clang for mingw-w64 with __try, in Wine: GetExceptionCode() in the __except block is 0, and a __finally around that
# block runs twice, first while the handler is looked for, with the state of before the block, then once more at its place.
#
# Windows hands the exception's code over in the register of return values, and Clang reads it there; Wine's __C_specific_handler
# unwinds with 0. And on the way to an __except block Wine asks whether a __finally's range contains that block's address: Clang
# puts the block behind the function's range, and has the address of the block itself in an earlier entry for the same range.
#
# Versions: Debian 13 (trixie), wine64 10.0, clang-19 1:19.1.7, gcc-mingw-w64-x86-64-win32 14.2.0.
#
# Output seen; as Windows documents it, there were two lines, "handled c0000005" and "finally 11, abnormal 0":
#   finally 1, abnormal 1
#   handled 00000000
#   finally 11, abnormal 0
#
# Needs mmdebstrap and root. Ends with 0 while it is so, with 1 when that has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
packages=clang-19,gcc-mingw-w64-x86-64-win32,wine64,wine
mmdebstrap --quiet --variant=apt --include=$packages trixie "$work/root" >&2
cat >"$work/root/tmp/seh.c" <<'C'
#include <stdio.h>
#include <windows.h>
static void walk(volatile int *at)
{
    int step = 0;

    __try {
        __try {
            step = 1;
            *at = 1;
        } __except (EXCEPTION_EXECUTE_HANDLER) {
            printf("handled %08lx\n", GetExceptionCode());
            step += 10;
        }
    } __finally {
        printf("finally %d, abnormal %d\n", step, AbnormalTermination());
    }
}
int main(void)
{
    walk((volatile int *)16);
    return 0;
}
C
chroot "$work/root" dpkg-query -W -f '${Package} ${Version}\n' clang-19 gcc-mingw-w64-x86-64-win32 wine64
# Wine wants /proc; with its own process ids, nothing of it is left running.
inside() {
    local words=(env HOME=/root WINEPREFIX=/tmp/prefix WINEDEBUG=-all LC_ALL=C "$@")
    unshare --mount --pid --fork bash -c 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"' "$work/root" "${words[@]}"
}
inside clang-19 --target=x86_64-w64-mingw32 -fms-extensions -O2 -Xclang -fasync-exceptions -w -c /tmp/seh.c -o /tmp/seh.o
inside x86_64-w64-mingw32-gcc /tmp/seh.o -o /tmp/seh.exe
said=$(inside timeout 300 wine /tmp/seh.exe 2>/dev/null </dev/null | tr -d '\r')
printf '%s\n' "$said"
[[ $said == $'finally 1, abnormal 1\nhandled 00000000\nfinally 11, abnormal 0' ]]

#!/usr/bin/env bash
# mingw-w64's ntddk.h cannot be compiled without SSE any more: code for a kernel is often built with -mgeneral-regs-only.
#
# Versions: Debian 13 (trixie), gcc-mingw-w64-x86-64 14.2.0 with mingw-w64 headers 12.0.0. Debian 12 has 12.2.0 with 10.0.0, and
# takes the same file without a word, also with -Wall -Wextra -Werror.
#
# One would guess that a kernel's header needs no vector unit. ntddk.h includes intrin.h, whose inline function __faststorefence
# calls __builtin_ia32_sfence. That builtin exists only where SSE is on. GCC 12 took it for an implicit declaration, and says
# nothing of those in system headers; for GCC 14 it is an error everywhere. The function need not be used. x86 is not concerned.
#
# Output seen (Debian 13):
#   plain: ok
#   -mgeneral-regs-only: error: implicit declaration of function '__builtin_ia32_sfence'; …
#   -mgeneral-regs-only, headers with target("sse"): ok
#
# Needs mmdebstrap and root (or user namespaces). Ends with 0 while it is so, with 1 when that has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
mmdebstrap --quiet --variant=apt --include=gcc-mingw-w64-x86-64 trixie "$work/root" >&2
cat >"$work/root/tmp/plain.c" <<'C'
#include <ntddk.h>
int Zero(void) { return 0; }
C
cat >"$work/root/tmp/target.c" <<'C'
#pragma GCC push_options
#pragma GCC target("sse")
#include <ntddk.h>
#pragma GCC pop_options
int Zero(void) { return 0; }
C
chroot "$work/root" dpkg-query -W -f '${Package} ${Version}\n' gcc-mingw-w64-x86-64 mingw-w64-common
compile() {
    local gcc=(x86_64-w64-mingw32-gcc -c -o /dev/null -isystem /usr/x86_64-w64-mingw32/include/ddk) said
    if said=$(LC_ALL=C chroot "$work/root" "${gcc[@]}" "$@" 2>&1); then echo ok; else grep -m1 error <<<"$said"; fi
}
plain=$(compile /tmp/plain.c)
without=$(compile -mgeneral-regs-only /tmp/plain.c)
target=$(compile -mgeneral-regs-only /tmp/target.c)
printf 'plain: %s\n-mgeneral-regs-only: %s\n-mgeneral-regs-only, headers with target("sse"): %s\n' "$plain" "$without" "$target"
[[ $plain == ok && $target == ok && $without == *__builtin_ia32_sfence* ]]

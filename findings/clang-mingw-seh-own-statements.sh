#!/usr/bin/env bash
# Clang takes __try for mingw-w64 (-fms-extensions, x86_64) without a word, and what the block's own statements raise is not caught:
# for `__try { *pointer = 1; } __except (1) { … }` it makes the code of `*pointer = 1;`. Only calls in the block are covered.
# -fasync-exceptions is there for this, and is dropped for this target by the driver, with a warning of an unused argument (for MSVC's
# target it is not). `-Xclang -fasync-exceptions` reaches the compiler proper, and then the function has its table of scopes.
#
# Versions: Debian 13 (trixie), clang-19 1:19.1.7, binutils-mingw-w64-x86-64 2.44. Clang 14.0.6 and 16.0.6 of Debian 12 take the option
# itself, make a frame with a handler, and write a table without a scope: nothing is caught there either.
#
# In a table of scopes (.xdata) stand the address of the handler, and three addresses for each scope with a constant filter.
#
# Output seen:
#   without: no table
#   -fasync-exceptions: no table
#   -Xclang -fasync-exceptions: handler and 3 addresses
#
# Needs mmdebstrap and root (or user namespaces). Ends with 0 while it is so, with 1 when that has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
mmdebstrap --quiet --variant=apt --include=clang-19,binutils-mingw-w64-x86-64 trixie "$work/root" >&2
printf 'int f(int *p) { int r = 0; __try { *p = 1; } __except (1) { r = 1; } return r; }\n' >"$work/root/tmp/f.c"
chroot "$work/root" dpkg-query -W -f '${Package} ${Version}\n' clang-19 binutils-mingw-w64-x86-64
table() {
    local count
    chroot "$work/root" clang-19 --target=x86_64-w64-mingw32 -fms-extensions -O2 "$@" -c /tmp/f.c -o /tmp/f.o
    count=$(chroot "$work/root" x86_64-w64-mingw32-objdump -r -j .xdata /tmp/f.o 2>/dev/null | grep -c ADDR32NB || true)
    if [ "$count" -eq 0 ]; then echo 'no table'; else echo "handler and $((count - 1)) addresses"; fi
}
without=$(table)
driver=$(table -fasync-exceptions)
proper=$(table -Xclang -fasync-exceptions)
printf 'without: %s\n-fasync-exceptions: %s\n-Xclang -fasync-exceptions: %s\n' "$without" "$driver" "$proper"
[[ $without == 'no table' && $driver == 'no table' && $proper == 'handler and 3 addresses' ]]

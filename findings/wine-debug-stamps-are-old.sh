#!/usr/bin/env bash
# WINEDEBUG=+timestamp stamps a line with GetTickCount(), three digits behind the second. That count is not the clock: it is what
# wineserver wrote into KUSER_SHARED_DATA last. It writes when it handles a request, and otherwise every 16 ms. So two lines of a
# program that asks wineserver for nothing between them are up to 16 ms nearer or farther than their stamps say. A request just
# before the line (here SetEvent) makes the stamp right to the millisecond.
#
# GetTickCount() of Windows has steps of 10 to 16 ms, too, but there every reading has the same error; here it depends on what the
# process, and every other one of the prefix, has asked of wineserver.
#
# Versions: Debian 13 (trixie), wine64 10.0, gcc-mingw-w64-x86-64-win32 14.2.0.
#
# Output seen (the first count varies):
#   4 ms behind or more, of 400: 385 as it is, 0 after a request
#
# Needs mmdebstrap and root. Ends with 0 while it is so, with 1 when that has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
mmdebstrap --quiet --variant=apt --include=gcc-mingw-w64-x86-64-win32,wine64,wine trixie "$work/root" >&2
cat >"$work/root/tmp/ticks.c" <<'C'
#include <stdio.h>
#include <windows.h>
/* Milliseconds by which the tick count is behind the performance counter; both count from the same moment. */
static long behind(void)
{
    LARGE_INTEGER counter, frequency;

    QueryPerformanceFrequency(&frequency);
    QueryPerformanceCounter(&counter);
    return (long)((DWORD)(counter.QuadPart / (frequency.QuadPart / 1000)) - GetTickCount());
}
int main(void)
{
    HANDLE event = CreateEventW(NULL, FALSE, FALSE, NULL);
    int round, before = 0, after = 0;

    for (round = 0; round < 400; round++) {
        Sleep(7);
        before += behind() >= 4;
        SetEvent(event);
        after += behind() >= 4;
    }
    printf("4 ms behind or more, of 400: %d as it is, %d after a request\n", before, after);
    return before >= 20 && after * 10 <= before ? 0 : 1;
}
C
chroot "$work/root" dpkg-query -W -f '${Package} ${Version}\n' gcc-mingw-w64-x86-64-win32 wine64
# Wine wants /proc; with its own process ids, nothing of it is left running.
inside() {
    local words=(env HOME=/root WINEPREFIX=/tmp/prefix WINEDEBUG=-all LC_ALL=C "$@")
    unshare --mount --pid --fork bash -c 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"' "$work/root" "${words[@]}"
}
inside x86_64-w64-mingw32-gcc -O2 /tmp/ticks.c -o /tmp/ticks.exe
inside timeout 300 wine /tmp/ticks.exe 2>/dev/null </dev/null

#!/usr/bin/env bash
# QEMU starts with -icount shift=auto,sleep=off and with shift=auto,align=on, which its own code means to refuse; and -icount
# sleep=off without a shift does nothing at all, without a warning.
#
# Versions: QEMU 10.0 (Debian 13); 7.2 (Debian 12) and 11.1 (backports of Debian 13) do the same.
#
# One would guess that what starts works as named: shift=auto adapts the guest's clock to the host's time, sleep=off jumps over
# idle time. Both together cannot be, and the source has the messages "shift=auto and sleep=off are incompatible" and "shift=auto
# and align=on are incompatible" (accel/tcg/icount-common.c). But the checks read the variables before the options are stored
# in them, so that they never see anything but the defaults. The guest's clock then follows the host while the guest is busy,
# and has shift 0 after the first jumps: neither adapted nor repeatable. The third case: the code returns early when there is
# no shift, so that a virtual machine that was meant to count instructions counts none (query-replay's icount stays 0).
#
# The guest is SeaBIOS without anything to boot.
#
# Output seen:
#   QEMU emulator version 10.0.… (Debian …)
#   shift=0,sleep=off: starts and counts
#   shift=0,sleep=off,align=on: align=on and sleep=off are incompatible
#   shift=auto,sleep=off: starts and counts
#   shift=auto,align=on: starts and counts
#   sleep=off: starts and counts nothing
#
# Needs mmdebstrap and root (or user namespaces). Ends with 0 while it is so, with 1 when that has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
mmdebstrap --quiet --variant=apt --include=qemu-system-x86,seabios,ipxe-qemu trixie "$work/root" >&2
chroot "$work/root" qemu-system-x86_64 --version | head -1
try() {
    local said
    # SeaBIOS executes its first millions of instructions within the seconds that are waited.
    said=$({ printf '%s\n' '{"execute":"qmp_capabilities"}'; sleep 5; printf '%s\n' '{"execute":"query-replay"}' '{"execute":"quit"}'; } |
        chroot "$work/root" qemu-system-x86_64 -machine q35 -accel tcg -m 16M -nodefaults -display none -icount "$1" -qmp stdio 2>&1) || true
    if [[ $said == *incompatible* ]]; then
        grep -o '[a-z]*=[a-z]* and [a-z]*=[a-z]* are incompatible' <<<"$said" | head -1 | sed "s/^/$1: /"
    elif [[ $said == *'"icount": 0,'* ]]; then
        echo "$1: starts and counts nothing"
    elif [[ $said == *'"icount": '* ]]; then
        echo "$1: starts and counts"
    else
        echo "$1: $said"
    fi
}
found=$(for options in shift=0,sleep=off shift=0,sleep=off,align=on shift=auto,sleep=off shift=auto,align=on sleep=off; do try "$options"; done)
echo "$found"
[[ $found == "shift=0,sleep=off: starts and counts
shift=0,sleep=off,align=on: align=on and sleep=off are incompatible
shift=auto,sleep=off: starts and counts
shift=auto,align=on: starts and counts
sleep=off: starts and counts nothing" ]]

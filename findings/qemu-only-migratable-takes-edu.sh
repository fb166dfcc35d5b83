#!/usr/bin/env bash
# QEMU's -only-migratable takes devices whose state is in no migration stream: the option asks whether a device forbids migration,
# not whether it knows how to migrate.
#
# Versions: QEMU 10.0 (Debian 13); 7.2 (Debian 12) does the same.
#
# One would guess that -only-migratable ("allow only migratable devices") stands for machines that come back whole. `edu` and
# `pci-testdev` have no description of their state (vmstate), so nothing of them is written, not even their PCI configuration
# space, and nobody says so: neither -only-migratable, nor `migrate`, which completes, nor the QEMU that takes the stream. In the
# restored machine the device's regions are at no address, so that the guest reads ones. `nvme` is refused, because its
# description says that it cannot be migrated; e1000e is in the stream.
#
# Output seen:
#   QEMU emulator version 10.0.… (Debian …)
#   edu: taken by -only-migratable; migration completed; in the stream: no
#   pci-testdev: taken by -only-migratable; migration completed; in the stream: no
#   e1000e: taken by -only-migratable; migration completed; in the stream: yes
#   nvme: refused by -only-migratable
#
# Needs mmdebstrap and root (or user namespaces). Ends with 0 while it is so, with 1 when that has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
mmdebstrap --quiet --variant=apt --include=qemu-system-x86,seabios,ipxe-qemu trixie "$work/root" >&2
truncate -s 1M "$work/root/tmp/disk.img"
chroot "$work/root" qemu-system-x86_64 --version | head -1
try() {
    local device=$1 stream=/tmp/${1%%,*}.stream questions said
    rm -f "$work/root$stream"
    questions='{"execute":"qmp_capabilities"}\n{"execute":"migrate","arguments":{"uri":"exec:cat > '$stream'"}}\n'
    # The machine is empty and small: its state is written within the second that is waited.
    said=$({ printf '%b' "$questions"; sleep 5; printf '%s\n' '{"execute":"query-migrate"}' '{"execute":"quit"}'; } |
        chroot "$work/root" qemu-system-x86_64 -machine q35 -m 16M -nodefaults -display none -S -only-migratable \
            -drive if=none,id=d,file=/tmp/disk.img,format=raw -device "$device" -qmp stdio 2>&1) || true
    if [[ $said == *"is not migratable"* ]]; then
        echo "${device%%,*}: refused by -only-migratable"
    elif [[ $said == *'"status": "completed"'* ]]; then
        echo "${device%%,*}: taken by -only-migratable; migration completed; in the stream:" \
            "$(grep -aq "0000:00:01.0/" "$work/root$stream" && echo yes || echo no)"
    else
        echo "${device%%,*}: $said"
    fi
}
found=$(for device in edu pci-testdev e1000e nvme,drive=d,serial=s; do try "$device"; done)
echo "$found"
taken="taken by -only-migratable; migration completed; in the stream:"
[[ $found == "edu: $taken no
pci-testdev: $taken no
e1000e: $taken yes
nvme: refused by -only-migratable" ]]

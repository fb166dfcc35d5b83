"""A guest of a few bytes for snapshots: it counts, in its RAM, the bytes that it gets on COM1."""

from __future__ import annotations

from pathlib import Path

from lab.host.unix_socket import connect_unix
from lab.vm.machine import VirtualMachine
from lab.vm.spec import Disk, SerialPort, VmSpec

#: DS = 0; wait for a byte on COM1; add 1 to the byte at 0x500; answer '0' + that byte; again.
COUNTER = bytes.fromhex("31c0 8ed8  bafd03 ec a801 74fb  baf803 ec  fe060005 a00005 0430 ee  ebe8")


class Counter:
    """Asks the guest of a VM to count."""

    def __init__(self, machine: VirtualMachine) -> None:
        self.path = machine.run_dir / "serial0.sock"

    def count(self) -> int:
        with connect_unix(self.path, timeout=60) as connection:
            connection.sendall(b"?")
            return connection.recv(1)[0] - ord("0")


def spec_of(rom: Path, disk: Path) -> VmSpec:
    return VmSpec(name="counter", bios=rom, memory_mb=32, serials=(SerialPort("socket"),), disks=(Disk(disk, format="raw"),))

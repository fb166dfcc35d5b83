"""A process that owns one fork of the restless stand-in, until it is killed: prints its run folder and the id of its QEMU."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from lab.vm.machine import VirtualMachine
from tests.relayguest.restless import restless_forks, restless_guest


def main() -> None:
    """Make the fork and wait."""
    forks = restless_forks(Path(sys.argv[1]))
    guest = restless_guest(forks, "owned")
    assert isinstance(guest.machine, VirtualMachine)
    sys.stdout.write(f"{guest.machine.run_dir} {guest.machine.pid}\n")
    sys.stdout.flush()
    threading.Event().wait()


if __name__ == "__main__":
    main()

"""Boot a guest with labgrid's QEMUDriver, wait for its line on the console, run one command with its SSHDriver, end it.

Stands alone: it runs in the Python in which labgrid is installed. Reads one JSON object from standard input (see
:class:`lab.bench.measures.peer.PeerJob`) and writes one: the seconds of each boot, and labgrid's version. Labgrid's own output
goes to standard error.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml
from labgrid import Environment


def environment(job: dict[str, Any], folder: Path, port: int) -> Path:
    """Write labgrid's configuration for one boot."""
    nic = f"user,model={job['nic']},restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22"
    # The prints' port is there, as the guest expects; its text is dropped. `-serial` would replace the console.
    extra = f"-accel {job['accelerator']} -smp {job['smp']} -initrd {job['initrd']} -rtc base=utc -no-user-config"
    extra += " -chardev null,id=prints -device isa-serial,chardev=prints,index=1"
    extra += " -object rng-random,id=rng0,filename=/dev/urandom -device virtio-rng-pci,rng=rng0"
    qemu = {
        "qemu_bin": "qemu",
        "machine": job["machine"],
        "cpu": job["cpu"],
        "memory": f"{job['memory_mb']}M",
        "kernel": "kernel",
        "disk": "disk",
        "disk_opts": "snapshot=on,cache=unsafe,discard=unmap",
        "boot_args": job["boot_args"],
        "nic": nic,
        "extra_args": extra,
    }
    service = {"address": "127.0.0.1", "port": port, "username": job["username"]}
    config = {
        "targets": {
            "main": {
                "resources": [{"NetworkService": service}],
                "drivers": [{"QEMUDriver": qemu}, {"SSHDriver": {"keyfile": job["keyfile"]}}],
            }
        },
        "tools": {"qemu": job["qemu"]},
        "images": {"kernel": job["kernel"], "disk": job["disk"]},
    }
    file = folder / "labgrid.yaml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    return file


def boot(job: dict[str, Any]) -> float:
    """One boot; returns the seconds from starting QEMU to the answered command."""
    with socket.socket() as free, tempfile.TemporaryDirectory(prefix="lab-peer-") as scratch:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        target = Environment(str(environment(job, Path(scratch), port))).get_target("main")
        qemu = target.get_driver("QEMUDriver")
        try:
            begin = time.monotonic()
            qemu.on()
            qemu.expect(job["ready"], timeout=job["timeout_s"])
            ssh = target.get_driver("SSHDriver")
            said = ssh.run_check(job["command"])
            took = time.monotonic() - begin
            if [line.strip() for line in said] != [job["answer"]]:
                raise RuntimeError(f"the command said {said!r}")
            return took
        finally:
            # The SSH driver closes its master connection first, as labgrid's own clean-up does.
            with contextlib.suppress(Exception):
                target.deactivate_all_drivers()


def main() -> int:
    """Read the job, boot, write the result."""
    job = json.load(sys.stdin)
    # Output of labgrid and ssh goes to standard error, so that standard output has the result alone.
    result = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    seconds = boot(job)
    json.dump({"labgrid": importlib.metadata.version("labgrid"), "seconds": seconds}, result)
    result.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())

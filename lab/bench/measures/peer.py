"""The same guest driven by another tool: labgrid's QEMUDriver, from a cold boot to the first answered command.

labgrid lives in a Python of its own (`bash ci/peer.sh` makes it): it has a pytest plugin that the lab's tests must not load.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TypedDict

from lab.bench.protocol import Context, NotHere
from lab.bench.samples import Samples, Series
from lab.errors import HostToolError
from lab.host.accel import QEMU
from lab.host.assets import checkout
from lab.host.process import find_program, run

#: Where `ci/peer.sh` puts labgrid.
PEER_VENV = ".venv-peer"
SCRIPT = Path(__file__).parents[1] / "peer" / "labgrid_boot.py"
#: The free guest's line on its console when programs can run; vm-images/wine/README.md.
_READY = "lab: wine ready"
_COMMAND = "echo lab"
_GRACE_S = 60.0
_HINT = "bash ci/peer.sh makes the Python of labgrid anew"


class PeerJob(TypedDict):
    """The input of :mod:`lab.bench.peer.labgrid_boot`; seconds, MiB and paths."""

    qemu: str
    accelerator: str
    machine: str
    cpu: str
    smp: int
    memory_mb: int
    nic: str
    kernel: str
    initrd: str
    disk: str
    boot_args: str
    username: str
    keyfile: str
    ready: str
    command: str
    answer: str
    timeout_s: float


class PeerMeasure:
    """Both boot the same kernel, disk and VM in turn, and both measure until a command over SSH: labgrid has no WinRM."""

    name = "peer"
    title = "a fresh guest over SSH: the lab against labgrid's QEMUDriver"
    needs = "labgrid (`bash ci/peer.sh`); guests one after the other, two minutes"

    def run(self, context: Context) -> Samples:
        """Boot in turn."""
        python = find_peer(context.peer_python)
        labgrid: list[float] = []
        ours: list[float] = []
        version = ""
        with tempfile.TemporaryDirectory(prefix="lab-bench-") as scratch:
            job = peer_job(context, Path(scratch))
            for turn in range(context.repeat(2, 1, most=5)):
                context.detail(f"labgrid, boot {turn + 1}")
                version, seconds = boot_once(python, job)
                labgrid.append(seconds)
                context.detail(f"the lab, boot {turn + 1}")
                with context.boot(f"bench-peer-{turn + 1}", transport="ssh") as guest:
                    ours.append(guest.boot_s)
        peer = f"labgrid {version}, QEMUDriver and SSHDriver"
        series = (
            Series(key="peer.labgrid", label=peer, unit="s", values=tuple(labgrid), baseline=True),
            Series(key="peer.lab", label="the lab, cold boot", unit="s", values=tuple(ours), reference="peer.labgrid"),
        )
        notes = (
            "labgrid boots for every fresh guest; a fork of the lab stands in the measure `boot`, and answers over WinRM",
            f"labgrid waits for {_READY!r} on the console, then connects; the lab tries to connect until a command is answered",
        )
        return Samples(series=series, notes=notes)


def find_peer(given: Path | None) -> Path:
    """The Python with labgrid in it: the one that the user names, or the one that the set-up script made.

    Raises:
        NotHere: There is none.
    """
    python = given or checkout("labgrid's Python") / PEER_VENV / "bin" / "python"
    if not python.exists():
        raise NotHere(f"no Python with labgrid ({python} is not there)", hint="bash ci/peer.sh, or --peer PYTHON")
    return python


def peer_job(context: Context, folder: Path) -> PeerJob:
    """What labgrid needs to know to start the same VM as the lab.

    Raises:
        NotHere: This image cannot be started that way.
    """
    manifest, machine = context.manifest, context.manifest.machine
    key = context.credentials.ssh_private_key
    if machine.kernel is None or machine.initrd is None or key is None or manifest.port_of("ssh") is None:
        raise NotHere(f"{manifest.guest} has no kernel of its own or no SSH key: labgrid cannot start it as the lab does")
    keyfile = folder / "key"
    keyfile.touch(mode=0o600)
    keyfile.write_text(key, encoding="utf-8")
    return PeerJob(
        qemu=find_program(QEMU),
        accelerator=context.accelerator,
        machine=machine.machine,
        cpu=machine.cpu_kvm if context.accelerator == "kvm" else machine.cpu_tcg,
        smp=machine.smp,
        memory_mb=machine.memory_mb,
        # After the model's name come options of -device, which -nic does not accept.
        nic=machine.nic.partition(",")[0],
        kernel=str(context.image_dir / machine.kernel),
        initrd=str(context.image_dir / machine.initrd),
        disk=str(context.image_dir / machine.disk),
        # labgrid itself adds root=/dev/vda.
        boot_args=" ".join(word for word in machine.append.split() if not word.startswith("root=")),
        username=context.credentials.username,
        keyfile=str(keyfile),
        ready=_READY,
        command=_COMMAND,
        answer=_COMMAND.split()[1],
        timeout_s=manifest.boot_timeout_s,
    )


def boot_once(python: Path, job: PeerJob) -> tuple[str, float]:
    """One boot by labgrid; returns its version and the seconds.

    Raises:
        HostToolError: It failed.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "LG_"))}
    done = run(
        [python, SCRIPT], job["timeout_s"] + _GRACE_S, check=False, env=environment, stdin=json.dumps(job).encode(), hint=_HINT
    )
    try:
        result = json.loads(done.stdout)
        return str(result["labgrid"]), float(result["seconds"])
    except (ValueError, KeyError, TypeError):
        raise HostToolError(done.argv, done.exit_code, done.stderr, hint=_HINT) from None

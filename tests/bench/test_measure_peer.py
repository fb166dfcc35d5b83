"""The measure against labgrid, with a double of labgrid's Python."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path

import pytest

from lab.bench.measures.peer import PeerMeasure, boot_once, find_peer, peer_job
from lab.bench.protocol import NotHere
from lab.errors import HostToolError
from lab.image.manifest import Credentials, MachineSpec, usual_offers
from tests.bench.fakes import FakeContext
from tests.simulated import manifest


def linux(context: FakeContext) -> FakeContext:
    boot = {"kernel": "kernel", "initrd": "initrd", "append": "root=/dev/vda quiet"}
    machine = MachineSpec.model_validate({"machine": "q35", "memory_mb": 768, "disk": "disk.qcow2"} | boot)
    context.source.manifest = manifest(machine=machine, transports=usual_offers("winrm", "ssh"))
    context.credentials = Credentials(username="lab", password="secret", ssh_private_key="KEY")
    return context


def fake_peer(folder: Path, body: str) -> Path:
    """A double of labgrid's Python: it gets the script's path as its argument and the job on standard input."""
    file = folder / "python"
    file.write_text(f"#!{sys.executable}\nimport json, sys\njob = json.load(sys.stdin)\n{body}\n", encoding="utf-8")
    file.chmod(0o755)
    return file


def test_labgrid_and_the_lab_boot_in_turn(context: FakeContext, tmp_path: Path) -> None:
    linux(context)
    context.peer_python = fake_peer(tmp_path, "print(json.dumps({'labgrid': '26.0', 'seconds': job['memory_mb'] / 64}))")
    found = PeerMeasure().run(context)
    assert [(one.key, one.values, one.reference) for one in found.series] == [
        ("peer.labgrid", (12.0, 12.0), ""),
        ("peer.lab", (10.0, 10.0), "peer.labgrid"),
    ]
    assert "labgrid 26.0" in found.series[0].label


def test_the_peer_gets_the_vm_of_the_image_and_a_private_key_file(context: FakeContext, tmp_path: Path) -> None:
    job = peer_job(linux(context), tmp_path)
    assert (job["machine"], job["memory_mb"], job["accelerator"]) == ("q35", 768, "tcg")
    assert job["boot_args"] == "quiet"
    assert stat.S_IMODE(Path(job["keyfile"]).stat().st_mode) == 0o600
    assert "secret" not in json.dumps(job)


def test_a_guest_that_labgrid_cannot_start_is_reported(context: FakeContext, tmp_path: Path) -> None:
    with pytest.raises(NotHere, match="labgrid cannot start it"):
        peer_job(context, tmp_path)


def test_without_labgrid_the_report_says_how_to_install_it(tmp_path: Path) -> None:
    with pytest.raises(NotHere) as caught:
        find_peer(tmp_path / "python")
    assert "ci/peer.sh" in str(caught.value)


@pytest.mark.parametrize("body", ["sys.exit('qemu: no such machine')", "print('{}')", "print('no json')"])
def test_a_peer_that_fails_is_an_error_with_its_output(context: FakeContext, tmp_path: Path, body: str) -> None:
    python = fake_peer(tmp_path, body)
    with pytest.raises(HostToolError):
        boot_once(python, peer_job(linux(context), tmp_path))

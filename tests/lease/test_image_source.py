"""The source of real guests: with forks if the guests can be forked, else with a reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lab.bench.forks import template_forks
from lab.bench.protocol import NotHere
from lab.errors import HostToolError
from lab.host.capacity import Capacity
from lab.lease import image_source as module
from lab.lease.detached import DetachedGuests
from lab.lease.image_source import ImageSource, with_forks
from lab.lease.slots import slot_count
from lab.live.payload import Payload
from lab.snapshot.store import TemplateStore
from tests.simulated import manifest

#: With eight cores and 16 GiB, guests of 4 GiB: three that are booted, or five forks.
HOST = Capacity(cores=8, memory_mb=16384)


def source_of(tmp_path: Path, prints: str) -> ImageSource:
    machine = {"machine": "q35", "memory_mb": 4096, "disk": "disk.qcow2"}
    port: dict[str, Any] = {"source": prints, "mark_port": 1} if prints == "wine" else {"source": prints}
    return ImageSource(
        image_dir=tmp_path,
        manifest=manifest(machine=machine, prints=port),
        payload=Payload(drivers={}, clients={}),
        accelerator="tcg",
        qemu="7.2",
        transport="winrm",
        boot_timeout=None,
        runs_dir=tmp_path / "runs",
        evidence_dir=tmp_path / "guests",
        kept=DetachedGuests(tmp_path / "kept"),
    )


def test_guests_whose_prints_cannot_be_followed_have_no_forks_but_a_reason(tmp_path: Path) -> None:
    store = TemplateStore(tmp_path / "templates")
    source = with_forks(source_of(tmp_path, "none"), store)
    assert source.forks is None
    assert source.no_forks == (
        # This free guest's clock is set by the agent of its own channel; a Windows guest without prints is forked.
        "an image with no print channel cannot be forked: nothing would set the clock of a fork"
    )
    assert slot_count(source, forks=source.forks is not None, capacity=HOST) == 3
    with pytest.raises(NotHere, match="cannot be forked"):
        template_forks(source_of(tmp_path, "none"), store)


@pytest.mark.parametrize("prints", ["wine", "relay", "kd"])
def test_guests_whose_prints_can_be_followed_have_forks(tmp_path: Path, prints: str) -> None:
    source = with_forks(source_of(tmp_path, prints), TemplateStore(tmp_path / "templates"))
    assert source.forks is not None
    assert source.no_forks == ""
    assert slot_count(source, forks=source.forks is not None, capacity=HOST) == 5
    source.forks.close()


def test_a_qemu_that_answers_nothing_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(qemu: str) -> None:
        raise HostToolError([qemu], None, message="QEMU tells nothing")

    monkeypatch.setattr(module, "probe_features", fail)
    source = with_forks(source_of(tmp_path, "wine"), TemplateStore(tmp_path / "templates"))
    assert (source.forks, source.no_forks) == (None, "QEMU tells nothing")

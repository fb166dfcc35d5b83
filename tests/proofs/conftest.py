"""An image under proof, and a bench for it."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lab.image.manifest import load_manifest
from lab.image.windows import files
from lab.image.windows.image_record import InstallRecord, load_record
from lab.proofs.bench import Asker, ImageBench
from tests.image.windows.conftest import MakeImage, cache, make_image
from tests.proofs.standin import Commands, StandinGuests, WindowsDouble

__all__ = ["cache", "make_image"]
_EVENTS = (
    *((0.0, "start", ""), (3.1, "key", "up"), (3.6, "key", "up"), (9.0, "stage", "winpe start"), (12.0, "write", "1 MB")),
    *((300.0, "reset", "guest-reset"), (420.0, "stage", "network start"), (430.0, "stage", "network ok")),
    *((431.0, "stage", "tools start"), (432.0, "stage", "tools ok"), (500.0, "reset", "guest-reset")),
    *((560.0, "stage", "quiet ok"), (600.0, "stage", "done ok"), (610.0, "shutdown", "guest-shutdown"), (610.5, "exit", "0")),
)


@dataclass
class Proving:
    """An image, and what answers in its place."""

    image: Path
    windows: WindowsDouble = field(default_factory=WindowsDouble)
    commands: Commands = field(default_factory=Commands)
    guests: list[StandinGuests] = field(default_factory=list)
    now: float = 0.0

    def bench(self, asker: Asker | None = None) -> ImageBench:
        manifest = load_manifest(self.image)
        self.guests.append(StandinGuests(self.image, manifest, self.windows))
        return ImageBench(
            self.image,
            manifest,
            "kvm",
            self.guests[-1],
            runs=self.image.parent / "runs",
            command=self.commands,
            asker=asker,
            clock=lambda: self.now,
            sleep=self._sleep,
        )

    def _sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def proving(make_image: MakeImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proving]:
    for variable in ("CACHE", "DATA", "STATE"):
        monkeypatch.setenv(f"LAB_{variable}", str(tmp_path / variable.lower()))
    image = make_image(
        evaluation_expires=datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=180),
        install=InstallRecord(duration_s=780, resets=2, accelerator="kvm", qemu="6.2.0"),
    )
    record = load_record(image)
    (image / files.RECORD).write_text(
        record.model_copy(
            update={
                "edition": record.edition.model_copy(update={"name": "Windows Server 2022 Standard Evaluation"}),
                "acceptance": record.acceptance.model_copy(
                    update={"windows": "ServerStandardEval 20348.587", "kd_entry": "{entry}", "driver_policy": "none"}
                ),
            }
        ).model_dump_json()
    )
    lines = [json.dumps({"at_s": at, "kind": kind, "detail": detail}) for at, kind, detail in _EVENTS]
    (image / files.EVENTS).write_text("\n".join(lines) + "\n")
    found = Proving(image)
    yield found
    assert all(not machine.alive for guests in found.guests for machine in guests.machines)
    assert not list((tmp_path / "state" / "runs").glob("*/vm"))

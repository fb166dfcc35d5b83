"""Puts outcomes together into the report, and writes its files."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path

import lab
from lab.bench.budgets import Judgement
from lab.bench.model import BenchReport, MachineEntry
from lab.bench.plot import plot
from lab.bench.runner import Outcome, budget_entry, measure_entry
from lab.image.manifest import ImageManifest
from lab.image.registry import kind_of

BENCH_FILE = "bench.json"
PLOT_FILE = "bench.svg"


def make_report(
    outcomes: Sequence[Outcome],
    judgements: Sequence[Judgement],
    *,
    manifest: ImageManifest,
    accelerator: str,
    qemu: str,
    machine: MachineEntry,
    started: datetime.datetime,
    duration_s: float,
    command: Sequence[str],
    quick: bool,
) -> BenchReport:
    """The record of a bench.

    Args:
        outcomes: Of all measures that were asked for.
        judgements: Of all budgets.
        manifest: The image of every guest.
        accelerator: ``kvm`` or ``tcg``.
        qemu: QEMU's version.
        machine: The host on which the times were measured.
        started: UTC.
        duration_s: Host seconds.
        command: The command line.
        quick: Few repetitions.
    """
    return BenchReport(
        lab_version=lab.__version__,
        started=started.isoformat(timespec="seconds"),
        duration_s=round(duration_s, 3),
        command=list(command),
        guest=manifest.guest,
        kind=manifest.kind,
        label=kind_of(manifest).words.label,
        image=manifest.name,
        image_key=manifest.key,
        accelerator=accelerator,
        qemu=qemu,
        quick=quick,
        machine=machine,
        measures=[measure_entry(outcome) for outcome in outcomes],
        budgets=[budget_entry(judgement) for judgement in judgements],
    )


def write_report(folder: Path, report: BenchReport) -> None:
    """Write ``bench.json`` and ``bench.svg`` into the report folder."""
    (folder / BENCH_FILE).write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
    (folder / PLOT_FILE).write_text(plot(report), encoding="utf-8")

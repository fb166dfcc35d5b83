"""``bench.json``: the record of one bench.

The JSON Schema beside the documentation (docs/bench.schema.json) is generated from these models; a test compares them.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from lab.bench.budgets import Kind
from lab.bench.samples import Unit
from lab.report.model import Text

SCHEMA_VERSION = 2
#: Shown with every time and rate.
CAVEAT = "Times and rates are valid for this host only; ratios, sizes and losses can be compared with others."

Status = Literal["measured", "failed", "not here", "interrupted"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class MachineEntry(_Model):
    """The host on which the times were measured."""

    processor: str
    cores: float = Field(description="CPUs that the bench could use, by affinity and quota")
    memory_mib: int
    kernel: str
    python: str
    load: float = Field(description="load average of the last minute when the bench began: other work distorts times")


class SeriesEntry(_Model):
    """Readings of one thing; see :class:`lab.bench.samples.Series`."""

    key: str
    label: str
    unit: Unit
    values: list[float]
    p50: float
    p95: float | None = Field(description="by the nearest rank; null for fewer than 20 readings")
    reference: str = Field(default="", description="key of the series that it is compared with")
    times_better: float | None = Field(default=None, description="than the reference, by medians; null without one")
    higher_is_better: bool = False
    baseline: bool = Field(default=False, description="the reference that the lab is compared with")
    estimated: bool = Field(default=False, description="computed for the whole from readings of a part")
    note: Text = ""


class MeasureEntry(_Model):
    """One measure: its series, or why it has none."""

    name: str
    title: str
    status: Status
    reason: Text = Field(default="", description="why it was not measured; empty otherwise")
    duration_s: float
    notes: list[Text] = Field(default_factory=list)
    series: list[SeriesEntry] = Field(default_factory=list)


class BudgetEntry(_Model):
    """A budget of the design and its result."""

    key: str
    what: str
    goal: str
    kind: Kind
    figure: float | None = Field(description="the ratio, or the figure in the series' unit; null where nothing was measured")
    met: bool | None = Field(description="null where nothing was measured, or a bench cannot show it")
    decides: bool = Field(description="whether `lab bench --check` can fail by it")
    reason: Text = ""


class BenchReport(_Model):
    """``bench.json``."""

    schema_version: int = SCHEMA_VERSION
    lab_version: str
    started: str = Field(description="UTC, ISO 8601")
    duration_s: float
    command: list[str] = Field(default_factory=list)
    guest: str = Field(description="the one-line description of the guest, e.g. 'free guest: Wine 10.0 on Debian 13'")
    kind: str = Field(description="kind of guest: wine (the free guest), windows, or one that a package adds")
    label: str = Field(description="what to write after the guest's name: not Windows")
    image: str
    image_key: str
    accelerator: str = Field(description="kvm or tcg")
    qemu: str = Field(description="QEMU's version")
    quick: bool = Field(description="few repetitions: the figures show that everything runs, and little more")
    caveat: str = CAVEAT
    machine: MachineEntry
    measures: list[MeasureEntry]
    budgets: list[BudgetEntry]

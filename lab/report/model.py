"""``run.json``: the record of one run, and the JSONL lines that workers write during the run.

The JSON Schema beside the documentation (docs/run.schema.json) is generated from these models; a test compares them.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticSerializationError

from lab.gate.verdict import Verdict
from lab.image.manifest import kind_of_before
from lab.image.registry import kind_named
from lab.vm.spec import Clock

#: 2: the image has `kind` instead of `is_windows`. Reports of schema 1 are read, too.
SCHEMA_VERSION = 2


def _encodable(value: object) -> object:
    """Show lone surrogates (Python's stand-ins for undecodable bytes) as escapes: JSON in UTF-8 cannot contain them."""
    return value.encode("utf-8", "backslashreplace").decode("utf-8") if isinstance(value, str) else value


#: Text that came from outside: a guest, a test, a traceback.
Text = Annotated[str, BeforeValidator(_encodable)]


def as_json(model: BaseModel, *, indent: int | None = None) -> str:
    """A model as JSON; characters that are not valid Unicode become escapes."""
    try:
        return model.model_dump_json(indent=indent)
    except PydanticSerializationError:
        return json.dumps(_all_encodable(model.model_dump(mode="json")), indent=indent)


def _all_encodable(value: object) -> object:
    if isinstance(value, dict):
        return {_encodable(key): _all_encodable(one) for key, one in value.items()}
    return [_all_encodable(one) for one in value] if isinstance(value, list) else _encodable(value)


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PrintEntry(_Model):
    """One kernel print inside a report; see :class:`lab.prints.record.PrintRecord`."""

    sequence: int
    host_time: float
    guest_time: float | None = None
    source: str
    cpu: int | None = None
    thread: str | None = None
    component: int | None = None
    level: int | None = None
    raw: str = Field(description="hexadecimal")
    text: Text
    by_kernel: bool = Field(
        default=False, description="the kernel's own print, by a pattern of the image or the lab file: no test counts it"
    )
    unlike_nt: bool = Field(
        default=False,
        description="NT would print another text for the same call: the stand-in converts %f, and wide text beyond ASCII,"
        " differently",
    )


class EventEntry(_Model):
    """Something of note that the kernel reported, in its place among the prints; see :class:`lab.prints.record.EventRecord`."""

    sequence: int
    host_time: float
    kind: str = Field(description="'load', 'unload', 'exception', 'prompt'")
    text: Text


class Fault(_Model):
    """A driver crash as the guest reported it."""

    code: str = Field(description="0x%08X; 0x00000000 if the guest ended itself without a code")
    parameters: list[str] = Field(default_factory=list, description="hexadecimal")
    text: Text = ""
    driver: Text | None = None
    name: str = Field(default="", description="the code's symbol, if the lab knows it")
    hint: str = Field(default="", description="one line for the driver's author, if there is something to say")
    where: Text = Field(
        default="", description="function and line of the address, if it lies in the driver; empty when unknown"
    )


class EvidenceFile(_Model):
    """A file or folder that was saved of a crash or a hang."""

    kind: str = Field(
        description="screenshot, dump, console, events, prints, driver, symbols or guest-log; readers skip others"
    )
    path: Text = Field(description="relative to the run's folder; a folder ends in a slash")
    note: Text = Field(default="", description="one line for readers")


class EvidenceStep(_Model):
    """One step of gathering evidence; see :mod:`lab.crash.steps`."""

    name: str
    seconds: float
    ok: bool
    skipped: bool = Field(default=False, description="left out on purpose")
    detail: Text = ""


class ProcessorEntry(_Model):
    """How long a guest's virtual machine waited for a processor of the host; see :mod:`lab.vm.processor_time`."""

    wall_s: float = Field(description="host seconds from the test's begin to its first failure, or to its end")
    waited_s: float = Field(description="seconds of that in which the virtual machine was ready to run and had no processor")
    share: float = Field(description="waited_s / wall_s; from 0.1 on, nothing is concluded from time")
    stolen_s: float | None = Field(default=None, description="seconds that an average processor lost to the host's own host")
    pressure_s: float | None = Field(default=None, description="seconds in which some process of the host waited")


class Attempt(_Model):
    """One execution of a test; the last one decides the verdict, and all are kept.

    ``details``, ``prints`` and ``evidence`` of the last attempt are in the test itself and empty here.
    """

    verdict: Verdict
    reason: Text
    signature: Text = ""
    duration_s: float
    guest_id: str | None = None
    worker: str = ""
    started: float = 0.0
    details: Text = ""
    prints: list[PrintEntry] = Field(default_factory=list)
    evidence: list[EvidenceFile] = Field(default_factory=list)
    processor: ProcessorEntry | None = None


class RateEntry(_Model):
    """How often a repeated test passed."""

    wanted: int = Field(description="how often it was to be run")
    runs: int = Field(description="how often it was run and could be judged")
    failed: int = Field(description="how many of these runs were red, or known failures")
    lost: int = Field(description="runs in which the lab failed; they do not count")
    low: float = Field(description="lower end of the 95% interval of Clopper and Pearson for the probability that it passes")
    high: float = Field(description="upper end of it")


class TestEntry(_Model):
    """One test of the run."""

    #: Not a test class: pytest would otherwise try to collect it by its name.
    __test__: ClassVar[bool] = False

    nodeid: Text
    verdict: Verdict
    reason: Text = Field(default="", description="one line: why it is not 'passed'; the missing capability for 'skipped'")
    signature: Text = Field(
        default="",
        description="what a red or known test failed of, without addresses, times and counters: equal for equal failures",
    )
    duration_s: float
    started: float = Field(description="host wall clock, seconds since the epoch")
    worker: str = Field(description="'gw0', …; 'master' without xdist")
    attempts: int = Field(default=1, ge=1)
    history: list[Attempt] = Field(
        default_factory=list,
        description="every attempt, when there was more than one; in order, but of a repeated test the one that decides is"
        " last",
    )
    repetition: int = Field(default=1, description="which of the runs of --repeat decides the verdict, from 1")
    rate: RateEntry | None = Field(default=None, description="of a repeated test; null if no run of it could be judged")
    guest_id: str | None = Field(default=None, description="the guest (boot) that served the test")
    clock: Clock | None = Field(default=None, description="the clock of that guest")
    missing_capability: str | None = None
    drivers: list[str] = Field(default_factory=list, description="names of the drivers that the test uses")
    fault: Fault | None = None
    left_by: Text = Field(
        default="",
        description="id of the test that loaded a driver whose unload, in this test, showed that it had not freed everything:"
        " that test is red for it",
    )
    details: Text = Field(default="", description="the failure as pytest shows it")
    prints: list[PrintEntry] = Field(default_factory=list)
    events: list[EventEntry] = Field(
        default_factory=list, description="loads, unloads and stops, which a debugged kernel reports beside its prints"
    )
    evidence: list[EvidenceFile] = Field(default_factory=list, description="files saved of a crash or a hang")
    evidence_steps: list[EvidenceStep] = Field(default_factory=list, description="how they were gathered, in order")
    hang: Literal["soft", "hard", "unknown"] | None = Field(
        default=None, description="for a guest that did not answer any more: whether its kernel still reacted to its debugger"
    )
    note: Text = Field(default="", description="why it was run again, with the figures of both runs; else empty")
    processor: ProcessorEntry | None = Field(
        default=None, description="how long its guest waited for a processor; null if unknown"
    )


class VerifierEntry(_Model):
    """What Driver Verifier checks in a guest, as the guest's own `verifier /query` shows it."""

    profile: str
    way: str = Field(description="how it was switched on: now (/dif … /now), volatile, or reboot (a restart)")
    checks: list[str] = Field(description="names of the checks that are on")
    unseen: list[str] = Field(default_factory=list, description="those of them that the guest's answer does not show")
    left_out: list[str] = Field(
        default_factory=list, description="standard checks that this guest can only switch on with a restart"
    )
    drivers: list[str] = Field(description="file names of the drivers that are checked")
    flags: str = Field(description="the flags that the guest reports, 0x%08X")
    notes: list[Text] = Field(default_factory=list, description="ways that were tried before, and why they do not count")
    answer: Text = Field(default="", description="the answer of verifier /query")


class WantedVerifier(_Model):
    """What the run asked of Driver Verifier."""

    profile: str
    checks: list[str]
    drivers: list[str]
    probability: int | None = Field(default=None, description="low_resources: of 10000 allocations, how many fail on average")
    pool_tags: list[str] = Field(default_factory=list, description="low_resources: only these allocations fail")
    applications: list[str] = Field(default_factory=list, description="low_resources: only for these programs")
    delay_minutes: int | None = Field(default=None, description="low_resources: minutes after the start without failures")


class GuestEntry(_Model):
    """One guest of the run: a boot or a fork, and what was done to make it ready. Times are host seconds."""

    guest_id: str
    worker: str
    clock: Clock = "real"
    started: float
    boot_s: float | None = None
    fork_s: float | None = Field(default=None, description="of a fork: from starting QEMU to its first answered command")
    wait_s: float | None = Field(
        default=None, description="how long its first test waited for it; a spare fork was ready before"
    )
    template: str = Field(default="", description="key of the template that it is a fork of; empty after a boot")
    copy_s: float | None = None
    copied_by: str = Field(default="", description="how its files got in: media, winrm or sftp")
    copy_note: Text = Field(default="", description="why it was not the requested way")
    load_s: float | None = None
    verifier: VerifierEntry | None = Field(default=None, description="null if Driver Verifier was not asked for")
    ended: Text = Field(default="", description="'end of run', 'crash: …', 'exited: …'")
    kept_as: str = Field(default="", description="name for `lab shell`; only for a guest that stays up")
    prints: int = Field(default=0, description="prints seen in the guest's life")
    unattributed: list[PrintEntry] = Field(default_factory=list, description="prints outside of every test and of the boot")
    boot_prints: list[PrintEntry] = Field(default_factory=list, description="prints before the first test's window")
    gaps: list[Text] = Field(default_factory=list)
    evidence: list[EvidenceFile] = Field(default_factory=list, description="files saved of a crash outside of every test")
    faults: list[Fault] = Field(
        default_factory=list, description="driver faults outside of every test's window: during the boot or after the last test"
    )


class TemplateEntry(_Model):
    """A template that forks of the run came from. Times are host seconds."""

    key: str = Field(description="hash of everything that it was made from")
    name: str = Field(description="image, CPUs and loaded drivers, for readers")
    drivers: list[str] = Field(default_factory=list, description="drivers that are loaded in its forks")
    smp: int = 1
    boot_s: float = Field(description="the boot that it comes from, to the first answered command")
    made_s: float | None = Field(default=None, description="time to make it, if this run made it")
    forks: int = Field(default=0, description="how many guests of the run came from it")


class ForksEntry(_Model):
    """The facts of one worker about its forks."""

    templates: list[TemplateEntry] = Field(default_factory=list)
    failed: int = Field(default=0, description="forks that did not resume; each is tried once more")
    notes: list[Text] = Field(default_factory=list, description="why guests were booted although forks were requested")


class DriverEntry(_Model):
    """A driver under test: the run's own copy of it, which every guest had."""

    name: str
    path: Text = Field(description="the file that was copied")
    sha256: str
    arch: str
    size: int = Field(default=0, description="bytes")
    file_version: Text = Field(default="", description="from its version resource; empty if it has none")
    signer: Text = Field(default="", description="common name of the signer; empty if it is not signed")
    commit: str = Field(
        default="",
        description="git commit of the folder that it was built from, or that has the finished file; empty if it is in no "
        "repository",
    )
    dirty: bool | None = Field(
        default=None,
        description="whether a file that it was built from differs from the commit (for a finished file: any file in the "
        "repository); null if unknown",
    )
    compiler: Text = Field(default="", description="the compiler, as it names itself; empty for a finished file")
    windows: Text = Field(
        default="",
        description="what Windows would do because of its signature (refuse it, or load it in test mode only), if the"
        " guest loads any driver",
    )


class KindEntry(_Model):
    """The kind of guest that all results of the run came from."""

    name: str = Field(description="wine (the free guest), windows, or one that a package adds")
    label: Text = Field(description="the words in brackets after the guest's name, such as: not Windows")
    about: Text = Field(description="what such a guest is, and what it cannot show")
    warning: Text = Field(default="", description="must be shown with all results; empty if the guest's name suffices")


def kind_entry(name: str) -> KindEntry:
    """A kind of guest for the report.

    Raises:
        ConfigError: No installed package has it.
    """
    words = kind_named(name).words
    return KindEntry(name=name, label=words.label, about=words.about, warning=words.warning)


class ImageEntry(_Model):
    """The image of every guest of the run."""

    name: str
    key: str
    guest: str
    kind: KindEntry
    capabilities: list[str]
    versions: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _of_schema_1(cls, value: Any) -> Any:
        """The entry of a report of schema 1, which only says whether the guest is Windows."""
        if not isinstance(value, dict) or "is_windows" not in value:
            return value
        kind = kind_of_before(bool(value["is_windows"]))
        rest = {key: item for key, item in value.items() if key != "is_windows"}
        return {"kind": kind_entry(kind), **rest}


class DiskEntry(_Model):
    """A disk that the lab file adds to the guests' virtual machine."""

    file: Text
    access: str = Field(description="overlay, read-only or write")
    format: str
    sha256: str = Field(description="of the file when the run began; for a file with backing files, of each, joined by +")


class NamedFileEntry(_Model):
    """A file that an argument or a device of the lab file names."""

    file: Text
    sha256: str = Field(description="when the run began")


class MachineEntry(_Model):
    """The virtual machine of the guests: the image's, with what the lab file adds (``vm:``)."""

    memory_mb: int
    cpus: int = Field(description="except for tests with lab_cpus")
    cpu: Text = Field(description="CPU model and flags")
    added: list[Text] = Field(default_factory=list, description="what the lab file adds or changes, one line each, for readers")
    devices: list[Text] = Field(default_factory=list, description="as QEMU's -device has them")
    disks: list[DiskEntry] = Field(default_factory=list)
    arguments: list[Text] = Field(default_factory=list, description="more arguments of QEMU")
    files: list[NamedFileEntry] = Field(
        default_factory=list, description="files that arguments and devices name and QEMU reads"
    )


class DriverCoverage(_Model):
    """How many lines of a driver ran."""

    name: str
    lines: int = Field(description="lines with code")
    covered: int = Field(description="lines that ran")
    not_measured: Text = Field(default="", description="why its lines were not counted")


class CoverageEntry(_Model):
    """What ran of the drivers (--coverage); coverage/coverage.json has the lines, and the tests of each."""

    lines: int = Field(description="lines with code of all drivers, each once")
    covered: int = Field(description="lines that ran")
    percent: float | None = Field(description="lines that ran, of 100; null if no line was counted")
    unused_lines: int = Field(default=0, description="lines of drivers that count theirs and that no test used")
    failed: bool = Field(default=False, description="the lab could not turn the counters into lines")
    drivers: list[DriverCoverage]
    incomplete: int = Field(default=0, description="tests whose last counts are missing, because their guest ended")
    notes: list[Text] = Field(default_factory=list, description="sentences for readers")


class RunReport(_Model):
    """``run.json``."""

    schema_version: int = SCHEMA_VERSION
    lab_version: str
    started: str = Field(description="UTC, ISO 8601")
    duration_s: float
    command: list[str] = Field(default_factory=list)
    root: Text = Field(default="", description="pytest's root folder: the files of test ids are relative to it")
    exit_code: int
    guest: str = Field(description="the one-line description of the guest, e.g. 'free guest: Wine 10.0 on Debian 13'")
    image: ImageEntry
    accelerator: str = Field(description="kvm or tcg")
    clock: Clock = Field(
        default="real",
        description="virtual: guests of one CPU have a time of their own, which passes only while the lab waits for them",
    )
    qemu: str = Field(description="QEMU's version")
    machine: MachineEntry | None = Field(default=None, description="null if guests do not come from an image")
    verifier: WantedVerifier | None = Field(
        default=None, description="what the run asked of Driver Verifier; what was in force is with each guest"
    )
    workers: int
    repeat: int = Field(default=1, description="how often each test was run (--repeat)")
    drivers: list[DriverEntry]
    totals: dict[Verdict, int]
    skipped_for: dict[str, int] = Field(default_factory=dict, description="missing capability -> number of tests")
    prints: int = Field(description="kernel prints of tests")
    unattributed_prints: int
    times: dict[str, float] = Field(
        default_factory=dict, description="seconds: boot, fork, copy, load (means over guests), suites (wall time)"
    )
    templates: list[TemplateEntry] = Field(default_factory=list)
    failed_forks: int = Field(default=0, description="forks that did not resume")
    fork_notes: list[Text] = Field(default_factory=list, description="why guests were booted although forks were requested")
    guests: list[GuestEntry] = Field(default_factory=list)
    tests: list[TestEntry] = Field(default_factory=list)
    not_run: list[Text] = Field(
        default_factory=list, description="ids of collected tests that did not run to their end, because the run ended early"
    )
    ended: Text = Field(default="", description="why the run ended before its last test; empty when it did not")
    deselected: int = Field(default=0, description="tests that -k, -m and similar options deselected")
    unused_drivers: list[str] = Field(
        default_factory=list,
        description="drivers of the paths that the user gave, if only skipped tests used them, or none",
    )
    coverage: CoverageEntry | None = Field(default=None, description="null if the lines of the drivers were not counted")

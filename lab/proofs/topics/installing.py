"""Statements about Windows Setup and the lab's stages: what the build of an image relies on."""

from __future__ import annotations

from lab.image.windows import files
from lab.proofs.statement import Bench, Outcome, Statement, decided, not_reached, proved
from lab.proofs.ways import EXAMPLE, Ask, Decided, InGuest, build_line

_GIB = 1 << 30
#: A quarter of an hour on a fast host; a slow one may take twice that.
_BUILD_S = 30 * 60.0
_OTHERS = "the same for `windows-server-2025`, `windows-11` and `windows-10`"


def _built(bench: Bench) -> Outcome:
    install = bench.record.install
    return proved(f"built in {install.duration_s:.0f} s with {install.resets} restarts, under {install.accelerator}")


def _edition(bench: Bench) -> Outcome:
    name, wanted = bench.record.edition.name, bench.recipe.editions
    return decided(name in wanted, f"the ISO's edition is {name!r}, and the recipe wants {' or '.join(map(repr, wanted))}")


def _keys(bench: Bench) -> Outcome:
    events = bench.events
    written = next((event.at_s for event in events if event.kind == "write"), None)
    keys = [event.at_s for event in events if event.kind == "key"]
    if written is None or not keys:
        return not_reached("the events of the build have no key, or no write")
    if keys[0] >= written:
        return not_reached("Setup wrote to the disk before any key was pressed: this CD asks for none")
    again = sum(event.kind == "reset" and event.at_s < written for event in events)
    text = (
        f"{len(keys)} keys, the first one after {keys[0]:.1f} s, the first write after {written:.1f} s, {again} restarts before"
    )
    return decided(not again, text)


def _stage(*wanted: str) -> Decided:
    """The stage lines that must be among the events of the build, in this order."""

    def decide(bench: Bench) -> Outcome:
        said = _stages(bench)
        rest = iter(said)
        return decided(all(line in rest for line in wanted), "; ".join(said))

    lines = ", then ".join(f"`LAB {line}`" for line in wanted)
    return Decided(decide=decide, by_hand=f"{lines} in `serial0.log` of the build's log folder", needs="build")


def _stages(bench: Bench) -> list[str]:
    return [event.detail for event in bench.events if event.kind == "stage"]


def _logon(bench: Bench) -> Outcome:
    """First-logon commands start the stages, and the Run key or the task starts them again after a restart."""
    begun = again = False
    restarted = 0.0
    for event in bench.events:
        if event.kind == "stage" and event.detail == "network start":
            begun = True
        elif event.kind == "reset" and begun:
            restarted = event.at_s
        elif event.kind == "stage" and event.detail.endswith(" ok") and restarted:
            again = True
    return decided(begun and again, "; ".join(_stages(bench)))


def _duration(bench: Bench) -> Outcome:
    install = bench.record.install
    if install.accelerator != "kvm":
        return not_reached(f"the image was built under {install.accelerator}")
    return decided(install.duration_s <= _BUILD_S, f"{install.duration_s:.0f} s")


def _trimmed(bench: Bench) -> Outcome:
    used = (bench.folder / files.DISK).stat().st_blocks * 512
    return decided(used <= 10 * _GIB, f"{used / _GIB:.1f} GiB")


def _powered_off(bench: Bench) -> Outcome:
    if not (bench.folder / files.KD_DISK).exists():
        return not_reached("the recipe has no stage kd, so the acceptance boot did not power the guest off")
    return proved(f"the acceptance boot of {bench.record.acceptance.when:%Y-%m-%d} ended with a power-off")


STATEMENTS = (
    Statement(
        id="setup-asks-nothing",
        text="Setup takes the answer file from the CD LABCFG and asks nothing",
        proof=Decided(decide=_built, by_hand=f"{build_line(EXAMPLE)}, and {_OTHERS}: no `InstallStalled`", needs="build"),
    ),
    Statement(
        id="edition-names",
        text="the edition names of the recipes are those of the ISOs",
        proof=Decided(decide=_edition, by_hand="the same commands; no `has no image`", needs="build"),
    ),
    Statement(
        id="key-prompt",
        text="the firmware's messages on COM1 come in time for the key prompt, and one key is enough",
        proof=Decided(
            decide=_keys, by_hand="`grep '\"key\"' install.jsonl` in the log folder: keys end at the first write", needs="build"
        ),
    ),
    Statement(id="com1-in-winpe", text="COM1 can be written to in WinPE, by `echo`", proof=_stage("winpe start")),
    Statement(
        id="windows-11-bypasses",
        text="Windows 11 installs without TPM, Secure Boot and much RAM",
        proof=Decided(decide=_built, by_hand=build_line("windows-11"), needs="build"),
        windows=("11",),
    ),
    Statement(
        id="no-page-of-oobe",
        text="no page of OOBE and no online account is asked for on 24H2 and Server 2025",
        proof=Ask(
            question="Do the screen shots of the build show no page that asks for something?",
            by_hand="the screen shots in the log folder of the build",
        ),
    ),
    Statement(
        id="stages-start-by-themselves",
        text="Server Core runs first-logon commands, and the `Run` key or the task at logon",
        proof=Decided(
            decide=_logon,
            by_hand=f"the line `network start` in `serial0.log` of a `{EXAMPLE}` build, and `ok` lines after a restart",
            needs="build",
        ),
        windows=("server-2022", "server-2025"),
    ),
    Statement(
        id="devices-need-no-drivers",
        text="e1000e and AHCI need no drivers in any of the four",
        proof=InGuest(command="ipconfig", says=r"10\.0\.2\.\d+", seen="an address that begins with `10.0.2.`"),
    ),
    Statement(id="labfile-runs", text="`labfile.exe` runs on Windows", proof=_stage("tools start", "tools ok")),
    Statement(id="stages-run", text="PowerShell 5.1 runs all stages", proof=_stage("done ok")),
    Statement(
        id="build-in-a-quarter-of-an-hour",
        text="a build takes a quarter of an hour with KVM, and hours without",
        proof=Decided(decide=_duration, by_hand="`install.duration_s` in `image.json`: 1800 or less with KVM", needs="build"),
        only_kvm=True,
    ),
    Statement(
        id="disk-is-trimmed",
        text="trimming of free blocks makes the disk file smaller",
        proof=Decided(decide=_trimmed, by_hand="`qemu-img info` of `disk.qcow2`: 10 GB or less", needs="build"),
    ),
    Statement(
        id="power-off-in-time",
        text="Windows writes its boot configuration on a power-off within 10 minutes",
        proof=Decided(
            decide=_powered_off, by_hand="the acceptance boot of any build: no `did not power itself off`", needs="build"
        ),
    ),
)

"""Statements about the VM that only KVM, or another QEMU than that of the build, can show."""

from __future__ import annotations

from lab.host.accel import QEMU
from lab.host.qemu import qemu_version
from lab.proofs.statement import Bench, Outcome, Statement, decided, not_reached
from lab.proofs.ways import EXAMPLE, Decided, InGuest, SuitesPass, answer, in_guest, powershell

_COMMAND_S = 120.0
#: `ping -n 11` waits ten times for a second; the rest is the transport's.
_WAIT = "ping -n 11 127.0.0.1"
_WAIT_S = (9.9, 12.0)
_PROCESSOR = powershell("(Get-CimInstance Win32_Processor).VMMonitorModeExtensions")


def _doctor(bench: Bench) -> Outcome:
    result = bench.lab("doctor", "--reprobe")
    return decided(result.exit_code == 0 and "under kvm" in result.text, answer(result))


def _clock(bench: Bench) -> Outcome:
    result = bench.guest().run(_WAIT, timeout=_COMMAND_S)
    least, most = _WAIT_S
    return decided(least <= result.duration_s <= most, f"ten seconds of the guest took {result.duration_s:.1f} s")


def _bench(bench: Bench) -> Outcome:
    result = bench.lab("bench", "--quick", "--check", "--guest", "wine")
    if result.exit_code not in (0, 1):
        return not_reached(answer(result))
    return decided(result.exit_code == 0, answer(result))


def _other_qemu(bench: Bench) -> Outcome:
    built, here = bench.record.install.qemu, qemu_version(QEMU)
    if not built or built.split(".")[:2] == here.split(".")[:2]:
        return not_reached(f"this host's QEMU ({here}) is the one that built the image")
    result = bench.guest().run("pnputil.exe /enum-devices /problem", timeout=_COMMAND_S)
    return decided("PCI\\" not in result.text.upper(), f"built with QEMU {built}, started with {here}; {answer(result)}")


STATEMENTS = (
    Statement(
        id="kvm-is-recognized",
        text="the lab's test guest runs with KVM, and `lab doctor` says so (KVM only)",
        proof=Decided(decide=_doctor, by_hand="`lab doctor --reprobe`: `Ready: guests run under kvm.`", needs="build"),
        only_kvm=True,
    ),
    Statement(
        id="hyper-v-flags",
        text="KVM takes the Hyper-V flags of the image's CPU, and Windows starts with them (KVM only)",
        proof=InGuest(command="ver", says="Windows", seen="the version of Windows"),
        only_kvm=True,
    ),
    Statement(
        id="no-nested-virtualization",
        text="with `vmx=off` and `svm=off`, Windows finds no processor that can virtualize (KVM only)",
        proof=InGuest(command=_PROCESSOR, says="False", never="True", seen="`False`"),
        only_kvm=True,
    ),
    Statement(
        id="guest-clock",
        text="a second of the guest is a second of the host (KVM only)",
        proof=Decided(decide=_clock, by_hand=f"`time` of {in_guest(_WAIT)}: ten to twelve seconds", needs="guest"),
        only_kvm=True,
    ),
    Statement(
        id="two-processors",
        text="two virtual processors run at the same time, and the stress suites pass on them (KVM only)",
        proof=SuitesPass(suites=("suites/stress",)),
        only_kvm=True,
    ),
    Statement(
        id="free-guest-under-kvm",
        text="the free guest and its forks work with KVM: a real clock, and RAM that forks share (KVM only)",
        proof=SuitesPass(guest="wine"),
        only_kvm=True,
    ),
    Statement(
        id="budgets-under-kvm",
        text="the budgets of the bench hold with KVM (KVM only)",
        proof=Decided(decide=_bench, by_hand="`lab bench --quick --check --guest wine` ends with 0", needs="run"),
        only_kvm=True,
    ),
    Statement(
        id="other-qemu",
        text="Windows finds no new devices when another QEMU starts the image, which names its machine type by version",
        proof=Decided(
            decide=_other_qemu,
            by_hand=f"`lab up --guest {EXAMPLE}` with another QEMU than that of the build, then "
            f"{in_guest('pnputil /enum-devices /problem')}: no `PCI`",
            needs="guest",
        ),
    ),
)

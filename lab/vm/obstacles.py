"""What keeps a VM from being forked, as far as its spec shows it. QEMU is asked for the rest: :mod:`lab.vm.trial`.

QEMU would take a snapshot of an empty VM with most of them, but forks of a guest would be wrong, or interfere with each other.
Those of the processor are here, too, because QEMU shows them with KVM alone, and does not say what to change.

``host`` and ``max`` are no obstacles: a template never leaves its host, and its key covers the QEMU binary and, with KVM, the
host's processor and kernel.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lab.vm.spec import VmSpec

_ON = frozenset({"on", "yes", "true", "y", "1"})
_OFF = frozenset({"off", "no", "false", "n", "0"})
#: Devices that stand for a device of the host. QEMU itself refuses a snapshot with vfio.
_OF_THE_HOST = ("usb-host", "usb-redir", "scsi-generic", "vfio-", "u2f-passthru", "ccid-card-passthru")


@dataclass(frozen=True, slots=True)
class Obstacle:
    """One reason why guests of a VM cannot be forked.

    Attributes:
        part: What of the VM is meant, as its user knows it: ``CPU flag invtsc``.
        why: What would go wrong; continues the sentence that ``part`` begins.
        hint: What to change so that the guests can be forked.
    """

    part: str
    why: str
    hint: str

    def __str__(self) -> str:
        return f"{self.part} {self.why} ({self.hint})"


def find_obstacles(spec: VmSpec) -> tuple[Obstacle, ...]:
    """The reasons why guests of a VM cannot be forked; empty if its spec shows none.

    Args:
        spec: The VM of a guest, as it would be booted.
    """
    return (*_of_disks(spec), *_of_the_processor(spec), *_of_arguments((*spec.extra, *spec.added)))


def _of_disks(spec: VmSpec) -> Iterator[Obstacle]:
    for disk in spec.disks:
        if not disk.overlay and not disk.read_only:
            yield Obstacle(
                f"the guest writes to {disk.path}, and",
                "forks cannot all write to the same file",
                "`access: overlay` gives each guest an overlay of its own",
            )


def _of_the_processor(spec: VmSpec) -> Iterator[Obstacle]:
    """Of a VM with KVM: under TCG these flags have no effect, or QEMU lacks them."""
    if spec.accelerator != "kvm":
        return
    # QEMU 7.2 to 11, target/i386/kvm/kvm.c: kvm_arch_init_vcpu and hyperv_init_vcpu forbid migration in these cases, except for
    # hv-reenlightenment, with which the state is saved, and then refused in each fork (-22 from KVM_SET_MSRS).
    flags = cpu_flags(spec.cpu)
    fixed = "tsc-frequency" in flags
    if flags.get("invtsc") in _ON and not fixed:
        yield Obstacle(
            "CPU flag invtsc",
            "forbids snapshots, because the guest may rely on the frequency of this host's TSC",
            "leave it out, or add tsc-frequency=HZ",
        )
    if flags.get("migratable") in _OFF and not fixed:
        yield Obstacle(
            "CPU flag migratable=off",
            "adds features of the host's processor that QEMU cannot save, such as invtsc",
            "leave it out",
        )
    if flags.get("hv-passthrough") in _ON:
        yield Obstacle("CPU flag hv-passthrough", "forbids snapshots", "name the hv-… flags that the guest needs")
    if flags.get("hv-no-nonarch-coresharing") == "auto":
        yield Obstacle("CPU flag hv-no-nonarch-coresharing=auto", "forbids snapshots", "write on or off")
    if flags.get("hv-reenlightenment") in _ON and not fixed:
        yield Obstacle(
            "CPU flag hv-reenlightenment",
            "makes QEMU refuse the state of each fork",
            "leave it out, or add tsc-frequency=HZ",
        )


def _of_arguments(arguments: Sequence[str]) -> Iterator[Obstacle]:
    for option, value in itertools.pairwise(arguments):
        name, kind, settings = option.lstrip("-"), value.partition(",")[0], _settings(value)
        if not option.startswith("-"):
            continue
        if name == "tpmdev":
            yield Obstacle(
                f"the TPM (-tpmdev {kind})",
                "keeps its state outside of the virtual machine, and all forks would change the same one",
                "remove it from `vm.arguments`; the lab's Windows images need no TPM",
            )
        elif name in ("virtfs", "fsdev"):
            yield Obstacle(
                f"the shared folder (-{name})",
                "forbids snapshots as soon as the guest uses it",
                "copy the files into the guest, or use a disk with `access: overlay`",
            )
        elif name == "device" and kind.startswith(_OF_THE_HOST):
            yield Obstacle(f"device {kind}", "is a device of the host, which only one virtual machine can have", "remove it")
        elif name == "device" and kind.startswith("ivshmem"):
            yield Obstacle(
                f"device {kind}", "shares memory that is in no snapshot, and that all forks would change", "remove it"
            )
        elif name == "object" and kind.startswith("memory-backend-") and _is_shared(kind, settings):
            # x-ignore-shared leaves all shared RAM out of the state, not only that of the guest's own file.
            yield Obstacle(
                f"the memory {settings.get('id', kind)}", "is shared: all forks would change the same one", "write share=off"
            )


def _is_shared(kind: str, settings: dict[str, str]) -> bool:
    # The backend of a memory file without a name is shared unless it says otherwise.
    return settings.get("share", "on" if kind == "memory-backend-memfd" else "off") in _ON


def cpu_flags(cpu: str) -> dict[str, str]:
    """The flags of a ``-cpu`` text: name with dashes → value.

    ``+flag`` and ``-flag`` are ``on`` and ``off``; of several flags of one name the last one counts.
    """
    flags: dict[str, str] = {}
    for word in cpu.split(",")[1:]:
        name, sign, value = word.strip().partition("=")
        if not sign:
            value = "off" if name.startswith("-") else "on"
        flags[name.lstrip("+-").replace("_", "-").lower()] = value.strip().lower()
    return flags


def _settings(text: str) -> dict[str, str]:
    """The settings of one of QEMU's option strings; a comma in a value, which is doubled, does not matter here."""
    pairs = (part.partition("=") for part in text.replace(",,", "\0").split(","))
    return {name: value if sign else "on" for name, sign, value in pairs if name}

"""The recipe of the free guest: Wine on Debian, in QEMU with a kernel of its own.

The image's key is a hash over the sources that go into it, and over what this code does with them: the command that makes the
tree of files, the list of installed files, the VM. So a change of this code that does not affect the image leaves the key as it
is.
"""

from __future__ import annotations

import datetime
import json
import shutil
import tempfile
from pathlib import Path

from lab.config.yamlfile import read_yaml, validate
from lab.host.assets import data_root
from lab.image import debian
from lab.image.credentials import GuestSecrets, make_secrets, save_credentials
from lab.image.kernel import kernel_facts
from lab.image.key import content_key, file_inputs, shared_inputs, source_files, tree_inputs
from lab.image.manifest import (
    SCHEMA_VERSION,
    Credentials,
    ImageManifest,
    KernelFacts,
    MachineSpec,
    PrintPort,
    TransportOffer,
    usual_offers,
)
from lab.image.progress import Progress
from lab.image.wine import NAME
from lab.image.wine.contents import (
    COMPONENTS,
    MODULES,
    PRINTS_CHANNEL,
    USER,
    WINRM_CHANNEL,
    WineRecipeFile,
    customize_manifest,
    debian_tree,
    installed_files,
    program_file,
)
from lab.toolchain.build import build_components
from lab.toolchain.flags import KERNEL, WDK, build_text
from lab.toolchain.manifest import load_component

HOSTNAME = "lab-wine"
MARK_PORT = 5999
#: What a guest of this image really does; tests that need more are skipped by name.
CAPABILITIES = ("driver_load", "dbgprint", "cancel_io", "cancel_one", "interrupts", "pci_devices", "winrm", "ssh", "sftp")
#: no5lvl: page tables of four levels, because an emulated processor walks them in software.
#: norandmaps: an emulator keeps the translations of a page by its virtual address, too. With other library addresses in each
#: process, each process of Wine was translated anew: 10,000 blocks of code, 260 ms for an `sc query` instead of 170.
#: ipv6.disable: QEMU's user network is IPv4, and a resumed guest would begin by looking for routers.
APPEND = " ".join(
    (
        "root=/dev/vda console=ttyS0 quiet panic=-1 mitigations=off audit=0 no5lvl nokaslr tsc=reliable no_timer_check",
        "norandmaps ipv6.disable=1",
    )
)
#: Without a boot rom, and without the announcement after a restore: that keeps the guest busy with its network for 25 ms.
NIC = "virtio-net-pci,romfile=,guest_announce=off"
MACHINE = MachineSpec(
    machine="q35",
    memory_mb=768,
    smp=1,
    nic=NIC,
    kernel="kernel",
    initrd="initrd",
    append=APPEND,
    disk="disk.qcow2",
    cd_drives=1,
)
#: Part of the key. Raise it for a change of an image's content that :meth:`WineRecipe.plan` does not show: the form of the
#: credentials (lab/image/credentials.py), the kernel's exports (lab/image/kernel.py).
REVISION = 1
#: Functions that only this driver of the lab gives to drivers, see driver/wine-compat.
_GIVEN_BY_COMPAT = {
    "hal.dll": ("HalGetInterruptVector", "HalSetBusData", "HalSetBusDataByOffset"),
    "ntoskrnl.exe": (
        *("DbgPrintReturnControlC", "IoConnectInterrupt", "IoDisconnectInterrupt", "KeRemoveQueueDpc"),
        *("IoCsqInitialize", "IoCsqInsertIrp", "IoCsqRemoveIrp", "IoCsqRemoveNextIrp"),
        *("KeSynchronizeExecution", "MmMapLockedPages"),
        *("ExRaiseAccessViolation", "ExRaiseDatatypeMisalignment", "ExRaiseStatus"),
    ),
}
#: Placeholders for the secrets and folders of a build in its plan.
_NO_SECRETS = GuestSecrets(
    credentials=Credentials(username=USER, password="PASSWORD", tls_certificate="TLS-CERTIFICATE"),
    ssh_user_key="SSH-USER-KEY",
    ssh_host_private_key="SSH-HOST-KEY",
    tls_private_key="TLS-KEY",
)
_STAGE, _FOLDER, _KEYRING = Path("/stage"), Path("/image"), Path("/keyring")


class WineRecipe:
    """Builds the image ``wine``.

    Args:
        root: Folder of ``driver/`` and ``vm-images/``; None: the lab's own.
    """

    def __init__(self, root: Path | None = None) -> None:
        self._root = root or data_root()
        self._folder = self._root / "vm-images" / "wine"
        self._key = ""

    @property
    def name(self) -> str:
        """See :class:`lab.image.kind.Recipe`."""
        return NAME

    def key(self) -> str:
        """See :class:`lab.image.kind.Recipe`. The present content of Debian's mirror is not part of it.

        Computed once, so that a file that changes during a build does not change the image's name.
        """
        if not self._key:
            self._key = content_key(self.inputs())
        return self._key

    def inputs(self) -> dict[str, bytes]:
        """Everything that the image is made from, by name."""
        inputs = tree_inputs(self._folder, "recipe")
        for folder in ("driver/wine-compat", "vm-images/tools"):
            inputs |= tree_inputs(self._root / folder, folder)
        inputs |= shared_inputs(self._root)
        for file in COMPONENTS:
            # The compiler's version is not part of it: each host has its own, and the options mean the same to all.
            inputs[f"build/{file}"] = build_text(load_component(self._root / file), "x64").encode()
        inputs |= file_inputs((WDK, *source_files(KERNEL)), "kernel headers")
        inputs["plan"] = self.plan().encode()
        inputs["schema"] = b"%d" % SCHEMA_VERSION
        return inputs

    def plan(self) -> str:
        """What a build does with its sources, as text that depends neither on the checkout's folder nor on the secrets."""
        recipe = self._recipe()
        install = installed_files(self._folder, _NO_SECRETS)
        install += [program_file(Path(Path(target).name), target) for target in COMPONENTS.values()]
        tree = debian_tree(recipe, _STAGE, _FOLDER, "MAKE-DISK", _KEYRING)
        plan = {
            "revision": REVISION,
            "tree": tree.argv(),
            "customize": customize_manifest(recipe, install, _NO_SECRETS.credentials.password),
            "texts": {entry.target: entry.content for entry in install if isinstance(entry.content, str)},
            "machine": MACHINE.model_dump(mode="json", exclude_defaults=True),
            "hostname": HOSTNAME,
            "mark port": MARK_PORT,
            "channels": [PRINTS_CHANNEL, WINRM_CHANNEL],
            "capabilities": CAPABILITIES,
            "given": _GIVEN_BY_COMPAT,
        }
        return json.dumps(plan, indent=1, sort_keys=True)

    def build(self, folder: Path, progress: Progress) -> None:
        """See :class:`lab.image.kind.Recipe`."""
        debian.require_tools()
        recipe = self._recipe()
        secrets = make_secrets(USER, HOSTNAME)
        with tempfile.TemporaryDirectory(prefix="files-", dir=folder) as work:
            stage = Path(work)
            progress.stage("build the guest's programs")
            self._collect(recipe, secrets, stage)
            make_disk = (self._folder / "make-disk").read_text(encoding="utf-8")
            tree = debian_tree(recipe, stage, folder, make_disk, debian.find_keyring())
            debian.bootstrap(tree, on_stage=progress.stage, on_detail=progress.detail)
        versions = json.loads((folder / "versions.json").read_text(encoding="utf-8"))
        (folder / "versions.json").unlink()
        save_credentials(secrets.credentials, folder)
        kernel = kernel_facts(folder / MODULES, given=_GIVEN_BY_COMPAT)
        (folder / MODULES).unlink()
        manifest = self.manifest(versions, kernel)
        (folder / "manifest.json").write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")

    def manifest(self, versions: dict[str, str], kernel: KernelFacts) -> ImageManifest:
        """The image's manifest.

        Args:
            versions: What is inside.
            kernel: What its stand-in for a kernel has.
        """
        wine = versions["wine"].split("~")[0].split("-")[0]
        return ImageManifest(
            name=NAME,
            key=self.key(),
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            guest=f"free guest: Wine {wine} on Debian {versions['debian']}",
            kind=NAME,
            capabilities=CAPABILITIES,
            machine=MACHINE,
            prints=PrintPort(source="wine", serial=1, mark_port=MARK_PORT, mark_channel=PRINTS_CHANNEL),
            transports={
                "winrm": TransportOffer(port=5985, more={"tls": 5986}, channel=WINRM_CHANNEL),
                **usual_offers("ssh"),
            },
            boot_timeout_s=300,
            versions=versions,
            kernel=kernel,
        )

    def _recipe(self) -> WineRecipeFile:
        return validate(read_yaml(self._folder / "recipe.yaml"), WineRecipeFile)

    def _collect(self, recipe: WineRecipeFile, secrets: GuestSecrets, stage: Path) -> None:
        """Lay out what goes into the tree: customize.py, manifest.json, files/."""
        files = stage / "files"
        files.mkdir()
        install = installed_files(self._folder, secrets)
        install += [program_file(path, target) for path, target in self._programs(stage)]
        for entry in install:
            place = files / entry.source
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if isinstance(entry.content, Path):
                shutil.copyfile(entry.content, place)
            else:
                place.write_text(entry.content, encoding="utf-8")
        shutil.copyfile(self._folder / "guest/initramfs-init", files / "guest/initramfs-init")
        manifest = customize_manifest(recipe, install, secrets.credentials.password)
        (stage / "manifest.json").touch(mode=0o600)
        (stage / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
        shutil.copyfile(self._folder / "customize.py", stage / "customize.py")

    def _programs(self, stage: Path) -> list[tuple[Path, str]]:
        """Build the Windows programs and drivers of the guest; pairs of host file and place on drive C."""
        components = [load_component(self._root / file) for file in COMPONENTS]
        # Not signed: the free guest does not look at signatures, and a build must not depend on the user's key.
        built = build_components(components, "x64", stage / "built", None)
        return [(result.path, target) for result, target in zip(built, COMPONENTS.values(), strict=True)]

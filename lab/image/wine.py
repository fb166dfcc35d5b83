"""The recipe of the free guest: Debian, Wine, and the lab's own files, as kernel, initrd and disk."""

from __future__ import annotations

import datetime
import json
import re
import shlex
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from lab.config.yamlfile import read_yaml, validate
from lab.host.assets import data_root
from lab.image import debian
from lab.image.credentials import GuestSecrets, make_secrets, save_credentials
from lab.image.kernel import kernel_facts
from lab.image.key import content_key, file_inputs, source_files, tree_inputs
from lab.image.manifest import SCHEMA_VERSION, ImageManifest, KernelFacts, MachineSpec, Ports, PrintPort
from lab.image.progress import Progress
from lab.toolchain.build import build_components
from lab.toolchain.flags import KERNEL, WDK, build_text
from lab.toolchain.manifest import load_component

NAME = "wine"
USER = "lab"
HOSTNAME = "lab-wine"
MARK_PORT = 5999
#: Virtio-serial ports: WinRM, and the print agent. They are private to the machine's owner and outlast a freeze.
WINRM_CHANNEL = "lab.winrm"
PRINTS_CHANNEL = "lab.prints"
#: Room in the guest's file system beside what the image holds; the disk file does not grow by it.
FREE_MB = 2048
#: What a guest of this image really does; tests that need more are skipped by name.
CAPABILITIES = ("driver_load", "dbgprint", "cancel_io", "cancel_one", "interrupts", "pci_devices", "winrm", "ssh", "sftp")
#: no5lvl: page tables of four levels, because an emulated processor walks them in software.
#: norandmaps: an emulator keeps its translation of a page by the page's virtual address, too. With libraries somewhere else in
#: each process, each process of Wine was translated anew: 10,000 blocks of code, 260 ms for an `sc query` instead of 170.
#: ipv6.disable: QEMU's user network is IPv4, and a woken guest would begin by looking for routers.
APPEND = " ".join(
    (
        "root=/dev/vda console=ttyS0 quiet panic=-1 mitigations=off audit=0 no5lvl nokaslr tsc=reliable no_timer_check",
        "norandmaps ipv6.disable=1",
    )
)
#: Without a boot rom, and without the announcement after a restore: it has the guest talk to all its network for 25 ms.
NIC = "virtio-net-pci,romfile=,guest_announce=off"
_TREE = "/lab-build"
#: The modules of this package that decide what is in the image.
_CODE = ("wine.py", "debian.py", "credentials.py", "manifest.py", "kernel.py")
#: The kernel's modules, on their way from the tree to what the manifest says of them.
MODULES = "modules.tar"
#: Functions that only this driver of the lab gives to drivers, see driver/wine-compat.
_GIVEN_BY_COMPAT = {
    "hal.dll": ("HalGetInterruptVector", "HalSetBusData", "HalSetBusDataByOffset"),
    "ntoskrnl.exe": (
        *("DbgPrintReturnControlC", "IoConnectInterrupt", "IoDisconnectInterrupt", "KeRemoveQueueDpc"),
        *("IoCsqInitialize", "IoCsqInsertIrp", "IoCsqRemoveIrp", "IoCsqRemoveNextIrp"),
        *("KeSynchronizeExecution", "MmMapLockedPages"),
    ),
}
_WINE = "/usr/lib/x86_64-linux-gnu/wine"
_DRIVE_C = "/home/lab/wine/drive_c"
#: What is built from source for the guest: manifest in the checkout, place on drive C.
_COMPONENTS = {
    "driver/wine-compat/driver.yaml": "windows/system32/drivers/labcompat.sys",
    "vm-images/tools/labfile/driver.yaml": "lab/bin/labfile.exe",
    "vm-images/tools/labshell/driver.yaml": "lab/bin/labshell.exe",
    "vm-images/wine/winrm/launcher/driver.yaml": "lab/labexec.exe",
}
#: Loaded at boot, in the load-order group of the drivers under test, so that all of them share its process.
_SERVICES = (
    {
        "name": "LabCompat",
        "options": [
            *("type=", "kernel", "start=", "auto", "error=", "normal", "group=", "LabDrivers"),
            *("binPath=", "C:\\windows\\system32\\drivers\\labcompat.sys"),
        ],
    },
)


class WineRecipeFile(BaseModel):
    """``vm-images/wine/recipe.yaml``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    suite: str
    packages: tuple[str, ...]
    exclude_paths: tuple[str, ...]
    modules: tuple[str, ...]
    media_modules: tuple[str, ...]
    device_modules: tuple[str, ...]
    keep_libraries: tuple[str, ...]
    trim: tuple[str, ...]
    trim_wine: tuple[str, ...]
    wine_unix: tuple[str, ...]
    disable_services: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class InstalledFile:
    """One file of the lab in the guest.

    Attributes:
        source: Path in the build's files folder.
        target: Absolute path in the guest.
        mode: Permission bits, octal text.
        owner: ``root`` or ``lab``.
    """

    source: str
    target: str
    mode: str = "0644"
    owner: str = "root"

    def as_json(self) -> dict[str, str]:
        """For the guest's half of the build."""
        return {"source": self.source, "target": self.target, "mode": self.mode, "owner": self.owner}


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
        """See :class:`lab.image.store.Recipe`."""
        return NAME

    def key(self) -> str:
        """See :class:`lab.image.store.Recipe`. What Debian's mirror has today is not part of it.

        Taken once, so that a file which changes while the image is built does not change the image's name.
        """
        self._key = self._key or content_key(self.inputs())
        return self._key

    def inputs(self) -> dict[str, bytes]:
        """Everything that the image is made from, by name."""
        inputs = tree_inputs(self._folder, "recipe")
        for folder in ("driver/wine-compat", "vm-images/tools"):
            inputs |= tree_inputs(self._root / folder, folder)
        inputs |= file_inputs((Path(__file__).with_name(name) for name in _CODE), "code")
        for file in _COMPONENTS:
            # The compiler's version is not part of it: each machine has its own, and means the same by its options.
            inputs[f"build/{file}"] = build_text(load_component(self._root / file), "x64").encode()
        inputs |= file_inputs((WDK, *source_files(KERNEL)), "kernel headers")
        inputs["schema"] = b"%d" % SCHEMA_VERSION
        return inputs

    def build(self, folder: Path, progress: Progress) -> None:
        """See :class:`lab.image.store.Recipe`."""
        debian.require_tools()
        recipe = validate(read_yaml(self._folder / "recipe.yaml"), WineRecipeFile)
        secrets = make_secrets(USER, HOSTNAME)
        with tempfile.TemporaryDirectory(prefix="files-", dir=folder) as work:
            stage = Path(work)
            progress.stage("build the guest's programs")
            self._collect(recipe, secrets, stage)
            plan = debian.Bootstrap(
                suite=recipe.suite,
                packages=recipe.packages,
                exclude_paths=excluded(recipe),
                include_paths=[f"{_WINE}/x86_64-unix/{name}.so" for name in recipe.wine_unix],
                hooks=self._hooks(stage, folder),
                keyring=debian.find_keyring(),
            )
            debian.bootstrap(plan, on_stage=progress.stage, on_detail=progress.detail)
        versions = json.loads((folder / "versions.json").read_text(encoding="utf-8"))
        (folder / "versions.json").unlink()
        save_credentials(secrets.credentials, folder)
        kernel = kernel_facts(folder / MODULES, given=_GIVEN_BY_COMPAT)
        (folder / MODULES).unlink()
        manifest = self._manifest(versions, kernel)
        (folder / "manifest.json").write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")

    def _manifest(self, versions: dict[str, str], kernel: KernelFacts) -> ImageManifest:
        wine = versions["wine"].split("~")[0].split("-")[0]
        return ImageManifest(
            name=NAME,
            key=self.key(),
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            guest=f"free guest: Wine {wine} on Debian {versions['debian']}",
            is_windows=False,
            capabilities=CAPABILITIES,
            machine=MachineSpec(
                machine="q35",
                memory_mb=768,
                smp=1,
                nic=NIC,
                kernel="kernel",
                initrd="initrd",
                append=APPEND,
                disk="disk.qcow2",
                cd_drives=1,
            ),
            prints=PrintPort(source="wine", serial=1, mark_port=MARK_PORT, mark_channel=PRINTS_CHANNEL),
            ports=Ports(winrm_channel=WINRM_CHANNEL),
            boot_timeout_s=300,
            versions=versions,
            kernel=kernel,
        )

    def _collect(self, recipe: WineRecipeFile, secrets: GuestSecrets, stage: Path) -> None:
        """Lay out what goes into the tree: customize.py, manifest.json, files/."""
        files = stage / "files"
        files.mkdir()
        install: list[InstalledFile] = []

        def add(path: Path | str, target: str, *, name: str, mode: str = "0644", owner: str = "root") -> None:
            place = files / name
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if isinstance(path, Path):
                shutil.copyfile(path, place)
            else:
                place.write_text(path, encoding="utf-8")
            install.append(InstalledFile(name, target, mode, owner))

        guest = self._folder / "guest"
        for name in (
            "boot",
            "media",
            "media-changed",
            "pci-devices",
            "run-printd",
            "run-winrm",
            "shutdown",
            "wine-services",
            "winshell",
        ):
            add(guest / name, f"/usr/lib/lab/{name}", name=f"guest/{name}", mode="0755")
        for name in ("environment", "await-wine", "printd.py"):
            add(guest / name, f"/usr/lib/lab/{name}", name=f"guest/{name}")
        add(guest / "inittab", "/etc/inittab", name="guest/inittab")
        add(guest / "sshd_config", "/etc/ssh/sshd_config", name="guest/sshd_config")
        add(guest / "power-button", "/etc/acpi/PWRF/00000080", name="guest/power-button", mode="0755")
        shutil.copyfile(guest / "initramfs-init", files / "guest/initramfs-init")
        for path in source_files(self._folder / "winrm" / "labwinrm"):
            relative = path.relative_to(self._folder / "winrm").as_posix()
            add(path, f"/usr/lib/lab/winrm/{relative}", name=f"winrm/{relative}")
        password = secrets.credentials.password
        add(secrets.ssh_user_key + "\n", "/etc/lab/authorized_keys", name="secret/authorized_keys", owner=USER, mode="0600")
        add(secrets.ssh_host_private_key, "/etc/ssh/ssh_host_ed25519_key", name="secret/host_key", mode="0600")
        add(f":{USER}:{password}\n", "/etc/lab/ntlm-users", name="secret/ntlm-users", owner=USER, mode="0600")
        add(secrets.tls_private_key, "/etc/lab/tls.key", name="secret/tls.key", owner=USER, mode="0600")
        add(secrets.credentials.tls_certificate or "", "/etc/lab/tls.pem", name="secret/tls.pem")
        add(json.dumps(winrm_settings(), indent=2), "/etc/lab/winrm.json", name="secret/winrm.json")
        for path, target in self._programs(stage):
            add(path, target, name=f"programs/{path.name}", owner=USER, mode="0755")
        manifest: dict[str, Any] = recipe.model_dump(mode="json")
        manifest["trim"] = [path for item in recipe.trim for path in braces(item)]
        manifest["install"] = [entry.as_json() for entry in install]
        manifest["password"] = password
        manifest["services"] = list(_SERVICES)
        (stage / "manifest.json").touch(mode=0o600)
        (stage / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
        shutil.copyfile(self._folder / "customize.py", stage / "customize.py")
        shutil.copyfile(self._folder / "make-disk", stage / "make-disk")

    def _programs(self, stage: Path) -> list[tuple[Path, str]]:
        """Build the Windows programs and drivers of the guest; pairs of host file and guest path."""
        components = [load_component(self._root / file) for file in _COMPONENTS]
        # Not signed: the free guest does not look at signatures, and a build must not depend on the user's key.
        built = build_components(components, "x64", stage / "built", None)
        return [(result.path, f"{_DRIVE_C}/{target}") for result, target in zip(built, _COMPONENTS.values(), strict=True)]

    def _hooks(self, stage: Path, folder: Path) -> list[str]:
        """What happens to the tree once its packages are installed; ``$1`` is the tree."""
        # Page-aligned as they came: Wine maps such files, and reads any other into memory of each process.
        strip = f"""
            echo "lab-stage: strip Wine's libraries" >&2
            cd "$1{_WINE}/x86_64-windows"
            for file in *.dll *.exe *.sys *.drv; do
                x86_64-w64-mingw32-objcopy --strip-debug --file-alignment 4096 "$file" || exit 1
            done"""
        make_disk = (stage / "make-disk").read_text(encoding="utf-8")
        return [
            f'mkdir -m 0700 "$1{_TREE}"',
            debian.hook_in(stage, _TREE),
            strip,
            f'chroot "$1" /usr/bin/python3 {_TREE}/customize.py {_TREE}',
            f'/bin/sh -c {shlex.quote(make_disk)} make-disk "$1" {FREE_MB}',
            *(
                debian.hook_out(f"/lab-out/{name}", folder / name)
                for name in ("kernel", "initrd", "versions.json", MODULES, "disk.qcow2")
            ),
        ]


def excluded(recipe: WineRecipeFile) -> list[str]:
    """Globs of what is not unpacked, for dpkg, which knows no braces."""
    globs = [*recipe.exclude_paths, *(f"{_WINE}/x86_64-windows/{name}" for name in recipe.trim_wine)]
    return [*(path for item in globs for path in braces(item)), f"{_WINE}/x86_64-unix/*"]


def braces(pattern: str) -> list[str]:
    """Expand ``{a,b}``, also one inside another, into all its texts, each once."""
    match = re.search(r"\{([^{}]*)\}", pattern)
    if not match:
        return [pattern]
    before, after = pattern[: match.start()], pattern[match.end() :]
    return list(dict.fromkeys(text for part in match.group(1).split(",") for text in braces(before + part + after)))


def winrm_settings() -> dict[str, Any]:
    """Configuration of the WinRM service; vm-images/wine/winrm/README.md explains the keys."""
    return {
        "ntlm_user_file": "/etc/lab/ntlm-users",
        "tls_certificate": "/etc/lab/tls.pem",
        "tls_key": "/etc/lab/tls.key",
        "channel": f"/dev/{WINRM_CHANNEL}",
        "run_directory": "/run/lab/winrm",
        "resident_command": ["wine64", "C:\\lab\\labexec.exe"],
        "working_directory": "C:\\",
        "drive_c": "/home/lab/wine/drive_c",
    }

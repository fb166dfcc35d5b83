"""What the lab puts into the free guest beside Debian's packages, and what is done to the tree of files.

Everything here is computed from the recipe's file, the checkout and the image's secrets, without writing anything: the same
functions make an image and, with placeholders for secrets, its key.
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from lab.image import debian
from lab.image.credentials import GuestSecrets
from lab.image.key import source_files

USER = "lab"
#: Virtio-serial ports: WinRM, and the print agent. They are private to the VM's owner and outlast a snapshot.
WINRM_CHANNEL = "lab.winrm"
PRINTS_CHANNEL = "lab.prints"
#: Room in the guest's file system beside what the image holds; the disk file does not grow by it.
FREE_MB = 2048
#: The kernel's modules, on their way from the tree to what the manifest says of them.
MODULES = "modules.tar"
_TREE = "/lab-build"
_WINE = "/usr/lib/x86_64-linux-gnu/wine"
_DRIVE_C = "/home/lab/wine/drive_c"
#: What is built from source for the guest: manifest in the checkout, place on drive C.
COMPONENTS = {
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
_PROGRAMS = (
    *("boot", "media", "media-changed", "pci-devices", "run-printd", "run-winrm", "shutdown", "wine-services", "winshell"),
)
_READ = ("environment", "await-wine", "printd.py")


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
        content: A file of the checkout or of the build, or the text itself.
        source: Path in the build's files folder.
        target: Absolute path in the guest.
        mode: Permission bits, octal text.
        owner: ``root`` or ``lab``.
    """

    content: Path | str
    source: str
    target: str
    mode: str = "0644"
    owner: str = "root"

    def as_json(self) -> dict[str, str]:
        """For the guest's half of the build."""
        return {"source": self.source, "target": self.target, "mode": self.mode, "owner": self.owner}


def installed_files(folder: Path, secrets: GuestSecrets) -> list[InstalledFile]:
    """The lab's files in the guest, but for the programs that are built for it.

    Args:
        folder: ``vm-images/wine`` of the checkout.
        secrets: Credentials for the guest.
    """
    guest = folder / "guest"
    found = [InstalledFile(guest / name, f"guest/{name}", f"/usr/lib/lab/{name}", mode="0755") for name in _PROGRAMS]
    found += [InstalledFile(guest / name, f"guest/{name}", f"/usr/lib/lab/{name}") for name in _READ]
    found += [
        InstalledFile(guest / "inittab", "guest/inittab", "/etc/inittab"),
        InstalledFile(guest / "sshd_config", "guest/sshd_config", "/etc/ssh/sshd_config"),
        InstalledFile(guest / "power-button", "guest/power-button", "/etc/acpi/PWRF/00000080", mode="0755"),
    ]
    for path in source_files(folder / "winrm" / "labwinrm"):
        relative = path.relative_to(folder / "winrm").as_posix()
        found.append(InstalledFile(path, f"winrm/{relative}", f"/usr/lib/lab/winrm/{relative}"))
    password = secrets.credentials.password
    certificate = secrets.credentials.tls_certificate or ""
    settings = json.dumps(winrm_settings(), indent=2)
    keys = f"{secrets.ssh_user_key}\n"
    users = f":{USER}:{password}\n"
    found += [
        InstalledFile(keys, "secret/authorized_keys", "/etc/lab/authorized_keys", mode="0600", owner=USER),
        InstalledFile(secrets.ssh_host_private_key, "secret/host_key", "/etc/ssh/ssh_host_ed25519_key", mode="0600"),
        InstalledFile(users, "secret/ntlm-users", "/etc/lab/ntlm-users", mode="0600", owner=USER),
        InstalledFile(secrets.tls_private_key, "secret/tls.key", "/etc/lab/tls.key", mode="0600", owner=USER),
        InstalledFile(certificate, "secret/tls.pem", "/etc/lab/tls.pem"),
        InstalledFile(settings, "secret/winrm.json", "/etc/lab/winrm.json"),
    ]
    return found


def program_file(content: Path, target: str) -> InstalledFile:
    """A program or driver that was built for the guest.

    Args:
        content: What was built.
        target: Its place on drive C, as in :data:`COMPONENTS`.
    """
    return InstalledFile(content, f"programs/{content.name}", f"{_DRIVE_C}/{target}", mode="0755", owner=USER)


def customize_manifest(recipe: WineRecipeFile, install: list[InstalledFile], password: str) -> dict[str, Any]:
    """What ``vm-images/wine/customize.py`` reads: the recipe, and what it installs."""
    manifest: dict[str, Any] = recipe.model_dump(mode="json")
    manifest["trim"] = [path for item in recipe.trim for path in braces(item)]
    manifest["install"] = [entry.as_json() for entry in install]
    manifest["password"] = password
    manifest["services"] = list(_SERVICES)
    return manifest


def debian_tree(recipe: WineRecipeFile, stage: Path, folder: Path, make_disk: str, keyring: Path) -> debian.Bootstrap:
    """The Debian tree of the guest, and what is done to it.

    Args:
        recipe: The recipe's file.
        stage: Folder of what goes into the tree.
        folder: Gets the image's files.
        make_disk: Text of the script that makes the disk.
        keyring: Debian's keys.
    """
    return debian.Bootstrap(
        suite=recipe.suite,
        packages=recipe.packages,
        exclude_paths=excluded(recipe),
        include_paths=[f"{_WINE}/x86_64-unix/{name}.so" for name in recipe.wine_unix],
        hooks=_hooks(stage, folder, make_disk),
        keyring=keyring,
    )


def _hooks(stage: Path, folder: Path, make_disk: str) -> list[str]:
    """What happens to the tree once its packages are installed; ``$1`` is the tree."""
    # Page-aligned, as they are in the package: Wine maps such files, and reads others into the memory of each process.
    strip = f"""
            echo "lab-stage: strip Wine's libraries" >&2
            cd "$1{_WINE}/x86_64-windows"
            for file in *.dll *.exe *.sys *.drv; do
                x86_64-w64-mingw32-objcopy --strip-debug --file-alignment 4096 "$file" || exit 1
            done"""
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

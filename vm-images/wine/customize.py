"""Turns a freshly installed Debian tree into the guest. Runs as root inside that tree, on the host's processor.

Stages, in order: trim what is not needed, install the lab's own files, make the Wine prefix (as the guest's user), share
file contents between the prefix and Wine's own folder, write kernel and initrd for the host to take out.

Everything that it needs lies in one folder: files/ (copied by the list in manifest.json) and manifest.json itself.
"""

from __future__ import annotations

import compileall
import ctypes
import fnmatch
import io
import json
import lzma
import os
import pwd
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

LIB = Path("/usr/lib/x86_64-linux-gnu")
WINE = LIB / "wine"
PREFIX = Path("/home/lab/wine")
DRIVE_C = PREFIX / "drive_c"
OUT = Path("/lab-out")
USER = "lab"
#: Kernel modules for PCI devices that Linux has no driver for.
DEVICE_MODULES = Path("/usr/lib/lab/device-modules")
#: Kernel modules of the CD drive, and where its medium is mounted.
MEDIA_MODULES = Path("/usr/lib/lab/modules")
MEDIA = Path("/media/lab")
#: ELF note that holds the entry point of a PVH kernel.
XEN_ELFNOTE_PHYS32_ENTRY = 18
#: What drivers import from, beside the drivers; their code leads on to ntdll.
KERNEL_MODULES = ("ntoskrnl.exe", "hal.dll", "ntdll.dll")
#: What driver/wine-compat prints when it is loaded.
COMPAT_SAID = re.compile(r"labcompat: (\d+) of (\d+) functions replaced")
ELF_FOLDERS = ("usr/bin", "usr/sbin", "usr/lib/openssh", "usr/lib/wine", "usr/lib/python3*")


def stage(text: str) -> None:
    """Report to the host what is going on."""
    sys.stderr.write(f"lab-stage: {text}\n")
    sys.stderr.flush()


def remove(path: str | Path) -> None:
    """Remove a file, link or folder."""
    path = Path(path)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def elf_needs(path: Path) -> list[str] | None:
    """Names of the libraries that an ELF file asks for; None when the file is not a 64-bit ELF file."""
    data = path.read_bytes()
    if data[:5] != b"\x7fELF\x02":
        return None
    offset, size, count = struct.unpack_from("<Q", data, 32)[0], *struct.unpack_from("<HH", data, 54)
    headers = [struct.unpack_from("<IIQQQQ", data, offset + index * size) for index in range(count)]
    loads = [(virtual, start, length) for kind, _, start, virtual, _, length in headers if kind == 1]
    dynamic = next(((start, length) for kind, _, start, _, _, length in headers if kind == 2), None)
    if dynamic is None:
        return []
    entries = [struct.unpack_from("<qQ", data, dynamic[0] + at) for at in range(0, dynamic[1], 16)]
    strings = next((value for tag, value in entries if tag == 5), 0)
    table = next((strings - virtual + start for virtual, start, length in loads if virtual <= strings < virtual + length), 0)
    names = [table + value for tag, value in entries if tag == 1]
    return [data[at : data.index(b"\0", at)].decode() for at in names]


def shake_libraries(keep: list[str]) -> None:
    """Remove shared libraries that no remaining program needs."""
    queue: list[Path] = []
    for folder in [path for pattern in ELF_FOLDERS for path in Path("/").glob(pattern)]:
        queue += [path for path in folder.rglob("*") if path.is_file()]
    queue += (WINE / "x86_64-unix").glob("*.so")
    queue += [path for path in LIB.iterdir() if any(fnmatch.fnmatch(path.name, pattern) for pattern in keep)]
    queue += (LIB / "ossl-modules").glob("*.so")
    wanted: set[Path] = set()
    while queue:
        path = queue.pop()
        if path in wanted:
            continue
        wanted.add(path)
        if path.is_symlink() and path.parent == LIB:
            queue.append(path.resolve())
        for name in elf_needs(path) or []:
            if (LIB / name).exists():
                queue.append(LIB / name)
    for path in LIB.iterdir():
        if ".so" in path.name and path not in wanted and not path.is_dir():
            path.unlink()


def trim_system(recipe: dict[str, Any]) -> None:
    """Remove whole folders; the last step, because packages' own tools live there."""
    for pattern in recipe["trim"]:
        for path in Path("/").glob(pattern):
            remove(path)


def unpacked_kernel(image: bytes) -> bytes:
    """The ELF kernel inside a bzImage: QEMU starts it directly (PVH), and an emulated guest saves the unpacking of 60 MB.

    The image itself when it is not compressed by zstd, or has no entry point for this.
    """
    sectors = image[0x1F1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)  # payload, from the end of the setup code
    start = (sectors + 1) * 512 + offset
    packed, size = image[start : start + length - 4], struct.unpack_from("<I", image, start + length - 4)[0]
    if not packed.startswith(b"\x28\xb5\x2f\xfd"):
        return image
    library = ctypes.CDLL("libzstd.so.1")
    library.ZSTD_decompress.restype = ctypes.c_size_t
    library.ZSTD_decompress.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
    buffer = ctypes.create_string_buffer(size)
    if library.ZSTD_decompress(buffer, size, packed, len(packed)) != size:
        raise SystemExit("the kernel's payload cannot be unpacked")
    kernel = buffer.raw
    note = struct.pack("<III", 4, 4, XEN_ELFNOTE_PHYS32_ENTRY) + b"Xen\0"
    alternative = struct.pack("<III", 4, 8, XEN_ELFNOTE_PHYS32_ENTRY) + b"Xen\0"
    return kernel if kernel.startswith(b"\x7fELF") and (note in kernel or alternative in kernel) else image


def copy_modules(names: list[str], version: str, folder: Path) -> None:
    """Copy kernel modules and what they depend on, unpacked, named in the order in which they are to be loaded."""
    ordered: list[str] = []
    for module in names:
        listing = subprocess.run(
            ["modprobe", "-S", version, "--show-depends", module], check=True, capture_output=True, text=True
        ).stdout
        ordered += [line.split()[1] for line in listing.splitlines() if line.startswith("insmod")]
    for index, name in enumerate(dict.fromkeys(ordered)):
        source = Path(name)
        data = lzma.decompress(source.read_bytes()) if source.suffix == ".xz" else source.read_bytes()
        (folder / f"{index:02d}-{source.name.split('.')[0]}.ko").write_bytes(data)


def boot_files(recipe: dict[str, Any], files: Path) -> str:
    """Write kernel and initrd into OUT; return the kernel's version."""
    version = sorted(path.name.removeprefix("vmlinuz-") for path in Path("/boot").glob("vmlinuz-*"))[-1]
    (OUT / "kernel").write_bytes(unpacked_kernel(Path(f"/boot/vmlinuz-{version}").read_bytes()))
    tree = Path("/lab-initrd")
    for folder in ("bin", "dev", "modules", "root"):
        (tree / folder).mkdir(parents=True)
    shutil.copy("/usr/bin/busybox", tree / "bin/busybox")
    shutil.copy(files / "guest/initramfs-init", tree / "init")
    (tree / "init").chmod(0o755)
    copy_modules(recipe["modules"], version, tree / "modules")
    MEDIA_MODULES.mkdir(parents=True)
    copy_modules(recipe["media_modules"], version, MEDIA_MODULES)
    DEVICE_MODULES.mkdir(parents=True)
    copy_modules(recipe["device_modules"], version, DEVICE_MODULES)
    names = "\n".join([".", *sorted(str(path.relative_to(tree)) for path in tree.rglob("*"))])
    with (OUT / "initrd").open("wb") as target:
        subprocess.run(["busybox", "cpio", "-o", "-H", "newc"], cwd=tree, input=names.encode(), stdout=target, check=True)
    shutil.rmtree(tree)
    return version


def install(entries: list[dict[str, Any]], files: Path) -> None:
    """Copy the lab's files to their places, with owner and mode."""
    owner = pwd.getpwnam(USER)
    for entry in entries:
        target = Path(entry["target"])
        mine = entry["owner"] == USER
        for parent in [path for path in reversed(target.parents) if not path.exists()]:
            parent.mkdir()
            if mine:
                os.chown(parent, owner.pw_uid, owner.pw_gid)
        shutil.copyfile(files / entry["source"], target)
        target.chmod(int(entry["mode"], 8))
        if mine:
            os.chown(target, owner.pw_uid, owner.pw_gid)


def make_user(password: str) -> None:
    """The one account of the guest."""
    shells = Path("/etc/shells")
    shells.write_text(shells.read_text() + "/usr/lib/lab/winshell\n" if shells.exists() else "/usr/lib/lab/winshell\n")
    subprocess.run(
        ["useradd", "--create-home", "--uid", "1000", "--shell", "/usr/lib/lab/winshell", USER],
        check=True,
    )
    subprocess.run(["chpasswd", "--crypt-method", "SHA512"], input=f"{USER}:{password}\n", text=True, check=True)
    Path("/C:").symlink_to(DRIVE_C)


def as_user(*argv: str, deadline: float = 240, debug: str = "-all", check: bool = True) -> str:
    """Run a program as the guest's user, with Wine's environment; gives what it and what it started wrote."""
    environment = {"HOME": "/home/lab", "PATH": "/usr/lib/wine:/usr/bin:/bin", "LANG": "C.UTF-8", "WINEPREFIX": str(PREFIX)}
    environment |= {"WINEDEBUG": debug, "XDG_RUNTIME_DIR": "/tmp"}
    command = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", *argv]
    done = subprocess.run(
        command, env=environment, cwd="/home/lab", timeout=deadline, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    said = (done.stdout + done.stderr).decode(errors="replace")
    if check and done.returncode:
        sys.stderr.write(f"{' '.join(argv)} ended with {done.returncode}:\n")
        sys.stderr.write(said[-4000:])
        raise SystemExit(1)
    return said


def end_wine() -> None:
    """End Wine in the prefix, so that it writes its registry files."""
    as_user("sh", "-c", "wineserver -k; wineserver -w")


def registry_file(recipe: dict[str, Any]) -> str:
    """Settings of the prefix: no screen, no crash dialog, only the services that are of use, the compatibility driver."""
    services = r"HKEY_LOCAL_MACHINE\System\CurrentControlSet\Services"
    lines = ["REGEDIT4", ""]
    for name in recipe["disable_services"]:
        lines += [rf"[{services}\{name}]", '"Start"=dword:00000004', ""]
    # Windows waits for DriverEntry as long as that takes; Wine waits ten seconds, then says 1053, and the driver goes on. It is
    # a text, because Wine 10 takes no number here (a dword changes nothing). The lab's own deadline for sc is much shorter.
    lines += [r"[HKEY_LOCAL_MACHINE\System\CurrentControlSet\Control]", '"ServicesPipeTimeout"="600000"', ""]
    lines += [r"[HKEY_LOCAL_MACHINE\Software\Wine\Drives]", '"d:"="cdrom"', ""]
    lines += [r"[HKEY_CURRENT_USER\Software\Wine\Drivers]", '"Graphics"="null"', '"Audio"=""', ""]
    lines += [r"[HKEY_CURRENT_USER\Software\Wine\WineDbg]", '"ShowCrashDialog"=dword:00000000', ""]
    lines += [r"[-HKEY_LOCAL_MACHINE\Software\Microsoft\Windows NT\CurrentVersion\AeDebug]", ""]
    return "\r\n".join(lines)


def make_prefix(recipe: dict[str, Any]) -> None:
    """Wine's first start, with all it installs, then the settings and services of the lab."""
    as_user("wine64", "wineboot", "-i")
    settings = Path("/tmp/lab.reg")
    settings.write_text(registry_file(recipe))
    as_user("wine64", "regedit", "/S", str(settings))
    settings.unlink()
    end_wine()
    MEDIA.mkdir(parents=True)
    (PREFIX / "dosdevices/d:").symlink_to(MEDIA)
    # Wine compares this file with its own installation at each start and would set the prefix up again.
    (PREFIX / ".update-timestamp").write_text("disable\n")


def create_services(recipe: dict[str, Any]) -> None:
    """Kernel services that exist from the first boot on."""
    for service in recipe["services"]:
        as_user("wine64", "sc", "create", service["name"], *service["options"])
    end_wine()


def check_compat(said: str) -> str:
    """Why the compatibility driver is of no use in this guest, by what was written while it was loaded; empty where it is."""
    counts = COMPAT_SAID.findall(said)
    if not counts:
        return "LabCompat did not say how many functions of Wine's kernel it has replaced: it was not loaded, or it refused"
    replaced, wanted = counts[-1]
    if replaced != wanted:
        return f"LabCompat replaced {replaced} of {wanted} functions of Wine's kernel, and refuses to work with this one"
    return ""


def try_compat() -> None:
    """Load the compatibility driver once, as each boot does.

    A guest without it answers all the same. Its drivers run into what Wine does otherwise than NT, and would be blamed.
    """
    # Of its own accord the driver is loaded as well, when Wine starts: the second start then ends with 1056, and has waited.
    line = "sc start LabCompat & sc query LabCompat"
    said = as_user("wine64", "cmd", "/c", line, debug="-all,err+module,warn+debugstr", check=False)
    end_wine()
    if wrong := check_compat(said):
        sys.stderr.write(f"{said[-1500:]}\nlab: {wrong}\n")
        raise SystemExit(1)


def kernel_modules() -> None:
    """Put what drivers import from into OUT/modules.tar: the host reads there what this kernel has, and what it only says."""
    system = DRIVE_C / "windows/system32"
    modules = [system / name for name in KERNEL_MODULES] + sorted((system / "drivers").glob("*.sys"))
    modules = [path for path in modules if path.name != "labcompat.sys"]
    names = sorted({path.name for folder in (system, system / "drivers") for path in folder.iterdir() if path.is_file()})
    with tarfile.open(OUT / "modules.tar", "w") as archive:
        for path in modules:
            archive.add(path, path.name)
        listing = "\n".join(names).encode()
        member = tarfile.TarInfo("others.txt")
        member.size = len(listing)
        archive.addfile(member, io.BytesIO(listing))


def share_contents() -> None:
    """The prefix holds a copy of each of Wine's libraries; make each pair one file."""
    originals = {path.name.lower(): path for path in (WINE / "x86_64-windows").iterdir()}
    for path in (DRIVE_C / "windows").rglob("*"):
        original = originals.get(path.name.lower())
        if original and path.is_file() and not path.is_symlink() and path.read_bytes() == original.read_bytes():
            path.unlink()
            os.link(original, path)
    for name in ("syswow64", "Fonts", "Installer", "Microsoft.NET", "mono", "twain_32"):
        shutil.rmtree(DRIVE_C / "windows" / name, ignore_errors=True)


def main() -> None:
    """Run all stages; argument: the folder with manifest.json and files/."""
    build = Path(sys.argv[1])
    recipe = json.loads((build / "manifest.json").read_text())
    files = build / "files"
    OUT.mkdir()
    os.environ["PATH"] = "/usr/sbin:/usr/bin"
    versions = {"kernel": boot_files(recipe, files)}
    show = ["dpkg-query", "-W", "-f", "${Version}", "wine64"]
    versions["wine"] = subprocess.run(show, check=True, capture_output=True, text=True).stdout
    versions["debian"] = Path("/etc/debian_version").read_text().strip()
    (OUT / "versions.json").write_text(json.dumps(versions))
    stage("trim what the guest does not use")
    shake_libraries(recipe["keep_libraries"])
    make_user(recipe["password"])
    for path in Path("/etc/ssh").glob("ssh_host_*"):
        path.unlink()  # the package made these; the guest's own come from the build
    stage("make the Wine prefix")
    started = time.monotonic()
    make_prefix(recipe)
    install(recipe["install"], files)
    create_services(recipe)
    try_compat()
    sys.stderr.write(f"lab: the Wine prefix took {time.monotonic() - started:.1f} s\n")
    kernel_modules()
    share_contents()
    # The services run as a user who cannot write here, and would compile these files at each boot.
    compileall.compile_dir("/usr/lib/lab", quiet=1)
    shutil.rmtree(build)
    for path in ("/etc/resolv.conf", "/etc/hostname", "/usr/sbin/init", "/etc/mtab"):
        remove(path)
    Path("/etc/resolv.conf").write_text("nameserver 10.0.2.3\n")
    Path("/etc/hosts").write_text("127.0.0.1 localhost\n10.0.2.15 lab-wine\n")
    Path("/usr/sbin/init").symlink_to("/usr/bin/busybox")
    subprocess.run(["ldconfig"], check=True)
    trim_system(recipe)


if __name__ == "__main__":
    main()

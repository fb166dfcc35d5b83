"""The second CD of an installation: answer file, launcher, provisioning scripts, and what they put into the guest.

Its label is ``LABCFG``. Windows reads the Joliet names; the ISO 9660 names below them are only numbers. The CD holds the
guest's password and SSH host key, so it lives in the build's private folder, and only until the installation is over.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import jinja2
import pycdlib
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from lab.errors import ConfigError, ImageError
from lab.host.textfile import decode_text, marked_encoding
from lab.image.windows.answer import ANSWER_FILE, common_folder
from lab.image.windows.recipe import WindowsRecipeFile

LABEL = "LABCFG"
#: Files of the CD that Windows reads as text: its own line ends.
_TEXT = (".cmd", ".ps1")
#: ``debugport`` of the kernel debugger's entry. COM1 is the console, COM2 carries the kernel's prints.
KD_PORT = 2
#: Size of the page file beyond that of the memory, so that a kernel dump always fits.
_DUMP_MB = 512
_OLE_FILE = bytes.fromhex("d0cf11e0a1b11ae1")
_SSHD_CONFIG = """Port 22
HostKey __PROGRAMDATA__/ssh/ssh_host_ed25519_key
PubkeyAuthentication yes
PasswordAuthentication yes
Subsystem sftp sftp-server.exe
Match Group administrators
    AuthorizedKeysFile __PROGRAMDATA__/ssh/administrators_authorized_keys
"""

#: Content of a file on the CD.
Content = bytes | Path


@dataclass(frozen=True, slots=True, kw_only=True)
class SshPayload:
    """OpenSSH for the guest.

    Attributes:
        msi: Win32-OpenSSH's MSI, from the user.
        user_key: Public key line that may enter.
        host_key: The guest's private host key, OpenSSH PEM text.
    """

    msi: Path
    user_key: str
    host_key: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadParts:
    """What goes onto the CD beside the scripts.

    Attributes:
        build_id: Names the build inside of the guest.
        username: The account of the answer file.
        certificates: DER certificates by file name, for Root and TrustedPublisher.
        tools: The guest's programs by file name.
        drivers: Drivers of the lab by file name, signed.
        ssh: OpenSSH; None: the guest has none.
    """

    build_id: str
    username: str
    certificates: Mapping[str, bytes]
    tools: Mapping[str, Content]
    drivers: Mapping[str, Content] = field(default_factory=dict)
    ssh: SshPayload | None = None


def quoted(text: str) -> str:
    """A PowerShell string that is taken as it is."""
    # Windows PowerShell accepts the typographic single quotes as quotes.
    for quote in "'\u2018\u2019\u201a\u201b":
        text = text.replace(quote, quote * 2)
    return f"'{text}'"


def render_scripts(recipe: WindowsRecipeFile, *, build_id: str, username: str, folder: Path | None = None) -> dict[str, bytes]:
    r"""Make the launcher and the scripts of a recipe's stages.

    Args:
        recipe: What to do in the guest.
        build_id: Written into the guest's ``C:\lab\image.json``.
        username: The account of the answer file.
        folder: Where the templates lie; None: the checkout's.

    Returns:
        Content by path on the CD; ASCII, lines as Windows ends them.

    Raises:
        ImageError: A stage has no script, or a script has a character that Windows PowerShell would read in its own way.
    """
    templates = (folder or common_folder()) / "provision"
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates),
        # These are programs, not HTML: the templates quote the values themselves.
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["quoted"] = quoted
    values: dict[str, Any] = {
        "recipe": recipe,
        "stages": recipe.ordered_stages,
        "build_id": build_id,
        "username": username,
        "kd_port": KD_PORT,
        "pagefile_mb": recipe.machine.memory_mb + _DUMP_MB,
    }
    names = ["start.cmd", "common.ps1", "provision.ps1", *(f"stages/{stage}.ps1" for stage in recipe.ordered_stages)]
    scripts = {}
    for name in names:
        try:
            text = environment.get_template(f"{name}.j2").render(values)
            scripts[f"lab/{name}"] = _windows_text(text).encode("ascii")
        except jinja2.TemplateNotFound:
            raise ImageError(
                f"{templates} has no {name}.j2", hint="a file of the checkout is missing; see git status"
            ) from None
        except UnicodeEncodeError as error:
            raise ImageError(f"{templates / name}.j2 has {error.object[error.start]!r}, which is not ASCII") from None
    return scripts


def payload_files(
    recipe: WindowsRecipeFile, answer: bytes, parts: PayloadParts, *, folder: Path | None = None
) -> dict[str, Content]:
    """Everything that is on the CD, by its path there.

    Raises:
        ImageError: A script cannot be made.
        ConfigError: The recipe has the stage ssh, and there is no OpenSSH for it, or the other way around.
    """
    if ("ssh" in recipe.ordered_stages) != (parts.ssh is not None):
        raise ConfigError("the stage ssh and an OpenSSH MSI go together", hint="--openssh-msi PATH adds both")
    files: dict[str, Content] = {ANSWER_FILE: answer}
    files |= render_scripts(recipe, build_id=parts.build_id, username=parts.username, folder=folder)
    files |= {f"lab/certificates/{name}": data for name, data in parts.certificates.items()}
    files |= {f"lab/bin/{name}": data for name, data in parts.tools.items()}
    files |= {f"lab/drivers/{name}": data for name, data in parts.drivers.items()}
    if parts.ssh:
        files |= {
            "lab/openssh/openssh.msi": parts.ssh.msi,
            "lab/openssh/sshd_config": _windows_text(_SSHD_CONFIG).encode("ascii"),
            "lab/openssh/administrators_authorized_keys": f"{parts.ssh.user_key}\r\n".encode("ascii"),
            # As OpenSSH writes it: it can only read Unix line ends.
            "lab/openssh/ssh_host_ed25519_key": parts.ssh.host_key.encode("ascii"),
        }
    return files


def write_payload(target: Path, files: Mapping[str, Content], *, label: str = LABEL) -> Path:
    """Write the CD, readable by its owner only; returns its path.

    Args:
        target: The ISO; an existing one is replaced.
        files: Content by path, with ``/``.
        label: Volume label.
    """
    target.unlink(missing_ok=True)
    target.touch(mode=0o600)
    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=3, joliet=3, vol_ident=label)
    folders: dict[PurePosixPath, str] = {PurePosixPath("."): ""}
    streams: list[io.BufferedIOBase] = []
    try:
        for number, (name, content) in enumerate(files.items()):
            parent = _add_folder(iso, folders, PurePosixPath(name).parent)
            stream: Any = content.open("rb") if isinstance(content, Path) else io.BytesIO(content)
            streams.append(stream)
            size = content.stat().st_size if isinstance(content, Path) else len(content)
            iso.add_fp(stream, size, f"{parent}/F{number:07d}.;1", joliet_path=f"/{name}")
        with target.open("wb") as out:
            iso.write_fp(out)
    finally:
        for stream in streams:
            stream.close()
        iso.close()
    return target


def certificate_der(path: Path) -> bytes:
    """A certificate file, PEM or DER, as DER.

    Raises:
        ConfigError: It cannot be read, or is not a certificate.
    """
    try:
        data = path.read_bytes()
        if marked_encoding(data):
            # PEM as PowerShell redirects it into a file.
            data = decode_text(data, str(path)).encode("utf-8")
        load = x509.load_pem_x509_certificate if b"-----BEGIN" in data else x509.load_der_x509_certificate
        return load(data).public_bytes(serialization.Encoding.DER)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=str(path)) from None
    except ValueError as error:
        raise ConfigError(
            f"is not an X.509 certificate: {error}", file=str(path), hint="give a PEM or DER certificate"
        ) from None


def check_msi(path: Path) -> Path:
    """The MSI that a user named.

    Raises:
        ConfigError: There is no such file, or it is not an MSI.
    """
    try:
        with path.open("rb") as stream:
            start = stream.read(len(_OLE_FILE))
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=str(path)) from None
    if start != _OLE_FILE:
        raise ConfigError("is not an MSI", file=str(path), hint="OpenSSH-Win64-….msi of a Win32-OpenSSH release")
    return path.absolute()


def _add_folder(iso: Any, folders: dict[PurePosixPath, str], path: PurePosixPath) -> str:
    """Make a folder and those above it; returns its ISO 9660 path."""
    if path not in folders:
        parent = _add_folder(iso, folders, path.parent)
        folders[path] = f"{parent}/D{len(folders):07d}"
        iso.add_directory(folders[path], joliet_path=f"/{path}")
    return folders[path]


def _windows_text(text: str) -> str:
    return "".join(f"{line.rstrip()}\r\n" for line in text.splitlines())

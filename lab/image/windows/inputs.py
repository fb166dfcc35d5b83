"""What a Windows image is made from, checked before anything is begun, and the key that follows from it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from pydantic import SecretStr, ValidationError

from lab.errors import ConfigError
from lab.host.assets import data_root
from lab.host.paths import cache_dir
from lab.host.textfile import read_text
from lab.image.key import content_key, shared_inputs, tree_inputs
from lab.image.manifest import SCHEMA_VERSION
from lab.image.progress import Progress
from lab.image.windows.answer import AnswerValues, common_folder, render_answer
from lab.image.windows.answer_check import check_answer
from lab.image.windows.facts import QUERY_SCRIPT
from lab.image.windows.image_record import CertificateRecord
from lab.image.windows.iso import WindowsIso, hash_file, inspect_iso
from lab.image.windows.iso_check import check_iso
from lab.image.windows.machine import CPUS, MACHINE, NIC
from lab.image.windows.payload import certificate_der, check_msi, render_scripts
from lab.image.windows.recipe import WindowsRecipeFile
from lab.image.windows.wim import Edition
from lab.toolchain.sign import signing_key

#: Programs of the lab that every guest has: manifests of the checkout.
TOOLS = (
    "vm-images/tools/labfile/driver.yaml",
    "vm-images/windows-common/labsay/driver.yaml",
    "driver/relay/relaymark.driver.yaml",
)
#: The driver that relays the kernel's prints.
RELAY = "driver/relay/driver.yaml"
LAB_CERTIFICATE = "lab.cer"
USERNAME = "labuser"
#: Replaces the password wherever inputs are compared or saved.
_PLACEHOLDER = "Pass-Word-0-of-this-image"
_HASHES = "iso-hashes.json"
#: Capabilities that OpenSSH brings.
_SSH = ("sftp", "ssh")


@dataclass(frozen=True, slots=True, kw_only=True)
class UserInputs:
    """What the user gives.

    Attributes:
        iso: The Windows ISO.
        openssh_msi: OpenSSH for the guest.
        product_key: The user's own key.
        certificates: Certificates that the guest trusts beside the lab's.
    """

    iso: Path
    openssh_msi: Path | None = None
    product_key: SecretStr | None = None
    certificates: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Inputs that are known to be good.

    Attributes:
        recipe: The recipe, with the stage ssh when there is an MSI for it.
        iso: What is on the ISO.
        iso_sha256: Which ISO exactly.
        edition: What is installed of it.
        openssh_msi: OpenSSH for the guest.
        openssh_sha256: Which one exactly.
        product_key: The user's own key.
        certificates: DER certificates by file name.
        rendered: Answer file and scripts with a stand-in for the password, without the product key.
        checkout_key: Hash of what comes from the checkout.
        key: Hash of everything.
    """

    recipe: WindowsRecipeFile
    iso: WindowsIso
    iso_sha256: str
    edition: Edition
    openssh_msi: Path | None
    openssh_sha256: str
    product_key: SecretStr | None = field(repr=False)
    certificates: dict[str, bytes]
    rendered: dict[str, bytes]
    checkout_key: str
    key: str


def prepare(
    recipe: WindowsRecipeFile, given: UserInputs, progress: Progress, *, cache: Path | None = None, root: Path | None = None
) -> Prepared:
    """Check the inputs, and say which image they make.

    Args:
        recipe: What to install.
        given: What the user gives.
        progress: Gets a line for each step; hashing an ISO for the first time takes some seconds for each gigabyte.
        cache: Cache folder, in which the hashes of ISOs are kept; None: the user's.
        root: The checkout; None finds it.

    Raises:
        ConfigError: The file is not an ISO, or the ISO does not have the edition; or another file or the product key is wrong.
        ImageError: The answer file does not pass its checks.
    """
    progress.stage("examine the ISO")
    iso = inspect_iso(given.iso)
    edition = iso.choose(recipe.editions)
    check_iso(iso, edition, recipe, product_key=given.product_key is not None)
    msi = check_msi(given.openssh_msi) if given.openssh_msi else None
    recipe = with_ssh(recipe) if msi else recipe
    certificates = {LAB_CERTIFICATE: certificate_der(signing_key().certificate)}
    certificates |= {f"user{number}.cer": certificate_der(path) for number, path in enumerate(given.certificates, 1)}
    check_product_key(given.product_key)
    rendered = render_inputs(recipe, edition.index, root=root)
    sha256 = iso_hash(given.iso, progress, cache=cache)
    msi_sha256 = hash_file(msi) if msi else ""
    checkout = checkout_key(recipe, rendered, root=root)
    parts = {"checkout": checkout.encode(), "iso": sha256.encode(), "msi": msi_sha256.encode()}
    parts |= {f"certificate/{name}": data for name, data in certificates.items()}
    if given.product_key:
        parts["product key"] = hashlib.sha256(given.product_key.get_secret_value().upper().encode()).digest()
    return Prepared(
        recipe=recipe,
        iso=iso,
        iso_sha256=sha256,
        edition=edition,
        openssh_msi=msi,
        openssh_sha256=msi_sha256,
        product_key=given.product_key,
        certificates=certificates,
        rendered=rendered,
        checkout_key=checkout,
        key=content_key(parts),
    )


def render_inputs(recipe: WindowsRecipeFile, index: int, *, root: Path | None = None) -> dict[str, bytes]:
    """Answer file and scripts, by their paths on the payload CD, without password and product key.

    Raises:
        ImageError: The answer file does not pass its checks.
    """
    folder = common_folder(root)
    values = AnswerValues(image_index=index, username=USERNAME, password=SecretStr(_PLACEHOLDER))
    answer = render_answer(recipe, values, folder=folder)
    check_answer(answer, recipe)
    return {"autounattend.xml": answer} | render_scripts(recipe, build_id="", username=USERNAME, folder=folder)


def checkout_key(recipe: WindowsRecipeFile, rendered: dict[str, bytes], *, root: Path | None = None) -> str:
    """Hash of the part of an image that comes from the checkout: an image with another hash was made from an older recipe."""
    base = root or data_root()
    parts = {f"rendered/{name}": data for name, data in rendered.items()}
    parts["recipe"] = recipe.model_dump_json().encode()
    parts["machine"] = json.dumps([MACHINE, NIC, CPUS["kvm"], CPUS["tcg"], SCHEMA_VERSION]).encode()
    parts["query"] = (common_folder(root) / QUERY_SCRIPT).read_bytes()
    for folder in sorted({str(Path(manifest).parent) for manifest in (*TOOLS, RELAY)}):
        parts |= tree_inputs(base / folder, folder)
    return content_key(parts | shared_inputs(base))


def present_checkout_key(recipe: WindowsRecipeFile, index: int, *, ssh: bool, root: Path | None = None) -> str:
    """What :func:`checkout_key` is for an image that was built now, from the same edition of the same ISO."""
    recipe = with_ssh(recipe) if ssh else recipe
    return checkout_key(recipe, render_inputs(recipe, index, root=root), root=root)


def with_ssh(recipe: WindowsRecipeFile) -> WindowsRecipeFile:
    """The recipe with OpenSSH in the guest."""
    values = recipe.model_dump()
    values["stages"] = (*recipe.ordered_stages, "ssh")
    values["capabilities"] = tuple(sorted({*recipe.capabilities, *_SSH}))
    return WindowsRecipeFile.model_validate(values)


def check_product_key(key: SecretStr | None, *, file: str = "") -> None:
    """Refuse a product key of the wrong form. The message names its file ``file`` and does not quote the key.

    Raises:
        ConfigError: It has the wrong form.
    """
    try:
        AnswerValues(image_index=1, password=SecretStr(_PLACEHOLDER), product_key=key)
    except ValidationError:
        raise ConfigError(
            "the product key is not five groups of five letters and digits",
            file=file,
            hint="write only the key in the file: XXXXX-XXXXX-…",
        ) from None


def read_product_key(path: Path) -> SecretStr:
    """The product key in a file of the user.

    Raises:
        ConfigError: It cannot be read, or holds no key.
    """
    key = SecretStr(read_text(path, secret=True).strip())
    check_product_key(key, file=str(path))
    return key


def certificate_record(name: str, der: bytes) -> CertificateRecord:
    """A certificate's entry in the image record."""
    loaded = x509.load_der_x509_certificate(der)
    # SHA-1 is the name that Windows gives certificates, not a matter of trust.
    sha1 = loaded.fingerprint(hashes.SHA1()).hex()
    subject = loaded.subject.rfc4514_string()
    return CertificateRecord(file=name, subject=subject, sha1=sha1, expires=loaded.not_valid_after_utc)


def iso_hash(path: Path, progress: Progress, *, cache: Path | None = None) -> str:
    """SHA-256 of an ISO; remembered as long as the file keeps its size and time of change.

    Raises:
        ImageError: It cannot be read.
    """
    file = (cache or cache_dir()) / _HASHES
    absolute = str(path.resolve())
    stat = path.stat()
    stamp = [stat.st_size, stat.st_mtime_ns, stat.st_ino]
    known: dict[str, list[object]] = {}
    with contextlib.suppress(OSError, ValueError):
        known = json.loads(file.read_text(encoding="utf-8"))
    entry = known.get(absolute) if isinstance(known, dict) else None
    if isinstance(entry, list) and entry[:3] == stamp and len(entry) == 4:
        return str(entry[3])
    progress.stage("compute the ISO's SHA-256")
    digest = hash_file(path, lambda done, total: progress.detail(f"{100 * done // max(total, 1)} %"))
    temporary = file.with_name(f"{_HASHES}.{os.getpid()}.new")
    with contextlib.suppress(OSError):  # a cache that cannot be written only costs the next build's time
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps({**known, absolute: [*stamp, digest]}, indent=1), encoding="utf-8")
        temporary.replace(file)
    return digest

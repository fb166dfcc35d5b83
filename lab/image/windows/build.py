"""From a user's ISO to a published Windows image: payload, installation, acceptance boot, and what is kept of them.

All files are made in the folder that :func:`lab.image.store.build_image` lends, which only gets the image's name when the
image is complete. Logs are elsewhere, and stay when a build fails.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr, ValidationError

from lab.host.assets import data_root
from lab.host.process import run
from lab.image.credentials import GuestSecrets, make_secrets, save_credentials
from lab.image.manifest import Credentials, ImageManifest, MachineSpec, PrintPort, usual_offers
from lab.image.progress import Progress
from lab.image.windows import files
from lab.image.windows.accept import AcceptancePlan, Acceptor, accept
from lab.image.windows.answer import AnswerValues, common_folder, render_answer
from lab.image.windows.answer_check import check_answer
from lab.image.windows.build_record import make_record
from lab.image.windows.guest_machine import debug_boot
from lab.image.windows.image_record import AcceptanceRecord, save_record
from lab.image.windows.inputs import RELAY, TOOLS, USERNAME, UserInputs, certificate_record, prepare
from lab.image.windows.install import InstallResult, install, publish_disk
from lab.image.windows.install_events import EVENTS_FILE
from lab.image.windows.install_host import HostDiskFull
from lab.image.windows.install_watch import Budgets
from lab.image.windows.machine import CPUS, MACHINE, NIC, InstallPlan
from lab.image.windows.payload import PayloadParts, SshPayload, payload_files, write_payload
from lab.image.windows.recipe import WindowsRecipeFile
from lab.toolchain.build import build_components
from lab.toolchain.manifest import load_component
from lab.toolchain.sign import signing_key
from lab.vm.firmware import find_firmware
from lab.vm.spec import Accelerator, Firmware

_HOSTNAME = "LAB"
_CONVERT_S = 120.0
#: Without hardware virtualisation Setup takes hours, and is silent for long.
BUDGETS: Mapping[Accelerator, Budgets] = {"kvm": Budgets(), "tcg": Budgets(total_s=24 * 3600.0, stall_s=2 * 3600.0)}
_BOOT_S: Mapping[Accelerator, float] = {"kvm": 600.0, "tcg": 3600.0}
#: The guest reports a bugcheck to the host at once. Not for Setup; and with `-action panic=none` Windows still writes its dump.
_CRASH_FLAG = ",hv-crash"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """How an image is built.

    Attributes:
        accelerator: One that works.
        log_dir: Folder for the logs of this build; made when it is missing.
        keep_failed: Keep the disk of a build that failed, in the log folder.
        budgets: How long what may take; None: what suits the accelerator.
        firmware: UEFI firmware; None: the host's.
        tune: Last changes to the plan of the installation.
        acceptor: How the new image is accepted.
        qemu: Version of QEMU, for the record.
        machine: Machine type and its options, by a name with a version: see :mod:`lab.host.qemumachines`.
        before: Called before a build that is really needed; may raise to refuse it.
    """

    accelerator: Accelerator
    log_dir: Path
    keep_failed: bool = False
    budgets: Budgets | None = None
    firmware: Firmware | None = None
    tune: Callable[[InstallPlan], InstallPlan] = field(default=lambda plan: plan)
    acceptor: Acceptor = accept
    qemu: str = ""
    machine: str = MACHINE
    before: Callable[[], None] = field(default=lambda: None)


class WindowsRecipe:
    """Builds one Windows image; a :class:`lab.image.store.Recipe`.

    Args:
        recipe: What to install.
        given: What the user gives.
        options: How.
        progress: Gets a line for each step while the inputs are checked.
        cache: Cache folder, for the hashes of ISOs; None: the user's.
        root: Folder of ``vm-images/`` and ``driver/``; None: the lab's own.

    Raises:
        LabError: All that :func:`~lab.image.windows.inputs.prepare` raises: wrong inputs are found before anything begins.
    """

    def __init__(
        self,
        recipe: WindowsRecipeFile,
        given: UserInputs,
        options: BuildOptions,
        progress: Progress,
        *,
        cache: Path | None = None,
        root: Path | None = None,
    ) -> None:
        self.inputs = prepare(recipe, given, progress, cache=cache, root=root)
        self._options = options
        self._root = root or data_root()

    @property
    def name(self) -> str:
        """See :class:`lab.image.store.Recipe`."""
        return self.inputs.recipe.name

    def key(self) -> str:
        """See :class:`lab.image.store.Recipe`."""
        return self.inputs.key

    def build(self, folder: Path, progress: Progress) -> None:
        """See :class:`lab.image.store.Recipe`.

        Raises:
            ImageError: The build failed; only the logs stay, and with ``keep_failed`` the disk.
        """
        options = self._options
        options.before()
        options.log_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        secrets, values = self._secrets()
        with (
            _host_errors(folder),
            _scrubbed(options.log_dir, secrets.credentials.password),
            self._kept(folder, secrets.credentials),
            tempfile.TemporaryDirectory(prefix="work-", dir=folder) as temporary,
        ):
            work = Path(temporary)
            payload = self._payload(work, secrets, values, progress)
            result = self._install(folder, payload, progress)
            payload.unlink()
            self._firmware(result, folder)
            manifest = self._manifest(result.disk.name)
            acceptance = self._accept(manifest, secrets.credentials, folder, work, progress)
            progress.stage("compute the disk's SHA-256")
            publish_disk(result)
            save_credentials(self._credentials(secrets), folder)
            shutil.copyfile(options.log_dir / EVENTS_FILE, folder / files.EVENTS)
            _write_zip(folder / files.INPUTS, self.inputs.rendered)
            save_record(make_record(self.inputs, result, acceptance, folder, options.accelerator, options.qemu), folder)
            told = manifest.model_copy(
                update={
                    "machine": manifest.machine.model_copy(update={"disk": files.DISK}),
                    "versions": {"windows": acceptance.windows, "edition": self.inputs.edition.name},
                }
            )
            (folder / "manifest.json").write_text(told.model_dump_json(indent=2) + "\n", encoding="utf-8")

    def _secrets(self) -> tuple[GuestSecrets, AnswerValues]:
        """New credentials, with a password that Windows' policy takes: about one in two hundred has no digit."""
        while True:
            secrets = make_secrets(USERNAME, _HOSTNAME)
            with contextlib.suppress(ValidationError):
                return secrets, AnswerValues(
                    image_index=self.inputs.edition.index,
                    username=USERNAME,
                    password=SecretStr(secrets.credentials.password),
                    product_key=self.inputs.product_key,
                )

    def _payload(self, work: Path, secrets: GuestSecrets, values: AnswerValues, progress: Progress) -> Path:
        progress.stage("make the payload CD")
        inputs = self.inputs
        answer = render_answer(inputs.recipe, values, folder=common_folder(self._root))
        check_answer(answer, inputs.recipe)
        # Not signed: Windows asks for signatures of drivers only.
        tools = build_components([load_component(self._root / tool) for tool in TOOLS], "x64", work / "tools", None)
        drivers = []
        if "relay" in inputs.recipe.ordered_stages:
            drivers = build_components([load_component(self._root / RELAY)], "x64", work / "drivers", signing_key())
        ssh = None
        if inputs.openssh_msi:
            ssh = SshPayload(msi=inputs.openssh_msi, user_key=secrets.ssh_user_key, host_key=secrets.ssh_host_private_key)
        parts = PayloadParts(
            build_id=inputs.key,
            username=USERNAME,
            certificates=inputs.certificates,
            tools={item.path.name: item.path for item in tools},
            drivers={item.path.name: item.path for item in drivers},
            ssh=ssh,
        )
        return write_payload(
            work / "payload.iso", payload_files(inputs.recipe, answer, parts, folder=common_folder(self._root))
        )

    def _install(self, folder: Path, payload: Path, progress: Progress) -> InstallResult:
        options, needs = self._options, self.inputs.recipe.machine
        firmware = None
        if needs.firmware == "uefi":
            firmware = options.firmware or find_firmware()
        plan = InstallPlan(
            name=self.name,
            accelerator=options.accelerator,
            windows_iso=self.inputs.iso.path,
            payload_iso=payload,
            disk=folder / files.DISK,
            disk_gb=needs.disk_gb,
            firmware=firmware,
            machine=options.machine,
            memory_mb=needs.memory_mb,
            # Virtual CPUs beyond one make an emulated VM slower.
            smp=needs.vcpus if options.accelerator == "kvm" or self.inputs.recipe.windows == "11" else 1,
        )
        return install(
            options.tune(plan),
            options.log_dir,
            progress=progress,
            budgets=options.budgets or BUDGETS[options.accelerator],
            keep_failed=options.keep_failed,
        )

    def _firmware(self, result: InstallResult, folder: Path) -> None:
        """Keep the firmware and what Setup wrote into its variables, so that the image does not depend on the host's."""
        if result.plan.firmware is None or result.firmware_vars is None:
            return
        shutil.copyfile(result.plan.firmware.code, folder / files.FIRMWARE_CODE)
        target = folder / files.FIRMWARE_VARS
        run(["qemu-img", "convert", "-q", "-f", "raw", "-O", "qcow2", result.firmware_vars, target], _CONVERT_S)

    def _manifest(self, disk: str) -> ImageManifest:
        recipe, options = self.inputs.recipe, self._options
        return ImageManifest(
            name=self.name,
            key=self.key(),
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            guest=recipe.title,
            kind="windows",
            capabilities=recipe.capabilities,
            machine=MachineSpec(
                machine=options.machine,
                memory_mb=recipe.machine.memory_mb,
                smp=recipe.machine.vcpus,
                cpu_kvm=CPUS["kvm"] + _CRASH_FLAG,
                cpu_tcg=CPUS["tcg"],
                disk_interface="ide",
                nic=NIC,
                disk=disk,
                firmware=recipe.machine.firmware,
                cd_drives=1,
            ),
            prints=PrintPort(source="relay" if "relay" in recipe.ordered_stages else "none", serial=1, encoding="cp1252"),
            debug=debug_boot() if "kd" in recipe.ordered_stages else None,
            transports=usual_offers("winrm", *(["ssh"] if "ssh" in recipe.ordered_stages else [])),
            boot_timeout_s=_BOOT_S[options.accelerator],
        )

    def _accept(
        self, manifest: ImageManifest, credentials: Credentials, folder: Path, work: Path, progress: Progress
    ) -> AcceptanceRecord:
        records = [certificate_record(name, der) for name, der in self.inputs.certificates.items()]
        plan = AcceptancePlan(
            recipe=self.inputs.recipe,
            manifest=manifest,
            credentials=credentials,
            folder=folder,
            run_dir=work / "acceptance",
            accelerator=self._options.accelerator,
            thumbprints=tuple(record.sha1 for record in records),
            kd_disk=folder / files.KD_DISK,
            final_disk=files.DISK,
        )
        try:
            return self._options.acceptor(plan, progress)
        finally:
            # In any case: the logs of the VM, without its disk.
            target = self._options.log_dir / "acceptance"
            for file in sorted(plan.run_dir.glob("*")):
                if file.suffix in (".log", ".cmd", ".png"):
                    target.mkdir(exist_ok=True)
                    shutil.copyfile(file, target / file.name)

    def _credentials(self, secrets: GuestSecrets) -> Credentials:
        """The credentials without keys of services that the guest does not have."""
        found = secrets.credentials.model_copy(update={"tls_certificate": None})
        return found if self.inputs.openssh_msi else found.model_copy(update={"ssh_private_key": None, "ssh_host_key": None})

    @contextlib.contextmanager
    def _kept(self, folder: Path, credentials: Credentials) -> Iterator[None]:
        """After a failure keep the disk and its credentials, if the user asked for them."""
        try:
            yield
        except BaseException:
            for disk in (folder / f"{files.DISK}.failed", folder / f"{files.DISK}.partial", folder / files.DISK):
                if self._options.keep_failed and disk.exists():
                    shutil.move(disk, self._options.log_dir / f"{files.DISK}.failed")
                    with contextlib.suppress(FileExistsError):
                        save_credentials(credentials, self._options.log_dir)
            raise


def _write_zip(target: Path, contents: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in contents.items():
            # A fixed date: the same inputs are the same file.
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data)


@contextlib.contextmanager
def _host_errors(folder: Path) -> Iterator[None]:
    """Turn an OSError of a full disk into :class:`HostDiskFull`, wherever it occurs."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise HostDiskFull(
            f"the host disk is full: {error.strerror} at {error.filename or folder}",
            hint="free some space, or set another cache folder with --cache",
        ) from None


@contextlib.contextmanager
def _scrubbed(folder: Path, secret: str) -> Iterator[None]:
    """Remove the guest's password from the logs of Setup and its scripts."""
    try:
        yield
    finally:
        for file in sorted(folder.rglob("*")):
            if file.suffix in (".log", ".jsonl", ".cmd") and file.is_file():
                scrub(file, secret)


def scrub(file: Path, secret: str) -> None:
    """Replace a secret in a text file, in UTF-8 and in UTF-16."""
    data = file.read_bytes()
    clean = data
    for encoding in ("utf-8", "utf-16-le"):
        word = secret.encode(encoding)
        clean = clean.replace(word, "*".encode(encoding) * len(secret))
    if clean != data:
        temporary = file.with_name(f"{file.name}.new")
        temporary.write_bytes(clean)
        temporary.replace(file)


def build_log_dir(state: Path, name: str, now: datetime.datetime) -> Path:
    """Where the logs of a build started now go; not made yet."""
    return state / "builds" / f"{name}-{now:%Y%m%d-%H%M%S}-{os.getpid()}"

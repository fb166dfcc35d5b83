"""The manifest of an image: everything that is needed to start, reach and observe a guest made from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lab.config.patterns import RegularExpression
from lab.guest.transport_kind import transport_kind

#: Raised when a manifest of an older lab can no longer be used.
SCHEMA_VERSION = 1


def kind_of_before(windows: bool) -> str:
    """The kind of a guest in files that only say whether it is Windows: manifests and reports of older versions."""
    return "windows" if windows else "wine"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MachineSpec(_Model):
    """The hardware that QEMU emulates, independent of the accelerator.

    CPU models differ by accelerator because TCG needs SMAP off for user-mode ``iretq`` (seen with QEMU 7.2 and Wine).
    """

    machine: str = Field(description="QEMU machine type and its options, for example q35")
    memory_mb: int = Field(gt=0)
    smp: int = Field(default=1, gt=0, description="virtual CPUs; 1 under TCG unless a test asks for more")
    cpu_tcg: str = "max,smap=off"
    cpu_kvm: str = "host"
    disk_interface: Literal["virtio", "ide"] = "virtio"
    nic: str = Field(default="virtio-net-pci,romfile=", description="-device text of the network card")
    kernel: str | None = Field(default=None, description="file in the image folder, for direct boot")
    initrd: str | None = None
    append: str = Field(default="", description="kernel command line for direct boot")
    disk: str = Field(description="qcow2 file in the image folder; never written to: guests use overlays")
    firmware: Literal["bios", "uefi"] = "bios"
    cd_drives: int = Field(default=0, ge=0, description="empty CD drives; files are copied into a guest by the first one")


class PrintPort(_Model):
    """Where the kernel prints come out.

    The VM has two 16550s: serial 0 (COM1, ttyS0) and serial 1 (COM2, ttyS1); the one not named here is the console.
    An image with the print relay prints on a port of its own, a debug console at 0xE9, and has relaymark.exe in its tools
    folder.
    """

    source: str = Field(
        description="name of a print channel (lab.prints.registry). wine: lines on a serial port; kd: the kernel debugger's "
        "protocol on one; relay: the print relay driver; none: they stay in the guest"
    )
    serial: int = Field(default=1, description="index of the serial port that carries the prints (not for the print relay)")
    mark_port: int | None = Field(
        default=None, description="guest TCP port whose service writes a marker into the print path (wine source)"
    )
    mark_channel: str | None = Field(default=None, description="virtio-serial port of the same service; preferred")
    kernel_prints: tuple[RegularExpression, ...] = Field(
        default=(),
        description="prints of the kernel itself: regular expressions that match the beginning of a print",
    )
    encoding: str = "utf-8"


class DebugBoot(_Model):
    """What is different when a guest is booted with its kernel debugger on: ``debug: kd`` in the lab file."""

    prints: PrintPort
    disk: str | None = Field(
        default=None, description="qcow2 file in the image folder that boots this way; null: the VM's own disk does"
    )
    capabilities: tuple[str, ...] = Field(default=(), description="capabilities of that boot beside the image's own")


class TransportOffer(_Model):
    """Where the guest's service of one transport is reached."""

    port: int | None = Field(default=None, description="its TCP port in the guest; null: it is reached without one")
    more: dict[str, int] = Field(default_factory=dict, description="further TCP ports of it, for other clients: tls")
    channel: str | None = Field(
        default=None,
        description="virtio-serial port on which it answers, too; private to the VM's owner, and still connected in a fork",
    )


def usual_offers(*names: str) -> dict[str, TransportOffer]:
    """Offers of some transports on their usual ports, in this order."""
    return {name: TransportOffer(port=transport_kind(name).port) for name in names}


class _OldPorts(_Model):
    """``ports`` of the manifests that were written before ``transports``; None where the image does not offer one."""

    winrm: int | None = 5985
    winrm_tls: int | None = 5986
    ssh: int | None = 22
    winrm_channel: str | None = None

    def offers(self) -> dict[str, TransportOffer]:
        """The same as a mapping by transport."""
        found = {}
        if self.winrm is not None:
            tls = {} if self.winrm_tls is None else {"tls": self.winrm_tls}
            found["winrm"] = TransportOffer(port=self.winrm, more=tls, channel=self.winrm_channel)
        if self.ssh is not None:
            found["ssh"] = TransportOffer(port=self.ssh)
        return found


class Credentials(BaseModel):
    """Random per image build; lives in its own 0600 file beside the manifest, never in it."""

    # An error about this file names keys only: pydantic would quote the value beside a key that is missing or wrong.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    username: str
    password: str = Field(repr=False)
    ssh_private_key: str | None = Field(default=None, repr=False, description="OpenSSH PEM text")
    ssh_host_key: str | None = Field(default=None, description="public host key line, 'ssh-ed25519 AAAA…'")
    tls_certificate: str | None = Field(default=None, description="PEM certificate of the 5986 listener")
    others: dict[str, str] = Field(default_factory=dict, repr=False, description="secrets of further transports, by name")

    @property
    def secrets(self) -> tuple[str, ...]:
        """The texts that no other user may read."""
        return tuple(text for text in (self.password, self.ssh_private_key, *self.others.values()) if text)


class KernelModule(_Model):
    """What one module of a stand-in for a kernel exports."""

    functions: tuple[str, ...] = Field(description="what is there")
    stubs: tuple[str, ...] = Field(default=(), description="functions that are only declared: a call ends the driver's process")


class KernelFacts(_Model):
    """What a stand-in for a kernel has, taken from its own files at image build; see lab.image.kernel."""

    modules: dict[str, KernelModule] = Field(description="file name in lower case -> its exports")
    others: tuple[str, ...] = Field(default=(), description="other files that drivers can import from, in lower case")


class ImageManifest(_Model):
    """``manifest.json`` in an image folder."""

    schema_version: int = SCHEMA_VERSION
    name: str = Field(description="recipe name: wine, windows-server-2022, …")
    key: str = Field(description="hash of everything that the image was made from")
    created: str = Field(description="UTC time of the build, ISO 8601")
    guest: str = Field(description="one line for reports, for example 'free guest: Wine 10.0 on Debian 13'")
    kind: str = Field(description="kind of guest, see lab.image.registry; reports always say which")
    arch: Literal["x64", "x86"] = "x64"
    capabilities: tuple[str, ...] = Field(description="capabilities of a guest of this image, see lab.guest.capability")
    machine: MachineSpec
    prints: PrintPort
    debug: DebugBoot | None = Field(default=None, description="how it boots with its kernel debugger; null: it cannot")
    transports: dict[str, TransportOffer] = Field(description="how commands and files reach a guest: transport -> where")
    tools_dir: str = Field(default="C:\\lab\\bin", description="guest folder that holds labfile.exe")
    boot_timeout_s: float = 300
    versions: dict[str, str] = Field(default_factory=dict, description="what is inside: kernel, wine, …")
    kernel: KernelFacts | None = Field(default=None, description="what a stand-in for a kernel has; null: everything")

    @model_validator(mode="before")
    @classmethod
    def _of_the_first_form(cls, value: Any) -> Any:
        """Read a manifest without a kind, which only says whether its guest is Windows."""
        if not isinstance(value, dict) or "is_windows" not in value:
            return value
        rest = {key: item for key, item in value.items() if key != "is_windows"}
        return {"kind": kind_of_before(bool(value["is_windows"])), **rest}

    @model_validator(mode="before")
    @classmethod
    def _from_ports(cls, data: Any) -> Any:
        """Read the older form: ``ports`` with a key for each of two transports. Such images are still usable."""
        if not isinstance(data, dict) or "ports" not in data or "transports" in data:
            return data
        rest = dict(data)
        old = _OldPorts.model_validate(rest.pop("ports"))
        return {**rest, "transports": old.offers()}

    @property
    def transport_ports(self) -> tuple[int, ...]:
        """Guest TCP ports of all transports."""
        offers = self.transports.values()
        return tuple(port for offer in offers for port in (offer.port, *offer.more.values()) if port is not None)

    @property
    def transport_channels(self) -> tuple[str, ...]:
        """Virtio-serial ports of all transports."""
        return tuple(offer.channel for offer in self.transports.values() if offer.channel)

    def port_of(self, transport: str) -> int | None:
        """The guest TCP port of a transport; None where the image does not offer it, or not by a port."""
        offer = self.transports.get(transport)
        return offer.port if offer else None


def load_manifest(folder: Path) -> ImageManifest:
    """Read ``manifest.json`` of an image folder; raises pydantic's ValidationError or OSError as they come."""
    return ImageManifest.model_validate_json((folder / "manifest.json").read_text(encoding="utf-8"))


def load_credentials(folder: Path) -> Credentials:
    """Read ``credentials.json`` of an image folder; raises pydantic's ValidationError, without values, or OSError."""
    return Credentials.model_validate_json((folder / "credentials.json").read_text(encoding="utf-8"))

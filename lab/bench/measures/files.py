"""Bytes into the guest: over WinRM, by SFTP, by media, and over WinRM as scripts do it, in command lines of base64."""

from __future__ import annotations

import base64
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from pydantic import SecretStr

from lab.bench.measures.winrm import guest_port
from lab.bench.protocol import Context, NotHere
from lab.bench.samples import Samples, Series
from lab.errors import TransportError
from lab.guest.protocol import Transport
from lab.guest.winrm.protocol import ShellProtocol, make_protocol
from lab.live.guest import LiveGuest

#: Million bytes.
_SIZES = (1, 10)
_TIMEOUT_S = 600.0
_FOLDER = "C:\\lab\\bench"
#: A command line of cmd holds 8191 characters: this much base64, the command around it and the file's name.
_CHUNK = 6000


class MediaDrive(Protocol):
    """A guest's CD drive as a way to copy files."""

    def put(self, transport: Transport, source: Path, target: str, *, timeout: float) -> None:
        """Make a medium of a file, put it into the drive, have the guest copy the file from it and compare the sums."""


class FilesMeasure:
    """Random bytes for each way, different ones each time. The lab's ways compare sums in the guest, as part of their times."""

    name = "files"
    title = "one file into the guest"
    needs = "one guest; a minute or two"

    def run(self, context: Context) -> Samples:
        """Measure every way and size."""
        series: list[Series] = []
        notes: list[str] = []
        guest = context.guest()
        # Connected before the watch starts, as in a run, where other commands came before.
        guest.transport.run("echo lab", timeout=_TIMEOUT_S)
        series += copies(context, "winrm", "the lab over WinRM", guest.transport.put)
        with guest.open("ssh") as ssh:
            ssh.run("echo lab", timeout=_TIMEOUT_S)
            series += copies(context, "sftp", "SFTP", ssh.put)
        try:
            drive = media_of(guest)
            series += copies(context, "media", "media", lambda *file, **rest: drive.put(guest.transport, *file, **rest))
        except NotHere as error:
            notes.append(f"media: {error.message}")
        series.append(self._chunks(context, guest_port(guest, context.manifest.port_of("winrm")), guest.transport))
        return Samples(series=tuple(series), notes=tuple(notes))

    @staticmethod
    def _chunks(context: Context, port: int, transport: Transport) -> Series:
        """Copy some chunks, and extrapolate the time of ten million bytes: all of them would take half an hour."""
        credentials = context.credentials
        url = f"http://127.0.0.1:{port}/wsman"
        protocol = make_protocol(url, credentials.username, SecretStr(credentials.password))
        transport.run(f'if not exist "{_FOLDER}" mkdir "{_FOLDER}"', timeout=_TIMEOUT_S)
        shell = protocol.open_shell(codepage=65001)
        size = _SIZES[-1]
        number = -(-size * 1_000_000 // _CHUNK)
        try:
            times = []
            for turn in range(context.repeat(20, 3, most=50)):
                context.detail(f"chunk {turn + 1}")
                begin = context.clock()
                append_chunk(protocol, shell, random.Random(turn).randbytes(_CHUNK), f"{_FOLDER}\\chunks.b64")
                times.append((context.clock() - begin) * number)
        finally:
            protocol.close_shell(shell, close_session=False)
            protocol.transport.close_session()
        return Series(
            key=f"files.chunks.{size}",
            label=f"{size} MB as base64 chunks over WinRM",
            unit="s",
            values=tuple(times),
            baseline=True,
            estimated=True,
            note=f"from {len(times)} of {number} command lines; without decoding and sums",
        )


def media_of(guest: LiveGuest) -> MediaDrive:
    """The guest's CD drive.

    Raises:
        NotHere: The guest has none that accepts files.
    """
    drive: MediaDrive | None = getattr(getattr(guest, "delivery", None), "media", None)
    if drive is None:
        raise NotHere(f"{guest.manifest.guest} has no CD drive")
    return drive


def copies(context: Context, way: str, label: str, put: Callable[..., None]) -> list[Series]:
    """Copy files of each size several times.

    Args:
        context: Says how often, and has the clock.
        way: Part of the series' keys.
        label: For people.
        put: Copies a file of the host to a path of the guest, see :meth:`lab.guest.protocol.Transport.put`.
    """
    found = []
    with tempfile.TemporaryDirectory(prefix="lab-bench-") as scratch:
        for size in _SIZES:
            times = []
            for turn in range(context.repeat(5, 1, most=5)):
                context.detail(f"{size} MB by {label}, {turn + 1}")
                # Different bytes each time: files that the guest already has are not copied again.
                file = random_file(Path(scratch) / f"{way}-{size}-{turn}.bin", size, seed=turn)
                begin = context.clock()
                put(file, f"{_FOLDER}\\{file.name}", timeout=_TIMEOUT_S)
                times.append(context.clock() - begin)
            key, reference = f"files.{way}.{size}", f"files.winrm.{size}"
            name = f"{size} MB by {label}"
            found.append(Series(key=key, label=name, unit="s", values=tuple(times), reference=reference))
    return found


def append_chunk(protocol: ShellProtocol, shell: str, chunk: bytes, target: str) -> None:
    """Append a chunk to a file of the guest by a command line, in a shell that stays open.

    Raises:
        TransportError: The command failed.
    """
    command = protocol.run_command(shell, f"echo {base64.b64encode(chunk).decode('ascii')}>>{target}")
    while True:
        _, said, code, done = protocol.get_command_output_raw(shell, command)
        if done:
            break
    protocol.cleanup_command(shell, command)
    if code:
        raise TransportError(f"a chunk was not written: {said[:200]!r}")


def random_file(file: Path, megabytes: int, *, seed: int) -> Path:
    """A file of bytes that no layer can compress, the same ones for the same seed."""
    file.write_bytes(random.Random(seed).randbytes(megabytes * 1_000_000))
    return file

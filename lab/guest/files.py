r"""Files in and out of a guest through one command's streams, with SHA-256 computed in the guest.

``labfile.exe`` is in every image (``C:\lab\bin``). One guest process moves any number of files:

* ``labfile put PATH``   writes standard input to the file; answers its sum line
* ``labfile untar DIR``  unpacks a pax stream from standard input; answers one sum line per file
* ``labfile tar PATH``   writes a file or folder as a pax stream
* ``labfile sum PATH…``  one sum line per file, folders with all that is in them
* ``labfile drive …``, ``labfile fetch …``  see :mod:`lab.guest.media`

A sum line is ``<sha256 hex>  <size>  <path>``, paths with ``/``, relative to the folder. The exit code is a Windows error.
"""

from __future__ import annotations

import hashlib
import io
import re
import shutil
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from tempfile import TemporaryDirectory

from lab.errors import CommandFailed, ConfigError, TransportError
from lab.guest import win32
from lab.guest.protocol import CommandResult, Transport

#: The guest folder of the lab's own programs.
TOOLS_DIR = "C:\\lab\\bin"

_SUM_LINE = re.compile(r"([0-9a-fA-F]{64})  (\d+)  (.+)")
_NO_PROGRAM = (2, 3, 49, 9009)  # 49: Wine 8's cmd has no such program


@dataclass(frozen=True, slots=True)
class FileSum:
    """SHA-256 and size of a file.

    Attributes:
        sha256: Lower-case hexadecimal.
        size: Bytes.
    """

    sha256: str
    size: int


def sum_of(data: bytes) -> FileSum:
    """The sum of some bytes."""
    return FileSum(hashlib.sha256(data).hexdigest(), len(data))


def parse_sums(text: str) -> dict[str, FileSum]:
    """Parse sum lines into path → sum; backslashes become slashes, a leading ``./`` goes.

    Raises:
        TransportError: A line is not a sum line.
    """
    sums: dict[str, FileSum] = {}
    for line in text.splitlines():
        found = _SUM_LINE.fullmatch(line.rstrip("\r"))
        if found:
            sums[found.group(3).replace("\\", "/").removeprefix("./")] = FileSum(found.group(1).lower(), int(found.group(2)))
        elif line.strip():
            raise TransportError(f"labfile gave an answer without a SHA-256: {line[:200]!r}")
    return sums


def local_sums(source: Path) -> dict[str, FileSum]:
    """Sums of a file (under its own name) or of all files of a folder (under their relative paths)."""
    if not source.is_dir():
        return {source.name: sum_of(source.read_bytes())}
    return {p.relative_to(source).as_posix(): sum_of(p.read_bytes()) for p in sorted(source.rglob("*")) if p.is_file()}


def put(
    transport: Transport,
    source: Path,
    target: str,
    *,
    tools_dir: str = TOOLS_DIR,
    timeout: float,
) -> None:
    """Copy a file or folder into the guest with ``labfile`` and compare the sums.

    Args:
        transport: Runs the one guest command.
        source: File or folder of the host.
        target: Windows path of the copy, including its name.
        tools_dir: Guest folder that holds ``labfile.exe``.
        timeout: Seconds for the whole copy.

    Raises:
        ConfigError: ``source`` does not exist.
        CommandFailed: labfile ended with a Windows error.
        TransportError: There is no labfile in the guest, or a sum differs.
    """
    if source.is_dir():
        data, verb, wanted = pack(source), "untar", local_sums(source)
    elif source.is_file():
        data, verb = source.read_bytes(), "put"
        wanted = {target: sum_of(data)}
    else:
        raise ConfigError(f"no such file or folder to copy into the guest: {source}")
    answer = run_labfile(transport, verb, target, tools_dir=tools_dir, timeout=timeout, stdin=data)
    compare(wanted, parse_sums(answer.text), target, folder=verb == "untar")


def get(
    transport: Transport,
    source: str,
    target: Path,
    *,
    tools_dir: str = TOOLS_DIR,
    timeout: float,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Copy a file or folder out of the guest with ``labfile`` and compare the sums.

    Args:
        transport: Runs the guest commands.
        source: Windows path.
        target: Path of the copy on the host, including its name; must not exist yet.
        tools_dir: Guest folder that holds ``labfile.exe``.
        timeout: Seconds for the whole copy.
        clock: Monotonic seconds.

    Raises:
        ConfigError: ``target`` exists already.
        CommandFailed: labfile ended with a Windows error, for example 2 for a missing source.
        TransportError: There is no labfile in the guest, the stream is damaged, or a sum differs.
    """
    ends = clock() + timeout
    with new_target(target) as place:
        sums = parse_sums(run_labfile(transport, "sum", source, tools_dir=tools_dir, timeout=timeout).text)
        # A file is listed by the requested path, the files of a folder by relative paths.
        folder = list(sums) != [source.replace("\\", "/")]
        left = max(1.0, ends - clock())
        unpack(run_labfile(transport, "tar", source, tools_dir=tools_dir, timeout=left).stdout, place, folder=folder)
        compare(sums, local_sums(place), source, folder=folder)


class NoLabfile(TransportError):
    """The guest has no ``labfile.exe``."""


def run_labfile(
    transport: Transport, verb: str, *arguments: str, tools_dir: str, timeout: float, stdin: bytes = b""
) -> CommandResult:
    """Run ``labfile VERB ARGUMENTS`` directly, without cmd.

    Raises:
        CommandFailed: It ended with a Windows error.
        NoLabfile: There is no labfile in the guest.
    """
    program = str(PureWindowsPath(tools_dir) / "labfile.exe")
    result = transport.run([program, verb, *arguments], timeout=timeout, stdin=stdin, shell=False)
    if not result.exit_code:
        return result
    said = result.error_text.strip()
    if result.exit_code in _NO_PROGRAM and not said.startswith("labfile"):
        raise NoLabfile(
            f"the guest does not run {program}: {said[:300] or win32.describe(result.exit_code)}",
            hint="every image of the lab has it; build the image again, or set tools_dir in its record",
        )
    raise CommandFailed(
        result.command,
        result.exit_code,
        stderr=f"{win32.describe(result.exit_code)}; {said}" if said else win32.describe(result.exit_code),
        hint=win32.lookup(result.exit_code).hint,
    )


def compare(wanted: Mapping[str, FileSum], got: Mapping[str, FileSum], what: str, *, folder: bool) -> None:
    """Compare the sums of both sides of a copy.

    Args:
        wanted: Sums of the source by path.
        got: Sums of the copy by path.
        what: The guest path, for the message.
        folder: Compare by relative path; a single file is compared by its content alone, its name may differ.

    Raises:
        TransportError: A file is missing, additional or different.
    """
    if not folder:
        wanted, got = ({str(i): one for i, one in enumerate(sums.values())} for sums in (wanted, got))
    wrong = [name for name, one in wanted.items() if got.get(name) != one]
    extra = [name for name in got if name not in wanted]
    if wrong or extra:
        named = ", ".join(sorted(wrong + extra)[:5])
        raise TransportError(
            f"the copy of {what} differs from its source: {len(wrong)} missing or different, {len(extra)} extra ({named})",
            hint="was a file changed while it was copied? is the guest's disk full?",
        )


def pack(folder: Path) -> bytes:
    """Make a pax stream of a folder: regular files and folders, symbolic links followed, owners left out."""

    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        return member if member.isfile() or member.isdir() else None

    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT, dereference=True) as tar:
        for path in sorted(folder.rglob("*")):
            tar.add(path, arcname=path.relative_to(folder).as_posix(), recursive=False, filter=plain)
    return stream.getvalue()


def unpack(data: bytes, place: Path, *, folder: bool) -> None:
    """Unpack a pax stream.

    Args:
        data: The stream.
        place: The folder or file to make.
        folder: Whether it is the contents of a folder, or one file, whose name in the stream does not matter.

    Raises:
        TransportError: The stream is damaged, or an entry is neither file nor folder or would land outside of ``place``.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            members = tar.getmembers()
            if not folder:
                if len(members) != 1 or not members[0].isfile():
                    raise TransportError(
                        f"the archive from the guest holds {len(members)} entries instead of the one requested file"
                    )
                _write(tar, members[0], place)
                return
            place.mkdir()
            for member in members:
                path = _inside(member, place)
                if member.isdir():
                    path.mkdir(parents=True, exist_ok=True)
                else:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    _write(tar, member, path)
    except (tarfile.TarError, EOFError) as problem:
        raise TransportError(f"the archive from the guest is damaged: {problem}") from problem


def _inside(member: tarfile.TarInfo, place: Path) -> Path:
    name = PurePosixPath(member.name.replace("\\", "/"))
    unsafe = name.is_absolute() or ".." in name.parts or any(":" in part for part in name.parts)
    if unsafe or not (member.isfile() or member.isdir()):
        raise TransportError(f"the archive from the guest contains an entry that is refused: {member.name!r}")
    return place / name


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    content = tar.extractfile(member)
    if content is None:
        raise TransportError(f"the archive from the guest contains no content for {member.name!r}")
    with content, path.open("xb") as file:
        shutil.copyfileobj(content, file)


@contextmanager
def new_target(target: Path) -> Iterator[Path]:
    """Yield a path to fill. It becomes ``target`` in one step if the body succeeds; otherwise it is removed.

    Raises:
        ConfigError: ``target`` exists already.
    """
    if target.exists() or target.is_symlink():
        raise ConfigError(f"{target} exists already; the lab does not overwrite it")
    target.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".copy-", dir=target.parent) as scratch:
        place = Path(scratch) / "content"
        yield place
        place.rename(target)

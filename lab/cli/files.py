r"""`lab put`, `lab get`: files into and out of a guest that is up.

A path in the guest is a folder if it ends with a backslash (``C:\data\``), or if that folder exists; otherwise it is the path
of the copy. Nothing is overwritten unless the user asks for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PureWindowsPath
from typing import Annotated, Literal

import typer

from lab.cli.choices import OpenTransportOption, check_transport
from lab.cli.guest import detached_guests
from lab.errors import CommandFailed, ConfigError
from lab.guest.files import local_sums, parse_sums, run_labfile
from lab.guest.protocol import Transport
from lab.image.folder import read_manifest
from lab.lease.detached import DetachedGuest, open_detached

#: Default folder of files in the guest.
FOLDER = "C:\\lab\\files"
_MISSING = (2, 3)
_ASK_S = 60.0

_Timeout = Annotated[float, typer.Option(min=1, help="Seconds for each file or folder")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(put)
    app.command()(get)


def put(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Guest; `lab ps` lists them")],
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE... [DEST]", help=f"Files or folders of the host; then a place in the guest, default: {FOLDER}\\"
        ),
    ],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist with other content")] = False,
    transport: OpenTransportOption = None,
    timeout: _Timeout = 300.0,
) -> None:
    r"""Copy files into a guest that is up.

    For example: lab put wine tool.exe 'C:\data\tool.exe'. DEST is a Windows path. If it ends with a backslash, or is a
    folder in the guest, the copies go into it. SHA-256 is compared in the guest. A file that exists with other content is
    replaced only with --overwrite.
    """
    guest = _find(name)
    sources, dest = split_dest(files)
    with_guest = _Side(guest, transport, timeout)
    try:
        for source, target in with_guest.places(sources, dest):
            copied = with_guest.put(source, target, overwrite=overwrite)
            typer.echo(f"{source} -> {guest.name}:{target}" + ("" if copied else " (the same was there)"))
    finally:
        with_guest.close()


def get(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Guest; `lab ps` lists them")],
    path: Annotated[str, typer.Argument(metavar="PATH", help="File or folder in the guest, for example C:\\lab\\run")],
    dest: Annotated[
        Path | None, typer.Argument(metavar="[DEST]", help="The copy, or the folder for it; default: the current folder")
    ] = None,
    transport: OpenTransportOption = None,
    timeout: _Timeout = 300.0,
) -> None:
    r"""Copy a file or folder out of a guest that is up.

    For example: lab get wine 'C:\lab\out.txt'. DEST is the copy itself, or a folder that exists. Files that exist are not
    overwritten. SHA-256 is compared.
    """
    guest = _find(name)
    if not is_of_guest(path):
        raise ConfigError(
            f"{path} is not a path in a Windows guest", hint=r"start with a drive, for example C:\lab\run\out.txt; quote it"
        )
    target = dest if dest is not None else Path.cwd()
    if target.is_dir():
        target = target / PureWindowsPath(path).name
    side = _Side(guest, transport, timeout)
    try:
        if side.kind(path) == "missing":
            raise ConfigError(
                f"guest {guest.name} has no {path}",
                hint=f'`lab run-in-guest {guest.name} -- dir "{PureWindowsPath(path).parent}"`',
            )
        side.transport.get(path, target, timeout=timeout)
    finally:
        side.close()
    typer.echo(f"{guest.name}:{path} -> {target}")


def split_dest(words: Sequence[str]) -> tuple[list[Path], str]:
    """Split the arguments of `lab put` into files of this host and the path in the guest.

    Raises:
        ConfigError: No file is named, one does not exist, or a path of the guest is among them.
    """
    dest = words[-1] if is_of_guest(words[-1]) and not Path(words[-1]).exists() else ""
    sources = [Path(word) for word in (words[:-1] if dest else words)]
    if not sources:
        raise ConfigError(
            "there is no file to copy", hint=r"lab put NAME FILE… [DEST], for example lab put wine a.txt C:\data\ "
        )
    for source in sources:
        if not source.exists():
            hint = r"the place in the guest comes last, and begins with a drive: C:\data\ "
            raise ConfigError(f"there is no file or folder {source}", hint=hint.strip())
    return sources, dest


def is_of_guest(path: str) -> bool:
    """Whether a word is a Windows path with a drive."""
    return bool(PureWindowsPath(path).drive) and len(PureWindowsPath(path).drive) == 2


def _find(name: str) -> DetachedGuest:
    return detached_guests().find(name)


class _Side:
    """The guest's side of copies."""

    def __init__(self, guest: DetachedGuest, transport: str | None, timeout: float) -> None:
        check_transport(transport)
        self._tools_dir = read_manifest(guest.image_dir).tools_dir
        self._guest = guest
        self._timeout = timeout
        self.transport: Transport = open_detached(guest, transport)

    def close(self) -> None:
        self.transport.close()

    def kind(self, path: str) -> Literal["missing", "file", "folder"]:
        """What this path is in the guest."""
        sums = self._sums(path)
        if sums is None:
            return "missing"
        return "file" if list(sums) == [path.replace("\\", "/")] else "folder"

    def places(self, sources: Sequence[Path], dest: str) -> list[tuple[Path, str]]:
        """Each source with the path of its copy."""
        dest = dest or FOLDER + "\\"
        into = dest.endswith(("\\", "/"))
        if not into and self.kind(dest) == "folder" and not (len(sources) == 1 and sources[0].is_dir()):
            into = True
        if not into and len(sources) > 1:
            raise ConfigError(
                f"{len(sources)} files cannot all be copied to {dest}", hint=f"for a folder, add a backslash: {dest}\\"
            )
        if not into:
            return [(sources[0], dest)]
        return [(source, str(PureWindowsPath(dest) / source.absolute().name)) for source in sources]

    def put(self, source: Path, target: str, *, overwrite: bool) -> bool:
        """Copy, unless the guest has the same content; returns whether anything was copied."""
        there = self._sums(target) or {}
        wanted = local_sums(source)
        if source.is_file():
            there = dict(zip([source.name], there.values(), strict=False)) if len(there) == 1 else there
        known = {name.lower(): one for name, one in there.items()}
        other = [name for name, one in wanted.items() if known.get(name.lower(), one) != one]
        if other and not overwrite:
            said = target if source.is_file() else f"{other[0]} in {target}"
            raise ConfigError(
                f"guest {self._guest.name} has {said} with other content",
                hint="--overwrite replaces it; or choose another DEST",
            )
        if wanted and all(known.get(name.lower()) == one for name, one in wanted.items()):
            return False
        self.transport.put(source, target, timeout=self._timeout)
        return True

    def _sums(self, path: str) -> dict[str, object] | None:
        try:
            answer = run_labfile(self.transport, "sum", path.rstrip("\\/"), tools_dir=self._tools_dir, timeout=_ASK_S)
        except CommandFailed as error:
            if error.exit_code in _MISSING:
                return None
            raise
        return dict(parse_sums(answer.text))

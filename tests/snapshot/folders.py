"""Folders of templates whose VM is never started, and folders that only look like one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from lab.prints.resume import PrintsState
from lab.snapshot.store import TemplateStore
from lab.snapshot.template import Template, write_template
from lab.vm.snapshot import Snapshot, write_snapshot
from lab.vm.spec import VmSpec


def fill(
    folder: Path,
    key: str,
    *,
    drivers: tuple[str, ...] = (),
    image: str = "wine",
    created: float = 1.0,
    files: Mapping[str, str] | None = None,
    base: bool = False,
) -> None:
    """The files of a template whose VM is never started."""
    (folder / "state").write_bytes(b"device state")
    status = (folder / "state").stat()
    snapshot = Snapshot(method="stream", spec=VmSpec(), state_by="pipe", files={"state": (status.st_size, status.st_mtime_ns)})
    write_snapshot(folder, snapshot)
    write_template(
        Template(
            folder=folder,
            key=key,
            image=image,
            image_key="i",
            guest="free guest",
            drivers=drivers,
            smp=1,
            transport="winrm",
            created=created,
            boot_s=8.0,
            made_s=9.0,
            prints=PrintsState(numbers={"next_line": 4}),
            parked={"shell": "S", "command": "C", "program": "C:\\lab\\run\\drvprobe.exe"},
            files=files or {},
            base=base,
        )
    )


def key_of(name: str) -> str:
    """A key as content_key makes them: 16 hexadecimal digits."""
    return name.encode().hex().rjust(16, "0")


K1 = key_of("k1")


def make(store: TemplateStore, key: str) -> Template:
    template, made = store.make("wine", key, lambda folder: fill(folder, key))
    assert made
    return template


def foreign(folder: Path) -> dict[str, bytes]:
    """Put foreign files beside the templates; returns the files' content by their names in the folder."""
    files = {
        "notes.txt": b"mine",
        "backup/ram": b"not a template's name",
        "wine-old/template.json": b"no key in its name",
        f"wine-{key_of('mine')}/ram": b"a template's name, and no file that a template has",
        ".work.tmp/notes.txt": b"nearly a work folder's name",
        ".wine.0123abcd.tmp/notes.txt": b"a work folder's name, and nothing of a maker in it",
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "template.json").write_bytes(b"linked")
    (folder / f"wine-{key_of('link')}").symlink_to("elsewhere")
    files[f"wine-{key_of('link')}/template.json"] = b"linked"
    return files


def contents(folder: Path, names: Iterable[str]) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in names if (folder / name).is_file()}

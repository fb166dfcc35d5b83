"""Files go into a real free guest by its CD drive: at the start, while it runs, with every kind of name, and compared."""

from __future__ import annotations

import base64
import hashlib
import random
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import winrm
from pydantic import SecretStr

from lab.errors import TransportError
from lab.guest.files import FileSum, local_sums, parse_sums, run_labfile
from lab.guest.media import fetch
from lab.host.accel import choose_accelerator, probe_accelerators
from lab.host.paths import cache_dir, runs_dir
from lab.image.manifest import load_credentials
from lab.image.store import find_image
from lab.live.boot import boot_guest
from lab.live.cd_drive import CdCopy
from lab.live.guest import LiveGuest
from lab.vm.cleanup import RunFolder
from lab.vm.machine import VirtualMachine

pytestmark = pytest.mark.e2e

AT_START = "there at the start.txt"
NAMES = (
    "a name with blanks.sys",
    "中文 名字.sys",
    "测试驱动程序" * 12 + ".sys",
    "x" * 103,
    "😀.txt",
    "folder 目录/in/a/folder/deep.bin",
    "Mixed.Case.TXT",
    "empty.bin",
)
BASE64_CHUNKS = 5


def write(folder: Path, contents: Mapping[str, bytes]) -> Path:
    for name, data in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGuest]:
    """One guest for all, with a medium in its drive from the start."""
    first = write(tmp_path_factory.mktemp("first"), {AT_START: b"hello"})
    with RunFolder.create(runs_dir(), "media") as folder:
        live = boot_guest(
            find_image("wine"),
            guest_id="media",
            run_dir=folder.path,
            accelerator=choose_accelerator("auto", probe_accelerators(cache_dir())),
            medium={AT_START: first / AT_START},
        )
        try:
            yield live
        finally:
            live.close()


@pytest.fixture
def drive(guest: LiveGuest) -> CdCopy:
    assert guest.delivery is not None
    assert guest.delivery.media is not None
    return guest.delivery.media


def sums_in(guest: LiveGuest, path: str) -> dict[str, str]:
    answer = run_labfile(guest.transport, "sum", path, tools_dir=guest.manifest.tools_dir, timeout=60)
    return {name: one.sha256 for name, one in parse_sums(answer.text).items()}


def sums_of(folder: Path) -> dict[str, str]:
    return {name: one.sha256 for name, one in local_sums(folder).items()}


# First in the file: the medium in the drive while the guest booted.
def test_a_medium_from_the_start_is_seen(guest: LiveGuest, drive: CdCopy) -> None:
    letter = drive.drive(guest.transport)
    assert sums_in(guest, f"{letter}{AT_START}").popitem()[1] == hashlib.sha256(b"hello").hexdigest()


def test_every_kind_of_name_arrives(guest: LiveGuest, drive: CdCopy, tmp_path: Path) -> None:
    folder = write(tmp_path / "f", {name: name.encode() if name != "empty.bin" else b"" for name in NAMES})
    drive.put(guest.transport, folder, "C:\\lab\\names 名")
    assert sums_in(guest, "C:\\lab\\names 名") == sums_of(folder)


def test_one_file_gets_the_name_of_its_copy(guest: LiveGuest, drive: CdCopy, tmp_path: Path) -> None:
    source = write(tmp_path, {"source.bin": random.Random(1).randbytes(70_000)}) / "source.bin"
    drive.put(guest.transport, source, "C:\\lab\\one\\目标 file.bin")
    (digest,) = sums_in(guest, "C:\\lab\\one\\目标 file.bin").values()
    assert digest == hashlib.sha256(source.read_bytes()).hexdigest()


def test_media_are_changed_again_and_again(guest: LiveGuest, drive: CdCopy, tmp_path: Path) -> None:
    """The files have the same name and size on each medium, so that only their content differs."""
    for number in range(6):
        folder = write(tmp_path / str(number), {"same.bin": random.Random(number).randbytes(30_000)})
        drive.put(guest.transport, folder, "C:\\lab\\changing")
        assert sums_in(guest, "C:\\lab\\changing") == sums_of(folder)


def test_after_an_eject_the_next_medium_is_seen(guest: LiveGuest, drive: CdCopy, tmp_path: Path) -> None:
    drive.eject()
    folder = write(tmp_path / "f", {"next.txt": b"next"})
    drive.put(guest.transport, folder, "C:\\lab\\next")
    assert sums_in(guest, "C:\\lab\\next") == sums_of(folder)


def test_a_wrong_checksum_is_an_error(guest: LiveGuest, drive: CdCopy, tmp_path: Path) -> None:
    folder = write(tmp_path / "f", {"sound.sys": b"sound", "other.sys": b"other"})
    medium = drive.insert({path.name: path for path in folder.iterdir()})
    sums = {name: FileSum(*one) for name, one in medium.files.items()}
    claimed = {**sums, "sound.sys": sums["other.sys"]}
    with pytest.raises(TransportError, match=r"differs from its source: 1 missing or different, 0 extra \(sound\.sys\)"):
        fetch(guest.transport, medium.marker, claimed, "C:\\lab\\claimed")


def test_a_medium_that_never_comes_is_named(guest: LiveGuest) -> None:
    with pytest.raises(TransportError, match="does not see the medium"):
        fetch(guest.transport, "lab-none.id", {}, "C:\\lab", wait_s=1)


def test_an_open_file_of_the_old_medium_ends_well(guest: LiveGuest, drive: CdCopy, tmp_path: Path) -> None:
    """The guest mounts the new medium when the file is closed; until then it must not use the old one as the new one."""
    program = Path("build/x64/drvprobe.exe")
    old = write(tmp_path / "old", {"program.exe": program.read_bytes()})
    drive.insert({"program.exe": old / "program.exe"})
    letter = drive.drive(guest.transport)
    with guest.open("winrm") as other:
        assert other.run(f'start /b {letter}program.exe "sleep 3000"', timeout=60).exit_code == 0
    folder = write(tmp_path / "new", {"new.txt": b"new"})
    drive.put(guest.transport, folder, "C:\\lab\\new")
    assert sums_in(guest, "C:\\lab\\new") == sums_of(folder)


def test_only_files_that_differ_are_delivered(guest: LiveGuest, tmp_path: Path) -> None:
    assert guest.delivery is not None
    folder = write(tmp_path / "f", {"a.txt": b"a", "b.txt": b"b"})
    assert guest.delivery.put(folder, "C:\\lab\\delivered", update=True).copied == 2
    assert guest.delivery.put(folder, "C:\\lab\\delivered", update=True).copied == 0
    write(folder, {"b.txt": b"changed"})
    done = guest.delivery.put(folder, "C:\\lab\\delivered", update=True)
    assert (done.by, done.copied, done.note) == ("media", 1, "")
    assert sums_in(guest, "C:\\lab\\delivered") == sums_of(folder)


@pytest.mark.parametrize("size", [1_000_000, 10_000_000])
def test_many_bytes_arrive_by_every_way(
    guest: LiveGuest, drive: CdCopy, tmp_path: Path, size: int, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / f"{size}.bin"
    source.write_bytes(random.Random(size).randbytes(size))
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    seconds = {}
    for way in ("media", "winrm", "sftp"):
        target = f"C:\\lab\\bulk\\{way}-{size}.bin"
        started = time.monotonic()
        if way == "media":
            drive.put(guest.transport, source, target)
        else:
            with guest.open("winrm" if way == "winrm" else "ssh") as transport:
                transport.put(source, target)
        seconds[way] = time.monotonic() - started
        assert list(sums_in(guest, target).values()) == [digest]
    with capsys.disabled():
        sys.stdout.write(f"\n{size} bytes in: " + ", ".join(f"{way} {taken:.2f} s" for way, taken in seconds.items()) + "\n")


def test_base64_chunks_for_comparison(guest: LiveGuest, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The simplest method: a command for each 6000 characters of base64. A few of them, to compare."""
    assert isinstance(guest.machine, VirtualMachine)
    credentials = load_credentials(find_image("wine"))
    password = SecretStr(credentials.password)
    session = winrm.Session(
        f"http://127.0.0.1:{guest.machine.ports[5985]}/wsman",
        auth=(credentials.username, password.get_secret_value()),
        transport="ntlm",
        proxy=None,
        ca_trust_path=None,
    )
    data = base64.b64encode(random.Random(1).randbytes(BASE64_CHUNKS * 4500)).decode()
    started = time.monotonic()
    for at in range(0, len(data), 6000):
        assert session.run_cmd(f"echo {data[at : at + 6000]}>> C:\\lab\\chunks.b64").status_code == 0
    taken = (time.monotonic() - started) / BASE64_CHUNKS
    guest.transport.get("C:\\lab\\chunks.b64", tmp_path / "out")
    assert "".join((tmp_path / "out").read_text().split()) == data
    with capsys.disabled():
        whole = taken * 10_000_000 / 4500
        sys.stdout.write(f"\nbase64 in commands of 6000 characters: {taken:.2f} s each, {whole:.0f} s for 10 MB\n")

"""Copies through a command's streams, with a double of labfile at the guest's end."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from lab.errors import CommandFailed, ConfigError, TransportError
from lab.guest import files
from lab.guest.winrm.transport import WinRmTransport
from tests.guest.conftest import WinRmGuest
from tests.guest.fakes import Answer, FakeTransport, Sent, result
from tests.guest.labfile_double import labfile

_NAME = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8)


def guest(drive_c: Path) -> FakeTransport:
    """A guest with a labfile that works."""

    def answer(sent: Sent) -> Answer:
        assert not sent.shell
        assert sent.command[0] == r"C:\lab\bin\labfile.exe"
        code, out, err = labfile(list(sent.command[1:]), drive_c, sent.stdin)
        return result(out, code=code, stderr=err)

    return FakeTransport(answer)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with files, folders and unusual names."""
    root = tmp_path / "source"
    (root / "deep" / "er").mkdir(parents=True)
    (root / "empty folder").mkdir()
    (root / "one.sys").write_bytes(b"MZ" + bytes(range(256)))
    (root / "deep" / "empty").write_bytes(b"")
    (root / "deep" / "er" / "文件 two.txt").write_bytes(b"two\r\n")
    (root / ("long" * 40)).write_bytes(b"long name")
    return root


def contents(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_a_folder_goes_in_and_comes_out_again(tmp_path: Path, tree: Path) -> None:
    transport = guest(tmp_path)
    files.put(transport, tree, r"C:\lab\run", timeout=10)
    assert contents(tmp_path / "lab" / "run") == contents(tree)
    assert (tmp_path / "lab" / "run" / "empty folder").is_dir()
    files.get(transport, r"C:\lab\run", tmp_path / "back", timeout=10)
    assert contents(tmp_path / "back") == contents(tree)
    assert [sent.command[1] for sent in transport.sent] == ["untar", "sum", "tar"]


def test_a_file_takes_one_guest_process(tmp_path: Path, tree: Path) -> None:
    transport = guest(tmp_path)
    files.put(transport, tree / "one.sys", r"C:\lab\other name.sys", timeout=10)
    assert (tmp_path / "lab" / "other name.sys").read_bytes() == (tree / "one.sys").read_bytes()
    assert len(transport.sent) == 1


def test_a_file_comes_out_under_the_name_that_was_asked_for(tmp_path: Path) -> None:
    (tmp_path / "x.log").write_bytes(b"log")
    files.get(guest(tmp_path), r"C:\x.log", tmp_path / "out" / "y.log", timeout=10)
    assert (tmp_path / "out" / "y.log").read_bytes() == b"log"
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["y.log"]


def test_a_folder_with_one_file_comes_out_as_a_folder(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "x").write_bytes(b"x")
    files.get(guest(tmp_path), r"C:\one", tmp_path / "back", timeout=10)
    assert contents(tmp_path / "back") == {"x": b"x"}


def test_an_empty_folder_comes_out(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    files.get(guest(tmp_path), r"C:\none", tmp_path / "back", timeout=10)
    assert list((tmp_path / "back").iterdir()) == []


def test_nothing_on_the_host_is_overwritten(tmp_path: Path) -> None:
    target = tmp_path / "there"
    target.write_bytes(b"mine")
    transport = guest(tmp_path)
    with pytest.raises(ConfigError, match="exists already"):
        files.get(transport, r"C:\there", target, timeout=10)
    assert target.read_bytes() == b"mine"
    assert not transport.sent


def test_a_source_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file or folder to copy"):
        files.put(guest(tmp_path), tmp_path / "nothing", r"C:\x", timeout=10)
    with pytest.raises(CommandFailed, match="ERROR_FILE_NOT_FOUND") as caught:
        files.get(guest(tmp_path), r"C:\nothing", tmp_path / "x", timeout=10)
    assert caught.value.exit_code == 2
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("code", [2, 9009])
def test_a_guest_without_labfile_is_distinguished_from_a_missing_file(tmp_path: Path, code: int) -> None:
    transport = FakeTransport([result(code=code, stderr="is not recognized as an internal or external command")])
    with pytest.raises(TransportError, match=r"the guest does not run C:\\lab\\bin\\labfile.exe") as caught:
        files.get(transport, r"C:\x", tmp_path / "x", timeout=10)
    assert "build the image again" in caught.value.hint


def test_damage_on_the_way_in_is_noticed(tmp_path: Path, tree: Path) -> None:
    def damage(sent: Sent) -> Answer:
        code, out, err = labfile(list(sent.command[1:]), tmp_path, sent.stdin.replace(b"two\r\n", b"twO\r\n"))
        return result(out, code=code, stderr=err)

    with pytest.raises(
        TransportError, match=r"differs from its source: 1 missing or different, 0 extra \(deep/er/文件 two.txt\)"
    ):
        files.put(FakeTransport(damage), tree, r"C:\copy", timeout=10)
    with pytest.raises(TransportError, match="differs from its source"):
        files.put(FakeTransport(damage), tree / "deep" / "er" / "文件 two.txt", r"C:\copy.txt", timeout=10)


def test_damage_on_the_way_out_leaves_nothing(tmp_path: Path, tree: Path) -> None:
    def damage(sent: Sent) -> Answer:
        code, out, err = labfile(list(sent.command[1:]), tmp_path, sent.stdin)
        return result(out.replace(b"two\r\n", b"twO\r\n"), code=code, stderr=err)

    with pytest.raises(TransportError, match="differs from its source"):
        files.get(FakeTransport(damage), r"C:\source", tmp_path / "back" / "it", timeout=10)
    assert list((tmp_path / "back").iterdir()) == []
    assert tree.is_dir()


def test_a_stream_that_breaks_off_is_noticed(tmp_path: Path, tree: Path) -> None:
    def cut(sent: Sent) -> Answer:
        out = labfile(list(sent.command[1:]), tmp_path, sent.stdin)[1]
        return result(out[: len(out) // 2 if sent.command[1] == "tar" else None])

    assert tree.is_dir()
    with pytest.raises(TransportError):
        files.get(FakeTransport(cut), r"C:\source", tmp_path / "back", timeout=10)
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize("name", ["../up", "/etc/passwd", "C:/x", "a/../../up", "..\\up"])
def test_entries_that_would_land_outside_are_refused(tmp_path: Path, name: str) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for one in ("fine", name):
            tar.addfile(tarfile.TarInfo(one), io.BytesIO())
    (tmp_path / "in").mkdir()
    with pytest.raises(TransportError, match="refused"):
        files.unpack(stream.getvalue(), tmp_path / "in" / "place", folder=True)
    assert [p.name for p in tmp_path.iterdir()] == ["in"]


def test_links_from_the_guest_are_refused(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(TransportError, match="refused"):
        files.unpack(stream.getvalue(), tmp_path / "place", folder=True)


@given(st.dictionaries(_NAME, st.binary(max_size=40), max_size=5))
def test_sum_lines_are_read_back(contents: dict[str, bytes]) -> None:
    text = "".join(f"{hashlib.sha256(d).hexdigest()}  {len(d)}  .\\a b\\{n}\r\n" for n, d in contents.items())
    assert files.parse_sums(text) == {f"a b/{n}": files.sum_of(d) for n, d in contents.items()}


@given(st.text(min_size=1).filter(lambda text: text.strip() != ""))
def test_other_lines_are_an_error_of_the_transport(text: str) -> None:
    with pytest.raises(TransportError, match="without a SHA-256"):
        files.parse_sums(text)


def test_copies_over_winrm(winrm: WinRmTransport, winrm_guest: WinRmGuest, tree: Path, tmp_path: Path) -> None:
    (tree / "big.bin").write_bytes(bytes(range(256)) * 2000)
    winrm.put(tree, r"C:\lab\two words", timeout=60)
    assert contents(winrm_guest.drive_c / "lab" / "two words") == contents(tree)
    winrm.get(r"C:\lab\two words", tmp_path / "back", timeout=60)
    assert contents(tmp_path / "back") == contents(tree)
    winrm.put(tree / "big.bin", r"C:\x\big.bin", timeout=60)
    assert (winrm_guest.drive_c / "x" / "big.bin").read_bytes() == (tree / "big.bin").read_bytes()


def test_a_tools_folder_that_is_wrong_is_named(winrm_guest: WinRmGuest, tmp_path: Path) -> None:
    from lab.guest.winrm.transport import open_winrm
    from tests.guest.conftest import PASSWORD

    transport = open_winrm("127.0.0.1", winrm_guest.port, "lab", SecretStr(PASSWORD), tools_dir="C:\\elsewhere")
    with pytest.raises(TransportError, match=r"C:\\elsewhere\\labfile.exe"):
        transport.get(r"C:\x", tmp_path / "x", timeout=30)
    transport.close()

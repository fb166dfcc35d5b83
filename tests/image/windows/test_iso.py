"""Looking into a user's ISO: editions without extracting, and a clear message for each wrong file."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import ConfigError, ImageError
from lab.image.windows import iso as iso_module
from lab.image.windows.iso import hash_file, inspect_iso
from lab.image.windows.wim import Edition, choose_edition, parse_editions, read_editions
from tests.image.windows.media import SERVER, wim, wim_xml, write_iso


@pytest.mark.parametrize("name", ["sources/install.wim", "sources/install.esd", "Sources/Install.WIM"])
def test_the_editions_of_an_iso_are_listed(tmp_path: Path, name: str) -> None:
    iso = inspect_iso(write_iso(tmp_path / "w.iso", {name: wim(wim_xml(SERVER))}))
    assert [edition.name for edition in iso.editions] == list(SERVER)
    assert iso.editions[1] == Edition(2, SERVER[1], "Some", "20348", "x64")
    assert iso.install_file == "/" + name
    assert iso.label == "SSS_X64FREE"


def test_only_header_and_list_are_read(tmp_path: Path) -> None:
    body = 3_000_000
    data = wim(wim_xml(SERVER), body=body)
    asked: list[tuple[int, int]] = []

    def read_at(offset: int, size: int) -> bytes:
        asked.append((offset, size))
        return data[offset : offset + size]

    assert len(read_editions(read_at, len(data), file="x")) == 3
    assert sum(size for _offset, size in asked) < 10_000
    assert asked[1][0] == 208 + body


def test_a_file_in_pieces_is_read_across_them(tmp_path: Path) -> None:
    path = tmp_path / "pieces"
    path.write_bytes(b"--abcd----efgh--ij")
    with path.open("rb") as stream:
        read_at = iso_module._reader(stream, ((2, 4), (10, 4), (16, 2)))
        whole = b"abcdefghij"
        for start in range(12):
            for size in range(12):
                assert read_at(start, size) == whole[start : start + size]


def test_not_an_iso(tmp_path: Path) -> None:
    for number, data in enumerate([b"", b"MZ" * 400, bytes(100_000)]):
        path = tmp_path / f"{number}.iso"
        path.write_bytes(data)
        with pytest.raises(ConfigError, match=r"is not an ISO file") as caught:
            inspect_iso(path)
        assert caught.value.hint


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be opened: No such file"):
        inspect_iso(tmp_path / "none.iso")


@pytest.mark.parametrize("name", ["sources/other.bin", "boot/install.wim", "readme.txt"])
def test_another_iso_names_what_it_has(tmp_path: Path, name: str) -> None:
    path = write_iso(tmp_path / "w.iso", {name: b"x"})
    with pytest.raises(ConfigError, match=r"no sources/install\.wim") as caught:
        inspect_iso(path)
    assert name.split("/")[0] in caught.value.message


def test_a_split_image_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"split install\.swm"):
        inspect_iso(write_iso(tmp_path / "w.iso", {"sources/install.swm": b"x"}))


def test_a_repacked_joliet_iso_is_fine(tmp_path: Path) -> None:
    path = write_iso(tmp_path / "w.iso", {"sources/install.wim": wim(wim_xml(SERVER))}, udf=False)
    assert len(inspect_iso(path).editions) == 3


def test_an_install_wim_that_is_not_a_wim_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is not a WIM file"):
        inspect_iso(write_iso(tmp_path / "w.iso", {"sources/install.wim": b"PK" * 200}))


def test_every_truncation_is_one_of_our_errors(tmp_path: Path) -> None:
    path = write_iso(tmp_path / "w.iso", {"sources/install.wim": wim(wim_xml(SERVER), body=200_000)})
    data = path.read_bytes()
    whole = inspect_iso(path)
    cut = tmp_path / "cut.iso"
    for size in [*range(0, len(data) - 1, 9973), len(data) // 2]:
        cut.write_bytes(data[:size])
        outcome = _inspected(cut)
        # When only padding was lost, everything is still there.
        assert outcome == whole.editions or "is not an ISO" in str(outcome) or "truncated" in str(outcome)


def _inspected(path: Path) -> tuple[Edition, ...] | ConfigError:
    try:
        return inspect_iso(path).editions
    except ConfigError as error:
        return error


def test_a_wim_whose_list_lies_beyond_its_end() -> None:
    data = wim(wim_xml(SERVER))[:-10]
    with pytest.raises(ConfigError, match=r"is truncated"):
        read_editions(lambda offset, size: data[offset : offset + size], len(data), file="x")
    with pytest.raises(ConfigError, match=r"no complete WIM header"):
        read_editions(lambda offset, size: data[:100][offset : offset + size], 100, file="x")


def test_a_compressed_list_is_refused() -> None:
    data = bytearray(wim(wim_xml(SERVER), flags=6))
    data[88] ^= 1
    with pytest.raises(ConfigError, match=r"compressed"):
        read_editions(lambda offset, size: bytes(data[offset : offset + size]), len(data), file="x")


@given(st.binary(max_size=400))
def test_any_header_is_read_or_refused(tail: bytes) -> None:
    data = b"MSWIM\0\0\0" + tail
    with pytest.raises(ConfigError) as caught:
        read_editions(lambda offset, size: data[offset : offset + size], len(data), file="x")
    assert caught.value.hint


@pytest.mark.parametrize(
    "text", ["<WIM></WIM>", "<WIM>", "", "<!DOCTYPE a [<!ENTITY b 'c'>]><WIM>&b;</WIM>", "<WIM><IMAGE/></WIM>"]
)
def test_a_damaged_list(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_editions(text.encode("utf-16-le"), file="x")


def test_the_exact_name_wins_and_case_does_not_matter() -> None:
    editions = parse_editions(wim_xml(SERVER), file="x")
    assert choose_edition(editions, (SERVER[0],), file="x").index == 1
    assert choose_edition(editions, (SERVER[1].upper().replace(" (", "("),), file="x").index == 2
    assert choose_edition(editions, ("no such", SERVER[2]), file="x").index == 3


def test_a_missing_edition_lists_what_is_there() -> None:
    editions = parse_editions(wim_xml(SERVER), file="x")
    with pytest.raises(ConfigError, match=r"Windows 11") as caught:
        choose_edition(editions, ("Windows 11",), file="x")
    assert all(name in caught.value.message for name in SERVER)


def test_two_images_of_one_name_are_refused() -> None:
    editions = parse_editions(wim_xml(["A", "A"]), file="x")
    with pytest.raises(ConfigError, match=r"2 images with the name 'A'"):
        choose_edition(editions, ("A",), file="x")


def test_hashing_reports_its_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iso_module, "_CHUNK", 1000)
    path = tmp_path / "w.iso"
    path.write_bytes(bytes(2500))
    told: list[tuple[int, int]] = []
    assert hash_file(path, lambda done, total: told.append((done, total))) == hashlib.sha256(bytes(2500)).hexdigest()
    assert told == [(0, 2500), (1000, 2500), (2000, 2500), (2500, 2500)]
    with pytest.raises(ImageError, match=r"cannot be read"):
        hash_file(tmp_path / "none")

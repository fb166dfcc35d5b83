from __future__ import annotations

import hashlib
import struct
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.toolchain.imagesums import SumsLayout, authenticode_digest, checksum
from lab.toolchain.pages import FilePages


def by_words(data: bytes, at: int) -> int:
    """The loader's sum, as it is written down: word by word, each carry added back."""
    cleared = data[:at] + bytes(4) + data[at + 4 :]
    total = 0
    for (word,) in struct.iter_unpack("<H", cleared + bytes(len(cleared) % 2)):
        total += word
        total = (total & 0xFFFF) + (total >> 16)
    return total + len(data)


@given(st.binary(min_size=4, max_size=600) | st.sampled_from([b"\xff" * 600, bytes(64)]), st.data())
def test_the_checksum_is_the_loaders(data: bytes, draw: st.DataObject) -> None:
    at = draw.draw(st.integers(0, len(data) - 4))
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        assert checksum(FilePages(file), SumsLayout(at, None)) == by_words(data, at)


def test_the_digest_leaves_out_what_signing_changes(tmp_path: Path) -> None:
    whole = bytes(range(200)) + b"\0" * 56
    image = tmp_path / "image"
    image.write_bytes(whole)
    kept = whole[:20] + whole[24:40] + whole[48:160] + whole[200:]
    with image.open("rb") as file:
        digest = authenticode_digest(FilePages(file), SumsLayout(20, 40, 160, 40), "sha256")
    assert digest == hashlib.sha256(kept).digest()


def test_an_unsigned_image_is_padded_for_its_digest(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(b"x" * 61)
    with image.open("rb") as file:
        digest = authenticode_digest(FilePages(file), SumsLayout(0, 8), "sha1")
    assert digest == hashlib.sha1(b"x" * 49 + bytes(3)).digest()


@given(st.binary(max_size=300), st.integers(-400, 400), st.integers(-400, 400))
def test_pages_behave_like_the_bytes_of_the_file(data: bytes, start: int, stop: int) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        pages = FilePages(file)
        assert len(pages) == len(data)
        assert pages[start:stop] == data[start:stop]
        assert pages.find(b"\x01", start, stop) == data.find(b"\x01", start, stop)
        assert b"".join(pages.chunks(0, len(data))) == data


def test_a_part_across_pages_comes_whole(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(bytes(range(256)) * 1024)
    with image.open("rb") as file:
        assert FilePages(file)[65530:131080] == (bytes(range(256)) * 1024)[65530:131080]


def test_no_part_of_gigabytes_is_read(tmp_path: Path) -> None:
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(5 << 30)
    with image.open("rb") as opened, pytest.raises(ValueError, match="is outside of the image"):
        FilePages(opened)[:]

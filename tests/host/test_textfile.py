from __future__ import annotations

import codecs
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.config import load_settings
from lab.errors import ConfigError
from lab.host.textfile import SAVE_AS_UTF8, decode_text, read_text


@pytest.mark.parametrize(
    "data",
    [
        "größer\r\n日".encode(),
        codecs.BOM_UTF8 + "größer\r\n日".encode(),
        codecs.BOM_UTF16_LE + "größer\r\n日".encode("utf-16-le"),
        codecs.BOM_UTF16_BE + "größer\r\n日".encode("utf-16-be"),
    ],
    ids=["plain", "utf-8 with a mark", "utf-16 little", "utf-16 big"],
)
def test_files_of_windows_editors_are_read(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "notes.txt"
    file.write_bytes(data)
    assert read_text(file) == "größer\r\n日"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("a: 1\nb: 设备\n".encode("gbk"), "is not UTF-8: line 2 has the byte 0xc9 of another encoding"),
        ("name: größer\n".encode("cp1252"), "is not UTF-8: line 1 has the byte 0xf6"),
        (codecs.BOM_UTF16_LE + b"a\0b", "is not UTF-16, as its first bytes say"),
        ("a: 1\n".encode("utf-16-le"), "may be UTF-16 without a byte order mark"),
    ],
)
def test_any_other_encoding_is_reported_with_what_to_do(data: bytes, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        decode_text(data, "lab.yaml")
    assert caught.value.hint == SAVE_AS_UTF8
    assert caught.value.file == "lab.yaml"


def test_no_byte_of_a_secret_is_in_an_error() -> None:
    with pytest.raises(ConfigError) as caught:
        decode_text(b"key\n\xc9\xe8", "key.txt", secret=True)
    assert caught.value.message == "key.txt: is not UTF-8: line 2 has bytes of another encoding"
    assert caught.value.__suppress_context__


@given(st.binary(max_size=60))
def test_bytes_of_any_kind_are_text_or_refused(data: bytes) -> None:
    try:
        text = decode_text(data, "file")
    except ConfigError:
        return
    assert "\0" not in text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_lab_file_may_come_from_windows(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "lab.yaml").write_bytes("# für alle\r\nworkers: 3\r\nkeep: failed\r\n".encode(encoding))
    values = load_settings({}, environ={}, cwd=tmp_path).values
    assert (values.workers, values.keep) == (3, "failed")

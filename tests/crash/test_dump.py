"""Headers of kernel dumps, and files that are not dumps."""

from __future__ import annotations

import datetime
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab.crash.dump import read_dump_header
from lab.errors import ConfigError

DumpMaker = Callable[..., Path]
WHEN = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)


def test_a_64_bit_dump(make_dump: DumpMaker) -> None:
    header = read_dump_header(make_dump())
    assert (header.bits, header.build, header.machine, header.cpus) == (64, 19041, "x64", 2)
    assert (header.code, header.parameters) == (0xD1, (0xFFFFD00012345678, 2, 1, 0xFFFFF80212345678))
    assert (header.dump_type, header.dump_type_name) == (2, "kernel")
    assert header.system_time == WHEN
    assert header.uptime == datetime.timedelta(seconds=125)
    assert (header.exception_code, header.exception_address) == (0x80000003, 0xFFFFF80212345678)
    # Bytes that Windows did not set are not a comment.
    assert header.comment == ""
    assert header.file_size == 0x5000
    assert header.bugcheck is not None
    assert header.bugcheck.name == "DRIVER_IRQL_NOT_LESS_OR_EQUAL"


def test_a_32_bit_dump(make_dump: DumpMaker) -> None:
    header = read_dump_header(make_dump(32))
    assert (header.bits, header.build, header.machine, header.cpus) == (32, 2600, "x86", 1)
    assert (header.code, header.parameters) == (0x1000007E, (0xC0000005, 0x804E1234, 0xF8A1, 0xF7A1))
    assert header.dump_type_name == "small"
    assert (header.system_time, header.uptime) == (WHEN, datetime.timedelta(seconds=1))
    assert (header.exception_code, header.exception_address) == (0xC0000005, 0x804E1234)
    assert header.comment == "by a test"


def test_a_comment_cannot_control_a_terminal(make_dump: DumpMaker) -> None:
    file = make_dump()
    data = bytearray(file.read_bytes())
    data[0xFB0:0xFB8] = b"a\x1b[2J\xff\n\0"
    file.write_bytes(data)
    assert read_dump_header(file).comment == "a\\x1b[2J\\xff\\x0a"


def test_a_live_dump_is_not_a_crash(make_dump: DumpMaker) -> None:
    header = read_dump_header(make_dump(code=0x161, dump_type=6))
    assert header.is_live
    assert header.bugcheck is None
    assert header.dump_type_name == "kernel (bitmap)"


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (1, "full"),
        (2, "kernel"),
        (3, "header only"),
        (4, "small"),
        (5, "full (bitmap)"),
        (6, "kernel (bitmap)"),
        (7, "automatic"),
        (8, "kernel memory"),
        (9, "kernel and user memory"),
        (10, "complete memory"),
    ],
)
@pytest.mark.parametrize("code", [0xD1, 0x161])
def test_the_type_names_the_content_and_the_code_alone_says_whether_it_was_a_crash(
    make_dump: DumpMaker, kind: int, name: str, code: int
) -> None:
    """Type 6 is what Windows writes at a bugcheck; it was called a live dump, after one reader's table."""
    header = read_dump_header(make_dump(code=code, dump_type=kind))
    assert header.dump_type_name == name
    assert header.is_live is (code == 0x161)
    assert (header.bugcheck is None) is (code == 0x161)


def test_fields_that_windows_did_not_set(make_dump: DumpMaker) -> None:
    page = int.from_bytes(b"PAGE", "little")
    without = read_dump_header(make_dump(code=page))
    assert (without.code, without.bugcheck) == (0, None)
    header = read_dump_header(make_dump(dump_type=page, exception=page, filetime=int.from_bytes(b"PAGEPAGE", "little")))
    assert (header.dump_type, header.dump_type_name) == (0, "unknown")
    assert (header.exception_code, header.exception_address) == (0, 0)
    assert header.system_time is None
    assert read_dump_header(make_dump(dump_type=77)).dump_type_name == "unknown (77)"


@pytest.mark.parametrize(
    ("data", "message", "hint"),
    [
        (b"", "the file is empty", "space"),
        (b"PAG", "ends within its signature, after 3 bytes", "copy"),
        (b"PAGEDU64" + bytes(100), "ends within its header: 108 of 8192 bytes", "copy it again"),
        (b"PAGEDUMP" + bytes(100), "ends within its header: 108 of 4096 bytes", "copy it again"),
        (b"\x7fELF\2\1\1" + bytes(9000), "an ELF core of the guest's memory", "elf2dmp"),
        (b"KDUMP   " + bytes(9000), "compressed dump", "win-dmp"),
        (b"makedumpfile" + bytes(9000), "compressed dump", "win-dmp"),
        (b"MDMP" + bytes(9000), "user-mode minidump", "WinDbg"),
        (b"PK\x03\x04" + bytes(50), "a ZIP archive", "unpack"),
        (b"hello, world", "begins with 68 65 6c 6c 6f 2c 20 77", "MEMORY.DMP"),
    ],
)
def test_files_that_are_not_dumps_are_refused(tmp_path: Path, data: bytes, message: str, hint: str) -> None:
    file = tmp_path / "file.dmp"
    file.write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        read_dump_header(file)
    assert message in caught.value.message
    assert caught.value.file == str(file)
    assert hint in caught.value.hint


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path, message in (
        (tmp_path / "none.dmp", "No such file"),
        (tmp_path, "not a file"),
        (pipe, "not a file"),
        (Path("a\0b"), "null"),
    ):
        with pytest.raises(ConfigError, match=message):
            read_dump_header(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(magic=st.sampled_from([b"", b"PAGEDU64", b"PAGEDUMP"]), seed=st.binary(max_size=64), size=st.integers(0, 0x2100))
def test_random_bytes_give_a_header_or_a_config_error(tmp_path: Path, magic: bytes, seed: bytes, size: int) -> None:
    file = tmp_path / "random.dmp"
    file.write_bytes((magic + (seed or b"\0") * (size // max(1, len(seed)) + 1))[:size])
    try:
        header = read_dump_header(file)
    except ConfigError:
        return
    assert header.bits in (32, 64)
    assert header.system_time is None or header.system_time.tzinfo is datetime.UTC


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(seed=st.integers(0), magic=st.sampled_from([64, 32]))
def test_a_header_of_noise_is_read(tmp_path: Path, seed: int, magic: int) -> None:
    file = tmp_path / "noise.dmp"
    file.write_bytes((b"PAGEDU64" if magic == 64 else b"PAGEDUMP") + random.Random(seed).randbytes(0x2000))
    header = read_dump_header(file)
    assert header.bits == magic
    assert len(header.parameters) == 4

"""Sources in the encodings that editors of Windows save them in: read, and printed as the manifest says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.errors import ConfigError
from lab.toolchain.build import build_components
from tests.toolchain.components import tiny
from tests.toolchain.conftest import TINY_DRIVER

if TYPE_CHECKING:
    from tests.toolchain.conftest import DriverFolder


def gbk_folder(driver_folder: DriverFolder, source: str, encoding: str = "gbk") -> Path:
    folder = driver_folder(encoding=encoding)
    (folder / "tiny.c").write_bytes(source.encode("gbk"))
    return folder


_TITLE = TINY_DRIVER.replace(
    'DbgPrint("tiny");', 'static UNICODE_STRING title = RTL_CONSTANT_STRING(L"总线"); DbgPrint("写入 %wZ", &title);'
)


def test_the_encoding_of_the_manifest_reaches_the_compiler(driver_folder: DriverFolder, tmp_path: Path) -> None:
    (result,) = build_components([tiny(gbk_folder(driver_folder, _TITLE))], "x64", tmp_path / "out", None)
    content = result.path.read_bytes()
    assert "总线".encode("utf-16-le") in content
    assert "写入 %wZ".encode("gbk") in content


def test_a_source_with_a_mark_is_utf_8_and_prints_as_the_manifest_says(driver_folder: DriverFolder, tmp_path: Path) -> None:
    """As Microsoft's compiler does it."""
    folder = driver_folder(encoding="gbk")
    (folder / "tiny.c").write_text(_TITLE, encoding="utf-8-sig")
    (result,) = build_components([tiny(folder)], "x64", tmp_path / "out", None)
    content = result.path.read_bytes()
    assert "总线".encode("utf-16-le") in content
    assert "写入 %wZ".encode("gbk") in content


def test_sources_in_several_encodings_are_each_read_in_their_own(driver_folder: DriverFolder, tmp_path: Path) -> None:
    folder = gbk_folder(driver_folder, _TITLE)
    manifest = (folder / "driver.yaml").read_text(encoding="utf-8")
    (folder / "driver.yaml").write_text(manifest.replace("[tiny.c]", "[tiny.c, more.c]"), encoding="utf-8")
    more = '#include <ntddk.h>\nUNICODE_STRING more = RTL_CONSTANT_STRING(L"端口");\nconst char *said = "读出";\n'
    (folder / "more.c").write_text(more, encoding="utf-8-sig")
    (result,) = build_components([tiny(folder)], "x64", tmp_path / "out", None)
    content = result.path.read_bytes()
    assert all(text.encode("utf-16-le") in content for text in ("总线", "端口"))
    assert all(text.encode("gbk") in content for text in ("写入", "读出"))


def test_a_source_and_its_header_in_two_encodings_are_both_named(driver_folder: DriverFolder, tmp_path: Path) -> None:
    folder = gbk_folder(driver_folder, '#include "names.h"\n' + _TITLE)
    (folder / "names.h").write_text("/* 名称 */\n", encoding="utf-8-sig")
    with pytest.raises(ConfigError, match=r"tiny\.c: is in gbk, and .*names\.h, .* in utf-8") as caught:
        build_components([tiny(folder)], "x64", tmp_path / "out", None)
    assert "save both in one encoding" in caught.value.hint


def test_a_header_with_a_mark_and_nothing_beyond_ascii_fits_to_any_source(driver_folder: DriverFolder, tmp_path: Path) -> None:
    folder = gbk_folder(driver_folder, '#include "names.h"\n' + TINY_DRIVER.replace('"tiny"', '"写入"'))
    (folder / "names.h").write_text("#define NAMES 3\n", encoding="utf-8-sig")
    (result,) = build_components([tiny(folder)], "x64", tmp_path / "out", None)
    assert "写入".encode("gbk") in result.path.read_bytes()
    (folder / "tiny.c").write_text('#include "names.h"\n' + TINY_DRIVER.replace('"tiny"', '"写入"'), encoding="utf-8-sig")
    (result,) = build_components([tiny(folder)], "x64", tmp_path / "out", None)
    assert "写入".encode("gbk") in result.path.read_bytes()


def test_a_changed_encoding_builds_again(driver_folder: DriverFolder, tmp_path: Path) -> None:
    folder = gbk_folder(driver_folder, TINY_DRIVER)
    build_components([tiny(folder)], "x64", tmp_path / "out", None)
    manifest = (folder / "driver.yaml").read_text(encoding="utf-8")
    (folder / "driver.yaml").write_text(manifest.replace("gbk", "big5"), encoding="utf-8")
    (result,) = build_components([tiny(folder)], "x64", tmp_path / "out", None)
    assert result.rebuilt


def test_a_missing_encoding_is_asked_for(driver_folder: DriverFolder, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="converting to execution character set") as caught:
        build_components([tiny(gbk_folder(driver_folder, _TITLE, "utf-8"))], "x64", tmp_path / "out", None)
    assert "`encoding: gbk`" in caught.value.hint


def test_a_stray_byte_in_a_comment_stops_no_build(
    driver_folder: DriverFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = gbk_folder(driver_folder, TINY_DRIVER.replace('"tiny"', '"写入"'))
    with (folder / "tiny.c").open("ab") as file:
        file.write(b"/* half a character: \xd0 */\n")
    (result,) = build_components([tiny(folder)], "x64", tmp_path / "out", None)
    assert "写入".encode("gbk") in result.path.read_bytes()
    assert "is not in gbk" in caplog.text


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_a_source_in_utf_16_is_reported(driver_folder: DriverFolder, tmp_path: Path, encoding: str) -> None:
    """With a byte order mark and without one."""
    folder = driver_folder()
    (folder / "tiny.c").write_text(TINY_DRIVER, encoding=encoding)
    with pytest.raises(ConfigError, match=r"tiny\.c: is UTF-16") as caught:
        build_components([tiny(folder)], "x64", tmp_path / "out", None)
    assert "save it as UTF-8" in caught.value.hint

"""Registry values of a manifest: typed by their YAML or by name, written as Registry Editor writes them."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lab.config.yamlfile import YamlDocument
from lab.errors import ConfigError
from lab.toolchain.manifest import load_component
from lab.toolchain.reg_file import TYPES, RegistryValue, parse_registry, reg_file

if TYPE_CHECKING:
    from tests.toolchain.conftest import DriverFolder


def parsed(text: str) -> tuple[RegistryValue, ...]:
    return parse_registry(YamlDocument("driver.yaml", {"registry": yaml.safe_load(text)}))


def wide(text: str) -> bytes:
    return text.encode("utf-16-le")


@pytest.mark.parametrize(
    ("text", "kind", "data"),
    [
        ("V: hello", "REG_SZ", wide("hello\0")),
        ("V: ''", "REG_SZ", wide("\0")),
        ("V: 4", "REG_DWORD", b"\4\0\0\0"),
        ("V: 0xffffffff", "REG_DWORD", b"\xff\xff\xff\xff"),
        ("V: [one, two]", "REG_MULTI_SZ", wide("one\0two\0\0")),
        ("V: []", "REG_MULTI_SZ", wide("\0")),
        ("V: {type: REG_QWORD, value: 1}", "REG_QWORD", struct.pack("<Q", 1)),
        ("V: {type: qword, value: 0x100000000}", "REG_QWORD", struct.pack("<Q", 1 << 32)),
        (r"V: {type: REG_EXPAND_SZ, value: '%SystemRoot%\x'}", "REG_EXPAND_SZ", wide("%SystemRoot%\\x\0")),
        ("V: {type: REG_BINARY, value: 01 02 ff}", "REG_BINARY", b"\1\2\xff"),
        ("V: {type: REG_BINARY, value: 'ABcd'}", "REG_BINARY", b"\xab\xcd"),
        ("V: {type: REG_BINARY, value: [1, 255]}", "REG_BINARY", b"\1\xff"),
        ("V: {type: REG_BINARY, value: ''}", "REG_BINARY", b""),
        ("V: {type: REG_DWORD, value: 7}", "REG_DWORD", b"\7\0\0\0"),
        ("V: {type: REG_MULTI_SZ, value: [x]}", "REG_MULTI_SZ", wide("x\0\0")),
    ],
)
def test_types_and_their_bytes(text: str, kind: str, data: bytes) -> None:
    assert parsed(text) == (RegistryValue("", "V", kind, data),)


def test_subkeys_in_subkeys() -> None:
    values = parsed("Parameters: {Level: 3, Deep: {'@': x}}\nOther\\Key: {V: 1}\n")
    assert [(one.key, one.name) for one in values] == [("Parameters", "Level"), (r"Parameters\Deep", "@"), (r"Other\Key", "V")]


@pytest.mark.parametrize(
    ("value", "key", "words", "hint"),
    [
        ("[x]", "registry", "valid dictionary", ""),
        ("{Level: yes}", "registry.Level", "no such type", "0 or 1"),
        ("{Level: -1}", "registry.Level", "from 0 to 2^32-1", ""),
        ("{Level: 0x100000000}", "registry.Level", "from 0 to 2^32-1", "REG_QWORD"),
        ("{Level: 1.5}", "registry.Level", "not a text, a number or a list", "quote it"),
        ("{Level: }", "registry.Level", "is empty", "quote it"),
        ("{Names: [1, 2]}", "registry.Names", "list of non-empty texts", "quote numbers"),
        ("{Names: ['']}", "registry.Names", "non-empty texts", ""),
        ("{V: {type: REG_LINK, value: x}}", "registry.V", "type REG_LINK", "REG_SZ"),
        ("{V: {type: REG_SZ}}", "registry.V", "type and value", ""),
        ("{V: {type: REG_BINARY, value: 0102}}", "registry.V.value", "is written 0102", "quote it"),
        ("{V: {type: REG_BINARY, value: 12}}", "registry.V", "must be bytes", "quote it"),
        ("{V: {type: REG_BINARY, value: '012'}}", "registry.V", "must be bytes", ""),
        ("{V: {type: REG_SZ, value: 1}}", "registry.V", "must be text", "quote it"),
        ("{Start: 3}", "registry.Start", "set by the service manager", "keys of the manifest"),
        ("{Parameters: {}}", "registry.Parameters", "without values", ""),
        ("{'\\x': {V: 1}}", "registry.\\x", "not the path of a subkey", ""),
        ("{Level: 1, LEVEL: 2}", "registry.LEVEL", "once more", ""),
        ("{On: 1}", "registry.On", "YAML reads bool", "quote it: 'On'"),
        ("{Parameters: {On: 1, Yes: x}}", "registry.Parameters.On", "YAML reads bool", "quote it: 'On'"),
        ("{Parameters: {010: 3}}", "registry.Parameters.010", "YAML reads int", "quote it: '010'"),
        ("{~: 3}", "registry.~", "YAML reads null", "quote it"),
        ("{Time: 12:30:00}", "registry.Time", "is written 12:30:00", "quote it"),
        ("{Mode: 0644}", "registry.Mode", "is written 0644", "in decimal"),
        ("{V: {type: binary, value: [1, 1:30]}}", "registry.V.value.1", "is written 1:30", ""),
        ('{"a\\nb": 1}', "registry.a\\nb", "control character", "leave it out"),
        (
            '{"Enum\\n[HKEY_LOCAL_MACHINE\\\\X]": {V: 1}}',
            "registry.Enum\\n[HKEY_LOCAL_MACHINE\\\\X]",
            "control character",
            "leave it out",
        ),
        ('{Parameters: {"a\\u2028b": 1}}', "registry.Parameters.a\\u2028b", "control character", "leave it out"),
    ],
)
def test_wrong_values_are_reported_with_their_line(
    driver_folder: DriverFolder, value: str, key: str, words: str, hint: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_component(driver_folder(registry=value) / "driver.yaml")
    assert (caught.value.key, caught.value.line) == (key, 4)
    assert words in caught.value.message
    assert hint in caught.value.hint


def test_text_that_looks_like_another_type_stays_text(driver_folder: DriverFolder) -> None:
    folder = driver_folder(registry="{'On': 1, '010': 0, \"Yes\": '12:30:00', N: 10, H: 0x10, Z: 0}")
    found = load_component(folder / "driver.yaml").registry
    assert [(value.name, value.type) for value in found] == [
        ("On", "REG_DWORD"),
        ("010", "REG_DWORD"),
        ("Yes", "REG_SZ"),
        ("N", "REG_DWORD"),
        ("H", "REG_DWORD"),
        ("Z", "REG_DWORD"),
    ]
    assert found[2].data == wide("12:30:00\0")


def test_the_line_is_that_of_the_value(driver_folder: DriverFolder) -> None:
    folder = driver_folder(registry="\n  Good: 1\n  Parameters:\n    Bad: {type: sz, value: 1}")
    with pytest.raises(ConfigError) as caught:
        load_component(folder / "driver.yaml")
    assert (caught.value.key, caught.value.line) == ("registry.Parameters.Bad", 7)


def test_the_file_is_as_registry_editor_writes_it(driver_folder: DriverFolder) -> None:
    folder = driver_folder(registry="{G: 'a \"b\" \\c', Parameters: {L: 3, '@': d, Q: {type: qword, value: 258}}}")
    data = reg_file("Svc", load_component(folder / "driver.yaml").registry)
    assert data.startswith(b"\xff\xfe")
    key = "HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Services\\Svc"
    assert data[2:].decode("utf-16-le").split("\r\n") == [
        "Windows Registry Editor Version 5.00",
        "",
        f"[{key}]",
        '"G"="a \\"b\\" \\\\c"',
        "",
        f"[{key}\\Parameters]",
        '"L"=dword:00000003',
        '@="d"',
        '"Q"=hex(b):02,01,00,00,00,00,00,00',
        "",
        "",
    ]


_LINE = re.compile(r'(?:@|"(?P<name>(?:\\.|[^"\\])*)")=(?P<data>.*)')


def read_back(line: str) -> tuple[str, int, bytes]:
    """The value that Registry Editor would read from a line."""
    found = _LINE.fullmatch(line)
    assert found, line
    name = "@" if found["name"] is None else re.sub(r"\\(.)", r"\1", found["name"])
    kind, _, rest = found["data"].partition(":")
    if found["data"].startswith('"'):
        return name, 1, wide(re.sub(r"\\(.)", r"\1", found["data"][1:-1]) + "\0")
    if kind == "dword":
        return name, 4, struct.pack("<I", int(rest, 16))
    number = 3 if kind == "hex" else int(kind.removeprefix("hex(").removesuffix(")"), 16)
    return name, number, bytes.fromhex(rest.replace(",", ""))


_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)


@given(
    st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), min_size=1, max_size=12),
    st.one_of(
        _TEXT.map(lambda text: ("REG_SZ", wide(text + "\0"))),
        st.integers(0, (1 << 32) - 1).map(lambda number: ("REG_DWORD", struct.pack("<I", number))),
        st.tuples(st.sampled_from(["REG_BINARY", "REG_EXPAND_SZ", "REG_MULTI_SZ", "REG_QWORD"]), st.binary(max_size=20)),
    ),
)
def test_any_values_are_read_back(name: str, value: tuple[str, bytes]) -> None:
    line = reg_file("S", [RegistryValue("", name, *value)])[2:].decode("utf-16-le").split("\r\n")[3]
    assert read_back(line) == (name, TYPES[value[0]], value[1])


def test_a_manifest_without_values_has_none(tmp_path: Path) -> None:
    assert parsed("{}") == ()
    assert parse_registry(YamlDocument(str(tmp_path), {})) == ()

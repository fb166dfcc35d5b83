"""What a Windows image is made from, and what its key depends on."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from lab.errors import ConfigError
from lab.image.windows.inputs import (
    Prepared,
    UserInputs,
    certificate_record,
    iso_hash,
    prepare,
    present_checkout_key,
    read_product_key,
)
from lab.image.windows.payload import certificate_der
from lab.image.windows.recipe import windows_recipe
from lab.toolchain.sign import signing_key
from tests.image.windows.media import SERVER, wim, wim_xml, write_iso

KEY = "ABCDE-12345-FGHIJ-67890-KLMNO"


class Recorder:
    """Progress that records its lines."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def stage(self, text: str) -> None:
        self.texts.append(text)

    def detail(self, text: str) -> None:
        self.texts.append(text)

    def done(self, text: str) -> None:
        self.texts.append(text)


@pytest.fixture
def iso(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LAB_DATA", str(tmp_path / "data"))
    return write_iso(tmp_path / "w.iso", {"sources/install.wim": wim(wim_xml(SERVER))})


def prepared(iso: Path, tmp_path: Path, name: str = "windows-server-2022", **given: Any) -> Prepared:
    return prepare(windows_recipe(name), UserInputs(iso=iso, **given), Recorder(), cache=tmp_path / "cache")


def test_the_edition_is_found_by_its_name(iso: Path, tmp_path: Path) -> None:
    found = prepared(iso, tmp_path)
    assert (found.edition.index, found.edition.name) == (1, SERVER[0])
    assert b"<Value>1</Value>" in found.rendered["autounattend.xml"]
    assert len(found.key) == 16
    assert list(found.certificates) == ["lab.cer"]


def test_the_key_follows_every_input(iso: Path, tmp_path: Path) -> None:
    msi = tmp_path / "o.msi"
    msi.write_bytes(bytes.fromhex("d0cf11e0a1b11ae1"))
    own = signing_key(tmp_path / "own").certificate
    keys = {
        "plain": prepared(iso, tmp_path).key,
        "msi": prepared(iso, tmp_path, openssh_msi=msi).key,
        "product key": prepared(iso, tmp_path, product_key=SecretStr(KEY)).key,
        "certificate": prepared(iso, tmp_path, certificates=(own,)).key,
    }
    other = write_iso(tmp_path / "v.iso", {"sources/install.wim": wim(wim_xml(SERVER), body=6000)})
    keys["iso"] = prepared(other, tmp_path).key
    assert len(set(keys.values())) == len(keys)
    assert prepared(iso, tmp_path).key == keys["plain"]
    assert KEY not in repr(prepared(iso, tmp_path, product_key=SecretStr(KEY)))


def test_an_image_is_known_as_current_without_its_iso(iso: Path, tmp_path: Path) -> None:
    msi = tmp_path / "o.msi"
    msi.write_bytes(bytes.fromhex("d0cf11e0a1b11ae1"))
    recipe = windows_recipe("windows-server-2022")
    assert prepared(iso, tmp_path).checkout_key == present_checkout_key(recipe, 1, ssh=False)
    assert prepared(iso, tmp_path, openssh_msi=msi).checkout_key == present_checkout_key(recipe, 1, ssh=True)
    assert present_checkout_key(recipe, 1, ssh=True) != present_checkout_key(recipe, 1, ssh=False)
    assert present_checkout_key(recipe, 2, ssh=False) != present_checkout_key(recipe, 1, ssh=False)


def test_an_iso_is_hashed_once(iso: Path, tmp_path: Path) -> None:
    first, second, third = Recorder(), Recorder(), Recorder()
    digest = iso_hash(iso, first, cache=tmp_path)
    assert iso_hash(iso, second, cache=tmp_path) == digest
    assert (len(first.texts) > 0, second.texts) == (True, [])
    stat = iso.stat()
    os.utime(iso, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert iso_hash(iso, third, cache=tmp_path) == digest
    assert third.texts
    (tmp_path / "iso-hashes.json").write_text("no json")
    assert iso_hash(iso, Recorder(), cache=tmp_path) == digest


def test_an_iso_for_another_processor_is_refused(tmp_path: Path, iso: Path) -> None:
    arm = wim_xml(SERVER).replace("<ARCH>9".encode("utf-16-le"), "<ARCH>12".encode("utf-16-le"))
    file = write_iso(tmp_path / "arm.iso", {"sources/install.wim": wim(arm)})
    with pytest.raises(ConfigError, match="for arm64 processors"):
        prepared(file, tmp_path)
    assert iso.exists()


@pytest.mark.parametrize("text", ["", "ABCDE", "not-a-key-at-all-x", f"{KEY}\n{KEY}", "ÄBCDE-12345-FGHIJ-67890-KLMNO"])
def test_a_wrong_product_key_is_refused_and_not_quoted(tmp_path: Path, text: str) -> None:
    file = tmp_path / "key.txt"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read_product_key(file)
    assert not text or text not in str(caught.value)
    assert str(caught.value).startswith(f"{file}: the product key is not ")


def test_the_reason_for_an_unreadable_product_key_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"{tmp_path}: cannot be read: Is a directory"):
        read_product_key(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_product_key_is_read_as_windows_saves_it(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "key.txt").write_bytes(f"{KEY}\r\n".encode(encoding))
    assert read_product_key(tmp_path / "key.txt").get_secret_value() == KEY


def test_a_certificate_is_named_as_windows_names_it(tmp_path: Path) -> None:
    der = certificate_der(signing_key(tmp_path / "k").certificate)
    record = certificate_record("lab.cer", der)
    assert record.sha1 == hashlib.sha1(der).hexdigest()
    assert "Driver Test Lab" in record.subject

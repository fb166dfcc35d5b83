"""Reading an image's files: errors about its credentials do not quote them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from lab.errors import ImageError
from lab.image.folder import read_credentials, read_manifest
from lab.image.manifest import load_credentials
from tests.guest.fakes import UNTOLD, everything_shown

DAMAGED = [
    json.dumps({"password": UNTOLD}),
    json.dumps({"username": "lab", "pass": UNTOLD}),
    json.dumps({"username": "lab", "password": [UNTOLD]}),
    json.dumps({"username": "lab", "password": UNTOLD})[:-1],
]


@pytest.mark.parametrize("number", range(len(DAMAGED)))
def test_a_damaged_file_is_reported_without_its_values(tmp_path: Path, number: int) -> None:
    (tmp_path / "credentials.json").write_text(DAMAGED[number], encoding="utf-8")
    with pytest.raises(ValidationError) as caught:
        load_credentials(tmp_path)
    assert UNTOLD not in str(caught.value)


@pytest.mark.parametrize("number", range(len(DAMAGED)))
def test_a_boot_with_a_damaged_file_says_what_to_do(tmp_path: Path, number: int) -> None:
    folder = tmp_path / "windows-11-0123abcd"
    folder.mkdir()
    (folder / "credentials.json").write_text(DAMAGED[number], encoding="utf-8")
    with pytest.raises(ImageError) as caught:
        read_credentials(folder)
    assert str(folder / "credentials.json") in caught.value.message
    assert "lab image build windows-11 --force" in caught.value.hint
    assert "pydantic" not in str(caught.value)
    assert UNTOLD not in everything_shown(caught)


def test_a_boot_without_the_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="credentials") as caught:
        read_credentials(tmp_path)
    assert "--force" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "name: Field required"),
        ('{"name": ', "Invalid JSON: EOF while parsing a value at line 1 column 9"),
        ('{"name": "wine", "schema_version": "x"}', "schema_version: Input should be a valid integer"),
    ],
)
def test_a_damaged_manifest_is_reported_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    folder = tmp_path / "wine-0123abcd"
    folder.mkdir()
    (folder / "manifest.json").write_text(text, encoding="utf-8")
    with pytest.raises(ImageError) as caught:
        read_manifest(folder)
    assert caught.value.message.startswith(f"{folder / 'manifest.json'} cannot be used: {said}")
    assert "\n" not in caught.value.message
    assert "pydantic" not in caught.value.message
    assert caught.value.hint == "`lab image build wine --force`"


def test_a_folder_without_a_manifest_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"is not an image: it has no manifest\.json"):
        read_manifest(tmp_path)

"""Reading an image's files: what is wrong with its credentials is said without them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from lab.errors import ImageError
from lab.image.manifest import load_credentials
from lab.pool.boot import read_credentials
from tests.guest.fakes import UNTOLD, everything_shown

DAMAGED = [
    json.dumps({"password": UNTOLD}),
    json.dumps({"username": "lab", "pass": UNTOLD}),
    json.dumps({"username": "lab", "password": [UNTOLD]}),
    json.dumps({"username": "lab", "password": UNTOLD})[:-1],
]


@pytest.mark.parametrize("number", range(len(DAMAGED)))
def test_a_damaged_file_is_told_without_its_values(tmp_path: Path, number: int) -> None:
    (tmp_path / "credentials.json").write_text(DAMAGED[number], encoding="utf-8")
    with pytest.raises(ValidationError) as caught:
        load_credentials(tmp_path)
    assert UNTOLD not in str(caught.value)


@pytest.mark.parametrize("number", range(len(DAMAGED)))
def test_a_boot_says_what_to_do_about_it(tmp_path: Path, number: int) -> None:
    (tmp_path / "credentials.json").write_text(DAMAGED[number], encoding="utf-8")
    with pytest.raises(ImageError) as caught:
        read_credentials(tmp_path)
    assert str(tmp_path) in caught.value.message
    assert "lab image build --force" in caught.value.hint
    assert UNTOLD not in everything_shown(caught)


def test_a_boot_without_the_file_says_the_same(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="credentials") as caught:
        read_credentials(tmp_path)
    assert "--force" in caught.value.hint

"""From a name that a user wrote to an image: known names, and suggestions."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from lab.cli.main import app
from lab.errors import ConfigError
from lab.image.recipes import ensure_image, existing_image, recipe_of


class Silent:
    """Progress that is not shown."""

    def stage(self, text: str) -> None:
        """Nothing."""

    def detail(self, text: str) -> None:
        """Nothing."""

    def done(self, text: str) -> None:
        """Nothing."""


def test_an_unknown_guest_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"(?s)no image .nope. in .*available: wine"):
        ensure_image("nope", Silent(), cache=tmp_path)


def test_close_names_are_offered(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"did you mean wine\?"):
        existing_image("wien", cache=tmp_path)
    with pytest.raises(ConfigError, match=r"did you mean wine\?"):
        recipe_of("wime")


def test_a_missing_image_is_reported_with_the_command_that_builds_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        existing_image("wine", cache=tmp_path)
    assert caught.value.hint == "lab image build wine"


@pytest.mark.parametrize("arguments", [("image", "path", "nope"), ("run", "--guest", "nope"), ("up", "--guest", "nope")])
def test_the_commands_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAB_CACHE", str(tmp_path / "cache"))
    (tmp_path / "suites").mkdir()
    result = CliRunner().invoke(app, list(arguments))
    assert isinstance(result.exception, ConfigError)
    assert "no image 'nope'" in str(result.exception)
    assert not (tmp_path / "out").exists()

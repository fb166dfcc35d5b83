"""Where the lab's own data are: in the checkout, in a wheel, or nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.errors import ConfigError
from lab.host import assets


def wheel(tmp_path: Path, *names: str) -> Path:
    package = tmp_path / "site-packages" / "lab"
    for name in ("_data/vm-images", "_data/driver", *names):
        (package / name).mkdir(parents=True)
    return package


def test_this_checkout_has_everything() -> None:
    assert (assets.data_root() / "lab" / "host" / "assets.py").samefile(assets.__file__)
    assert not assets.installed()
    assert assets.checkout("x") == assets.data_root()
    assert assets.missing() == ()


def test_a_wheel_has_its_own(tmp_path: Path) -> None:
    package = wheel(tmp_path, "_data/vm-images/tools")
    assert assets.data_root(package) == package / "_data"
    assert assets.installed(package)
    assert "vm-images/tools" not in assets.missing(package)
    assert "driver/wine-compat/driver.yaml" in assets.missing(package)


def test_missing_data_is_reported_with_a_command(tmp_path: Path) -> None:
    """Any folder above the current one with a pyproject.toml and vm-images/ counted as the lab's checkout."""
    package = tmp_path / "lab"
    package.mkdir()
    with pytest.raises(ConfigError, match="lacks its data") as caught:
        assets.data_root(package)
    assert "pip install" in caught.value.hint
    assert assets.missing(package) == assets.NEEDED

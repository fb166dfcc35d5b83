"""Whose fixture a name means: the lab's, a suite's, or another plugin's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest

from lab.plugin.fixtures import GUEST_FIXTURES, Client

if TYPE_CHECKING:
    from lab.plugin.drivers import LoadedDriver


class _ShortDriver:
    @pytest.fixture
    def driver(self, lab_driver: LoadedDriver) -> LoadedDriver:
        """The same as ``lab_driver``, unless the project or another plugin has a fixture of this name."""
        return lab_driver


class _ShortClient:
    @pytest.fixture
    def client(self, lab_client: Client) -> Client:
        """The same as ``lab_client``, unless the project or another plugin has a fixture of this name."""
        return lab_client


def register_short_names(config: pytest.Config) -> None:
    """Register the fixtures with short names that no other plugin has: pytest-django has a client, pytest-selenium a driver.

    Of two plugins with one name pytest takes the one that was loaded last, and installed plugins are loaded in the order of
    their folders: installing the lab would replace the ``client`` of a Django project. Fixtures of a conftest.py take
    precedence over the lab's in any case, for the tests in its folder.
    """
    plugins = config.pluginmanager.get_plugins()
    others = [plugin for plugin in plugins if not str(getattr(plugin, "__file__", "")).endswith("conftest.py")]
    for name, short in (("driver", _ShortDriver), ("client", _ShortClient)):
        if not any(_is_fixture(getattr(plugin, name, None)) for plugin in others):
            config.pluginmanager.register(short(), f"lab-short-{name}")


def uses_guest(item: pytest.Item) -> bool:
    """Whether a test uses the lab's own fixtures; a suite may have its own ones of the same names."""
    info = getattr(item, "_fixtureinfo", None)
    if info is None:
        return False
    return any(_is_of_lab(name, info.name2fixturedefs[name]) for name in GUEST_FIXTURES & set(info.name2fixturedefs))


def _is_of_lab(name: str, definitions: Sequence[Any]) -> bool:
    """Whether the fixture that a test gets is the lab's, or one that asks for the lab's of the same name."""
    for definition in reversed(definitions):
        if str(getattr(definition.func, "__module__", "")).startswith("lab.plugin"):
            return True
        if name not in definition.argnames:
            return False
    return False


def _is_fixture(value: object) -> bool:
    """Whether an object was made by ``@pytest.fixture``: an object of pytest's from 8.4 on, a marked function before."""
    return type(value).__name__ == "FixtureFunctionDefinition" or hasattr(value, "_pytestfixturefunction")

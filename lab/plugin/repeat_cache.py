"""What pytest remembers of repeated tests: `--lf`, `--ff`, `--nf` and `--stepwise` of the next run name tests, not repetitions.

pytest's own plugins see a repetition as a test of its own, with an id that the next run does not have.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from lab.plugin.repeat import origin


def choose_repetitions(config: pytest.Config, items: Sequence[pytest.Item]) -> None:
    """Let `--lf` and `--ff` choose the repetitions of the tests that they choose."""
    failed = getattr(config.pluginmanager.get_plugin("lfplugin"), "lastfailed", None)
    if not failed:
        return
    keys = {item.nodeid: _key(item) for item in items}
    for nodeid, key in keys.items():
        if keys.get(origin(nodeid)) in failed:
            failed[key] = True


class RepetitionsAreTests:
    """Replaces the ids of repetitions in what pytest writes to its cache; a plugin of pytest.

    Args:
        config: Of the session, not of a worker.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._plugins = config.pluginmanager

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Pytest's own plugins write their cache after this."""
        failed = getattr(self._plugins.get_plugin("lfplugin"), "lastfailed", {})
        for key in list(failed):
            failed[_of_the_test(key)] = failed.pop(key)
        if (new_first := self._plugins.get_plugin("nfplugin")) is not None:
            new_first.cached_nodeids = {_of_the_test(key) for key in new_first.cached_nodeids}
        if (stepwise := self._plugins.get_plugin("stepwiseplugin")) is not None:
            # Before pytest 8.4 the plugin has it itself.
            holder, name = (
                (stepwise.cached_info, "last_failed") if hasattr(stepwise, "cached_info") else (stepwise, "lastfailed")
            )
            if last := getattr(holder, name):
                setattr(holder, name, _of_the_test(last))


def _key(item: pytest.Item) -> Any:
    """What pytest's plugins call a test: its id; from pytest 9.2 on, the id in its parts."""
    return item.id if isinstance(getattr(type(item), "id", None), property) else item.nodeid


def _of_the_test(key: Any) -> Any:
    """The id of the test that a repetition is of, of the same type."""
    return origin(key) if isinstance(key, str) else type(key).parse(origin(str(key)))

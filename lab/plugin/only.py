"""``--lab-only NAME``: only the tests of some drivers, which a change affects."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pytest

from lab.plugin.markers import Wishes


def leave_out_others(
    config: pytest.Config, items: list[pytest.Item], wishes: Mapping[str, Wishes], users: Collection[str], only: Collection[str]
) -> None:
    """Deselect the tests that use none of these drivers. A test of the lab whose marker names none uses all of them."""

    def uses(item: pytest.Item) -> bool:
        named = wishes[item.nodeid].drivers
        return bool(set(named) & set(only)) if named else item.nodeid in users

    others = [item for item in items if not uses(item)]
    if others:
        items[:] = [item for item in items if uses(item)]
        config.hook.pytest_deselected(items=others)

"""Fixtures of all of the lab's own tests."""

from __future__ import annotations

#: Inner pytest runs, for the plugin's tests; pytest allows this in the topmost conftest only.
pytest_plugins = ["pytester"]

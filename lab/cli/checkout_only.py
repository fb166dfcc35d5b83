"""Replacements of commands that a wheel does not have, because they measure the lab itself: they ask for a checkout."""

from __future__ import annotations

import typer

from lab.errors import ConfigError


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(bench)


def bench() -> None:
    """Measure the lab beside its alternatives (only in a checkout of the lab)."""
    raise ConfigError(
        "lab bench measures the lab itself and needs a checkout of the lab; this is an installation",
        hint="clone the lab, then bash ci/setup.sh and .venv/bin/lab bench",
    )

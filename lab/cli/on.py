"""`lab run --on NAME`: the settings of a run on a guest that is up."""

from __future__ import annotations

from dataclasses import replace

import typer

from lab.cli.guest import detached_guests
from lab.config import Settings
from lab.config.machine import Machine
from lab.errors import ConfigError
from lab.image.store import find_image
from lab.lease.borrowed import check_image


def for_guest(settings: Settings, name: str) -> Settings:
    """The settings of a run on a guest that is up: its image, one worker, its own VM.

    Args:
        settings: As they were given.
        name: The guest's.

    Raises:
        ConfigError: There is no such guest, it is of another image than the one that was named, or more workers than one
            were asked for.
    """
    guest = detached_guests().find(name)
    values, sources = settings.values, settings.sources
    if sources["image"] in ("option", "environment"):
        check_image(guest, find_image(values.image))
    if sources["workers"] == "option" and values.workers not in ("auto", 1):
        raise ConfigError(
            f"--workers {values.workers} and --on cannot be combined: there is only one guest",
            hint=f"leave out --workers; `lab run` without --on starts a guest for each worker, unlike {name}",
        )
    if sources["boot"] == "option":
        raise ConfigError("--no-fork and --on cannot be combined: the guest is already up", hint="leave out one of them")
    if values.vm.adds:
        own = f"`vm:` ({values.vm}) is for fresh guests"
        typer.echo(f"lab: guest {name} keeps its virtual machine; {own}", err=True)
    # The VM settings of the lab file are for other guests; the transport is the guest's own if none is named.
    changed = values.model_copy(update={"image": str(guest.image_dir), "workers": 1, "vm": Machine()})
    return replace(settings, values=changed)

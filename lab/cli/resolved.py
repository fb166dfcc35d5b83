"""From a command's settings to the guests that it starts, and to the drivers that they get."""

from __future__ import annotations

from pathlib import Path

from lab.cli.interrupt import NOTHING_LEFT, told_when_interrupted
from lab.config import Settings
from lab.config.model import ClockChoice, Debug
from lab.image.progress import Progress
from lab.image.recipes import ensure_image
from lab.live.chosen_drivers import ChosenDrivers
from lab.live.resolve import ResolvedGuest, resolve_guest


def guest_of(
    settings: Settings, progress: Progress, *, debug: Debug | None = None, clock: ClockChoice | None = None
) -> ResolvedGuest:
    """Accelerator, VM settings and image of a command's guests; the image is built when it is missing.

    Args:
        settings: What is in force.
        progress: Shows the steps of a build.
        debug: Instead of the setting, for guests that cannot have a kernel debugger, or are up already.
        clock: Instead of the setting.

    Raises:
        LabError: See :func:`lab.live.resolve.resolve_guest`.
    """

    def image(name: str) -> Path:
        with told_when_interrupted(lambda: NOTHING_LEFT):
            return ensure_image(name, progress)

    return resolve_guest(settings.values, image, file=settings.file, debug=debug, clock=clock)


def drivers_of(settings: Settings, *, names: tuple[str, ...] = ()) -> ChosenDrivers:
    """The drivers of a command's settings.

    Args:
        settings: What is in force.
        names: More of them by name, as far as they are known.
    """
    return ChosenDrivers.of(settings.values, beside=settings.beside, project=settings.project, names=names)

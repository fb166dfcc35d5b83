"""``lab run --repeat N --until-red``: its arguments for pytest, and the options that it excludes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lab.config import Settings
from lab.errors import ConfigError

#: See lab.plugin.options.
REPEAT_FLAG = "--lab-repeat"
UNTIL_RED_FLAG = "--lab-until-red"


@dataclass(frozen=True, slots=True)
class Repeats:
    """How often each test is run.

    Attributes:
        count: Number of runs.
        until_red: A test that was red is not repeated any more.
    """

    count: int = 1
    until_red: bool = False

    def check(self, settings: Settings, *, other: str) -> None:
        """Refuse options that contradict it.

        Args:
            settings: As they were given.
            other: Another option that takes one guest for all tests; empty for none.

        Raises:
            ConfigError: There is one.
        """
        if self.until_red and self.count == 1:
            raise ConfigError("--until-red needs --repeat N", hint="--repeat 100 --until-red runs each test up to 100 times")
        if self.count == 1:
            return
        if other:
            raise ConfigError(f"--repeat and {other} cannot be combined", hint=f"leave out {other}: each run has a fresh guest")
        if settings.sources["isolation"] == "option" and settings.values.isolation != "test":
            raise ConfigError(
                f"--repeat and --isolation {settings.values.isolation} cannot be combined",
                hint="leave out --isolation: each run has a fresh guest",
            )

    def settings(self, settings: Settings) -> Settings:
        """The settings of such a run."""
        if self.count == 1:
            return settings
        return replace(settings, values=settings.values.model_copy(update={"isolation": "test"}))

    def arguments(self) -> list[str]:
        """For pytest."""
        if self.count == 1:
            return []
        return [f"{REPEAT_FLAG}={self.count}", *([UNTIL_RED_FLAG] if self.until_red else [])]


ONCE = Repeats()

"""Options of commands that are settings: each command gets those that :mod:`lab.config.model` lists for it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import typer

from lab.cli.choices import beginning
from lab.config import LabFile, Settings, load_settings
from lab.config.setting_table import Key, keys_of

_NONE: Mapping[str, str] = MappingProxyType({})
_CONFIG = "config"


@dataclass(frozen=True, slots=True)
class Given:
    """The settings on one command line.

    Attributes:
        options: Key of the lab file -> its value; None, or an empty tuple, where the option was not given.
        config: The lab file that --config names.
    """

    options: Mapping[str, Any]
    config: Path | None

    def load(self, **fixed: Any) -> Settings:
        """The settings in force.

        Args:
            **fixed: Values that the command itself gives, as options would.

        Raises:
            ConfigError: A value is wrong.
        """
        return load_settings({**self.options, **fixed}, config=self.config)


def takes_settings(
    command: str, *, helps: Mapping[str, str] = _NONE, defaults: Mapping[str, str] = _NONE
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for each setting that names it, and ``--config``.

    The decorated function has a parameter of the type :class:`Given`, which the help shows as these options.

    Args:
        command: As in :attr:`lab.config.setting_table.CommandOption.commands`.
        helps: Key -> the help of its option, where it means something else for this command.
        defaults: Key -> a value that this command has where its option is not given.
    """
    keys = [key for key in keys_of(LabFile) if command in key.commands]

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(function, eval_str=True)
        [place] = [name for name, parameter in signature.parameters.items() if parameter.annotation is Given]

        @functools.wraps(function)
        def call(**words: Any) -> None:
            options = {key.name: _value(key, words.pop(key.name, defaults.get(key.name))) for key in keys}
            given = Given(options, words.pop(_CONFIG, None))
            function(**words, **{place: given})

        parameters: list[inspect.Parameter] = []
        for name, parameter in signature.parameters.items():
            if name == place:
                parameters += [_option(key, helps.get(key.name, ""), defaults.get(key.name)) for key in keys]
            else:
                parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
        parameters.append(
            _parameter(_CONFIG, Path | None, None, typer.Option(help="Lab file; default: lab.yaml, if it exists"))
        )
        # The command line library reads both.
        call.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return call

    return decorate


def _option(key: Key, text: str, default: str | None) -> inspect.Parameter:
    option = key.setting.command
    assert option is not None
    switch = bool(option.value)
    info = typer.Option(
        *key.command_flags,
        help=text or key.command_help,
        metavar=option.metavar or None,
        # Names are looked up when a shell asks for them: those of packages take time.
        autocompletion=None if switch or key.many else beginning(key.choices),
    )
    kind: Any = bool if switch else list[str] | None if key.many else str | None
    return _parameter(key.name, kind, False if switch else default, info)


def _parameter(name: str, kind: Any, default: Any, info: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, info])


def _value(key: Key, value: Any) -> Any:
    option = key.setting.command
    if option is not None and option.value:
        return option.value if value else None
    return tuple(value or ()) if key.many else value

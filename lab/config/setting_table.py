"""The ways to set a key of the lab file: an annotation of its field, and the table that is made of all annotations.

One entry in :mod:`lab.config.model` is all that a new setting needs. From the table come the options of ``lab`` and of pytest,
pytest's ini keys, the environment variables, what `lab run` passes on to pytest, and docs/settings.md.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from lab.config.kinds import OneOf


@dataclass(frozen=True, slots=True)
class PytestOption:
    """An option of pytest, and the ini key of the same name.

    Attributes:
        help: Its text; empty: the description of the key.
        flag: Empty: ``--lab-`` and the key, with hyphens.
        parse: Converts a text to a value; raises a ValueError that says what the text must be.
    """

    help: str = ""
    flag: str = ""
    parse: Callable[[str], Any] = str


@dataclass(frozen=True, slots=True)
class CommandOption:
    """An option of some commands of ``lab``.

    Attributes:
        commands: Their names.
        help: Its text; empty: the description of the key.
        flags: Empty: ``--`` and the key, with hyphens.
        value: The option is a switch, which stands for this value; empty: it takes a value.
        metavar: Stands for the value in the help; empty: its type.
    """

    commands: tuple[str, ...]
    help: str = ""
    flags: tuple[str, ...] = ()
    value: str = ""
    metavar: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Annotates a field of the lab file. A field without it can be set in the file alone.

    Attributes:
        environment: ``LAB_<KEY>`` sets it, too. Several values are separated as in PATH.
        pytest: The option of pytest; None: there is none.
        command: The option of commands; None: there is none.
        below: Makes a value with relative paths absolute, from the folder that they start from.
        repeated: The command that the report gives to repeat a test has this option if the run had it.
    """

    environment: bool = True
    pytest: PytestOption | None = PytestOption()
    command: CommandOption | None = None
    below: Callable[[Any, Path], Any] | None = None
    repeated: bool = True


_FILE_ONLY = Setting(environment=False, pytest=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key of the lab file, with all ways to set it.

    Attributes:
        name: As in the file.
        setting: The annotation of its field.
        description: What it means.
        default: Its value where nothing sets it.
        many: Its value is a list.
    """

    name: str
    setting: Setting
    description: str
    default: Any
    many: bool
    _field: FieldInfo

    @property
    def variable(self) -> str:
        """Its environment variable: ``LAB_BOOT_TIMEOUT``; empty for none."""
        return f"LAB_{self.name.upper()}" if self.setting.environment else ""

    @property
    def pytest_flag(self) -> str:
        """Its option of pytest: ``--lab-boot-timeout``; empty for none."""
        option = self.setting.pytest
        return "" if option is None else option.flag or f"--lab-{_hyphens(self.name)}"

    @property
    def pytest_name(self) -> str:
        """Its ini key, and where pytest has the option's value: ``lab_boot_timeout``; empty for none."""
        return self.pytest_flag.removeprefix("--").replace("-", "_")

    @property
    def pytest_help(self) -> str:
        """The help of pytest's option."""
        return (self.setting.pytest.help if self.setting.pytest else "") or self.description

    @property
    def commands(self) -> tuple[str, ...]:
        """The commands of ``lab`` that have an option for it."""
        return self.setting.command.commands if self.setting.command else ()

    @property
    def command_flags(self) -> tuple[str, ...]:
        """How this option is written, the usual way first; empty for no option."""
        option = self.setting.command
        return () if option is None else option.flags or (f"--{_hyphens(self.name)}",)

    @property
    def command_help(self) -> str:
        """The help of this option."""
        return (self.setting.command.help if self.setting.command else "") or self.description

    def choices(self) -> tuple[str, ...]:
        """The values that it may have, as far as they are names; empty for any. Those of kinds are looked up now."""
        if get_origin(self._field.annotation) is Literal:
            return tuple(str(value) for value in get_args(self._field.annotation))
        return next((tuple(part.names()) for part in self._field.metadata if isinstance(part, OneOf)), ())

    def words(self, value: Any) -> list[str]:
        """A value as the options of `lab run` that give it."""
        option, flag = self.setting.command, self.command_flags[0]
        if option is None or option.value:
            return [flag] if option is not None and value == option.value else []
        return [word for one in (value if self.many else (value,)) for word in (flag, written(one))]

    def parse(self, text: str) -> Any:
        """The value of a text that was given to pytest.

        Raises:
            ValueError: It says what the text must be.
        """
        return self.setting.pytest.parse(text) if self.setting.pytest else text

    def from_environment(self, text: str) -> Any:
        """The value of a variable's text."""
        return tuple(part for part in text.split(os.pathsep) if part) if self.many else text


def keys_of(model: type[BaseModel]) -> tuple[Key, ...]:
    """All keys of a model, in its order."""
    return tuple(_key(name, field) for name, field in model.model_fields.items())


def _key(name: str, field: FieldInfo) -> Key:
    default = field.get_default(call_default_factory=True, validated_data={})
    return Key(
        name=name,
        setting=next((part for part in field.metadata if isinstance(part, Setting)), _FILE_ONLY),
        description=field.description or "",
        default=None if default is PydanticUndefined else default,
        many=get_origin(field.annotation) is tuple,
        _field=field,
    )


def written(value: Any) -> str:
    """A value as a word of a command line."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def seconds(text: str) -> float:
    """A number of seconds.

    Raises:
        ValueError: It is not a number, or not above 0.
    """
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not value > 0:
        raise ValueError(f"must be a number of seconds above 0, not {text!r}")
    return value


def path_below(text: str, base: Path) -> str:
    """A path, or a pytest node id (suites/sync/test_x.py::test_y), which is a path with an address inside of the file."""
    path, separator, inside = text.partition("::")
    return os.path.normpath(base / Path(path).expanduser()) + separator + inside


def paths_below(texts: tuple[str, ...], base: Path) -> tuple[str, ...]:
    """Several of them."""
    return tuple(path_below(text, base) for text in texts)


def folder_below(text: str, base: Path) -> str:
    """A folder."""
    return str(base / Path(text).expanduser())


def name_or_path_below(text: str, base: Path) -> str:
    """A path where the text has a slash or is a folder's short name; a name otherwise."""
    return path_below(text, base) if "/" in text or text in (".", "..") else text


def _hyphens(key: str) -> str:
    return key.replace("_", "-")

"""Reading YAML for people: duplicate keys are refused, and every key remembers its line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from lab.errors import ConfigError
from lab.host.textfile import read_text

_Model = TypeVar("_Model", bound=BaseModel)
KeyPath = tuple[str | int, ...]
#: Tags of keys that are text, and of << and =.
_TEXT = frozenset(f"tag:yaml.org,2002:{name}" for name in ("str", "merge", "value"))
_INT = "tag:yaml.org,2002:int"
#: YAML 1.1 reads 12:30 as 750 and 010 as 8; https://yaml.org/type/int.html
_MISREAD = re.compile(r"[-+]?(?:.*:.*|0[0-9_]+)")


@dataclass(frozen=True, slots=True)
class YamlDocument:
    """A YAML file as data, with the line of every key.

    Attributes:
        file: The file as errors name it.
        data: The top-level mapping; empty for an empty file.
        lines: Key path -> 1-based line.
        misread: Key path -> a number as it is written, where YAML reads another one than most people: times, and octal numbers.
    """

    file: str
    data: Mapping[str, Any]
    lines: Mapping[KeyPath, int] = field(default_factory=dict)
    misread: Mapping[KeyPath, str] = field(default_factory=dict)

    def line(self, path: Sequence[str | int]) -> int:
        """The line of a key, or of the nearest key above it; 0 for none."""
        known = self.known_part(path)
        return self.lines.get(known, 0)

    def known_part(self, path: Sequence[str | int]) -> KeyPath:
        """The longest beginning of ``path`` that is in the file."""
        parts = tuple(path)
        while parts and parts not in self.lines:
            parts = parts[:-1]
        return parts

    def renamed(self, old: str, new: str) -> YamlDocument:
        """The document with another name of a top-level key.

        Raises:
            ConfigError: The file has both names.
        """
        if old not in self.data:
            return self
        if new in self.data:
            hint = f"move its keys below `{new}`"
            raise ConfigError(
                f"is the old name of `{new}`, which is there, too", file=self.file, key=old, line=self.line([old]), hint=hint
            )

        def moved(path: KeyPath) -> KeyPath:
            return (new, *path[1:]) if path[0] == old else path

        return YamlDocument(
            self.file,
            {new if key == old else key: value for key, value in self.data.items()},
            {moved(path): line for path, line in self.lines.items()},
            {moved(path): text for path, text in self.misread.items()},
        )

    def below(self, path: KeyPath) -> YamlDocument:
        """The mapping at ``path`` as a document of its own, with its lines in the file."""
        data: Any = self.data
        for part in path:
            data = data[part]
        inside = {key[len(path) :]: line for key, line in self.lines.items() if key[: len(path)] == path}
        return YamlDocument(self.file, data, inside)


def read_yaml(path: Path) -> YamlDocument:
    """Read a YAML file whose top level is a mapping.

    Raises:
        ConfigError: The file cannot be read, is not YAML, has a key twice, or is not a mapping; with its line.
    """
    name, text = str(path), read_text(path)
    try:
        node: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is None:
            return YamlDocument(name, {})
        lines: dict[KeyPath, int] = {}
        misread: dict[KeyPath, str] = {}
        _walk(node, (), lines, misread, name)
        # Not from the text: to parse it again is most of the work, and `lab run` reads forty files before its first test.
        data = yaml.constructor.SafeConstructor().construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 0
        raise ConfigError(f"this is not valid YAML: {error.problem or error.context}", file=name, line=line) from None
    except yaml.YAMLError as error:
        raise ConfigError(f"this is not valid YAML: {error}", file=name) from None
    except ValueError as error:
        # YAML's own types: 2026-13-01 looks like a date, but is not one.
        bad, line = _bad_scalar(node)
        raise ConfigError(f"has a value that cannot be read: {error}", file=name, key=dotted(bad), line=line) from None
    if not isinstance(data, dict):
        raise ConfigError("must be a list of `key: value` lines", file=name, line=1)
    return YamlDocument(name, data, lines, misread)


def validate(document: YamlDocument, model: type[_Model]) -> _Model:
    """Turn a document into ``model``.

    Raises:
        ConfigError: For the first wrong key in the file, with its line; further ones are listed below it.
    """
    try:
        return model.model_validate(document.data)
    except ValidationError as error:
        raise config_error(document, error, model) from None


def config_error(document: YamlDocument, error: ValidationError, model: type[BaseModel]) -> ConfigError:
    """One ConfigError for all that pydantic found, in the order of the file."""
    found: dict[KeyPath, list[ErrorDetails]] = {}
    for details in error.errors(include_url=False):
        location = tuple(details["loc"])
        found.setdefault(document.known_part(location) or location[:1], []).append(details)
    ordered = sorted(found.items(), key=lambda item: document.line(item[0]))
    path, first = ordered[0]
    message, hint = _words(first, model)
    also = "".join(
        f"\n  also {document.file}:{document.line(other)}: {dotted(other)}: {_words(details, model)[0]}"
        for other, details in ordered[1:]
    )
    return ConfigError(message + also, file=document.file, key=dotted(path), line=document.line(path), hint=hint)


def plain_words(error: ValidationError, model: type[BaseModel]) -> str:
    """What is wrong with a single value, without its place."""
    return _words(error.errors(include_url=False), model)[0]


def dotted(path: Sequence[str | int]) -> str:
    """Write a key path as people do: ``known.0.until``."""
    return ".".join(str(part) for part in path)


def _words(details: Sequence[ErrorDetails], model: type[BaseModel]) -> tuple[str, str]:
    """Message and hint for everything that is wrong with one key."""
    first = details[0]
    if first["type"] == "extra_forbidden":
        names = _field_names(model, first["loc"][:-1])
        close = difflib.get_close_matches(str(first["loc"][-1]), names, n=1)
        hint = f"did you mean {close[0]}?" if close else f"the keys here are {', '.join(names)}"
        return "there is no such key", hint
    if first["type"] == "missing":
        return " and ".join(f"{item['loc'][-1]} is missing" for item in details), ""
    texts = [item["msg"].removeprefix("Value error, ").replace("Input should be", "must be") for item in details]
    said = " or ".join(text if number == 0 else text.removeprefix("must be ") for number, text in enumerate(texts))
    value = repr(first["input"])
    if first["type"] in ("tuple_type", "list_type"):
        scalar = isinstance(first["input"], (str, int, float))
        return f"must be a list, not {value[:60]}", f"write [{first['input']}]" if scalar else "a list stands in [ and ]"
    return f"{said}, not {value if len(value) <= 60 else value[:57] + '…'}", ""


def _field_names(model: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    """The keys that are allowed at ``path``: follows the models inside of lists and plain fields."""
    current = model
    for part in path:
        if isinstance(part, int):
            continue
        annotation = current.model_fields[part].annotation if part in current.model_fields else None
        inner = _model_inside(annotation)
        if inner is None:
            return []
        current = inner
    return list(current.model_fields)


def _model_inside(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _model_inside(argument)
        if found is not None:
            return found
    return None


def _bad_scalar(node: yaml.Node | None, path: KeyPath = ()) -> tuple[KeyPath, int]:
    """The key and the line of the first plain value that YAML's own types refuse; nothing and 0 when there is none."""
    if isinstance(node, yaml.ScalarNode):
        try:
            yaml.constructor.SafeConstructor().construct_object(node)
        except ValueError:
            return path, node.start_mark.line + 1
    inside: list[tuple[str | int, yaml.Node]] = []
    if isinstance(node, yaml.MappingNode):
        inside = [(str(key.value), part) for key, value in node.value for part in (key, value)]
    elif isinstance(node, yaml.SequenceNode):
        inside = list(enumerate(node.value))
    for key, part in inside:
        found = _bad_scalar(part, (*path, key))
        if found[1]:
            return found
    return (), 0


def _walk(
    node: yaml.Node,
    path: KeyPath,
    lines: dict[KeyPath, int],
    misread: dict[KeyPath, str],
    file: str,
    above: tuple[yaml.Node, ...] = (),
) -> None:
    """Record the line of every key below ``node``, and numbers that are easily misread.

    Raises:
        ConfigError: A key occurs twice, or is not text; or an alias refers to a node that contains it.
    """
    if any(node is other for other in above):
        raise ConfigError("a YAML alias refers to itself", file=file, key=dotted(path), line=lines.get(path, 0))
    above = (*above, node)
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            here = (*path, name)
            if name in seen:
                raise ConfigError(
                    f"is there twice; the first one is in line {seen[name]}",
                    file=file,
                    key=dotted(here),
                    line=line,
                    hint="remove one of them",
                )
            if isinstance(key, yaml.ScalarNode) and key.tag not in _TEXT:
                # On and Yes both become the key True, and the first one would be lost.
                said = f"is not a text as a key: YAML reads {key.tag.rpartition(':')[2]}"
                raise ConfigError(said, file=file, key=dotted(here), line=line, hint=f"quote it: '{name}'")
            seen[name] = line
            lines[here] = line
            _walk(value, here, lines, misread, file, above)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            lines[(*path, index)] = item.start_mark.line + 1
            _walk(item, (*path, index), lines, misread, file, above)
    elif node.tag == _INT and _MISREAD.fullmatch(str(node.value)):
        misread[path] = str(node.value)

"""The catalogue of defects: YAML files in ``driver/defects``, one for each driver.

A defect is a small change of the driver's source, written as the text to replace and the new text. That is shorter than a
patch, names no line, and does not depend on the code around it. It is an error if it does not fit any more, see
:mod:`lab.defects.source`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from lab.config.yamlfile import YamlDocument, dotted, read_yaml, validate
from lab.errors import ConfigError
from lab.guest.capability import check_names

#: Below the lab's checkout.
FOLDER = "driver/defects"
#: The verdicts that catch a defect. ``infra`` is none: every failure of the lab has it.
Catching = Literal["product", "crash"]

_Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$", max_length=64)]
_Text = Annotated[str, Field(min_length=1)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Change(_Model):
    """One replacement in the driver's source."""

    old: _Text = Field(description="text that is in the source exactly once; white space stands for any white space")
    new: str = Field(description="what takes its place; may be empty")


class Defect(_Model):
    """One fault of a driver."""

    name: _Name = Field(description="unique in the catalogue; begins with the driver's name")
    what: _Text = Field(description="one sentence: what the driver does wrong")
    fact: _Text = Field(description="the fact or hazard of docs/suites.md that it violates")
    verdict: tuple[Catching, ...] = Field(default=("product",), min_length=1, description="the verdicts that catch it")
    needs: tuple[str, ...] = Field(default=(), description="capabilities that a guest needs to show it")
    hidden_by: tuple[str, ...] = Field(default=(), description="capabilities of guests that cannot show it")
    tests: tuple[_Text, ...] = Field(min_length=1, description="the tests that must notice it; they are run first")
    changes: tuple[Change, ...] = Field(min_length=1, description="what is changed in the source")

    @field_validator("needs", "hidden_by")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        try:
            return check_names(value)
        except ConfigError as error:
            raise ValueError(f"{error.message}; {error.hint}") from None

    def unseen_on(self, capabilities: Iterable[str]) -> str:
        """Why guests with these capabilities cannot show it, in words; empty if they can."""
        there = frozenset(capabilities)
        if lacking := [name for name in self.needs if name not in there]:
            return f"needs {', '.join(lacking)}"
        if hiding := [name for name in self.hidden_by if name in there]:
            return f"hidden by {', '.join(hiding)}"
        return ""


class DefectFile(_Model):
    """A file of the catalogue: the defects of one driver."""

    driver: _Text = Field(description="name of the driver, and of its folder under driver/")
    file: _Text = Field(description="the source that is changed")
    defects: tuple[Defect, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _named(self) -> Self:
        for defect in self.defects:
            if not defect.name.startswith(f"{self.driver}-"):
                raise ValueError(f"the name of {defect.name} must begin with {self.driver}-")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """A defect of the catalogue and the driver that it is planted in.

    Attributes:
        defect: The defect.
        driver: Name of the driver.
        folder: Folder of the driver.
        file: The source, relative to it.
        place: The entry in the catalogue, as ``FILE:LINE``.
    """

    defect: Defect
    driver: str
    folder: Path
    file: str
    place: str = field(default="", compare=False)

    @property
    def name(self) -> str:
        """The defect's name."""
        return self.defect.name


def read_catalogue(root: Path) -> tuple[Planted, ...]:
    """All defects, in the order of the files.

    Args:
        root: The lab's checkout.

    Raises:
        ConfigError: A file is wrong, or two defects have one name.
    """
    files = sorted((root / FOLDER).glob("*.yaml"))
    if not files:
        raise ConfigError(f"there is no catalogue of defects in {root / FOLDER}")
    found: dict[str, Planted] = {}
    for path in files:
        document = read_yaml(path)
        for number, planted in enumerate(_planted(root, path, document)):
            other = found.setdefault(planted.name, planted)
            if other is not planted:
                key = ("defects", number, "name")
                said = f"{planted.name} is the name of the defect at {other.place}, too"
                raise ConfigError(said, file=str(path), key=dotted(key), line=document.line(key), hint="rename one of them")
    return tuple(found.values())


def _planted(root: Path, path: Path, document: YamlDocument) -> list[Planted]:
    content = validate(document, DefectFile)
    return [
        Planted(
            defect=defect,
            driver=content.driver,
            folder=root / "driver" / content.driver,
            file=content.file,
            place=f"{path}:{document.line(('defects', number))}",
        )
        for number, defect in enumerate(content.defects)
    ]


def chosen(catalogue: Sequence[Planted], names: Sequence[str]) -> tuple[Planted, ...]:
    """The defects with these names, each once, in the catalogue's order; all for no names.

    Raises:
        ConfigError: There is none of a name.
    """
    known = [planted.name for planted in catalogue]
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
            hint = f"did you mean {' or '.join(near)}?" if near else "`lab selftest defects --list` shows all of them"
            raise ConfigError(f"there is no defect {name}", hint=hint)
    return tuple(planted for planted in catalogue if not names or planted.name in names)

"""tests/messages.txt, every text of the lab that a user can see: ``python -m tests.messages > tests/messages.txt``.

Three kinds of text, listed by the module that has them:

- Messages: every text in the code that has words in it, except docstrings and regular expressions. That is more than the
  arguments of errors, so that texts which are composed elsewhere are included.
- What `lab … --help` and `pytest --help` say about commands and options, and the lab file's schema about keys.
- The words in the templates of the HTML page.

``{…}`` stands for a value, ``\\n`` for a line end.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from lab import errors
from lab.cli.main import app

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "tests" / "messages.txt"
COMMAND = "python -m tests.messages > tests/messages.txt"
_VALUE = "{…}"
#: Two words with a blank between them: a text for people, not a name, a path, a format or an option.
_PROSE = re.compile(r"[^\W\d_]{2,}[,;:]? [^\W\d_]+[ ,.;:{)!?]|[^\W\d_]{2,} [^\W\d_]{2,}$")
#: Arguments with these names are for people.
_FOR_PEOPLE = ("help", "hint", "message", "description", "epilog", "short_help")


def sources() -> list[Path]:
    """Every module of the package."""
    return sorted((ROOT / "lab").rglob("*.py"))


def error_classes() -> set[str]:
    """Names of the exceptions in lab/errors.py, and of those made from them."""
    found = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, errors.LabError)}
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and any(isinstance(base, ast.Name) and base.id in found for base in node.bases):
                found.add(node.name)
    return found


def text_of(node: ast.expr) -> str | None:
    """A text as users see it, with values as ``{…}``; None if the expression is not a text."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        parts = [text_of(part) if isinstance(part, ast.Constant) else _VALUE for part in node.values]
        return "".join(part or "" for part in parts)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = text_of(node.left), text_of(node.right)
        return None if left is None and right is None else (left or _VALUE) + (right or _VALUE)
    return None


class _Texts(ast.NodeVisitor):
    """Collects the texts of one module, in their order."""

    def __init__(self, classes: set[str]) -> None:
        self.found: list[str] = []
        self._classes = classes
        self._every = False

    def visit(self, node: ast.AST) -> Any:
        text = text_of(node) if isinstance(node, ast.expr) else None
        if text is not None:
            if (self._every and any(character.isalpha() for character in text)) or _PROSE.search(text):
                self.found.append(text)
            self._values_of(node)
            return None
        return super().visit(node)

    def _values_of(self, node: ast.AST) -> None:
        """Texts inside the values of an f-string, which are shown in some cases only."""
        every, self._every = self._every, False
        for inner in ast.walk(node):
            if isinstance(inner, ast.FormattedValue):
                self.visit(inner.value)
        self._every = every

    def visit_Expr(self, node: ast.Expr) -> None:
        if not (isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)):
            self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        function = ast.unparse(node.func)
        name = function.rpartition(".")[2]
        if function.startswith("re."):
            return
        self.visit(node.func)
        every = self._every
        for index, argument in enumerate(node.args):
            self._every = name in self._classes and index == 0
            self.visit(argument)
        for keyword in node.keywords:
            self._every = keyword.arg in _FOR_PEOPLE
            self.visit(keyword.value)
        self._every = every

    def visit_arg(self, node: ast.arg) -> None:
        """Skip the annotation, see :func:`_annotated`."""

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        for part in _annotated(node.annotation):
            self.visit(part)
        if node.value:
            self.visit(node.value)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs):
            for part in _annotated(argument.annotation):
                self.visit(part)
        for rest in (*node.decorator_list, *node.args.defaults, *(d for d in node.args.kw_defaults if d), *node.body):
            self.visit(rest)


def _annotated(annotation: ast.expr | None) -> list[ast.expr]:
    """The arguments of `Annotated[…]` after the type: typer's options and pydantic's fields."""
    if isinstance(annotation, ast.Subscript) and isinstance(annotation.value, ast.Name) and annotation.value.id == "Annotated":
        return annotation.slice.elts[1:] if isinstance(annotation.slice, ast.Tuple) else []
    return []


def texts_of(path: Path, classes: set[str]) -> list[str]:
    """The texts of one module."""
    collector = _Texts(classes)
    collector.visit(ast.parse(path.read_text(encoding="utf-8")))
    return list(dict.fromkeys(collector.found))


def helps() -> Iterator[tuple[str, list[str]]]:
    """(command, paragraphs of its help) of every command; the help of options is among the texts of the modules."""

    def walk(command: Any, words: str) -> Iterator[tuple[str, list[str]]]:
        yield words, [" ".join(part.split()) for part in (command.help or "").split("\n\n")]
        for name in sorted(getattr(command, "commands", {})):
            yield from walk(command.commands[name], f"{words} {name}")

    yield from walk(typer.main.get_command(app), "lab")


def templates() -> Iterator[tuple[Path, list[str]]]:
    """(file, its words) of every template of the HTML page."""
    for path in sorted((ROOT / "lab").glob("*/templates/*.j2")):
        text = re.sub(r"<(style|script)\b.*?</\1>|\{#.*?#\}", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        text = re.sub(r"\{%.*?%\}", "\n", text, flags=re.DOTALL)
        text = re.sub(r"\{\{.*?\}\}", _VALUE, text, flags=re.DOTALL)
        titles = re.findall(r'\b(?:title|alt|aria-label|placeholder)="([^"]+)"', text)
        lines = (" ".join(line.split()) for line in (*titles, *re.sub(r"<[^>]*>", "\n", text).splitlines()))
        yield path, list(dict.fromkeys(line for line in lines if re.search(r"[^\W\d_]{2}", line.replace(_VALUE, ""))))


def chapters() -> Iterator[tuple[str, list[str]]]:
    """(heading, texts) of the whole catalogue."""
    classes = error_classes()
    for path in sources():
        yield str(path.relative_to(ROOT)), texts_of(path, classes)
    for path, words in templates():
        yield str(path.relative_to(ROOT)), words
    for command, paragraphs in helps():
        yield f"{command} --help", paragraphs


def document() -> str:
    """The catalogue as the text of its file."""
    parts = [f"Every text of the lab that a user can see, by module. This file is generated: {COMMAND}\n"]
    for heading, texts in chapters():
        if texts:
            lines = (re.sub(r"[\\\x00-\x1f\x7f]", lambda m: m[0].encode("unicode_escape").decode(), text) for text in texts)
            parts.append(f"\n{heading}\n" + "".join(f"    {line}\n" for line in lines if line.strip()))
    return "".join(parts)


if __name__ == "__main__":
    sys.stdout.write(document())

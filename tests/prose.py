"""The prose of Python files that only developers read: docstrings, comments, and the names of tests."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass

#: Code in a text, and the name that begins an entry of ``Args`` or ``Attributes``: these follow the code.
_CODE = re.compile(r":\w+:`[^`]*`|``.*?``|`[^`]*`|^ +[*a-z_]\w*(?:, [*a-z_]\w*)*: ", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Prose:
    """One text.

    Attributes:
        line: Where it begins, counted from 1.
        text: The text without code and on one line; the name of a test with blanks between its words.
    """

    line: int
    text: str


def prose_of(source: str) -> list[Prose]:
    """The prose of a Python file, in the order of its lines."""
    found = [*_docstrings_and_names(ast.parse(source)), *_comments(source)]
    return sorted(found, key=lambda one: one.line)


def _docstrings_and_names(tree: ast.Module) -> Iterator[Prose]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text is not None:
                yield Prose(node.body[0].lineno, _without_code(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield Prose(node.lineno, node.name.replace("_", " "))


def _comments(source: str) -> Iterator[Prose]:
    """Comments; those on lines of their own that follow each other are one text."""
    line, last, text = 0, 0, ""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        alone = not token.line[: token.start[1]].strip()
        if text and not (alone and last == token.start[0] - 1):
            yield Prose(line, _without_code(text))
            text = ""
        line = line if text else token.start[0]
        text += token.string.lstrip("#:") + "\n"
        last = token.start[0] if alone else 0
    if text:
        yield Prose(line, _without_code(text))


def _without_code(text: str) -> str:
    return " ".join(_CODE.sub(" ", text).split())

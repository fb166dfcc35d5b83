"""The package map in docs/architecture.md, made from the packages: ``python -m tests.ci.package_map`` writes it."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "architecture.md"
_BEGIN = "<!-- packages: python -m tests.ci.package_map -->\n"
_END = "<!-- end of packages -->\n"


def layers() -> list[str]:
    """The packages in the order of the layers, from the top; packages inside of another one follow it."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    names = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    top = [name.replace(".", "/") for line in names for name in re.split(r"\s*[:|]\s*", line) if name]
    inside = {str(path.parent.relative_to(ROOT)) for path in (ROOT / "lab").rglob("__init__.py")} - {"lab"}
    found: list[str] = []
    for name in top:
        found += [name, *sorted(one for one in inside if one.startswith(f"{name}/"))]
    return [*dict.fromkeys(found), *sorted(inside - set(found))]


def sentence(name: str) -> str:
    """The first sentence of a package's or module's docstring, on one line."""
    package = ROOT / name / "__init__.py"
    path = package if package.is_file() else ROOT / f"{name}.py"
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(text.partition("\n\n")[0].split())


def table() -> str:
    """The rows of the map."""
    rows = [f"| `{name if (ROOT / name).is_dir() else name + '.py'}` | {sentence(name)} |\n" for name in layers()]
    return "| package | what |\n|---|---|\n" + "".join(rows)


def with_map(text: str) -> str:
    """The document with a map of the present packages."""
    before, _, rest = text.partition(_BEGIN)
    _, found, after = rest.partition(_END)
    assert found, f"{DOCUMENT} has no place for the map"
    return f"{before}{_BEGIN}{table()}{_END}{after}"


if __name__ == "__main__":
    DOCUMENT.write_text(with_map(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")

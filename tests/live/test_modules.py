"""The lines of modlist."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lab.errors import TransportError
from lab.live.modules import LoadedModule, parse_modules


def test_lines_become_modules() -> None:
    text = (
        "44 6fffff970000 14000 C:\\windows\\system32\\drivers\\mountmgr.sys\n68 7fffff310000 8000 C:\\lab\\run\\My Lamp.SYS\n"
    )
    modules = parse_modules(text)
    assert [module.file for module in modules] == ["mountmgr.sys", "my lamp.sys"]
    assert modules[1] == LoadedModule(0x68, 0x7FFFFF310000, 0x8000, "C:\\lab\\run\\My Lamp.SYS")


@given(st.text(max_size=40))
def test_anything_else_is_refused_and_never_misread(text: str) -> None:
    try:
        modules = parse_modules(text)
    except TransportError:
        return
    assert all(module.path for module in modules)
    assert len(modules) == len(text.splitlines())

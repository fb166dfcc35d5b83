"""The rules that GCC and ld write, read back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lab.toolchain.inputs import parse_dependencies

# What GCC 12 wrote for these names (`gcc -M -MT object`).
_WRITTEN = r"""object: a.c \
 /usr/include/stdc-predef.h sp\ ace/it\'s.h \
  h\#ash.h do$$llar.h back\slash.h trail\\\ x.h
"""


def test_the_names_of_a_rule() -> None:
    assert parse_dependencies(_WRITTEN.replace("\\'", "'")) == [
        "a.c",
        "/usr/include/stdc-predef.h",
        "sp ace/it's.h",
        "h#ash.h",
        "do$llar.h",
        "back\\slash.h",
        "trail\\ x.h",
    ]


def test_ld_adds_rules_without_files() -> None:
    assert parse_dependencies("image: \\\n  a.o \\\n  /lib/b.a\n\na.o:\n\n/lib/b.a:\n") == ["a.o", "/lib/b.a"]


def test_a_rule_without_files_and_a_text_without_a_rule() -> None:
    assert parse_dependencies("object:\n") == []
    assert parse_dependencies("") == []


def escape(name: str) -> str:
    """As libcpp's ``munge`` does it."""
    out = ""
    for at, char in enumerate(name):
        if char in " \t":
            out += "\\" * (len(name[:at]) - len(name[:at].rstrip("\\"))) + "\\" + char
        elif char == "#":
            out += "\\#"
        else:
            out += "$$" if char == "$" else char
    return out


@given(
    st.lists(
        st.text(st.sampled_from("ab/.:# $é\udc80\\"), min_size=1).filter(lambda n: n.strip() and n[-1] != "\\"), unique=True
    )
)
def test_any_written_rule_is_read_back(names: list[str]) -> None:
    names = [name for name in names if "\\#" not in name]
    rule = "object: " + " \\\n ".join(escape(name) for name in names) + "\n"
    assert parse_dependencies(rule) == names

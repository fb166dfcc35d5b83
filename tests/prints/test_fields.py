"""Prints with fields: what they match, and which values come out."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import SuiteError
from lab.prints.fields import fields


def test_numbers_come_out_as_numbers_and_words_as_words() -> None:
    expected = fields("{driver:w}: read {asked:d} of {left:d} at {address:x}, {why}\n")
    found = expected.read("kettle: read 20 of -1 at 0xFF80, no water: 3 cups")
    assert found == {"driver": "kettle", "asked": 20, "left": -1, "address": 0xFF80, "why": "no water: 3 cups"}
    assert expected.read("kettle: read 20 of 1 at 00ff80, ") == {
        "driver": "kettle",
        "asked": 20,
        "left": 1,
        "address": 0xFF80,
        "why": "",
    }
    assert expected.read("kettle: read many of 1 at 0, x") is None
    assert expected.read("two words: read 1 of 1 at 0, x") is None


def test_the_rest_of_a_template_is_literal() -> None:
    assert fields("{{{guid:w}}} (.*)").read("{1-2-3} (.*)") == {"guid": "1-2-3"}
    assert fields("{{{guid:w}}} (.*)").read("{1-2-3} (all)") is None


def test_groups_of_a_pattern_have_types() -> None:
    expected = fields(re.compile(r"(?P<asked>\d+) of (?P<name>\w+)( at (?P<address>[0-9a-f]+))?"), asked="d", address="x")
    assert expected.read("3 of kettle at 10") == {"asked": 3, "name": "kettle", "address": 16}
    assert expected.read("3 of kettle") == {"asked": 3, "name": "kettle"}


def test_fields_may_require_values() -> None:
    expected = fields("read {length:d} by {name:w}").where(length=20).where(name="a")
    assert expected.read("read 0020 by a") == {"length": 20, "name": "a"}
    assert expected.read("read 21 by a") is None
    assert str(expected) == "read {length:d} by {name:w}  where length=20, name='a'"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fields("read {length:i}"), r"field 'length' .* unknown type 'i'[^$]*d \(a decimal number\)"),
        (lambda: fields("read {} bytes"), "a brace without a field .* position 6"),
        (lambda: fields("read {length:d bytes"), "a brace without a field .* position 6"),
        (lambda: fields("{a:d} {a:d}"), "field 'a' is twice"),
        (lambda: fields("{a:d}", a="d"), "types are only for patterns"),
        (lambda: fields(re.compile("(?P<a>.)"), b="d"), r"has no group 'b'[^$]*it has a"),
        (lambda: fields("{a:d}").where(b=1), r"has no field 'b'[^$]*it has a"),
        (lambda: fields("{a:d}").where(a="1"), "a decimal number, which '1' is not"),
        (lambda: fields("{a:w}").where(a=1), "a word, which 1 is not"),
    ],
)
def test_a_wrong_template_is_the_tests_mistake(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(SuiteError) as caught:
        make()
    assert re.search(message, str(caught.value))


@given(st.text(string.printable, max_size=30), st.integers(-(2**63), 2**64), st.integers(0, 2**64))
def test_any_printed_value_comes_back(text: str, decimal: int, hexadecimal: int) -> None:
    template = text.replace("{", "{{").replace("}", "}}")
    expected = fields(f"[{template}] {{number:d}} {{address:x}}")
    assert expected.read(f"[{text}] {decimal} {hexadecimal:#x}") == {"number": decimal, "address": hexadecimal}

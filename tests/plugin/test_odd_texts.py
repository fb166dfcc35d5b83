"""Text that is not Unicode, control bytes and endless lines affect only their own test, and damage no output."""

from __future__ import annotations

import json
import os
import unicodedata
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.plugin.texts import cleaned, sendable, showable

#: Each test's own text, and what the test does with it.
TESTS = r"""
import logging, os, sys, warnings

ODD = "half \ud800 \udcff, \x00 \x1b[31m \x9b31m ]]> \uffff end"

class Bad:
    def __repr__(self): return ODD
    def __eq__(self, other): return False

class Worse(Bad):
    def __repr__(self): raise RuntimeError(ODD)

def test_assert(guest): assert ODD == "x"
def test_message(guest): assert 0, ODD
def test_print(guest): print(ODD); assert 0
def test_log(guest): logging.getLogger().warning(ODD); assert 0
def test_raise(guest): raise ValueError(ODD)
def test_group(guest): raise ExceptionGroup(ODD, [ValueError(ODD)])
def test_skip(guest): pytest.skip(ODD)
def test_fail(guest): pytest.fail(ODD)
@pytest.mark.xfail(reason=ODD)
def test_xfail(guest): assert 0
@pytest.mark.parametrize("p", [ODD, b"\xff\x00", "\ud800"])
def test_parameter(guest, p): assert not p
@pytest.mark.filterwarnings("default")
def test_warning(guest): warnings.warn(ODD)
def test_property(guest, record_property): record_property(ODD, ODD); assert 0
def test_bytes(guest): os.write(1, b"\xff\xfe\x00\x1b[2J"); assert 0
def test_repr(guest): assert Bad() == 1
def test_no_repr(guest): assert Worse() == 1
def test_long(guest): print("x" * 5_000_000); assert 0, "y" * 5_000_000
def test_sound(guest): pass
"""


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_odd_text_ends_only_its_own_test(inner: Any, workers: tuple[str, ...]) -> None:
    result = inner.run(TESTS, "--junitxml=junit.xml", "-o", "junit_family=xunit1", *workers)
    result.assert_outcomes(failed=15, passed=2, skipped=1, xfailed=1, warnings=1)
    text = result.stdout.str()
    assert "INTERNALERROR" not in text
    assert "crashed" not in text
    assert not {char for char in text.replace("\x1b[0m", "") if unicodedata.category(char) == "Cc"} - {"\n", "\t"}
    assert len(text) < 3_000_000
    assert inner.verdicts["test_sound"] == "passed"
    assert len(inner.verdicts) == 19
    cases = list(ElementTree.parse(inner.pytester.path / "junit.xml").iter("testcase"))
    assert len(cases) == 19
    assert (inner.pytester.path / "junit.xml").stat().st_size < 3_000_000
    page = (inner.out / "report.html").read_text(encoding="utf-8")
    assert not {char for char in page if unicodedata.category(char) in ("Cc", "Cs")} - {"\n", "\t"}
    raw = (inner.out / "run.json").read_text(encoding="utf-8")
    assert json.loads(raw)["totals"]
    json.dumps(json.loads(raw), ensure_ascii=False).encode("utf-8")


@pytest.mark.parametrize("workers", [(), ("-n", "1")])
def test_a_suite_whose_name_is_not_valid_text(inner: Any, workers: tuple[str, ...]) -> None:
    name = os.fsencode(inner.pytester.path) + b"/test_\xff.py"
    with open(name, "w", encoding="utf-8") as file:  # noqa: PTH123 - a name of bytes
        file.write("def test_named(guest): pass\ndef test_red(guest): assert 0\n")
    result = inner.run("def test_other(guest): pass", "--junitxml=junit.xml", *workers)
    result.assert_outcomes(passed=2, failed=1)
    assert {nodeid.nodeid for nodeid in inner.report.tests} >= {"test_\\udcff.py::test_named"}
    assert len(list(ElementTree.parse(inner.pytester.path / "junit.xml").iter("testcase"))) == 3


@pytest.mark.parametrize("workers", [(), ("-n", "1")])
def test_a_suite_whose_import_error_is_not_valid_text(inner: Any, workers: tuple[str, ...]) -> None:
    inner.pytester.makepyfile(test_broken="raise ValueError('\\ud800 \\x1b[2J')")
    result = inner.run("def test_other(guest): pass", "--continue-on-collection-errors", "--junitxml=junit.xml", *workers)
    result.assert_outcomes(passed=1, errors=1)
    ElementTree.parse(inner.pytester.path / "junit.xml")


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
@pytest.mark.parametrize(
    ("arguments", "tests", "said"),
    [
        (("-k", "a and or"), "def test_a(guest): pass", "Wrong expression passed to '-k'"),
        (("-m", "(("), "def test_a(guest): pass", "Wrong expression passed to '-m'"),
        (("test_inner.py::no_such_test",), "def test_a(guest): pass", "not found"),
    ],
)
def test_mistakes_of_the_user_are_reported_with_workers_too(
    inner: Any, workers: tuple[str, ...], arguments: tuple[str, ...], tests: str, said: str
) -> None:
    result = inner.run(tests, *arguments, *workers)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    told = result.stderr.str()
    assert said in told
    assert "INTERNALERROR" not in told + result.stdout.str()


ANY = st.text(st.characters(codec=None, exclude_categories=()), max_size=60)


@given(ANY)
def test_text_that_is_shown_fits_every_output(text: str) -> None:
    shown = showable(text)
    shown.encode("utf-8")
    ElementTree.fromstring(ElementTree.tostring(_element(shown)))
    assert not {char for char in shown if unicodedata.category(char) in ("Cc", "Cs")} - {"\n", "\t"}


@given(ANY)
def test_text_that_is_sent_is_changed_where_it_cannot_be_sent(text: str) -> None:
    sent = sendable(text)
    sent.encode("utf-8")
    assert sent == text or any(unicodedata.category(char) == "Cs" for char in text)


@given(st.recursive(ANY | st.integers() | st.none(), lambda inside: st.lists(inside) | st.dictionaries(ANY, inside)))
def test_all_text_of_a_report_is_cleaned(value: Any) -> None:
    json.dumps(cleaned(value, showable), ensure_ascii=False).encode("utf-8")


def test_cut_text_is_counted() -> None:
    shown = showable("a" * 150_000 + "b" * 150_000)
    assert shown.startswith("aaa")
    assert "… 100000 characters left out …" in shown
    assert shown.endswith("bbb")
    assert showable("one\r\ntwo\x00") == "one\ntwo\\x00"


def _element(text: str) -> ElementTree.Element:
    element = ElementTree.Element("a", {"b": text})
    element.text = text
    return element

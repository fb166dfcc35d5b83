"""Bugchecks that say by a parameter which rule was broken."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.crash.bugcheck import Bugcheck, bugcheck_hint
from lab.crash.codes import bugcheck_rule
from lab.crash.faults import FaultWords
from lab.crash.rules import is_left_at_unload

PAGE = 0xFFFFD000_12345000
NUMBERS = st.integers(0, 2**64 - 1)


@pytest.mark.parametrize(
    ("code", "parameters", "rule", "words"),
    [
        (0xC4, (0x62, PAGE, 0, 7), "rule 0x62", r"unloaded without freeing.*\(a leak\): 7 allocation\(s\); .*!verifier 3"),
        (0xC4, (0x60, 4096, 0, 1), "rule 0x60", r"a leak\): 1 allocation"),
        (0xC4, (0x13, 0, PAGE, 0), "rule 0x13", "freed twice"),
        (0xC4, (0x1001, PAGE, 0, 0), "rule 0x1001", "possible deadlock"),
        (0xC4, (0x20002, PAGE, 0, 0), "rule 0x20002", "DDI compliance rule IrqlApcLte"),
        (0xC4, (0x2FFFF, PAGE, 0, 0), "rule 0x2ffff", "DDI compliance rule 0x2FFFF"),
        (0xC4, (0xABC, 0, 0, 0), "rule 0xabc", "Driver Verifier found a broken rule; parameter 1"),
        (0xC9, (0x07, PAGE, PAGE, 0), "rule 0x7", "cancel routine is still set"),
        (0xC9, (0x224, 0, 0, 0), "rule 0x224", "wrong handling of an IRP"),
        (0xE6, (0x0E, PAGE, 0, 0), "rule 0xe", "pageable and not locked"),
        (0xE6, (0x99, 0, 0, 0), "rule 0x99", "used DMA wrongly"),
        (0x139, (3, PAGE, PAGE, 0), "rule 0x3", "LIST_ENTRY is damaged"),
        (0x139, (200, PAGE, PAGE, 0), "rule 0xc8", "a damaged structure"),
        (0x1F2, (PAGE, 4, 0x1234, 0x184), "rule 0x184", r"4 byte\(s\) were written past the end of a global variable"),
        (0x1F2, (PAGE, 1, 0x1234, 0x87), "rule 0x87", "1 byte.* read in freed memory, at 0xffffd000.*instruction is at 0x1234"),
        (0x1F2, (PAGE, 8, 0x1234, 0x05), "rule 0x5", "past byte 5 of its block"),
        (0xD1, (PAGE, 2, 1, 0x1234), "", "at raised IRQL"),
    ],
)
def test_the_rule_and_its_words(code: int, parameters: tuple[int, int, int, int], rule: str, words: str) -> None:
    found = FaultWords.of(code, parameters)
    assert found.is_bugcheck
    assert found.name.isupper()
    assert found.rule == rule
    assert re.search(words, found.hint), found.hint
    assert Bugcheck(code, parameters).hint == found.hint


def test_a_leak_names_the_pool_tags_of_the_drivers_code() -> None:
    leak = FaultWords.of(0xC4, (0x62, PAGE, 0, 7), pool_tags=("Asyn", "Sync"))
    assert leak.hint.endswith("; the driver's code allocates with the pool tags Asyn, Sync")
    assert "pool tags" not in FaultWords.of(0xD1, (PAGE, 2, 1, 0x1234), pool_tags=("Sync",)).hint


def test_without_parameters_the_words_are_about_the_code() -> None:
    assert bugcheck_hint(0xC4).startswith("Driver Verifier found a broken rule")
    assert bugcheck_rule(0xC4, ()) == ""


def test_a_small_dump_has_the_same_rule() -> None:
    parameters = (0x62, PAGE, 0, 2)
    assert bugcheck_rule(0x100000C4, parameters) == "rule 0x62"
    assert bugcheck_hint(0x100000C4, parameters) == bugcheck_hint(0xC4, parameters)


@pytest.mark.parametrize(
    ("code", "first", "left"),
    [(0xC4, 0x62, True), (0xC4, 0x60, True), (0xC4, 0xDD, True), (0xC4, 0x13, False), (0xD1, 0x62, False)],
)
def test_what_is_left_at_an_unload(code: int, first: int, left: bool) -> None:
    assert is_left_at_unload(code, (first, 0, 0, 1)) == left
    assert not is_left_at_unload(code, (first,))


@given(st.sampled_from([0xC4, 0xC9, 0xE6, 0x139, 0x1F2]), st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS))
def test_every_parameter_has_words_in_one_line(code: int, parameters: tuple[int, int, int, int]) -> None:
    found = FaultWords.of(code, parameters)
    assert found.hint
    assert "\n" not in found.hint
    assert found.rule.startswith("rule 0x")

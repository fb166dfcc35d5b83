"""Signatures are equal for equal failures, and differ for different ones."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import ServiceError, TransportError
from lab.gate.facts import Facts, PhaseFact
from lab.gate.outside import fault_before_tests, never_ended, never_started
from lab.gate.signature import error_signature, fault_signature, function_of, stable, statement_of, text_signature
from lab.gate.verdict import decide
from lab.prints.matching import PrintMismatch
from lab.prints.record import FaultRecord
from lab.report.model import Fault

WORDS = st.lists(
    st.sampled_from(
        ["the", "read", "at", "of", "client", "pid", "after", "took", "in", "s", "guest", "读字节长度:", "(sync.sys)"]
    ),
    max_size=8,
)
ADDRESSES = st.integers(0x10000, 2**64 - 1).filter(lambda value: value >> 16 not in (0x8000, 0xC000)).map(hex)
VARYING = st.one_of(
    ADDRESSES,
    st.integers(0, 10**7).map(str),
    st.floats(0, 10**6, allow_nan=False).map(lambda value: f"{value:.3f}"),
    st.datetimes().map(lambda value: value.isoformat(sep=" ", timespec="milliseconds")),
)


def caught(run: Callable[[], object]) -> BaseException:
    try:
        run()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


@given(st.text())
def test_a_stable_text_is_its_own_stable_text(text: str) -> None:
    assert stable(stable(text)) == stable(text)


@given(WORDS, st.lists(st.tuples(VARYING, VARYING, WORDS), max_size=4))
def test_texts_that_differ_in_numbers_times_and_addresses_have_one_stable_text(
    begin: list[str], parts: list[tuple[str, str, list[str]]]
) -> None:
    one, other = list(begin), list(begin)
    for first, second, words in parts:
        if re.fullmatch(r"\d{4}-.*", first) is None and re.fullmatch(r"\d{4}-.*", second) is None:
            one += [first, *words]
            other += [second, *words]
    assert stable(" ".join(one)) == stable(" ".join(other))


@given(st.text(alphabet="0123456789abcdefx.:-/ "))
def test_no_number_but_an_ntstatus_is_left(text: str) -> None:
    left = re.sub(r"0x[8C]000[0-9A-F]{4}", "", stable(text))
    assert not re.search(r"(?<![A-Za-z0-9_])[0-9]", left)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Unhandled exception code c0000005 flags 0 addr 0x14000112f", "Unhandled exception code 0xC0000005 flags # addr #"),
        ("assert -1073741790 == 0", "assert 0xC0000022 == #"),
        ("assert 3221225488 == 0", "assert 0xC0000010 == #"),
        ("guest gw1-12 of gw1 did not answer within 12.5 s", "guest guest of guest did not answer within # s"),
        ("no file /tmp/lab-x81a/run/sync.sys", "no file sync.sys"),
        ("2026-11-30T09:12:55Z at 09:12:55.123", "<time> at <time>"),
        ("Win32 and sync2.sys on x64", "Win32 and sync2.sys on x64"),
        ("读字节长度20", "读字节长度#"),
    ],
)
def test_what_is_kept_and_what_is_not(text: str, expected: str) -> None:
    assert stable(text) == expected


@pytest.mark.parametrize(
    ("place", "function"),
    [
        ("sync.sys+0x1050 (DispatchRead, sync.c:66)", "DispatchRead"),
        ("sync.sys+0x1050 (Copy, sync.c:66, in DispatchRead, sync.c:99)", "Copy"),
        ("ring.sys+0x10 (ring::Push(int, char), ring.cpp:7)", "ring::Push(int, char)"),
        ("sync.sys+0x1050 (DispatchRead)", "DispatchRead"),
        ("sync.sys+0x1050", ""),
        ("", ""),
    ],
)
def test_the_function_of_a_place(place: str, function: str) -> None:
    assert function_of(place) == function


def test_a_fault_has_its_function_else_its_driver_and_never_an_address() -> None:
    code, name = "0xC0000005", "STATUS_ACCESS_VIOLATION"
    there = fault_signature(code, name=name, place="sync.sys+0x1050 (DispatchRead, sync.c:66)", driver="sync")
    moved = fault_signature(code, name=name, place="sync.sys+0x1099 (DispatchRead, sync.c:71)", driver="sync")
    assert there == moved == "crash 0xC0000005 STATUS_ACCESS_VIOLATION in DispatchRead"
    assert fault_signature(code, place="sync.sys+0x1050") == "crash 0xC0000005 in sync.sys"
    assert fault_signature(code, driver="sync") == "crash 0xC0000005 in sync"
    assert fault_signature("0x00000000", text="the guest reset itself") == "crash the guest reset itself"


def test_two_rules_of_driver_verifier_are_two_failures() -> None:
    def signature(rule: int) -> str:
        fault = FaultRecord(
            sequence=1, host_time=1.0, guest_time=None, code=0xC4, parameters=(rule, 0xFFFFD000, 0, 3), text="*** Fatal"
        )
        return decide(Facts(phases=[], faults=[fault], accused="sync.sys")).signature

    leak = signature(0x62)
    assert leak == "crash 0x000000C4 DRIVER_VERIFIER_DETECTED_VIOLATION rule 0x62 in sync.sys"
    assert signature(0x13) != leak
    outside = Fault(
        code="0x000000C4",
        parameters=["0x62", "0x1", "0x0", "0x9"],
        driver="sync.sys",
        name="DRIVER_VERIFIER_DETECTED_VIOLATION",
    )
    found = fault_before_tests("gw0-1", [outside])
    assert found is not None
    assert found.decision.signature == leak


@dataclass(frozen=True)
class Read:
    error: int
    text: str = ""


def test_an_assertion_has_its_expression_and_not_its_values() -> None:
    def check(reads: list[Read]) -> None:
        assert [read.text for read in reads] == [
            "a",
            "b",
        ], f"{len(reads)} reads"

    one, other = caught(lambda: check([Read(0, "x")])), caught(lambda: check([]))
    expected = "product AssertionError: assert [read.text for read in reads] == ['a', 'b']"
    assert error_signature("product", one) == error_signature("product", other) == expected
    assert error_signature("product", one, when="setup") == expected.replace("product", "product in setup")


def test_a_code_in_an_assertion_distinguishes_failures() -> None:
    def check(read: Read) -> None:
        assert read.error == 0

    denied, refused = caught(lambda: check(Read(5))), caught(lambda: check(Read(0xC0000010)))
    assert error_signature("product", denied) == "product AssertionError: assert read.error == 0 [error 5]"
    assert error_signature("product", refused) == "product AssertionError: assert read.error == 0 [0xC0000010]"


def test_the_first_line_of_a_statement_with_a_body_counts() -> None:
    def check() -> None:
        with pytest.raises(ValueError, match="no"):
            pass

    assert statement_of(caught(check)) == "with pytest.raises(ValueError, match='no'):"


def test_a_print_that_is_wrong_has_the_statement_alone() -> None:
    def check(came: str) -> None:
        raise PrintMismatch(f"kernel print 1 is '{came}'")

    one, other = caught(lambda: check("a")), caught(lambda: check("b"))
    assert error_signature("product", one) == error_signature("product", other)
    assert "PrintMismatch" in error_signature("product", one)


def test_an_error_without_a_line_of_the_suite_has_its_own_text() -> None:
    assert error_signature("infra", TransportError("no answer within 30.1 s")) == "infra TransportError: no answer within # s"
    refused = error_signature("product", ServiceError("sc start sync", 577), when="setup")
    assert refused == "product in setup ServiceError: in the guest, `sc start sync` ended with # [error 577]"


def test_a_signature_is_one_line_of_at_most_200_characters() -> None:
    assert len(text_signature("infra", "lost\n" * 400)) == 200
    assert "\n" not in text_signature("infra", "a\nb")


def phases(error: BaseException) -> list[PhaseFact]:
    return [PhaseFact(when="setup", outcome="passed"), PhaseFact(when="call", outcome="failed", error=error)]


def test_decisions_have_signatures_if_they_are_red() -> None:
    fault = FaultRecord(
        sequence=3, host_time=1.0, guest_time=2.0, code=0xC0000005, parameters=(0x14000112F,), text="Unhandled exception"
    )
    passed = [PhaseFact(when="call", outcome="passed")]
    assert decide(Facts(phases=passed)).signature == ""
    assert decide(Facts(phases=[PhaseFact(when="setup", outcome="skipped")])).signature == ""
    crash = decide(Facts(phases=passed, faults=[fault], accused="sync", fault_place="sync.sys+0x1050 (Read, sync.c:66)"))
    assert crash.signature == "crash 0xC0000005 STATUS_ACCESS_VIOLATION in Read"
    reset = decide(Facts(phases=passed, crash_sign="the guest reset itself"))
    assert reset.signature == "crash: the guest reset itself"
    assert decide(Facts(phases=phases(AssertionError("no")))).signature == "product AssertionError: no"
    provoked = decide(Facts(phases=passed, expected_fault=0xC0000005))
    assert provoked.signature == "product: the expected fault 0xC0000005 did not happen"


def test_verdicts_outside_of_a_window_have_a_signature_too() -> None:
    fault = Fault(code="0xC0000005", text="x", name="STATUS_ACCESS_VIOLATION", driver="sync")
    early = fault_before_tests("gw0-1", [fault])
    assert early is not None
    assert early.decision.signature == "crash 0xC0000005 STATUS_ACCESS_VIOLATION in sync"
    one, other = never_ended("gw3").signature, never_ended("gw4").signature
    assert one == other == "infra: worker guest ended in the middle of this test"
    assert never_started("").signature == "infra: never started: pytest ended before this test"

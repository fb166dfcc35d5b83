"""Bugchecks as the kernel or QEMU reports them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.crash.bugcheck import Bugcheck, bugcheck_hint, bugcheck_name, find_bugcheck, from_guest_panicked

FATAL = """KDTARGET: Refreshing KD connection

*** Fatal System Error: 0x000000d1
                       (0xFFFFD00012345678,0x0000000000000002,0x0000000000000001,0xFFFFF80212345678)

"""
PARAMETERS = (0xFFFFD00012345678, 2, 1, 0xFFFFF80212345678)
WORD = st.integers(0, 2**64 - 1)


def test_code_and_parameters_of_the_debugger_text() -> None:
    found = find_bugcheck("a print of a driver\n" + FATAL + "Break instruction exception\n")
    assert found is not None
    assert (found.code, found.parameters, found.driver) == (0xD1, PARAMETERS, "")
    assert found.text.startswith("*** Fatal System Error: 0x000000d1")
    assert found.text.endswith("0xFFFFF80212345678)")


@pytest.mark.parametrize(
    "words",
    [
        "Driver at fault: sync.sys.\n",
        "Driver at fault: sync.sys.",
        "Driver at fault: \n***  sync.sys - Address FFFFF80212345678 base at FFFFF80212340000, DateStamp 4f806ca0\n.\n",
    ],
)
def test_the_driver_that_is_blamed(words: str) -> None:
    found = find_bugcheck(FATAL + words)
    assert found is not None
    assert found.driver == "sync.sys"
    assert "sync.sys" in found.text


@pytest.mark.parametrize(
    "words", ["Driver at fault: syn", "Driver at fault: sync.sys", "Driver at fault: ", "Driver at fault: \n.\n"]
)
def test_an_incomplete_driver_name_does_not_count(words: str) -> None:
    found = find_bugcheck(FATAL + words)
    assert found is not None
    assert found.driver == ""


def test_line_ends_case_and_32_bit_parameters_do_not_matter() -> None:
    text = "*** fatal system error: 0x0000000A\r\n      (0x00000004,0x00000002,0x00000000,0x804E1234)\r\n\r\n"
    found = find_bugcheck(text)
    assert found is not None
    assert (found.code, found.parameters) == (0xA, (4, 2, 0, 0x804E1234))


def test_the_last_of_two_bugchecks_counts() -> None:
    found = find_bugcheck(FATAL + "Driver at fault: old.sys.\n" + FATAL.replace("d1", "7e"))
    assert found is not None
    assert (found.code, found.driver) == (0x7E, "")


def test_no_bugcheck_before_its_message_is_complete() -> None:
    complete = FATAL.index(")") + 1
    assert all(find_bugcheck(FATAL[:length]) is None for length in range(complete))
    assert find_bugcheck(FATAL[:complete]) is not None


@given(st.integers(0, 2**32 - 1), st.tuples(WORD, WORD, WORD, WORD), st.text(), st.text())
def test_any_bugcheck_is_found_among_any_prints(
    code: int, parameters: tuple[int, int, int, int], before: str, after: str
) -> None:
    values = ",".join(f"0x{value:016X}" for value in parameters)
    found = find_bugcheck(f"{before}\n*** Fatal System Error: 0x{code:08x}\n          ({values})\n\n{after}")
    assert found is not None
    assert (found.code, found.parameters) == (code, parameters)


@given(st.text(alphabet="*FatlSysemEro:0x1(),() \nDivr", max_size=300))
def test_no_text_breaks_the_search(text: str) -> None:
    assert find_bugcheck(text) is None or "Fatal" in text


@given(WORD, st.tuples(WORD, WORD, WORD, WORD))
def test_the_panic_event_of_a_hyper_v_guest(code: int, parameters: tuple[int, int, int, int]) -> None:
    info = {"type": "hyper-v", "arg1": code} | {f"arg{index}": value for index, value in enumerate(parameters, 2)}
    found = from_guest_panicked({"action": "run", "info": info})
    assert found is not None
    assert (found.code, found.parameters) == (code & 0xFFFFFFFF, parameters)


@pytest.mark.parametrize(
    "data",
    [
        {"action": "pause"},
        {"action": "run", "info": {"type": "s390", "core": 0}},
        {"action": "run", "info": {"type": "hyper-v", "arg1": 0xD1}},
        {"action": "run", "info": {"type": "hyper-v", "arg1": "x", "arg2": 0, "arg3": 0, "arg4": 0, "arg5": 0}},
        {"info": "hyper-v"},
    ],
)
def test_a_panic_event_without_a_code(data: dict[str, object]) -> None:
    assert from_guest_panicked(data) is None


def test_a_bugcheck_in_words() -> None:
    bugcheck = Bugcheck(0xD1, PARAMETERS, "sync.sys")
    text = str(bugcheck)
    assert text.startswith("bugcheck 0x000000D1 DRIVER_IRQL_NOT_LESS_OR_EQUAL (0xffffd00012345678, 0x2, 0x1, ")
    assert text.endswith(" in sync.sys")
    assert str(Bugcheck(0x12345, (0, 0, 0, 0))) == "bugcheck 0x00012345 (0x0, 0x0, 0x0, 0x0)"
    error = bugcheck.as_error()
    assert (error.code, error.parameters) == (0xD1, PARAMETERS)
    assert "sync.sys" in str(error)
    assert "4 the instruction" in error.hint


@pytest.mark.parametrize(
    "code",
    [0xD1, 0xA, 0x7E, 0x50, 0xC4, 0xC9, 0x9F, 0xCE, 0x19, 0xC2, 0x139, 0x133, 0x101, 0xE2, 0x80, 0x1E, 0x3B, 0x7F, 0x1000007E],
)
def test_common_bugchecks_have_a_name_and_a_hint(code: int) -> None:
    assert bugcheck_name(code).isupper()
    assert len(bugcheck_hint(code)) > 20
    assert "\n" not in bugcheck_hint(code)


def test_an_unknown_code_has_no_name_and_no_hint() -> None:
    assert bugcheck_name(0x7FFFFFFF) == bugcheck_hint(0x7FFFFFFF) == ""


@pytest.mark.parametrize(
    ("code", "name"), [(0x100000D1, "DRIVER_IRQL_NOT_LESS_OR_EQUAL"), (0x1000000A, "IRQL_NOT_LESS_OR_EQUAL")]
)
def test_codes_of_small_dumps_have_the_name_and_hint_of_their_own(code: int, name: str) -> None:
    assert bugcheck_name(code) == name
    assert bugcheck_hint(code) == bugcheck_hint(code & 0xFF) != ""

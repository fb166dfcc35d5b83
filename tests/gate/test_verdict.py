"""Every row of the verdict table."""

from __future__ import annotations

import datetime
from typing import Any, Literal

import pytest

from lab.config import KnownIssue
from lab.errors import (
    BootTimeout,
    CommandFailed,
    ConfigError,
    EvidenceLost,
    GuestCrashed,
    GuestExited,
    GuestHung,
    GuestLacks,
    HostToolError,
    ImageError,
    LabError,
    ServiceError,
    SuiteError,
    TransportError,
)
from lab.gate.facts import Facts, PhaseFact
from lab.gate.reasons import one_line
from lab.gate.verdict import Decision, Verdict, decide
from lab.prints.record import FaultRecord, GapRecord

When = Literal["setup", "call", "teardown"]

FAULT = FaultRecord(
    sequence=3, host_time=1.0, guest_time=2.0, code=0xC0000005, parameters=(0x14000112F,), text="Unhandled exception"
)
GAP = GapRecord(sequence=9, host_time=1.0, missing=2, reason="lines 17 and 18 did not come")


def phases(when: When = "call", error: BaseException | None = None, text: str = "") -> list[PhaseFact]:
    """The phases of a test of which one failed."""
    order: list[When] = ["setup", "call", "teardown"]
    found = []
    for phase in order:
        if phase == when:
            found.append(PhaseFact(when=phase, outcome="failed", error=error, text=text))
        elif not (when == "setup" and phase == "call"):
            found.append(PhaseFact(when=phase, outcome="passed"))
    return found


@pytest.mark.parametrize(("uses_lab", "verdict"), [(True, "product"), (False, "test")])
def test_an_assertion_of_a_test_without_the_lab_is_its_own(uses_lab: bool, verdict: Verdict) -> None:
    for error in (AssertionError("a != b"), pytest.fail.Exception("no")):
        assert decide(Facts(phases=phases(error=error), uses_lab=uses_lab)).verdict == verdict
    assert decide(Facts(phases=phases(error=MemoryError()), uses_lab=uses_lab)).verdict == "infra"


PASSED = [PhaseFact(when="setup", outcome="passed"), PhaseFact(when="call", outcome="passed")]
SKIPPED = [PhaseFact(when="setup", outcome="skipped")]


@pytest.mark.parametrize(
    ("error", "in_call", "in_fixture"),
    [
        (AssertionError("a != b"), "product", "product"),
        (pytest.fail.Exception("no such print"), "product", "product"),
        (KeyError("slot"), "test", "test"),
        (OSError(2, "No such file or directory"), "test", "test"),
        (OSError(28, "No space left on device"), "infra", "infra"),
        (OSError(24, "Too many open files"), "infra", "infra"),
        (MemoryError(), "infra", "infra"),
        (SuiteError("a marker is wrong"), "test", "test"),
        (pytest.UsageError("a fixture is used wrongly"), "test", "test"),
        (ServiceError("sc start sync", 577), "product", "product"),
        (CommandFailed("drvprobe", 3), "product", "infra"),
        (GuestCrashed(0xC0000005, (0x10,)), "crash", "crash"),
        (GuestExited("QEMU was killed by signal 9"), "infra", "infra"),
        (TransportError("no answer"), "infra", "infra"),
        (BootTimeout("no answer within 300 s"), "infra", "infra"),
        (HostToolError(["qemu-img"], 1), "infra", "infra"),
        (ImageError("no such image"), "infra", "infra"),
        (ConfigError("wrong key"), "infra", "infra"),
        (EvidenceLost("the marker did not come back"), "infra", "infra"),
        (GuestHung("the read did not end"), "infra", "infra"),
        (LabError("something else"), "infra", "infra"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_the_class_of_the_exception_decides(error: BaseException, in_call: Verdict, in_fixture: Verdict) -> None:
    assert decide(Facts(phases=phases("call", error))).verdict == in_call
    assert decide(Facts(phases=phases("setup", error))).verdict == in_fixture
    assert decide(Facts(phases=phases("teardown", error))).verdict == in_fixture


@pytest.mark.parametrize(("answers", "verdict"), [(True, "product"), (False, "infra"), (None, "infra")])
@pytest.mark.parametrize("when", ["setup", "call", "teardown"])
def test_a_hang_is_the_drivers_only_when_the_guest_itself_answers(answers: bool | None, verdict: str, when: When) -> None:
    facts = Facts(phases=phases(when, GuestHung("read did not end within 30 s")), guest_answers=answers)
    decision = decide(facts)
    assert decision.verdict == verdict
    assert "read did not end within 30 s" in decision.reason


def test_a_test_that_passes_passes_without_a_reason() -> None:
    assert decide(Facts(phases=PASSED)) == Decision(verdict="passed", reason="")


def test_a_fault_is_a_crash_even_when_every_assertion_passed() -> None:
    decision = decide(Facts(phases=PASSED, faults=[FAULT]))
    assert decision.verdict == "crash"
    assert "0xC0000005" in decision.reason
    assert "0x14000112f" in decision.reason


@pytest.mark.parametrize(
    "other",
    [
        {"phases": phases("call", AssertionError("x"))},
        {"phases": phases("call", TransportError("connection reset"))},
        {"phases": PASSED, "gaps": [GAP]},
        {"phases": PASSED, "guest_alive": False},
        {"phases": SKIPPED},
        {"phases": phases("setup", BootTimeout("late"))},
    ],
)
def test_a_fault_wins_over_everything_else(other: dict[str, Any]) -> None:
    assert decide(Facts(faults=[FAULT], **other)).verdict == "crash"


def test_an_expected_fault_is_not_a_crash() -> None:
    assert decide(Facts(phases=PASSED, faults=[FAULT], expected_fault=0xC0000005)).verdict == "passed"


def test_an_expected_fault_excuses_no_other() -> None:
    assert decide(Facts(phases=PASSED, faults=[FAULT], expected_fault=0xD1)).verdict == "crash"


def test_an_expected_fault_that_does_not_come_is_a_product_failure() -> None:
    decision = decide(Facts(phases=PASSED, expected_fault=0xD1))
    assert decision == Decision(verdict="product", reason="the expected fault 0x000000D1 did not happen")


def test_gaps_make_an_otherwise_green_test_infra() -> None:
    decision = decide(Facts(phases=PASSED, gaps=[GAP, GAP]))
    assert decision.verdict == "infra"
    assert "lines 17 and 18 did not come (and 1 more)" in decision.reason


def test_no_driver_is_accused_on_incomplete_evidence() -> None:
    decision = decide(Facts(phases=phases("call", AssertionError("print 3 is missing")), gaps=[GAP]))
    assert decision.verdict == "infra"
    assert "print 3 is missing" in decision.reason


def test_a_vm_that_ended_without_a_fault_is_infra() -> None:
    assert decide(Facts(phases=PASSED, guest_alive=False)).verdict == "infra"
    failed = decide(Facts(phases=phases("call", AssertionError("no data")), guest_alive=False))
    assert failed.verdict == "infra"
    assert "no data" in failed.reason


def test_a_missing_capability_is_named() -> None:
    decision = decide(Facts(phases=SKIPPED, missing_capability="direct_io"))
    assert decision == Decision(verdict="skipped", reason="needs direct_io")


def test_another_skip_keeps_its_reason() -> None:
    assert decide(Facts(phases=SKIPPED, skip_reason="only on Tuesdays")).reason == "only on Tuesdays"
    assert decide(Facts(phases=SKIPPED)).reason == "skipped"


def test_a_skipped_test_whose_teardown_fails_is_not_green() -> None:
    facts = Facts(phases=[*SKIPPED, PhaseFact(when="teardown", outcome="failed", error=TransportError("gone"))])
    assert decide(facts).verdict == "infra"


def test_a_skip_is_a_skip_on_a_dead_guest_too() -> None:
    assert decide(Facts(phases=SKIPPED, skip_reason="x", guest_alive=False, gaps=[GAP])).verdict == "skipped"


def test_an_expected_failure_is_known() -> None:
    facts = Facts(phases=[PhaseFact(when="call", outcome="skipped")], xfail_reason="ticks drift")
    assert decide(facts) == Decision(verdict="known", reason="expected to fail: ticks drift")


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (TransportError("reset"), "infra"),
        (GuestCrashed(0xD1), "crash"),
        (EvidenceLost("no marker"), "infra"),
        (ServiceError("sc start", 577), "known"),
        (AssertionError("x"), "known"),
        (ExceptionGroup("teardown", [AssertionError("x"), GuestCrashed(0xD1)]), "crash"),
    ],
)
def test_an_expected_failure_excuses_neither_the_lab_nor_a_crash(error: BaseException, verdict: str) -> None:
    facts = Facts(phases=[PhaseFact(when="call", outcome="skipped", error=error)], xfail_reason="ticks drift")
    assert decide(facts).verdict == verdict


def test_the_exception_of_an_expected_fault_is_no_failure() -> None:
    failed = phases("call", GuestCrashed(0xC0000005))
    assert decide(Facts(phases=failed, faults=[FAULT], expected_fault=0xC0000005)).verdict == "passed"
    assert decide(Facts(phases=failed, expected_fault=0xC0000005)).verdict == "product"
    assert decide(Facts(phases=failed, faults=[FAULT], expected_fault=0xD1)).verdict == "crash"


def test_a_fault_from_before_the_test_says_so_and_is_never_the_expected_one() -> None:
    failed = phases("setup", GuestCrashed(0xC0000005))
    decision = decide(Facts(phases=failed, faults=[FAULT], behind="the guest's boot", expected_fault=0xC0000005))
    assert decision.verdict == "crash"
    assert decision.reason.startswith("before this test did anything, after the guest's boot: driver fault 0xC0000005")


def test_an_unexpected_pass_of_a_strict_xfail_is_the_tests_own() -> None:
    decision = decide(Facts(phases=phases("call", None, "[XPASS(strict)] ticks drift")))
    assert decision == Decision(verdict="test", reason="[XPASS(strict)] ticks drift")


def test_the_first_failed_phase_decides() -> None:
    facts = Facts(
        phases=[
            PhaseFact(when="setup", outcome="passed"),
            PhaseFact(when="call", outcome="failed", error=AssertionError("wrong byte")),
            PhaseFact(when="teardown", outcome="failed", error=TransportError("gone")),
        ]
    )
    assert decide(facts) == Decision(verdict="product", reason="wrong byte")


def test_a_crash_in_a_later_phase_is_seen() -> None:
    facts = Facts(
        phases=[
            PhaseFact(when="call", outcome="failed", error=TransportError("reset")),
            PhaseFact(when="teardown", outcome="failed", error=GuestCrashed(0xD1, (1, 2, 3, 4))),
        ]
    )
    assert decide(facts).verdict == "crash"


def test_of_a_group_of_exceptions_the_gravest_decides() -> None:
    group = ExceptionGroup("teardown", [TransportError("x"), ExceptionGroup("inner", [ServiceError("sc stop", 1052)])])
    assert decide(Facts(phases=phases("teardown", group))).verdict == "product"


def test_a_crash_that_caused_another_exception_is_a_crash() -> None:
    error = TransportError("reset")
    error.__cause__ = GuestCrashed(0x50)
    assert decide(Facts(phases=phases("call", error))).verdict == "crash"


def test_a_failed_phase_without_an_exception_is_judged_by_its_phase() -> None:
    assert decide(Facts(phases=phases("call"))) == Decision(verdict="test", reason="call failed")
    assert decide(Facts(phases=phases("setup"))) == Decision(verdict="infra", reason="in setup: setup failed")


@pytest.mark.parametrize(
    ("verdict", "error", "expected"),
    [
        ("product", AssertionError("x"), "known"),
        ("crash", AssertionError("x"), "product"),
        ("product", GuestCrashed(1), "crash"),
        ("crash", GuestCrashed(1), "known"),
        ("product", TransportError("x"), "infra"),
        ("product", None, "passed"),
    ],
)
def test_a_known_issue_excuses_its_own_verdict_only(
    verdict: Literal["product", "crash"], error: BaseException | None, expected: str
) -> None:
    issue = KnownIssue(test="*", reason="being fixed", until=datetime.date(2030, 1, 31), verdict=verdict)
    found = decide(Facts(phases=PASSED if error is None else phases("call", error), known=[issue]))
    assert found.verdict == expected
    assert ("known until 2030-01-31: being fixed" in found.reason) is (expected == "known")


def test_of_several_known_issues_the_fitting_one_is_taken() -> None:
    until = datetime.date(2030, 1, 31)
    issues = [
        KnownIssue(test="*", reason="first", until=until, verdict="crash"),
        KnownIssue(test="*", reason="second", until=until),
    ]
    assert "second" in decide(Facts(phases=phases("call", AssertionError("x")), known=issues)).reason


def test_a_reason_is_one_short_line() -> None:
    text = decide(Facts(phases=phases("call", AssertionError("a\nb\r\n" + "c" * 1000)))).reason
    assert text.startswith("a b ccc")
    assert text.endswith("…")
    assert len(text) == 300
    assert one_line("a \n b") == "a b"


def test_a_guest_that_ended_itself_is_a_crash_in_spite_of_other_failures() -> None:
    facts = Facts(
        phases=phases(error=TransportError("the connection was reset")),
        crash_sign="the guest reset itself (QEMU: SHUTDOWN)",
        guest_alive=False,
        gaps=[GAP],
    )
    assert decide(facts) == Decision(verdict="crash", reason="the guest reset itself (QEMU: SHUTDOWN)")


def test_a_bugcheck_is_reported_with_name_and_hint() -> None:
    fault = FaultRecord(sequence=1, host_time=1.0, guest_time=None, code=0x44, parameters=(0xFFFF, 0, 0, 0), text="*** Fatal")
    reason = decide(Facts(phases=PASSED, faults=[fault])).reason
    assert reason.startswith(
        "bugcheck 0x00000044 MULTIPLE_IRP_COMPLETE_REQUESTS (0xffff, 0x0, 0x0, 0x0): an IRP was completed twice"
    )


def test_an_unknown_bugcheck_is_reported_with_its_text() -> None:
    fault = FaultRecord(sequence=1, host_time=1.0, guest_time=None, code=0x7FFF, parameters=(1, 2, 3, 4), text="*** Fatal")
    assert decide(Facts(phases=PASSED, faults=[fault])).reason == "bugcheck 0x00007FFF (0x1, 0x2, 0x3, 0x4): *** Fatal"


STUB = FaultRecord(
    sequence=3,
    host_time=1.0,
    guest_time=2.0,
    code=0x80000100,
    parameters=(0x6FFFFFC1CF77,),
    text="Unhandled exception",
    lacks="function:ntoskrnl.exe!MmGetVirtualForPhysical",
)
NEEDS = "needs function:ntoskrnl.exe!MmGetVirtualForPhysical: this guest's kernel has no MmGetVirtualForPhysical"


@pytest.mark.parametrize(
    "facts",
    [
        Facts(phases=PASSED, faults=[STUB]),
        Facts(phases=phases("setup", ServiceError("sc start frob", 1053)), faults=[STUB]),
        Facts(phases=phases("call", AssertionError("a != b")), faults=[STUB, FAULT]),
        Facts(phases=PASSED, faults=[STUB], gaps=[GAP]),
        Facts(phases=PASSED, faults=[FAULT, STUB], expected_fault=FAULT.code),
        Facts(phases=phases("call", AssertionError("a != b")), faults=[STUB], xfail_reason="not done yet"),
        Facts(phases=phases("call", GuestLacks(STUB.lacks, "this guest's kernel has no MmGetVirtualForPhysical"))),
    ],
)
def test_a_missing_function_of_the_stand_in_accuses_no_driver(facts: Facts) -> None:
    assert decide(facts) == Decision(verdict="skipped", reason=NEEDS)


def test_a_fault_before_a_call_of_a_missing_function_is_the_drivers() -> None:
    assert decide(Facts(phases=PASSED, faults=[FAULT, STUB])).verdict == "crash"


@pytest.mark.parametrize(("signature", "verdict"), [("product AssertionError: a*", "known"), ("product KeyError*", "product")])
def test_a_known_issue_with_a_signature_excuses_no_other_failure(signature: str, verdict: str) -> None:
    until = datetime.date(2099, 1, 1)
    known = KnownIssue(test="*", reason="being fixed", until=until, signature=signature)
    decision = decide(Facts(phases=phases(error=AssertionError("a != b")), known=[known]))
    assert decision.verdict == verdict
    assert decision.signature == "product AssertionError: a != b"

"""Which of QEMU's events show that a guest ended itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from lab.crash.faults import FaultWords, title
from lab.crash.signs import crash_sign
from lab.vm.qmp import QmpEvent

HYPER_V = {"type": "hyper-v", "arg1": 0xD1, "arg2": 1, "arg3": 2, "arg4": 3, "arg5": 4}


def events(*pairs: tuple[str, Mapping[str, Any]]) -> list[QmpEvent]:
    return [QmpEvent(index, name, data, 0.0, 0.0) for index, (name, data) in enumerate(pairs, 1)]


def test_a_panic_with_a_code_has_priority() -> None:
    sign = crash_sign(
        events(
            ("GUEST_PANICKED", {"action": "run"}),
            ("GUEST_PANICKED", {"action": "run", "info": HYPER_V}),
            ("RESET", {"guest": True, "reason": "guest-reset"}),
        )
    )
    assert sign is not None
    assert sign.bugcheck is not None
    assert (sign.bugcheck.code, sign.bugcheck.parameters) == (0xD1, (1, 2, 3, 4))
    assert "DRIVER_IRQL_NOT_LESS_OR_EQUAL" in sign.text


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("GUEST_PANICKED", {"action": "run"}, "without a code"),
        ("GUEST_CRASHLOADED", {"action": "run"}, "GUEST_CRASHLOADED"),
        ("SHUTDOWN", {"guest": True, "reason": "guest-reset"}, "the guest reset itself"),
        ("SHUTDOWN", {"guest": True, "reason": "guest-shutdown"}, "evaluation"),
        ("RESET", {"guest": True, "reason": "guest-reset"}, "reset itself"),
        ("RESET", {"guest": True}, "no reason given"),
    ],
)
def test_signs_without_a_code(name: str, data: Mapping[str, Any], words: str) -> None:
    sign = crash_sign(events((name, data)))
    assert sign is not None
    assert sign.bugcheck is None
    assert words in sign.text


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("SHUTDOWN", {"guest": False, "reason": "host-qmp-quit"}),
        ("SHUTDOWN", {"guest": False, "reason": "host-signal"}),
        ("RESET", {"guest": False, "reason": "host-qmp-system-reset"}),
        ("STOP", {}),
        ("RESET", {}),
    ],
)
def test_actions_of_the_host_are_not_a_crash(name: str, data: Mapping[str, Any]) -> None:
    assert crash_sign(events((name, data))) is None


def test_events_after_the_labs_own_nmi_are_no_sign() -> None:
    came = events(("STOP", {}), ("RESET", {"guest": True, "reason": "guest-reset"}))
    assert crash_sign(came, before=2) is None
    assert crash_sign(came, before=3) is not None


def test_bugchecks_and_exceptions_with_the_same_number_are_distinguished() -> None:
    assert title(0xD1, (1, 2, 0, 4)) == "bugcheck 0x000000D1 DRIVER_IRQL_NOT_LESS_OR_EQUAL (0x1, 0x2, 0x0, 0x4)"
    assert title(0xC0000005, (0x1234,)) == "driver fault 0xC0000005 STATUS_ACCESS_VIOLATION (0x1234)"
    assert title(0xE1234567, ()) == "driver fault 0xE1234567"
    assert "null" in FaultWords.of(0xC0000005, (0x1234,)).hint
    assert FaultWords.of(0x7FFFFFFF, (0, 0, 0, 0)) == FaultWords(True, "", "")

"""Drivers that the resident drvprobe starts and stops, and what is left to sc."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from lab.errors import ServiceError, TransportError
from lab.guest.protocol import CommandResult
from lab.guest.services import ServiceControl, ServiceState
from lab.guest.standing import Answer, Question, StandingProgram
from tests.guest.fakes import FakeTransport, result
from tests.guest.test_probe import line as probe_line
from tests.guest.test_probe import output


class ProbedTransport(FakeTransport):
    """Runs sc, and scripts in a drvprobe that stays.

    Args:
        errors: Those of a script.
        state: What each operation reports as the state of its service.
        code: drvprobe's own failure.
        accepts: It took the script before.
        sc: What sc answers, one after the other; without them, it succeeds.
    """

    def __init__(
        self, *errors: int, code: int | None = None, accepts: bool = True, state: int = 4, sc: Sequence[CommandResult] = ()
    ) -> None:
        super().__init__(list(sc) if sc else lambda _sent: result())
        self.errors, self.code, self.accepts, self.state = errors, code, accepts, state
        self.asked: list[tuple[str, float]] = []

    def ask(self, program: StandingProgram, question: Question, *, timeout: float, line: str = "") -> Answer:
        header, _, script = question.data.decode().partition("\n")
        self.asked.append((script, timeout))
        lines = output(
            *(probe_line(number, "service", error=error, returned=self.state) for number, error in enumerate(self.errors, 1))
        )
        end = b"" if self.code is not None else f"end {header.split()[1]}\n".encode()
        return Answer(stdout=lines + end, stderr=b"", exit_code=self.code, duration_s=0.0, accepted=self.accepts)


def test_a_drvprobe_that_stays_starts_and_stops() -> None:
    transport = ProbedTransport(0)
    services = ServiceControl(transport, probe=r"C:\lab\run\drvprobe.exe")
    services.start("sim")
    services.stop("sim")
    transport.errors = (0, 0)
    services.restart("sim")
    assert transport.asked == [
        ("service start sim", 60),
        ("service stop sim", 60),
        ("service stop sim\nservice start sim", 120),
    ]
    assert not transport.sent


def test_errors_of_a_start_by_drvprobe_are_in_words() -> None:
    with pytest.raises(ServiceError, match=r"`sc start sim` ended with 577.*ERROR_INVALID_IMAGE_HASH"):
        ServiceControl(ProbedTransport(577), probe="p.exe").start("sim")


def test_all_else_is_for_sc_and_so_is_everything_without_a_drvprobe() -> None:
    transport = ProbedTransport()
    ServiceControl(transport, probe="p.exe").delete("sim")
    ServiceControl(transport, probe="p.exe").install("sim", r"C:\sim.sys")
    ServiceControl(transport).start("sim")
    assert [sent.command[1] for sent in transport.sent] == ["delete", "create", "start", "start"]
    assert not transport.asked


def test_a_drvprobe_that_fails_leaves_the_work_to_sc() -> None:
    transport = ProbedTransport(code=2, accepts=False)
    ServiceControl(transport, probe="p.exe").stop("sim")
    assert [sent.command[1] for sent in transport.sent] == ["stop"]
    assert len(transport.asked) == 1


def state(number: int, name: str) -> CommandResult:
    return result(f"SERVICE_NAME: sim\n STATE : {number} {name}\n WIN32_EXIT_CODE : 0 (0x0)")


RUNNING, STOPPED = state(4, "RUNNING"), state(1, "STOPPED")


def refused(code: int) -> CommandResult:
    return result(f"[SC] FAILED {code}:", code=code)


def test_what_a_drvprobe_had_not_done_when_it_ended_is_done_by_sc() -> None:
    transport = ProbedTransport(0, code=0xC000013A)
    ServiceControl(transport, probe="p.exe").restart("sim")
    assert [sent.command[1] for sent in transport.sent] == ["start"], "the stop was reported"


def test_a_service_that_sc_can_start_had_not_been_started_by_the_drvprobe_that_ended() -> None:
    with pytest.raises(ServiceError, match="577"):
        ServiceControl(ProbedTransport(code=1, sc=[refused(577), STOPPED]), probe="p.exe").start("sim")


@pytest.mark.parametrize(
    ("verb", "answers"),
    [
        ("start", [refused(1056), RUNNING]),
        ("stop", [refused(1062), STOPPED]),
        ("stop", [refused(1052), STOPPED]),
        ("stop", [refused(1062), refused(1060)]),
    ],
)
def test_what_a_drvprobe_may_have_done_before_it_ended_accuses_no_driver(verb: str, answers: list[CommandResult]) -> None:
    transport = ProbedTransport(code=0xC000013A, sc=answers)
    with pytest.raises(TransportError, match=f"drvprobe ended when it had to {verb} service sim"):
        getattr(ServiceControl(transport, probe="p.exe"), verb)("sim")
    assert [sent.command[1] for sent in transport.sent] == [verb, "query"]


def test_a_drvprobe_that_took_nothing_has_done_nothing() -> None:
    transport = ProbedTransport(code=5, accepts=False, sc=[refused(1056)])
    with pytest.raises(ServiceError, match="1056"):
        ServiceControl(transport, probe="p.exe").start("sim")


def test_a_drvprobe_that_stays_is_asked_for_a_state() -> None:
    transport = ProbedTransport(0, state=1)
    services = ServiceControl(transport, probe="p.exe")
    assert services.state("sim") is ServiceState.STOPPED
    assert services.wait_state("sim", ServiceState.STOPPED) is ServiceState.STOPPED
    services.wait_stopped("sim")
    assert services.exists("sim")
    assert [script for script, _ in transport.asked] == ["service query sim"] * 4
    transport.errors = (1060,)
    assert not services.exists("sim")
    with pytest.raises(ServiceError, match="`sc query sim` ended with 1060"):
        services.state("sim")
    assert not transport.sent


@pytest.mark.parametrize("accepts", [True, False])
def test_a_state_that_a_drvprobe_did_not_report_comes_from_sc(accepts: bool) -> None:
    transport = ProbedTransport(code=5, accepts=accepts, sc=[STOPPED])
    assert ServiceControl(transport, probe="p.exe").state("sim") is ServiceState.STOPPED
    assert [sent.command[1] for sent in transport.sent] == ["query"]

"""Drivers that the resident drvprobe starts and stops, and what is left to sc."""

from __future__ import annotations

import pytest

from lab.errors import ServiceError
from lab.guest.services import ServiceControl
from lab.guest.standing import Answer, Question, StandingProgram
from tests.guest.fakes import FakeTransport, result
from tests.guest.test_probe import line as probe_line
from tests.guest.test_probe import output


class ProbedTransport(FakeTransport):
    """Runs sc, and scripts in a drvprobe that stays; ``errors`` are those of a script, ``code`` is drvprobe's own failure."""

    def __init__(self, *errors: int, code: int | None = None) -> None:
        super().__init__(lambda _sent: result())
        self.errors, self.code = errors, code
        self.asked: list[tuple[str, float]] = []

    def ask(self, program: StandingProgram, question: Question, *, timeout: float, line: str = "") -> Answer:
        header, _, script = question.data.decode().partition("\n")
        self.asked.append((script, timeout))
        lines = output(*(probe_line(number, "service", error=error) for number, error in enumerate(self.errors, 1)))
        end = b"" if self.code is not None else f"end {header.split()[1]}\n".encode()
        return Answer(stdout=lines + end, stderr=b"", exit_code=self.code, duration_s=0.0)


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
    transport = ProbedTransport(code=2)
    ServiceControl(transport, probe="p.exe").stop("sim")
    assert [sent.command[1] for sent in transport.sent] == ["stop"]
    assert len(transport.asked) == 1

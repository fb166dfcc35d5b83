"""Guests with a virtual clock: which guests get one, and what lets them run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from lab.config.model import ClockChoice
from lab.errors import ConfigError, TransportError
from lab.guest.clocked import ClockedTransport, clocked, unclocked
from lab.guest.protocol import CommandResult
from lab.guest.standing import Answer, Converses, Question, StandingProgram
from lab.image.manifest import PrintPort
from lab.live.guest import LiveGuest
from lab.live.guest_clock import choose_clock, clock_with, for_people
from lab.live.machine_spec import machine_spec
from lab.prints.clocked import ClockedPrints
from lab.prints.record import Record
from lab.prints.unobserved import Unobserved
from lab.vm.moment import Moment
from lab.vm.spec import VmSpec
from tests.machines import MachineDouble
from tests.simulated import manifest


class Gate:
    """Counts the callers that let the guest run, and records what they do."""

    def __init__(self) -> None:
        self.inside = 0
        self.done: list[tuple[str, bool]] = []

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1

    def note(self, what: str) -> None:
        self.done.append((what, self.inside > 0))


class Transport:
    """Records whether the guest runs while it is used."""

    name = "toy"

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def run(self, command: str | Sequence[str], *, timeout: float, stdin: bytes = b"", shell: bool = True) -> CommandResult:
        self._gate.note(f"run {command} {timeout:g} {stdin!r} {shell}")
        if command == "broken":
            raise TransportError("no answer")
        return CommandResult(command=str(command), exit_code=0, stdout=b"", stderr=b"", duration_s=0.0)

    def put(self, source: Path, target: str, *, timeout: float = 300) -> None:
        self._gate.note(f"put {source} {target} {timeout:g}")

    def get(self, source: str, target: Path, *, timeout: float = 300) -> None:
        self._gate.note(f"get {source} {target} {timeout:g}")

    def close(self) -> None:
        self._gate.note("close")


class Conversing(Transport):
    """A transport that can keep a program in the guest."""

    def ask(self, program: StandingProgram, question: Question, *, timeout: float, line: str = "") -> Answer:
        self._gate.note(f"ask {program.words[0]} {question.data!r} {timeout:g} {line}")
        return Answer(stdout=b"", stderr=b"", exit_code=None, duration_s=0.0)


class Prints(Unobserved):
    """Records the same, for its timer, too."""

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self._gate = gate

    @property
    def timer(self) -> Prints:
        return self

    def sleep(self, seconds: float, *, timeout: float) -> None:
        assert timeout > seconds
        self._gate.note(f"sleep {seconds:g}")

    def wait(self, position: int, until: Callable[[list[Record]], bool], *, timeout: float) -> list[Record]:
        self._gate.note("wait")
        return []

    def mark(self, token: str, *, timeout: float) -> int:
        self._gate.note(f"mark {token.partition('-')[0]}")
        return 0


class Machine(MachineDouble):
    def __init__(self, gate: Gate, clock: int | None) -> None:
        super().__init__(spec=VmSpec(virtual_clock=clock))
        self._gate = gate

    def running(self) -> contextlib.AbstractContextManager[None]:
        return self._gate.running()


def live(gate: Gate, *, clock: int | None = 0, timer: bool = True) -> LiveGuest:
    def no_other(name: str) -> Any:
        raise AssertionError(name)

    prints = Prints(gate) if timer else Unobserved()
    return LiveGuest(
        guest_id="g",
        manifest=manifest(),
        machine=Machine(gate, clock),
        transport=Transport(gate),
        prints=ClockedPrints(prints, gate.running),
        smp=1,
        boot_s=0.0,
        open_transport=no_other,
    )


def test_a_guest_runs_while_a_transport_waits_for_it() -> None:
    gate = Gate()
    transport = ClockedTransport(Transport(gate), gate.running, Moment())
    transport.run("ver", timeout=3, stdin=b"x", shell=False)
    transport.put(Path("a"), "b", timeout=4)
    transport.get("b", Path("a"), timeout=5)
    with pytest.raises(TransportError, match="no answer"):
        transport.run("broken", timeout=1)
    transport.close()
    transport.abandon()
    assert gate.done == [
        ("run ver 3 b'x' False", True),
        ("put a b 4", True),
        ("get b a 5", True),
        ("run broken 1 b'' True", True),
        ("close", True),
        ("close", True),  # the toy has no other way to end
    ]
    assert gate.inside == 0
    assert transport.name == "toy"
    assert unclocked(transport) is transport.inner
    assert unclocked(transport.inner) is transport.inner


def test_a_guest_runs_during_a_wait_for_prints_that_have_not_come_yet() -> None:
    gate = Gate()
    prints = ClockedPrints(Prints(gate), gate.running)
    prints.mark("t", timeout=1)
    prints.wait(0, lambda records: False, timeout=1)
    prints.wait(0, lambda records: True, timeout=1)
    prints.records_since(0)
    assert gate.done == [("mark t", True), ("wait", True)]


def test_a_wait_for_the_guests_time_happens_in_the_guest() -> None:
    gate = Gate()
    guest = live(gate)
    guest.sleep(2.5)
    assert guest.clock == "virtual"
    assert gate.done == [("mark uptime", True), ("sleep 2.5", True)]


def test_a_guest_runs_in_small_steps_until_a_condition_holds() -> None:
    gate = Gate()
    assert live(gate).run_until(lambda: len(gate.done) == 6, every=0.5)
    assert gate.done == [("mark uptime", True), ("sleep 0.5", True)] * 3


def test_a_wait_is_given_up_after_so_many_seconds_of_the_guest() -> None:
    gate = Gate()
    assert not live(gate).run_until(lambda: False, every=0.4, guest_timeout=1.0)
    assert [float(what.split()[1]) for what, _ in gate.done if "sleep" in what] == pytest.approx([0.4, 0.4, 0.2])


@pytest.mark.parametrize("clock", [None, 0])
@pytest.mark.parametrize("seconds", [-0.1, 1_000_000, float("nan")])
def test_what_is_not_a_time_is_refused_with_either_clock(clock: int | None, seconds: float) -> None:
    # The agent would take the request for a marker, and answer it at once.
    gate = Gate()
    with pytest.raises(ConfigError, match="not a number of seconds from 0 to 999999"):
        live(gate, clock=clock).sleep(seconds)
    assert gate.done == []


def test_looks_without_time_between_them_are_refused() -> None:
    with pytest.raises(ConfigError, match="every=0"):
        live(Gate()).run_until(lambda: False, every=0)


def test_a_print_channel_without_a_timer_cannot_wait_for_virtual_time() -> None:
    with pytest.raises(ConfigError, match="print channel none has no timer in the guest"):
        live(Gate(), timer=False).sleep(1)


def test_with_a_real_clock_the_host_waits() -> None:
    gate = Gate()
    guest = live(gate, clock=None)
    guest.sleep(0)
    assert guest.clock == "real"
    assert gate.done == []


@pytest.mark.parametrize(
    ("wanted", "accelerator", "smp", "kind", "clock"),
    [
        ("auto", "tcg", 1, "wine", "virtual"),
        ("virtual", "tcg", 1, "wine", "virtual"),
        ("real", "tcg", 1, "wine", "real"),
        ("auto", "kvm", 1, "wine", "real"),
        ("auto", "tcg", 2, "wine", "real"),
        ("auto", "tcg", 1, "windows", "real"),
    ],
)
def test_auto_is_virtual_where_it_can_be(wanted: ClockChoice, accelerator: Any, smp: int, kind: str, clock: str) -> None:
    made = manifest(kind=kind)
    made = made.model_copy(update={"machine": made.machine.model_copy(update={"smp": smp})})
    assert choose_clock(wanted, made, accelerator) == clock


@pytest.mark.parametrize(
    ("accelerator", "smp", "kind", "reason"),
    [
        ("kvm", 1, "wine", "only TCG counts instructions, and they run under KVM"),
        ("tcg", 2, "wine", "it needs one virtual CPU, and they have 2"),
        ("tcg", 1, "windows", "Windows was not made for it"),
    ],
)
def test_an_impossible_virtual_clock_is_refused_with_the_reason(accelerator: Any, smp: int, kind: str, reason: str) -> None:
    made = manifest(kind=kind)
    made = made.model_copy(update={"machine": made.machine.model_copy(update={"smp": smp})})
    with pytest.raises(ConfigError, match=reason) as caught:
        choose_clock("virtual", made, accelerator)
    assert "clock: auto" in caught.value.hint


def test_a_virtual_clock_needs_a_timer_in_the_guest() -> None:
    made = manifest(kind="wine", prints=PrintPort(source="relay"))
    assert choose_clock("auto", made, "tcg") == "real"
    with pytest.raises(ConfigError, match="print channel relay has no timer in the guest"):
        choose_clock("virtual", made, "tcg")


def test_several_processors_have_a_real_clock_and_people_get_one_unless_they_say_otherwise() -> None:
    assert [clock_with("virtual", 1), clock_with("virtual", 2), clock_with("real", 1)] == ["virtual", "real", "real"]
    assert [for_people("auto"), for_people("virtual"), for_people("real")] == ["real", "virtual", "real"]


def test_the_clock_is_part_of_the_vm(tmp_path: Path) -> None:
    virtual = machine_spec(manifest(), tmp_path, name="g", accelerator="tcg", clock="virtual")
    assert virtual.virtual_clock == 0
    assert virtual.rtc == "base=utc,clock=vm"
    assert machine_spec(manifest(), tmp_path, name="g", accelerator="tcg").virtual_clock is None


def test_a_guest_runs_while_a_program_in_it_answers() -> None:
    gate = Gate()
    transport = clocked(Conversing(gate), gate.running, Moment())
    assert isinstance(transport, Converses)
    question = Question(data=b"q", answered=bool)
    transport.ask(StandingProgram(words=("probe",), greet=lambda: question), question, timeout=5, line="a line")
    assert gate.done == [("ask probe b'q' 5 a line", True)]


def test_only_a_transport_that_converses_does_so_with_a_virtual_clock() -> None:
    gate = Gate()
    assert not isinstance(clocked(Transport(gate), gate.running, Moment()), Converses)

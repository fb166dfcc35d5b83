"""How many requests the WinRM transport makes, and what it does with answers that a real service gives rarely."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from winrm.exceptions import WinRMOperationTimeoutError, WinRMTransportError, WSManFaultError

from lab.errors import GuestHung, TransportError
from lab.guest.winrm import shell as winrm_shell
from lab.guest.winrm.protocol import SEND_CHUNK
from lab.guest.winrm.transport import WinRmTransport
from tests.guest.fakes import FakeClock

Output = tuple[bytes, bytes, int, bool]


@dataclass
class FakeProtocol:
    """A double of pywinrm's protocol object: records the requests, and raises or returns what the test has prepared."""

    clock: FakeClock
    outputs: list[Output | Exception] = field(default_factory=list)
    starts: list[Exception] = field(default_factory=list)
    sends: list[Exception] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    limits: list[int] = field(default_factory=list)
    operation_timeout_sec: int = 20
    shells: int = 0

    def __post_init__(self) -> None:
        self.transport = SimpleNamespace(read_timeout_sec=30, close_session=lambda: self.log.append("hang up"))

    def open_shell(self, *, codepage: int) -> str:
        assert codepage == 65001
        self.shells += 1
        self.log.append("open")
        return f"shell{self.shells}"

    def run_command(
        self,
        shell_id: str,
        command: str,
        arguments: object = (),
        console_mode_stdin: bool = True,
        skip_cmd_shell: bool = False,
    ) -> str:
        assert not console_mode_stdin
        self.log.append(f"run {command} {arguments} direct={skip_cmd_shell}")
        if self.starts:
            raise self.starts.pop(0)
        return "command"

    def send_command_input(self, shell_id: str, command_id: str, stdin_input: bytes, end: bool = False) -> None:
        self.log.append(f"send {len(stdin_input)}{' end' if end else ''}")
        if self.sends:
            raise self.sends.pop(0)

    def get_command_output_raw(self, shell_id: str, command_id: str) -> Output:
        assert self.transport.read_timeout_sec > self.operation_timeout_sec
        self.log.append("receive")
        self.limits.append(self.operation_timeout_sec)
        output = self.outputs.pop(0) if self.outputs else WinRMOperationTimeoutError()
        if isinstance(output, WinRMOperationTimeoutError):
            self.clock.now += self.operation_timeout_sec
        if isinstance(output, Exception):
            raise output
        return output

    def cleanup_command(self, shell_id: str, command_id: str) -> None:
        self.log.append("terminate")

    def close_shell(self, shell_id: str, close_session: bool = True) -> None:
        self.log.append(f"delete {shell_id}")


DONE: Output = (b"", b"", 0, True)


def fault(code: int | None, reason: str = "No.") -> WSManFaultError:
    return WSManFaultError(500, "bad", "<x/>", reason, "s:Sender", "w:X", code)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def fake(clock: FakeClock) -> FakeProtocol:
    return FakeProtocol(clock)


@pytest.fixture
def transport(fake: FakeProtocol, clock: FakeClock) -> WinRmTransport:
    return WinRmTransport(lambda: fake, "WinRM on x", clock=clock)


def test_a_command_takes_two_requests(transport: WinRmTransport, fake: FakeProtocol) -> None:
    fake.outputs = [(b"a", b"b", 5, True), DONE]
    transport.run("first", timeout=9)
    transport.run("second", timeout=9)
    assert fake.log == ["open", "run first [] direct=False", "receive", "run second [] direct=False", "receive"]


def test_output_in_pieces_is_joined_and_time_outs_are_normal(transport: WinRmTransport, fake: FakeProtocol) -> None:
    fake.outputs = [
        (b"a", b"", -1, False),
        WinRMOperationTimeoutError(),
        (b"b", b"x", -1, False),
        (b"c", b"y", 0xC0000005, True),
    ]
    done = transport.run("x", timeout=99)
    assert (done.stdout, done.stderr, done.exit_code) == (b"abc", b"xy", 0xC0000005)


def test_a_negative_exit_code_is_shown_unsigned(transport: WinRmTransport, fake: FakeProtocol) -> None:
    fake.outputs = [(b"", b"", -1073741819, True)]
    assert transport.run("x", timeout=9).exit_code == 0xC0000005


def test_input_that_was_not_given_is_closed_after_the_first_silence_only(transport: WinRmTransport, fake: FakeProtocol) -> None:
    fake.outputs = [WinRMOperationTimeoutError(), WinRMOperationTimeoutError(), DONE]
    transport.run("x", timeout=99)
    assert fake.log[2:] == ["receive", "send 0 end", "receive", "receive"]
    assert fake.limits == [5, 20, 20]


def test_input_goes_in_chunks_and_the_last_one_carries_the_end(transport: WinRmTransport, fake: FakeProtocol) -> None:
    fake.outputs = [DONE]
    transport.run("x", timeout=9, stdin=bytes(SEND_CHUNK + 1))
    assert fake.log[2:] == [f"send {SEND_CHUNK}", "send 1 end", "receive"]


def test_input_without_room_is_sent_again_after_output_was_taken(transport: WinRmTransport, fake: FakeProtocol) -> None:
    fake.sends = [WinRMOperationTimeoutError()]
    fake.outputs = [(b"a", b"", -1, False), (b"b", b"", -1, False), DONE]
    done = transport.run("x", timeout=9, stdin=b"data")
    assert done.stdout == b"ab"
    assert fake.log[2:] == ["send 4 end", "receive", "send 4 end", "receive", "receive"]


def test_the_deadline_terminates_and_is_kept_to_the_second(
    transport: WinRmTransport, fake: FakeProtocol, clock: FakeClock
) -> None:
    fake.outputs = [(b"half ", b"", -1, False)]
    started = clock.now
    with pytest.raises(GuestHung, match="it had written: half"):
        transport.run("x", timeout=7)
    assert fake.limits == [5, 5, 2]
    assert clock.now == started + 7
    assert fake.log[-1] == "terminate"


def test_a_lost_shell_is_reopened_once(transport: WinRmTransport, fake: FakeProtocol) -> None:
    fake.starts = [fault(2150858843)]
    fake.outputs = [DONE]
    transport.run("x", timeout=9)
    assert [word.split()[0] for word in fake.log] == ["open", "run", "delete", "open", "run", "receive"]
    fake.starts = [fault(2150858843, "The shell was not found."), fault(2150858843, "The shell was not found.")]
    with pytest.raises(TransportError, match=r"the guest refused: The shell was not found. \(code 2150858843\)"):
        transport.run("x", timeout=9)


def test_a_message_that_the_guest_could_not_decrypt_is_sent_again_on_a_new_connection(
    transport: WinRmTransport, fake: FakeProtocol
) -> None:
    fake.starts = [WinRMTransportError("http", 400, "")]
    fake.outputs = [DONE]
    transport.run("x", timeout=9)
    assert [word.split()[0] for word in fake.log] == ["open", "run", "hang", "run", "receive"]
    assert fake.shells == 1


@pytest.mark.parametrize(
    "problem", [WinRMTransportError("http", 500, ""), ConnectionResetError(104, "Connection reset by peer")]
)
def test_a_command_that_may_have_started_is_not_sent_again(
    transport: WinRmTransport, fake: FakeProtocol, problem: Exception
) -> None:
    fake.starts = [problem]
    with pytest.raises(TransportError):
        transport.run("x", timeout=9)
    assert sum(word.startswith("run") for word in fake.log) == 1


def test_an_idle_connection_is_replaced_before_it_is_used(
    transport: WinRmTransport, fake: FakeProtocol, clock: FakeClock
) -> None:
    fake.outputs = [DONE, DONE]
    transport.run("x", timeout=9)
    clock.now += 61
    transport.run("x", timeout=9)
    assert fake.log.count("hang up") == 1
    assert fake.shells == 1


def test_a_shell_is_replaced_before_its_finished_commands_fill_the_quota(
    transport: WinRmTransport, fake: FakeProtocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(winrm_shell, "COMMANDS_PER_SHELL", 2)
    fake.outputs = [DONE] * 5
    for _ in range(5):
        transport.run("x", timeout=9)
    shells = [word for word in fake.log if word.startswith(("open", "delete"))]
    assert shells == ["open", "delete shell1", "open", "delete shell2", "open"]


def test_a_program_that_does_not_start_has_the_windows_error_as_its_exit_code(
    transport: WinRmTransport, fake: FakeProtocol
) -> None:
    fake.starts = [fault(2, "The system cannot find the file specified.")]
    done = transport.run(["C:\\x.exe", "a b"], timeout=9, stdin=b"ignored", shell=False)
    assert done.exit_code == 2
    assert "cannot find the file" in done.error_text
    assert fake.log == ["open", "run C:\\x.exe ['\"a b\"'] direct=True"]


def test_a_broken_connection_at_close_is_no_error(transport: WinRmTransport, fake: FakeProtocol) -> None:
    fake.outputs = [DONE]
    transport.run("x", timeout=9)
    fake.close_shell = None  # type: ignore[assignment]
    transport.close()
    assert fake.log[-1] == "hang up"


def test_a_line_for_cmd_gets_a_process_of_its_own_each_time(transport: WinRmTransport, fake: FakeProtocol) -> None:
    fake.outputs = [DONE] * 3
    for line in ("echo lab", "ver", "type x"):
        transport.run(line, timeout=9)
    assert [word.split(" [")[0] for word in fake.log if word.startswith("run")] == ["run echo lab", "run ver", "run type x"]
    assert not [word for word in fake.log if word.startswith("send")]

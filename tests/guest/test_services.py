"""Driver services: what is sent, and what is made of the answers of Windows and of Wine."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import ConfigError, GuestHung, ServiceError, TransportError
from lab.guest.services import (
    ScReply,
    ServiceControl,
    ServiceState,
    ServiceStatus,
    batch_line,
    create_call,
    parse_batch,
    parse_status,
)
from tests.guest.fakes import Answer, FakeClock, FakeTransport, Sent, result

WINDOWS_QUERY = """
SERVICE_NAME: sync
        TYPE               : 1  KERNEL_DRIVER
        STATE              : 4  RUNNING
                                (STOPPABLE, NOT_PAUSABLE, IGNORES_SHUTDOWN)
        WIN32_EXIT_CODE    : 0  (0x0)
        SERVICE_EXIT_CODE  : 0  (0x0)
        CHECKPOINT         : 0x0
        WAIT_HINT          : 0x0
"""
WINDOWS_QUERYEX = WINDOWS_QUERY + "        PID                : 4711\n        FLAGS              :\n"
WINE_QUERY = """SERVICE_NAME: sync
        TYPE               : 1
        STATE              : 1  STOPPED
        WIN32_EXIT_CODE    : 1077  (0x435)
        SERVICE_EXIT_CODE  : 0  (0x0)
        CHECKPOINT         : 0x0
        WAIT_HINT          : 0x0
"""


def guest(*replies: tuple[int, str], errors: str = "") -> FakeTransport:
    """A guest whose sc answers with these codes and texts, in order, whatever it is asked."""
    left = list(replies)

    def answer(sent: Sent) -> Answer:
        assert isinstance(sent.command, str)
        marks = re.findall(r"call echo (#\w+) %\^errorlevel%", sent.command)
        ends_early = "if not errorlevel 1 (" in sent.command
        text = ""
        for mark in marks:
            code, said = left.pop(0)
            text += f"{said}{mark} {code}\r\n"
            if code and ends_early:
                break
        return result(text, stderr=errors)

    return FakeTransport(answer)


def control(transport: FakeTransport, clock: FakeClock | None = None) -> ServiceControl:
    clock = clock or FakeClock()
    return ServiceControl(transport, clock=clock, sleep=clock.sleep)


def test_create_names_type_start_path_and_group_as_sc_wants_them() -> None:
    transport = guest((0, "[SC] CreateService SUCCESS\r\n"))
    control(transport).create("sync", "C:\\lab files\\sync.sys", group="LabDrivers")
    command = transport.sent[0].command
    assert isinstance(command, str)
    wanted = 'sc create sync type= kernel start= demand binPath= ^"C:\\lab files\\sync.sys^" group= LabDrivers & '
    assert command.startswith(wanted)


@pytest.mark.parametrize(("text", "state"), [(WINDOWS_QUERY, ServiceState.RUNNING), (WINE_QUERY, ServiceState.STOPPED)])
def test_query_understands_windows_and_wine(text: str, state: ServiceState) -> None:
    transport = guest((0, text))
    status = control(transport).query("sync")
    assert (status.name, status.state) == ("sync", state)


def test_query_gives_exit_code_and_process() -> None:
    assert parse_status(WINE_QUERY).exit_code == 1077
    assert parse_status(WINDOWS_QUERYEX).pid == 4711
    assert parse_status(WINDOWS_QUERY).pid is None


@given(
    st.sampled_from(ServiceState), st.integers(0, 0xFFFFFFFF), st.integers(0, 0xFFFFFFFF), st.integers(0, 99999), st.booleans()
)
def test_whatever_sc_prints_is_read_back(state: ServiceState, code: int, own: int, pid: int, windows: bool) -> None:
    text = (
        f"\r\nSERVICE_NAME: a.b-c\r\n        TYPE               : 1  {'KERNEL_DRIVER' * windows}\r\n"
        f"        STATE              : {int(state)}  {state.name}\r\n"
        + "                                (STOPPABLE, NOT_PAUSABLE)\r\n" * windows
        + f"        WIN32_EXIT_CODE    : {code}  ({code:#x})\r\n        SERVICE_EXIT_CODE  : {own}  ({own:#x})\r\n"
        + f"        PID                : {pid}\r\n" * windows
    )
    expected = ServiceStatus(
        name="a.b-c", state=state, exit_code=code, service_exit_code=own, pid=(pid or None) if windows else None
    )
    assert parse_status(text) == expected


@given(st.text())
def test_other_text_is_an_error_of_the_transport_never_another(text: str) -> None:
    with pytest.raises(TransportError, match="sc query"):
        parse_status(text)


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("[SC] StartService FAILED 577:\r\n\r\nWindows cannot verify the digital signature for this file.\r\n", 577),
        ("[SC] OpenService FEHLER 1060:\r\n\r\nDer angegebene Dienst ist kein installierter Dienst.\r\n", 1060),
        ("", 1275),
    ],
)
def test_a_refused_start_on_windows_tells_the_code_in_words(said: str, code: int) -> None:
    with pytest.raises(ServiceError) as caught:
        control(guest((code, said))).start("sync")
    assert caught.value.exit_code == code
    assert f"`sc start sync` ended with {code}: {code} (ERROR_" in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("words", ["start", "open", "stop", "create", "query the config of"])
def test_the_code_is_found_in_wines_own_error_channel(words: str) -> None:
    transport = guest((1, ""), errors=f"0110:err:sc:wmain failed to {words} service 1114\r\n")
    with pytest.raises(ServiceError) as caught:
        control(transport).start("sync")
    assert caught.value.exit_code == 1114


def test_a_refusal_without_a_reason_is_still_an_error() -> None:
    with pytest.raises(ServiceError) as caught:
        control(guest((1, ""))).start("sync")
    assert caught.value.exit_code == 1
    assert "kernel prints" in caught.value.hint


@pytest.mark.parametrize(
    ("code", "errors"), [(1060, ""), (1, ""), (1, "01a4:err:sc:query_service failed to open service 1060\n")]
)
def test_a_service_that_is_not_there_does_not_exist(code: int, errors: str) -> None:
    assert not control(guest((code, ""), errors=errors)).exists("sync")


def test_other_errors_do_not_count_as_missing() -> None:
    with pytest.raises(ServiceError) as caught:
        control(guest((5, "[SC] OpenService FAILED 5:\r\n"))).exists("sync")
    assert caught.value.exit_code == 5
    assert control(guest((0, WINDOWS_QUERY))).exists("sync")


def test_restart_is_one_guest_command_and_takes_a_stopped_service() -> None:
    for stopped in ((0, WINDOWS_QUERY), (1062, "[SC] ControlService FAILED 1062:\r\n")):
        transport = guest(stopped, (0, WINDOWS_QUERY))
        control(transport).restart("sync")
        assert len(transport.sent) == 1


@pytest.mark.parametrize("replies", [[(1061, ""), (1056, "")], [(0, ""), (2, "")]])
def test_restart_tells_the_first_thing_that_went_wrong(replies: list[tuple[int, str]]) -> None:
    with pytest.raises(ServiceError) as caught:
        control(guest(*replies)).restart("sync")
    assert caught.value.exit_code == (replies[0][0] or replies[1][0])


def test_install_starts_only_what_it_has_created() -> None:
    transport = guest((1073, "[SC] CreateService FAILED 1073:\r\n"))
    with pytest.raises(ServiceError, match="a service of this name exists already"):
        control(transport).install("sync", "C:\\sync.sys")
    control(guest((0, ""), (0, ""))).install("sync", "C:\\sync.sys")


@pytest.mark.parametrize(
    "replies", [[(0, ""), (0, "")], [(1062, ""), (0, "")], [(1060, ""), (1060, "")], [(1, ""), (1, ""), (1, "")]]
)
def test_remove_does_not_mind_what_is_stopped_or_gone(replies: list[tuple[int, str]]) -> None:
    transport = guest(*replies)
    control(transport).remove("sync")
    assert len(transport.sent) == len(replies) - 1


def test_remove_minds_everything_else() -> None:
    with pytest.raises(ServiceError) as caught:
        control(guest((0, ""), (1072, ""))).remove("sync")
    assert caught.value.exit_code == 1072


def test_wait_state_polls_until_it_is_there() -> None:
    clock = FakeClock()
    pending = WINDOWS_QUERY.replace("4  RUNNING", "3  STOP_PENDING")
    transport = guest((0, pending), (0, pending), (0, WINE_QUERY))
    assert control(transport, clock).wait_state("sync", ServiceState.STOPPED).state is ServiceState.STOPPED
    assert clock.slept == [0.2, 0.2]


def test_wait_state_says_what_it_waited_for() -> None:
    clock = FakeClock()
    transport = FakeTransport(lambda sent: guest((0, WINDOWS_QUERY))._answers(sent))  # type: ignore[operator]
    with pytest.raises(GuestHung, match="service sync is RUNNING after 3 s, not STOPPED or PAUSED"):
        control(transport, clock).wait_state("sync", ServiceState.STOPPED, ServiceState.PAUSED, timeout=3)
    assert clock.now == pytest.approx(1003, abs=0.3)


def test_an_answer_that_breaks_off_is_an_error_of_the_transport() -> None:
    transport = FakeTransport([result("The system cannot find the path specified.\r\n")])
    with pytest.raises(TransportError, match="answered 0 of 1 calls"):
        control(transport).start("sync")


@pytest.mark.parametrize("name", ["", "a b", "a&b", "x" * 81, "ä"])
def test_names_that_no_service_has_are_refused(name: str) -> None:
    with pytest.raises(ConfigError):
        control(guest()).start(name)
    with pytest.raises(ConfigError):
        create_call(name, "C:\\x.sys")


def test_the_second_call_reads_the_error_level_after_the_first_has_ended() -> None:
    line = batch_line("sc", [("stop", "x"), ("start", "x")], "#m", until_error=False)
    assert line == "sc stop x & call echo #m %^errorlevel%& sc start x & call echo #m %^errorlevel%"
    line = batch_line("sc", [("stop", "x"), ("start", "x")], "#m", until_error=True)
    assert line == "sc stop x & call echo #m %^errorlevel%& if not errorlevel 1 (sc start x & call echo #m %^errorlevel%)"


def test_reasons_of_wine_go_to_the_calls_that_failed_in_order() -> None:
    # The streams as Wine 8 gave them for stop, start, query, delete, delete.
    text = f"#m 1\n#m 1\n{WINE_QUERY}#m 0\n#m 0\n#m 1\n"
    errors = "".join(
        f"{thread}:err:sc:wmain failed to {verb} service {code}\n"
        for thread, verb, code in (("0110", "stop", 1062), ("011c", "start", 1114), ("0164", "open", 1060))
    )
    replies = parse_batch(["a", "b", "c", "d", "e"], text, errors, "#m")
    assert [(r.command, r.code) for r in replies] == [("a", 1062), ("b", 1114), ("c", 0), ("d", 0), ("e", 1060)]
    assert replies[2].text == WINE_QUERY.strip()


@given(st.lists(st.tuples(st.integers(-(2**31), 2**31 - 1), st.text(st.characters(exclude_characters="#\r"))), max_size=6))
def test_every_mark_ends_one_reply(calls: list[tuple[int, str]]) -> None:
    text = "".join(f"{said}#m {code} \n" for code, said in calls)
    replies = parse_batch([str(i) for i in range(len(calls))], text, "", "#m")
    assert [(r.command, r.text) for r in replies] == [(str(i), said.strip()) for i, (_, said) in enumerate(calls)]
    assert all(0 <= r.code <= 0xFFFFFFFF for r in replies)


def test_a_good_reply_checks_to_itself() -> None:
    reply = ScReply(command="sc start x", code=0, text="")
    assert reply.check() is reply

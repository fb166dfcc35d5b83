"""Driver services: what is sent, and what is made of the answers of Windows and of Wine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import ConfigError, GuestHung, ServiceError, TransportError
from lab.guest.quoting import join_arguments
from lab.guest.services import (
    ScReply,
    ServiceControl,
    ServiceState,
    ServiceStatus,
    create_call,
    parse_status,
    read_reply,
)
from tests.guest.fakes import FakeClock, FakeTransport, result

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
    """A guest whose sc ends with these codes and texts, in order, whatever it is asked."""
    return FakeTransport([result(said, code=code, stderr=errors) for code, said in replies])


def control(transport: FakeTransport, clock: FakeClock | None = None) -> ServiceControl:
    clock = clock or FakeClock()
    return ServiceControl(transport, clock=clock, sleep=clock.sleep)


def test_create_names_type_start_path_and_group_as_sc_wants_them() -> None:
    transport = guest((0, "[SC] CreateService SUCCESS\r\n"))
    control(transport).create("sync", "C:\\lab files\\sync.sys", group="LabDrivers")
    [sent] = transport.sent
    assert not sent.shell
    assert join_arguments(sent.command) == (
        r"C:\windows\system32\sc.exe create sync type= kernel start= demand"
        r' binPath= "C:\lab files\sync.sys" group= LabDrivers'
    )


def test_create_leaves_the_group_to_the_guest_when_there_is_none() -> None:
    assert "group=" not in create_call("sync", "C:\\sync.sys")


def test_a_service_of_an_image_may_start_with_the_boot() -> None:
    call = create_call("LabTap", "C:\\labtap.sys", group="System Bus Extender", start="boot")
    assert join_arguments(call).endswith(r'start= boot binPath= C:\labtap.sys group= "System Bus Extender"')


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
        ("[SC] StartService FAILED 1275:\r\n\r\nThis driver has been blocked from loading\r\n", 1275),
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


def test_restart_takes_a_stopped_service() -> None:
    for stopped in ((0, WINDOWS_QUERY), (1062, "[SC] ControlService FAILED 1062:\r\n")):
        transport = guest(stopped, (0, WINDOWS_QUERY))
        control(transport).restart("sync")
        assert [sent.command[1:] for sent in transport.sent] == [("stop", "sync"), ("start", "sync")]


@pytest.mark.parametrize("replies", [[(1061, ""), (1056, "")], [(0, ""), (2, "")]])
def test_restart_tells_the_first_thing_that_went_wrong(replies: list[tuple[int, str]]) -> None:
    with pytest.raises(ServiceError) as caught:
        control(guest(*replies)).restart("sync")
    assert caught.value.exit_code == (replies[0][0] or replies[1][0])


def test_install_starts_only_what_it_has_created() -> None:
    transport = guest((1073, "[SC] CreateService FAILED 1073:\r\n"))
    with pytest.raises(ServiceError, match="a service of this name exists already"):
        control(transport).install("sync", "C:\\sync.sys")
    assert len(transport.sent) == 1
    transport = guest((0, ""), (0, ""))
    control(transport).install("sync", "C:\\sync.sys")
    assert transport.sent[1].command[1:] == ("start", "sync")


@pytest.mark.parametrize(
    "replies", [[(0, ""), (0, "")], [(1062, ""), (0, "")], [(1060, ""), (1060, "")], [(1, ""), (1, ""), (1, "")]]
)
def test_remove_does_not_mind_what_is_stopped_or_gone(replies: list[tuple[int, str]]) -> None:
    transport = guest(*replies)
    control(transport).remove("sync")
    assert len(transport.sent) == len(replies)


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
    transport = FakeTransport(lambda _: result(WINDOWS_QUERY))
    with pytest.raises(GuestHung, match="service sync is RUNNING after 3 s, not STOPPED or PAUSED"):
        control(transport, clock).wait_state("sync", ServiceState.STOPPED, ServiceState.PAUSED, timeout=3)
    assert clock.now == pytest.approx(1003, abs=0.3)


@pytest.mark.parametrize("name", ["", "a b", "a&b", "x" * 81, "ä"])
def test_names_that_no_service_has_are_refused(name: str) -> None:
    with pytest.raises(ConfigError):
        control(guest()).start(name)
    with pytest.raises(ConfigError):
        create_call(name, "C:\\x.sys")


def test_a_batch_collects_all_ends_or_stops_at_the_first_error() -> None:
    calls = [("stop", "x"), ("start", "x"), ("query", "x")]
    for until_error, codes in ((False, [0, 2, 0]), (True, [0, 2])):
        replies = control(guest((0, "a"), (2, "b"), (0, WINE_QUERY))).batch(calls, until_error=until_error)
        assert [reply.code for reply in replies] == codes
        assert [reply.command for reply in replies] == ["sc stop x", "sc start x", "sc query x"][: len(codes)]


@given(st.integers(0, 0xFFFFFFFF), st.text(), st.text())
def test_the_exit_code_is_the_error_whatever_is_said(code: int, out: str, err: str) -> None:
    reply = read_reply("sc start x", result(out.encode("utf-8", "replace"), code=code, stderr=err.encode("utf-8", "replace")))
    assert reply.code == code


def test_a_good_reply_checks_to_itself() -> None:
    reply = ScReply(command="sc start x", code=0, text="")
    assert reply.check() is reply

"""Driver services: the commands, and how the answers of Windows and of Wine are read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import ConfigError, GuestHung, ServiceError, TransportError
from lab.guest.quoting import join_arguments
from lab.guest.scanswer import parse_status, read_reply
from lab.guest.services import ScReply, ServiceControl, ServiceState, ServiceStatus, create_call
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
    """A guest whose sc ends with these codes and texts, in order, for any command."""
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


def test_create_without_a_group_names_none() -> None:
    assert "group=" not in create_call("sync", "C:\\sync.sys")


def test_a_service_of_an_image_may_start_with_the_boot() -> None:
    call = create_call("LabRelay", "C:\\labrelay.sys", group="System Bus Extender", start="boot")
    assert join_arguments(call).endswith(r'start= boot binPath= C:\labrelay.sys group= "System Bus Extender"')


def test_a_name_is_free_only_when_its_driver_is_unloaded() -> None:
    going = WINDOWS_QUERY.replace("4  RUNNING", "3  STOP_PENDING")
    transport = guest((0, WINDOWS_QUERY), (0, WINDOWS_QUERY), (0, ""), (0, going), (0, WINE_QUERY), (0, ""))
    control(transport).clear("sync")
    assert [sent.command[1] for sent in transport.sent] == ["query", "query", "stop", "query", "query", "delete"]
    nobody = guest((1060, "[SC] EnumQueryServicesStatus:OpenService FAILED 1060:"))
    control(nobody).clear("sync")
    assert [sent.command[1] for sent in nobody.sent] == ["query"]


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
def test_any_output_of_sc_is_read_back(state: ServiceState, code: int, own: int, pid: int, windows: bool) -> None:
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
def test_a_refused_start_on_windows_explains_the_code_in_words(said: str, code: int) -> None:
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
def test_an_unknown_service_does_not_exist(code: int, errors: str) -> None:
    assert not control(guest((code, ""), errors=errors)).exists("sync")


def test_other_errors_do_not_count_as_missing() -> None:
    with pytest.raises(ServiceError) as caught:
        control(guest((5, "[SC] OpenService FAILED 5:\r\n"))).exists("sync")
    assert caught.value.exit_code == 5
    assert control(guest((0, WINDOWS_QUERY))).exists("sync")


def test_restart_accepts_a_stopped_service() -> None:
    for stopped in ((0, WINDOWS_QUERY), (1062, "[SC] ControlService FAILED 1062:\r\n")):
        transport = guest(stopped, (0, WINDOWS_QUERY))
        control(transport).restart("sync")
        assert [sent.command[1:] for sent in transport.sent] == [("stop", "sync"), ("start", "sync")]


@pytest.mark.parametrize("replies", [[(1061, ""), (1056, "")], [(0, ""), (2, "")]])
def test_restart_reports_the_first_error(replies: list[tuple[int, str]]) -> None:
    with pytest.raises(ServiceError) as caught:
        control(guest(*replies)).restart("sync")
    assert caught.value.exit_code == (replies[0][0] or replies[1][0])


def test_install_starts_only_what_it_has_created() -> None:
    transport = guest((1073, "[SC] CreateService FAILED 1073:\r\n"))
    with pytest.raises(ServiceError, match="a service with this name exists already"):
        control(transport).install("sync", "C:\\sync.sys")
    assert len(transport.sent) == 1
    transport = guest((0, ""), (0, ""))
    control(transport).install("sync", "C:\\sync.sys")
    assert transport.sent[1].command[1:] == ("start", "sync")


@pytest.mark.parametrize(
    "replies", [[(0, ""), (0, "")], [(1062, ""), (0, "")], [(1060, ""), (1060, "")], [(1, ""), (1, ""), (1, "")]]
)
def test_remove_accepts_stopped_and_missing_services(replies: list[tuple[int, str]]) -> None:
    transport = guest(*replies)
    control(transport).remove("sync")
    assert len(transport.sent) == len(replies)


def test_remove_raises_other_errors() -> None:
    with pytest.raises(ServiceError) as caught:
        control(guest((0, ""), (1072, ""))).remove("sync")
    assert caught.value.exit_code == 1072


def test_wait_state_polls_until_it_is_there() -> None:
    clock = FakeClock()
    pending = WINDOWS_QUERY.replace("4  RUNNING", "3  STOP_PENDING")
    transport = guest((0, pending), (0, pending), (0, WINE_QUERY))
    assert control(transport, clock).wait_state("sync", ServiceState.STOPPED) is ServiceState.STOPPED
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
        replies = control(guest((0, ""), (2, "b"), (0, WINE_QUERY))).batch(calls, until_error=until_error)
        assert [reply.code for reply in replies] == codes
        assert [reply.command for reply in replies] == ["sc stop x", "sc start x", "sc query x"][: len(codes)]


@given(st.integers(2, 0xFFFFFFFF), st.text(), st.text())
def test_the_exit_code_is_the_error_whatever_the_text_is(code: int, out: str, err: str) -> None:
    reply = read_reply("sc start x", result(out.encode("utf-8", "replace"), code=code, stderr=err.encode("utf-8", "replace")))
    assert reply.code == code


# sc of an NT-like system, which always ends with 0.

NT_LIKE_REFUSED = "[SC] StartService FAILED 2:\r\n\r\nThe system cannot find the file specified.\r\n"


@pytest.mark.parametrize("exit_code", [0, 1])
@pytest.mark.parametrize(
    ("said", "code"),
    [
        (NT_LIKE_REFUSED, 2),
        ("[SC] StartService FAILED 577: Windows cannot verify the digital signature for this file.\r\n", 577),
        ("[SC] StartService FEHLER 577:\r\n\r\nDie digitale Signatur kann nicht überprüft werden.\r\n", 577),
        ("[SC] StartService 失败 1056:\r\n\r\n服务的实例已在运行中。\r\n", 1056),
        ("[SC] StartService\u00a0: échec(s) 1058\u00a0:\r\n\r\nLe service ne peut pas être démarré.\r\n", 1058),
        ("[SC] EnumQueryServicesStatus:OpenService FAILED 1060:\r\n\r\nThe specified service does not exist\r\n", 1060),
        ("The specified service does not exist as an installed service.\r\n", 1),
        (WINE_QUERY.replace("1077  (0x435)", "0  (0x0)"), 1),
        ("something went wrong\r\n", 1),
    ],
)
def test_a_start_that_was_refused_never_looks_like_success(exit_code: int, said: str, code: int) -> None:
    with pytest.raises(ServiceError) as caught:
        control(guest((exit_code, said))).start("sync")
    assert caught.value.exit_code == code
    # A code without an explanation is given in the guest's own words.
    assert (" ".join(said.split()) in caught.value.message) is (code == 1)


def test_a_start_that_leaves_the_driver_stopped_is_an_error() -> None:
    with pytest.raises(ServiceError) as caught:
        control(guest((0, WINE_QUERY.replace("1077  (0x435)", "31  (0x1F)")))).start("sync")
    assert caught.value.exit_code == 31


def test_an_error_in_a_code_page_of_its_own_is_found() -> None:
    for said, code in (("[SC] StartService échec(s) 1058\xff:", 1058), ("[SC] OpenService: ошибка: 5: отказано", 5)):
        encoded = said.encode("cp866", "ignore") if code == 5 else said.encode("latin-1")
        assert read_reply("sc start x", result(encoded + b"\r\n", code=0)).code == code


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        ("start", ""),
        ("start", WINDOWS_QUERYEX),
        ("start", WINDOWS_QUERY.replace("4  RUNNING", "2  START_PENDING")),
        ("stop", WINDOWS_QUERY.replace("4  RUNNING", "3  STOP_PENDING")),
        ("stop", WINE_QUERY),
        ("create", "[SC] CreateService SUCCESS\r\n"),
        ("create", "[SC] CreateService 成功\r\n"),
        ("delete", "\r\n[SC] DeleteService ERFOLG\r\n"),
    ],
)
def test_a_success_is_recognized(verb: str, said: str) -> None:
    assert read_reply(f"sc {verb} x", result(said, code=0)).code == 0


def test_a_refusal_with_exit_code_0_ends_the_batch() -> None:
    transport = guest((0, "[SC] CreateService FAILED 1073:\r\n\r\nThe specified service already exists.\r\n"))
    with pytest.raises(ServiceError, match="exists already"):
        control(transport).install("sync", "C:\\sync.sys")
    assert len(transport.sent) == 1
    assert not control(guest((0, "[SC] EnumQueryServicesStatus:OpenService FAILED 1060:\r\n"))).exists("sync")


@pytest.mark.parametrize("labels", [("NOMBRE_SERVICIO", "ESTADO", "CÓD_SALIDA"), ("SERVICE_NAME", "ÉTAT", "CODE_SORTIE")])
def test_a_status_with_translated_labels_is_read(labels: tuple[str, str, str]) -> None:
    text = WINDOWS_QUERYEX
    for english, label in zip(("SERVICE_NAME", "STATE", "WIN32_EXIT_CODE"), labels, strict=True):
        text = text.replace(english, label)
    assert parse_status(text) == parse_status(WINDOWS_QUERYEX)


@pytest.mark.parametrize("code", [1052, 1062])
def test_a_stop_of_a_stopped_service_is_refused_with_one_error_wherever(code: int) -> None:
    refused = (0, f"[SC] ControlService FAILED {code}:\r\n\r\nNo.\r\n")
    with pytest.raises(ServiceError) as caught:
        control(guest(refused, (0, WINE_QUERY))).stop("sync")
    assert caught.value.exit_code == 1062
    control(guest(refused, (0, WINDOWS_QUERY), (0, WINE_QUERY))).restart("sync")
    # Deleted after the stop, the service cannot be queried any more.
    control(guest(refused, (0, "[SC] DeleteService SUCCESS\r\n"), (1060, ""))).remove("sync")


def test_a_driver_without_an_unload_routine_still_refuses_to_stop() -> None:
    refused = (0, "[SC] ControlService FAILED 1052:\r\n\r\nThe requested control is not valid for this service.\r\n")
    with pytest.raises(ServiceError) as caught:
        control(guest(refused, (0, WINDOWS_QUERY))).stop("sync")
    assert (caught.value.exit_code, "DriverUnload" in caught.value.hint) == (1052, True)
    with pytest.raises(ServiceError):
        control(guest(refused, (1056, ""), (0, WINDOWS_QUERY))).restart("sync")


def test_a_driver_that_stays_running_under_an_open_handle_is_stopped_once_more() -> None:
    clock = FakeClock()
    transport = guest((0, WINDOWS_QUERY), (0, WINDOWS_QUERY), (0, WINDOWS_QUERY), (0, WINE_QUERY), (0, WINE_QUERY))
    control(transport, clock).wait_stopped("sync")
    assert [sent.command[1] for sent in transport.sent] == ["query", "stop", "query", "stop", "query"]
    pending = WINDOWS_QUERY.replace("4  RUNNING", "3  STOP_PENDING")
    transport = guest((0, pending), (0, WINE_QUERY))
    control(transport, clock).wait_stopped("sync")
    assert [sent.command[1] for sent in transport.sent] == ["query", "query"]


def test_a_driver_that_never_stops_is_a_hang_and_one_that_refuses_is_an_error() -> None:
    with pytest.raises(GuestHung, match="service sync is RUNNING after 3 s, not STOPPED"):
        control(FakeTransport(lambda _: result(WINDOWS_QUERY))).wait_stopped("sync", timeout=3)
    refused = (1052, "")
    with pytest.raises(ServiceError):
        control(guest((0, WINDOWS_QUERY), refused, (0, WINDOWS_QUERY))).wait_stopped("sync")


@pytest.mark.parametrize("code", [1056, 1061])
def test_a_restart_waits_for_an_unload_that_a_handle_held_up(code: int) -> None:
    transport = guest((0, WINDOWS_QUERY), (code, ""), (0, WINE_QUERY), (0, WINDOWS_QUERY))
    control(transport).restart("sync")
    assert [sent.command[1] for sent in transport.sent] == ["stop", "start", "query", "start"]


def test_checking_a_good_reply_returns_it() -> None:
    reply = ScReply(command="sc start x", code=0, text="")
    assert reply.check() is reply

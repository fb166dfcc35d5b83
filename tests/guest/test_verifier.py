"""Driver Verifier's command lines and answers, against the stand-in of each Windows."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lab.config.verifier import BUILT_IN, CHECKS, VerifierProfile, profile_named
from lab.errors import CommandFailed, ConfigError, TransportError
from lab.guest.protocol import CommandResult
from lab.guest.verifier.query import VerifierState, parse_query
from lab.guest.verifier.run import finish, read_build, read_state, switch_on
from lab.guest.verifier.ways import VERIFIER, plan, windows_build
from tests.verifier_double import Verified, WindowsVerifier

WINDOWS_7, WINDOWS_10_OLD, WINDOWS_10, SERVER_2022, WINDOWS_11, SERVER_2025 = 7601, 10240, 19045, 20348, 22631, 26100
STANDARD = BUILT_IN["standard"]
LOWRES = VerifierProfile(
    checks=("low_resources",), probability=1000, pool_tags=("Tag1", "Fr*"), applications=("notepad.exe",), delay_minutes=5
)


class Windows:
    """A transport to a guest with this Driver Verifier."""

    name = "windows"

    def __init__(self, verifier: WindowsVerifier) -> None:
        self.verifier = verifier

    def run(self, command: str | Sequence[str], *, timeout: float, stdin: bytes = b"", shell: bool = True) -> CommandResult:
        if command == "ver":
            assert shell
            code, text = 0, f"\r\nMicrosoft Windows [Version 10.0.{self.verifier.build}.2428]\r\n"
        else:
            assert not shell
            assert not isinstance(command, str)
            assert command[0] == VERIFIER
            code, text = self.verifier.run(command[1:])
        return CommandResult(command=str(command), exit_code=code, stdout=text.encode(), stderr=b"", duration_s=0)

    def put(self, source: Path, target: str, *, timeout: float = 300) -> None:
        raise AssertionError

    def get(self, source: str, target: Path, *, timeout: float = 300) -> None:
        raise AssertionError

    def close(self) -> None:
        """Nothing to do."""


def lines(profile: VerifierProfile, build: int, *drivers: str) -> list[tuple[str, list[str]]]:
    """Each way, and its command lines as text."""
    planned = plan(profile, drivers or ("sync.sys",), build)
    return [(one.way, [" ".join(word or '""' for word in command) for command in one.commands]) for one in planned]


# The documented command lines


@pytest.mark.parametrize(
    ("build", "first", "second"),
    [
        (
            WINDOWS_11,
            ("now", ["/dif 1 2 4 5 9 12 18 /now /driver sync.sys"]),
            ("reboot", ["/ruleclasses 1 2 4 5 6 8 9 12 18 34 /driver sync.sys", "/bootmode oneboot"]),
        ),
        (
            WINDOWS_10,
            ("volatile", ["/volatile /flags 0x9bb /adddriver sync.sys"]),
            ("reboot", ["/ruleclasses 1 2 4 5 6 8 9 12 18 34 /driver sync.sys", "/bootmode oneboot"]),
        ),
        (
            WINDOWS_10_OLD,
            ("volatile", ["/volatile /flags 0x9bb /adddriver sync.sys"]),
            ("reboot", ["/flags 0x209bb /driver sync.sys", "/bootmode oneboot"]),
        ),
    ],
)
def test_the_standard_checks_of_each_windows(build: int, first: tuple[str, list[str]], second: tuple[str, list[str]]) -> None:
    assert lines(STANDARD, build) == [first, second]


def test_a_windows_before_10_is_restarted() -> None:
    assert lines(STANDARD, WINDOWS_7) == [("reboot", ["/flags 0x209bb /driver sync.sys", "/bootmode oneboot"])]


def test_a_way_without_a_restart_says_which_standard_checks_it_lacks() -> None:
    left = {one.way: [check.name for check in one.left_out] for one in plan(STANDARD, ["sync.sys"], WINDOWS_11)}
    assert left == {"now": ["deadlock", "dma", "wdf"], "reboot": []}
    left = {one.way: [check.name for check in one.left_out] for one in plan(STANDARD, ["sync.sys"], WINDOWS_10)}
    assert left == {"volatile": ["ddi", "wdf"], "reboot": []}


def test_checks_that_a_profile_names_are_never_left_out() -> None:
    both = VerifierProfile(checks=("special_pool", "deadlock"))
    assert [way for way, _ in lines(both, WINDOWS_11)] == ["reboot"]
    assert lines(both, WINDOWS_10)[0] == ("volatile", ["/volatile /flags 0x21 /adddriver sync.sys"])
    assert [way for way, _ in lines(VerifierProfile(checks=("standard", "systematic")), WINDOWS_10)] == ["reboot"]


def test_a_profile_can_ask_for_the_restart() -> None:
    assert [way for way, _ in lines(VerifierProfile(checks=("standard",), reboot=True), WINDOWS_11)] == ["reboot"]


def test_low_resources_have_their_parameters_in_the_documented_places() -> None:
    assert lines(LOWRES, WINDOWS_11, "a.sys", "b.sys") == [
        ("volatile", ["/volatile /faults 1000 Tag1 Fr* notepad.exe 5 /adddriver a.sys b.sys"]),
        ("reboot", ["/faults 1000 Tag1 Fr* notepad.exe 5", "/ruleclasses 3 /driver a.sys b.sys", "/bootmode oneboot"]),
    ]
    # An omitted value keeps its place.
    assert lines(BUILT_IN["lowres"], WINDOWS_10)[0] == ("volatile", ['/volatile /faults 600 "" "" 1 /adddriver sync.sys'])
    tags = plan(LOWRES, ["a.sys"], WINDOWS_11)[0].commands[0][3]
    assert tags == "Tag1 Fr*"  # one argument


def test_low_resources_beside_other_checks_are_two_commands() -> None:
    both = VerifierProfile(checks=("special_pool", "low_resources"))
    assert lines(both, WINDOWS_10)[0] == (
        "volatile",
        ['/volatile /faults 600 "" "" 1', "/volatile /flags 0x5 /adddriver sync.sys"],
    )


def test_systematic_faults_have_to_be_enabled_as_well() -> None:
    now, reboot = plan(BUILT_IN["systematic"], ["sync.sys"], WINDOWS_11)
    assert now.commands == (("/dif", "19", "/now", "/driver", "sync.sys"),)
    assert reboot.commands[0] == ("/ruleclasses", "19", "36", "/driver", "sync.sys")
    assert now.after == reboot.after == (("/faultssystematic", "enableruntime"),)


def test_only_classes_that_work_without_a_restart_are_switched_on_so() -> None:
    documented = {1, 2, 4, 5, 9, 12, 18, 19, 20, 36}
    for check in CHECKS.values():
        for one in plan(VerifierProfile(checks=(check.name,)), ["sync.sys"], WINDOWS_11):
            if one.way == "now":
                assert {int(word) for word in one.commands[0] if word.isdigit()} <= documented


# The settings


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"checks": ["specialpool"]}, "did you mean special_pool"),
        ({"checks": []}, "at least 1"),
        ({"checks": ["low_resources"], "probability": 10_001}, "10000"),
        ({"checks": ["low_resources"], "pool_tags": ["Fünf!"]}, "not a pool tag"),
        ({"checks": ["low_resources"], "applications": ["C:\\x.exe"]}, "not the file name"),
        ({"checks": ["low_resources"], "delay_minutes": 0}, "greater than or equal to 1"),
        ({"checks": ["standard"], "probability": 600}, "belongs to the check low_resources"),
    ],
)
def test_a_wrong_profile_is_refused(wrong: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        VerifierProfile.model_validate(wrong)


def test_a_profile_of_the_lab_file_comes_before_a_built_in_one() -> None:
    own = {"standard": VerifierProfile(checks=("io",)), "harsh": VerifierProfile(checks=("standard", "sync_delay"))}
    assert profile_named("off", own) is None
    assert profile_named("standard", own) == own["standard"]
    assert profile_named("harsh", own) == own["harsh"]
    with pytest.raises(ConfigError, match=r"no profile 'harhs'.*\n.*off, standard, special-pool, lowres, systematic, harsh"):
        profile_named("harhs", own)


# What Windows does


@pytest.mark.parametrize("profile", BUILT_IN)
@pytest.mark.parametrize("build", [WINDOWS_7, WINDOWS_10_OLD, WINDOWS_10, SERVER_2022, WINDOWS_11, SERVER_2025])
def test_every_profile_comes_into_force_on_every_windows_and_way(profile: str, build: int) -> None:
    for attempt in plan(BUILT_IN[profile], ["sync.sys", "async.sys"], build):
        windows = WindowsVerifier(build=build)
        transport = Windows(windows)
        assert read_build(transport) == build
        reboot = switch_on(transport, attempt)
        assert reboot == (attempt.way == "reboot")
        if reboot:
            assert read_state(transport).missing(attempt.checks, ["sync.sys"])  # not before the restart
            windows.boot()
        finish(transport, attempt)
        state = read_state(transport)
        assert state.missing(attempt.checks, ["sync.sys", "ASYNC.SYS"]) == []
        assert windows.systematic == (profile == "systematic")


def test_settings_with_a_restart_are_for_one_boot() -> None:
    windows = WindowsVerifier(build=WINDOWS_10)
    attempt = plan(STANDARD, ["sync.sys"], WINDOWS_10)[-1]
    switch_on(Windows(windows), attempt)
    windows.boot()
    windows.boot()
    assert read_state(Windows(windows)).missing(attempt.checks, ["sync.sys"])


def test_exit_code_2_asks_for_a_restart_and_is_no_failure() -> None:
    windows = WindowsVerifier(build=WINDOWS_10, faults=frozenset({"volatile needs a reboot"}))
    assert switch_on(Windows(windows), plan(STANDARD, ["sync.sys"], WINDOWS_10)[0])


def test_any_other_exit_code_is_a_refusal_with_what_windows_printed() -> None:
    windows = WindowsVerifier(build=WINDOWS_11, faults=frozenset({"refuses everything"}))
    for attempt in plan(STANDARD, ["sync.sys"], WINDOWS_11):
        with pytest.raises(CommandFailed, match=r"verifier /.*ended with 1: Access is denied"):
            switch_on(Windows(windows), attempt)


def test_success_without_effect_shows_in_the_answer() -> None:
    windows = WindowsVerifier(build=WINDOWS_10, faults=frozenset({"volatile has no effect"}))
    attempt = plan(STANDARD, ["sync.sys"], WINDOWS_10)[0]
    assert not switch_on(Windows(windows), attempt)
    (missing,) = read_state(Windows(windows)).missing(attempt.checks, ["sync.sys"])
    assert missing.startswith("these checks are not in force: Special pool, Force IRQL checking")


def test_a_lost_check_and_another_driver_show_in_the_answer() -> None:
    faults = frozenset({"loses a check", "verifies another driver"})
    windows = WindowsVerifier(build=WINDOWS_11, faults=faults)  # type: ignore[arg-type]
    attempt = plan(STANDARD, ["sync.sys"], WINDOWS_11)[0]
    switch_on(Windows(windows), attempt)
    assert read_state(Windows(windows)).missing(attempt.checks, ["sync.sys"]) == [
        "these checks are not in force: Special pool",
        "these drivers are not verified: sync.sys",
    ]


# The answer


@pytest.mark.parametrize("build", [WINDOWS_7, WINDOWS_10, WINDOWS_11])
def test_counters_of_a_driver(build: int) -> None:
    windows = WindowsVerifier(build=build, active={1, 4}, drivers={"sync.sys": Verified(loads=3, unloads=2, nonpaged=5)})
    state = read_state(Windows(windows))
    driver = state.drivers["sync.sys"]
    assert (driver.name, driver.loads, driver.unloads, driver.allocations) == ("sync.sys", 3, 2, 5)
    assert (state.flags, state.injected) == (0b1001, 0)


def test_an_older_documented_form_of_the_list() -> None:
    state = parse_query(
        "Verifier Flags: 0x00000009\n\n  MODULE: 0x84226b28 Tin Whistle.sys (Loaded)\n\n"
        "    Current Pool Allocations:  (      3 /      4 )\n"
    )
    driver = state.drivers["tin whistle.sys"]
    assert (driver.name, driver.loads, driver.allocations) == ("Tin Whistle.sys", None, 7)


def test_wdf_verification_counts_only_where_the_answer_names_it() -> None:
    wdf, io = CHECKS["wdf"], CHECKS["io"]
    silent = parse_query("Verifier Flags: 0x00000010\n  MODULE: a.sys (load: 0 / unload: 0)\n")
    assert silent.missing([wdf, io], ["a.sys"]) == []
    assert not silent.can_show(wdf)
    named = parse_query("Verifier Flags: 0x00000010\n  [ ] WDF Verification\n  MODULE: a.sys (load: 0 / unload: 0)\n")
    assert named.missing([wdf, io], ["a.sys"]) == ["these checks are not in force: WDF verification"]
    marked = parse_query("Verifier Flags: 0x00000010\n  [X] WDF Verification\n  MODULE: a.sys (load: 0 / unload: 0)\n")
    assert marked.missing([wdf, io], ["a.sys"]) == []


def test_nothing_is_verified() -> None:
    state = read_state(Windows(WindowsVerifier(build=WINDOWS_11)))
    assert (state.flags, dict(state.drivers)) == (0, {})


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("answers nothing", r"did not print what is in force.*\n.*\(nothing\)"),
        ("answers in German", r"not in English:\n.*Zeitstempel(.*\n)+.*English Windows"),
        ("answers with the settings", "answer of /querysettings"),
    ],
)
def test_an_answer_that_proves_nothing_is_refused(fault: str, words: str) -> None:
    windows = WindowsVerifier(build=WINDOWS_11, faults=frozenset({fault}))  # type: ignore[arg-type]
    with pytest.raises(TransportError, match=words):
        read_state(Windows(windows))


@pytest.mark.parametrize(
    ("text", "build"),
    [
        ("\r\nMicrosoft Windows [Version 10.0.22631.2428]\r\n", 22631),
        ("Microsoft Windows [Versión 6.1.7601]", 7601),
        ("Microsoft Windows [Version 10.0.26100.1]", 26100),
    ],
)
def test_the_build_of_a_windows(text: str, build: int) -> None:
    assert windows_build(text) == build


def test_ver_without_a_version_is_an_error() -> None:
    with pytest.raises(TransportError, match="did not print the version"):
        windows_build("'ver' is not recognized")


_NAMES = st.text(st.characters(categories=("L", "N"), include_characters="_-"), min_size=1, max_size=12).map(
    lambda name: name + ".sys"
)


@given(
    classes=st.sets(st.sampled_from([check.rule_class for check in CHECKS.values() if check.flag]), min_size=1),
    drivers=st.dictionaries(_NAMES, st.builds(Verified, *[st.integers(0, 99_999)] * 3), min_size=1, max_size=4),
    build=st.sampled_from([WINDOWS_7, WINDOWS_10, WINDOWS_11]),
)
def test_what_is_printed_is_what_is_read(classes: set[int], drivers: dict[str, Verified], build: int) -> None:
    state = parse_query(WindowsVerifier(build=build, active=classes, drivers=drivers).run(["/query"])[1])
    assert {check.rule_class for check in CHECKS.values() if state.has(check)} == classes
    wanted = {name.lower(): (one.loads, one.unloads, one.nonpaged) for name, one in drivers.items()}
    assert {name: (one.loads, one.unloads, one.allocations) for name, one in state.drivers.items()} == wanted


@given(st.text())
def test_any_text_is_an_answer_or_an_error(text: str) -> None:
    found: VerifierState | None = None
    with contextlib.suppress(TransportError):
        found = parse_query(text)
    assert found is None or found.text == text

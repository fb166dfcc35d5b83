"""Stage lines, the watchdog and the key presser: decisions, without a VM and without waiting."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import HostToolError
from lab.image.windows.install_events import ConsoleReader, EventLog, StageLine, load_events, parse_stage
from lab.image.windows.install_host import InstallLooped, InstallStalled, StageFailed, require_accelerator, require_space
from lab.image.windows.install_watch import Budgets, InstallWatch, KeyPresser

BUDGETS = Budgets(
    total_s=1000, stall_s=100, max_resets=3, reset_burst_s=1, key_after_s=5, key_for_s=10, key_every_s=0.5, grace_s=20
)
WORDS = st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,15}", fullmatch=True)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("LAB winpe start", StageLine("winpe", "start")),
        ("LAB done ok", StageLine("done", "ok")),
        ("LAB done ok ", StageLine("done", "ok")),
        ("LAB oobe failed no such account: 0x8 ", StageLine("oobe", "failed", "no such account: 0x8")),
        ("left over on the line: LAB network ok", StageLine("network", "ok")),
    ],
)
def test_a_stage_line_is_found(text: str, line: StageLine) -> None:
    assert parse_stage(text) == line


@pytest.mark.parametrize(
    "text", ["", "LAB", "LAB done", "SLAB done ok", "lab done ok", "LABdone ok", "LAB 1 2", "LAB  done ok"]
)
def test_other_lines_are_not_stage_lines(text: str) -> None:
    assert parse_stage(text) is None


@given(stage=WORDS, state=WORDS, reason=st.text(st.characters(categories=["L", "N", "P"]), max_size=40))
def test_what_a_stage_line_shows_is_parsed_again(stage: str, state: str, reason: str) -> None:
    line = StageLine(stage, state, reason)
    assert parse_stage(f"LAB {line}") == line


@given(data=st.binary(max_size=300))
def test_no_output_breaks_the_reader(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("console") / "serial0.log"
    file.write_bytes(data + b"\r\nLAB done ok\r\n")
    lines = ConsoleReader(file).read()
    assert lines[-1] == "LAB done ok"
    assert all(line == line.strip() and line.isprintable() for line in lines)


def test_lines_may_come_in_pieces_and_among_the_firmwares_drawings(tmp_path: Path) -> None:
    file = tmp_path / "serial0.log"
    reader = ConsoleReader(file)
    assert (reader.read(), reader.grown) == ([], False)
    file.write_bytes(b'\x1b[2J\x1b[01;01H\x1b[=3hBdsDxe: starting Boot0001 "UEFI QEMU DVD-ROM"')
    assert (reader.read(), reader.grown) == ([], True)
    assert reader.pending.startswith("BdsDxe: starting Boot0001")
    with file.open("ab") as stream:
        stream.write(b"\r\n\x1b[0m\x1b[37mLAB win")
    assert [line[:6] for line in reader.read()] == ["BdsDxe"]
    with file.open("ab") as stream:
        stream.write(b"pe start\r\n\r\n\xff\xfeLAB winpe ok\n")
    assert [parse_stage(line) for line in reader.read()] == [StageLine("winpe", "start"), StageLine("winpe", "ok")]
    assert (reader.read(), reader.grown, reader.pending) == ([], False, "")
    with file.open("ab") as stream:
        stream.write(b"cut off by a rest\x1b[2J\x1b[1;1HLAB oobe start\r")
    assert [parse_stage(line) for line in reader.read()] == [StageLine("oobe", "start")]


def test_the_event_log_is_readable_while_it_grows_and_after_a_cut(tmp_path: Path) -> None:
    with EventLog(tmp_path) as log:
        log.add(0.0, "start")
        first = log.add(1.23456, "stage", "winpe „start“")
        assert load_events(log.file) == log.events
        assert first.at_s == 1.235
    with log.file.open("a", encoding="utf-8") as stream:
        stream.write('{"at_s": 3, "ki')
    assert load_events(log.file) == log.events


def test_each_sign_of_life_restarts_the_watchdog() -> None:
    watch = InstallWatch(BUDGETS)
    watch.on_output(90)
    assert watch.problem(189) is None
    watch.on_reset(189, 1189)
    assert watch.problem(288) is None
    assert watch.on_written(288, 4096)
    assert watch.problem(387) is None
    assert not watch.on_written(380, 8192)
    assert watch.problem(479) is None
    watch.on_written(479, 8192)  # the same count is no sign of life
    problem = watch.problem(480)
    assert problem is not None
    assert problem.error is InstallStalled
    assert "for 100 s" in problem.message


def test_the_hint_says_whether_setup_ever_wrote() -> None:
    watch = InstallWatch(BUDGETS)
    never = watch.problem(100)
    assert never is not None
    assert "nothing was ever written" in never.hint
    watch.on_written(1, 1)
    later = watch.problem(101)
    assert later is not None
    assert "nothing was ever written" not in later.hint


def test_the_total_is_a_budget_too() -> None:
    watch = InstallWatch(BUDGETS)
    watch.on_output(999)
    assert watch.problem(999.5) is None
    problem = watch.problem(1000)
    assert problem is not None
    assert "did not end within 1000 s" in problem.message


def test_a_burst_of_resets_is_one_restart() -> None:
    watch = InstallWatch(BUDGETS)
    assert watch.on_reset(10, 500.0)
    assert not watch.on_reset(10, 500.05)
    assert not watch.on_reset(10, 500.9)
    assert watch.on_reset(11, 501.0)  # counted from the first of the burst: a fast loop is counted too
    assert watch.resets == 2


def test_too_many_restarts_are_a_loop() -> None:
    watch = InstallWatch(BUDGETS)
    for second in range(3):
        watch.on_reset(second, second)
    assert watch.problem(3) is None
    watch.on_reset(3, 3)
    problem = watch.problem(3)
    assert problem is not None
    assert problem.error is InstallLooped
    assert "again and again" in problem.message


def test_a_failed_stage_waits_for_the_guests_logs() -> None:
    watch = InstallWatch(BUDGETS)
    watch.on_stage(10, StageLine("oobe", "failed", "no such account"))
    watch.on_stage(12, StageLine("logs", "ok"))
    assert watch.problem(29) is None
    problem = watch.problem(30)
    assert problem is not None
    assert problem.error is StageFailed
    assert problem.message == "stage oobe failed in the guest: no such account"


def test_complete_means_that_nothing_failed_and_nothing_came_after() -> None:
    watch = InstallWatch(BUDGETS)
    assert not watch.complete
    watch.on_stage(1, StageLine("done", "ok"))
    assert watch.complete
    watch.on_stage(2, StageLine("network", "start"))
    assert not watch.complete
    watch.on_stage(3, StageLine("network", "failed"))
    watch.on_stage(4, StageLine("done", "ok"))
    assert not watch.complete


def presses(keys: KeyPresser, first: float, last: float, step: float = 0.25) -> list[float]:
    """The times of presses, looked at every ``step`` seconds."""
    count = int((last - first) / step) + 1
    return [at_s for at_s in (first + step * index for index in range(count)) if keys.due(at_s)]


def test_without_firmware_output_keys_are_pressed_after_a_while() -> None:
    pressed = presses(KeyPresser(BUDGETS), 0, 60)
    assert pressed[0] == 5
    assert pressed[-1] == 15
    assert {later - earlier for earlier, later in pairwise(pressed)} == {0.5}


@pytest.mark.parametrize(
    "text", ['BdsDxe: starting Boot0001 "UEFI QEMU DVD-ROM QM00003"', "Press any key to boot from CD or DVD.."]
)
@pytest.mark.parametrize("gate", [2.0, 12.0])
def test_firmware_output_begins_or_prolongs_the_pressing(text: str, gate: float) -> None:
    keys = KeyPresser(BUDGETS)
    keys.on_console(0, "SeaBIOS")
    early = presses(keys, 0, gate - 0.25)
    keys.on_console(gate, text)
    keys.on_console(gate + 3, text)  # it stays on the console; only its first appearance counts
    assert (min(early) == 5) if gate > 5 else (early == [])
    assert max(presses(keys, gate, 60)) == gate + 10


def test_disk_writes_end_the_pressing_for_good() -> None:
    keys = KeyPresser(BUDGETS)
    keys.stop()
    keys.on_console(6, "Press any key")
    keys.restart(6)
    assert presses(keys, 0, 60) == []


def test_a_reset_before_any_write_brings_the_prompt_back() -> None:
    keys = KeyPresser(BUDGETS)
    assert presses(keys, 0, 30)
    keys.restart(30)
    assert presses(keys, 30, 60)[0] == 35
    keys.restart(60)
    keys.on_console(61, "Press any key")
    assert presses(keys, 61, 70)[0] == 61


def test_no_kvm_is_refused_unless_wanted() -> None:
    require_accelerator(usable_kvm=True, allow_tcg=False)
    require_accelerator(usable_kvm=False, allow_tcg=True)
    with pytest.raises(HostToolError, match="takes hours") as caught:
        require_accelerator(usable_kvm=False, allow_tcg=False)
    assert "--allow-tcg" in caught.value.hint


def test_free_space_is_asked_of_the_disks_folder(tmp_path: Path) -> None:
    require_space(tmp_path, 1)

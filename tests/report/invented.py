"""An invented run of 60 tests on two workers, with something of every kind, for the tests of the report."""

from __future__ import annotations

import random

from lab.gate.verdict import Verdict
from lab.report.model import (
    Attempt,
    DriverEntry,
    Fault,
    GuestEntry,
    ImageEntry,
    PrintEntry,
    RunReport,
    TestEntry,
    kind_entry,
)

START = 1_790_000_000.0

SYNC_NAMES = [
    "test_first_five_reads_deliver_the_five_strings",
    "test_a_sixth_read_succeeds",
    "test_a_sixth_read_leaves_the_buffer_untouched",
    "test_reads_longer_than_twenty_are_capped",
    "test_shorter_reads_keep_their_length[1]",
    "test_shorter_reads_keep_their_length[13]",
    "test_shorter_reads_keep_their_length[19]",
    "test_zero_length_read_is_refused",
    "test_write_is_not_supported",
    "test_ioctl_is_not_supported",
    "test_two_handles_share_the_counter",
    "test_each_read_prints_the_length_asked_for",
    "test_published_client_prints_five_lines",
    "test_open_needs_no_share_mode",
    "test_open_exclusively_twice",
    "test_a_read_after_close_fails",
]
ASYNC_NAMES = [
    "test_published_client_is_served_by_three_ticks",
    "test_reads_complete_in_the_order_issued",
    "test_one_irp_per_tick",
    "test_ticks_are_one_second_apart",
    "test_cancel_gives_error_995",
    "test_cancelled_read_is_not_completed_twice",
    "test_dispatch_prints_nothing",
    "test_short_reads_keep_their_length[1]",
    "test_short_reads_keep_their_length[12]",
    "test_zero_length_read_is_refused",
    "test_two_handles_are_served_oldest_first",
    "test_client_exit_cancels_its_reads",
    "test_write_is_not_supported",
    "test_ioctl_is_not_supported",
]
LIFECYCLE_NAMES = [
    "test_reload_starts_at_slot_a",
    "test_unload_with_open_handle",
    "test_unload_with_pended_reads",
    "test_both_drivers_together",
    "test_load_twice_is_refused",
    "test_link_is_gone_after_unload",
    "test_unsigned_driver_is_refused",
    "test_ten_reloads",
    "test_unload_while_dpc_runs",
    "test_failed_link_fails_the_load",
    "test_missing_file_is_named",
    "test_service_is_listed",
]
STRESS_NAMES = [
    "test_each_slot_is_delivered_once[2-1]",
    "test_each_slot_is_delivered_once[4-2]",
    "test_each_slot_is_delivered_once[8-4]",
    "test_async_reads_from_eight_handles",
    "test_cancellation_race[0]",
    "test_cancellation_race[1]",
    "test_cancellation_race[2]",
    "test_cancellation_race[3]",
    "test_open_close_storm",
    "test_reads_during_unload",
    "test_many_short_reads",
    "test_verifier_finds_no_leak",
    "test_two_clients_in_turn",
    "test_print_flood_is_complete",
    "test_low_resources",
    "test_handles_in_many_processes",
    "test_reader_killed_in_the_middle",
    "test_ioctl_storm",
]
FILES = {
    "suites/sync/test_reads.py": SYNC_NAMES,
    "suites/async/test_ticks.py": ASYNC_NAMES,
    "suites/lifecycle/test_load.py": LIFECYCLE_NAMES,
    "suites/stress/test_races.py": STRESS_NAMES,
}
SPECIAL: dict[str, tuple[Verdict, str]] = {
    "suites/stress/test_races.py::test_cancellation_race[2]": (
        "crash",
        "driver fault 0xC0000005 (0x14000112f): Unhandled exception code c0000005 flags 0 addr 0x14000112f",
    ),
    "suites/lifecycle/test_load.py::test_unload_while_dpc_runs": (
        "crash",
        "driver fault 0xC0000005 (0x140001088): Unhandled exception code c0000005 flags 0 addr 0x140001088",
    ),
    "suites/sync/test_reads.py::test_first_five_reads_deliver_the_five_strings": (
        "product",
        "assert 'hi, lyshark c' == 'hi, lyshark C' (read 3 of 5)",
    ),
    "suites/async/test_ticks.py::test_ticks_are_one_second_apart": (
        "product",
        "ticks 2 and 3 are 1.214 s apart; documented: 1.000 s, tolerance 0.050 s",
    ),
    "suites/lifecycle/test_load.py::test_link_is_gone_after_unload": (
        "product",
        "\\DosDevices\\LySharkSync is still there after sc stop",
    ),
    "suites/stress/test_races.py::test_print_flood_is_complete": (
        "infra",
        "the virtual machine ended during the test: QEMU was killed by signal 9",
    ),
    "suites/sync/test_reads.py::test_open_exclusively_twice": (
        "known",
        "known until 2027-01-31: share modes are the object manager's (it is: assert 0 == 32)",
    ),
    "suites/sync/test_reads.py::test_a_sixth_read_leaves_the_buffer_untouched": ("skipped", "direct_io"),
    "suites/sync/test_reads.py::test_open_needs_no_share_mode": ("skipped", "share_modes"),
    "suites/sync/test_reads.py::test_zero_length_read_is_refused": ("skipped", "direct_io"),
    "suites/async/test_ticks.py::test_zero_length_read_is_refused": ("skipped", "direct_io"),
    "suites/lifecycle/test_load.py::test_unsigned_driver_is_refused": ("skipped", "enforces_signatures"),
    "suites/stress/test_races.py::test_verifier_finds_no_leak": ("skipped", "driver_verifier"),
    "suites/stress/test_races.py::test_low_resources": ("skipped", "driver_verifier"),
}
DETAILS = """\
driver = <LoadedDriver sync>, reader = <Reader gw0>, prints = <PrintWindow 5 prints>

    def test_first_five_reads_deliver_the_five_strings(driver, reader, prints):
        reads = reader.read(length=20, times=5)
>       assert [r.text for r in reads] == [f"hi, lyshark {c}" for c in "ABCDE"]
E       AssertionError: assert ['hi, lyshark...i, lyshark E'] == ['hi, lyshark...i, lyshark E']
E
E         At index 2 diff: 'hi, lyshark c' != 'hi, lyshark C'

suites/sync/test_reads.py:21: AssertionError
"""


def print_at(sequence: int, guest_time: float, text: str) -> PrintEntry:
    return PrintEntry(
        sequence=sequence,
        host_time=START + guest_time,
        guest_time=guest_time,
        source="wine",
        thread="013c:017c",
        component=0,
        level=1,
        raw=text.encode().hex(),
        text=text,
    )


def tick_prints(sequence: int, begin: float, count: int, pause: float = 1.0) -> list[PrintEntry]:
    found: list[PrintEntry] = []
    for tick in range(count):
        at = begin + tick * 1.0 + (pause - 1.0 if tick == 2 else 0.0)
        found.append(print_at(sequence + 2 * tick, at, f"当前DPC Irp: 0x{0x8F21A010 + tick * 0x160:x}\n"))
        found.append(print_at(sequence + 2 * tick + 1, at + 0.0002, "读取DPC长度: 13\n"))
    return found


def invented_run() -> RunReport:
    """Sixty tests: 2 crash, 3 product, 1 infra, 1 known, 7 skipped, 46 passed."""
    chance = random.Random(7)
    guests = [guest("gw0-1", "gw0", 0.0, 24.1), guest("gw1-1", "gw1", 1.2, 25.7)]
    clock = {"gw0": 29.5, "gw1": 31.0}
    boots = {"gw0": 1, "gw1": 1}
    tests: list[TestEntry] = []
    sequence = 0
    for file, names in FILES.items():
        for name in names:
            nodeid = f"{file}::{name}"
            worker = min(clock, key=lambda key: clock[key])
            verdict, reason = SPECIAL.get(nodeid, ("passed", ""))
            prints: list[PrintEntry] = []
            duration = 0.0 if verdict == "skipped" else chance.uniform(0.9, 3.2)
            if verdict != "skipped" and "async" in file and "dispatch" not in name:
                count = chance.randint(2, 4)
                prints = tick_prints(sequence, clock[worker] + 0.4, count, 1.214 if verdict == "product" else 1.0)
                duration = count + 0.9
            elif verdict != "skipped" and "sync" in file:
                prints = [print_at(sequence + n, clock[worker] + 0.4 + n * 0.004, "读字节长度: 20 \n") for n in range(5)]
            elif "flood" in name or "each_slot" in name:
                prints = [print_at(sequence + n, clock[worker] + 0.2 + n * 0.0015, "读字节长度: 20 \n") for n in range(240)]
            sequence += len(prints)
            skipped = verdict == "skipped"
            test = TestEntry(
                nodeid=nodeid,
                verdict=verdict,
                reason=f"needs {reason}" if skipped else reason,
                duration_s=round(duration, 3),
                started=START + clock[worker],
                worker=worker,
                guest_id=f"{worker}-{boots[worker]}",
                missing_capability=reason if skipped else None,
                drivers=["async" if "async" in file else "sync"],
                fault=Fault(code="0xC0000005", parameters=["0x14000112f"], text=reason.split(": ")[-1], driver="async.sys")
                if verdict == "crash"
                else None,
                details=DETAILS if verdict == "product" else "",
                prints=prints,
            )
            if name == "test_cancellation_race[0]":
                first = Attempt(verdict="infra", reason="the guest did not answer within 30 s", duration_s=31.0, worker="gw0")
                last = Attempt(verdict="passed", reason="", duration_s=test.duration_s)
                test = test.model_copy(update={"attempts": 2, "history": [first, last]})
            tests.append(test)
            clock[worker] += duration + 0.05
            if verdict in ("crash", "infra"):
                number = next(i for i, g in enumerate(guests) if g.guest_id == test.guest_id)
                ended = "crash: 0xC0000005" if verdict == "crash" else "exited: killed by signal 9"
                guests[number] = guests[number].model_copy(update={"ended": ended})
                boots[worker] += 1
                guests.append(guest(f"{worker}-{boots[worker]}", worker, clock[worker], chance.uniform(22, 27)))
                clock[worker] += guests[-1].boot_s or 0
                clock[worker] += 4.2
    totals: dict[Verdict, int] = {}
    missing: dict[str, int] = {}
    for test in tests:
        totals[test.verdict] = totals.get(test.verdict, 0) + 1
        if test.missing_capability:
            missing[test.missing_capability] = missing.get(test.missing_capability, 0) + 1
    return RunReport(
        lab_version="0.1.0",
        started="2026-09-21T14:13:20Z",
        duration_s=max(clock.values()) + 2.0,
        command=["lab", "run", "--guest", "wine", "--workers", "2"],
        exit_code=3,
        guest="free guest: Wine 10.0 on Debian 13",
        image=ImageEntry(
            name="wine",
            key="3f9c2a77d0b1e8c4",
            guest="free guest: Wine 10.0 on Debian 13",
            kind=kind_entry("wine"),
            capabilities=["pended_irps", "cancel", "timers"],
            versions={"wine": "10.0", "kernel": "6.12.43"},
        ),
        accelerator="tcg",
        qemu="7.2.19",
        workers=2,
        drivers=[
            DriverEntry(name="sync", path="build/x64/sync.sys", sha256="9b" * 32, arch="x64"),
            DriverEntry(name="async", path="build/x64/async.sys", sha256="4e" * 32, arch="x64"),
        ],
        totals=totals,
        skipped_for=missing,
        prints=sum(len(test.prints) for test in tests),
        unattributed_prints=0,
        times={"boot": 24.6, "copy": 2.9, "load": 1.3, "suites": max(clock.values()) - 29.5},
        guests=guests,
        tests=sorted(tests, key=lambda test: test.nodeid),
    )


def guest(guest_id: str, worker: str, started: float, boot: float) -> GuestEntry:
    return GuestEntry(
        guest_id=guest_id,
        worker=worker,
        started=START + started,
        boot_s=round(boot, 2),
        copy_s=2.9,
        load_s=1.3,
        ended="end of run",
        prints=120,
    )

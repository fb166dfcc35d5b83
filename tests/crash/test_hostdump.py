"""Dumps of a guest's memory, with a double of the monitor."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lab.crash.hostdump import dump_guest
from lab.errors import ConfigError, GuestExited, TransportError
from lab.vm.qmp import CommandRefused
from tests.crash.fakes import FakeClock, FakeMachine, done, failed

ELF = b"\x7fELF" + bytes(4096)
WINDOWS = b"PAGEDU64" + bytes(8184)
NO_DRIVER = (b"", failed("win-dump: invalid vmcoreinfo note size"))


def test_the_windows_format_comes_first(tmp_path: Path) -> None:
    machine = FakeMachine({"win-dmp": (WINDOWS, done(8192))})
    dump = dump_guest(machine, tmp_path / "new" / "guest", timeout=60)
    assert (dump.path, dump.format, dump.size, dump.refused) == (tmp_path / "new" / "guest.dmp", "win-dmp", 8192, ())
    assert dump.path.read_bytes() == WINDOWS


def test_elf_when_the_guest_lacks_the_driver_with_the_reason(tmp_path: Path) -> None:
    machine = FakeMachine({"win-dmp": NO_DRIVER, "elf": (ELF, done(4096))})
    dump = dump_guest(machine, tmp_path / "guest", timeout=60)
    assert (dump.path, dump.format) == (tmp_path / "guest.elf", "elf")
    assert dump.refused == ("win-dmp: win-dump: invalid vmcoreinfo note size",)
    assert [file.name for file in tmp_path.iterdir()] == ["guest.elf"]


def test_elf_when_qemu_does_not_know_the_windows_format(tmp_path: Path) -> None:
    refusal = CommandRefused("dump-guest-memory", "GenericError", "Invalid parameter 'win-dmp'")
    dump = dump_guest(FakeMachine({"win-dmp": refusal, "elf": (ELF, done(4096))}), tmp_path / "guest", timeout=60)
    assert "Invalid parameter" in dump.refused[0]


def test_no_format_works(tmp_path: Path) -> None:
    machine = FakeMachine({"win-dmp": NO_DRIVER, "elf": (b"", failed("no space"))})
    with pytest.raises(TransportError, match=r"win-dmp: win-dump: .*; elf: no space"):
        dump_guest(machine, tmp_path / "guest", timeout=60)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("data", "reason"),
    [(ELF[:100], "100 bytes instead of 4096"), (b"", "it begins with nothing"), (b"\0" * 5000, "begin like a dump")],
)
def test_a_file_that_is_not_what_qemu_says(tmp_path: Path, data: bytes, reason: str) -> None:
    with pytest.raises(TransportError, match=reason):
        dump_guest(FakeMachine({"elf": (data, done(4096))}), tmp_path / "guest", formats=["elf"], timeout=60)
    assert list(tmp_path.iterdir()) == []


def test_an_older_dump_is_not_the_new_one(tmp_path: Path) -> None:
    machine = FakeMachine({"elf": (ELF, done(4096))})
    machine.qmp.happen("DUMP_COMPLETED", failed("long ago"))
    assert dump_guest(machine, tmp_path / "guest", formats=["elf"], timeout=60).size == len(ELF)


def test_a_dump_that_does_not_end_is_given_up_and_no_other_is_begun(tmp_path: Path) -> None:
    machine = FakeMachine({"win-dmp": (WINDOWS, done(8192)), "elf": (ELF, done(4096))})
    machine.qmp.silent = True
    with pytest.raises(TransportError, match="win-dmp was not finished in time") as caught:
        dump_guest(machine, tmp_path / "guest", timeout=60, clock=FakeClock())
    assert "more time" in caught.value.hint
    assert machine.qmp.commands == ["dump-guest-memory win-dmp"]
    assert machine.qmp.timeouts == [60]
    assert list(tmp_path.iterdir()) == []


def test_one_deadline_is_for_all_formats(tmp_path: Path) -> None:
    clock = FakeClock()
    machine = FakeMachine({"elf": (ELF, done(4096))})

    def slow_refusal() -> object:
        clock.now += 61
        raise CommandRefused("dump-guest-memory", "GenericError", "not now")

    machine.qmp.answers["dump-guest-memory"] = slow_refusal
    with pytest.raises(TransportError, match=r"not now; elf: no time was left"):
        dump_guest(machine, tmp_path / "guest", timeout=60, clock=clock)
    assert machine.qmp.commands == ["dump-guest-memory win-dmp"]


def test_the_end_of_qemu_is_reported_as_such(tmp_path: Path) -> None:
    machine = FakeMachine({"elf": (ELF, done(4096))})

    def gone() -> object:
        raise GuestExited("QEMU was killed")

    machine.qmp.answers["dump-guest-memory"] = gone
    with pytest.raises(GuestExited):
        dump_guest(machine, tmp_path / "guest", timeout=60)
    assert machine.qmp.commands == ["dump-guest-memory win-dmp"]


def test_no_file_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "guest.dmp").write_text("evidence")
    with pytest.raises(ConfigError, match="exists already"):
        dump_guest(FakeMachine(), tmp_path / "guest", timeout=60)
    assert (tmp_path / "guest.dmp").read_text() == "evidence"
    with pytest.raises(ConfigError, match="no dump format"):
        dump_guest(FakeMachine(), tmp_path / "guest", formats=[], timeout=60)
    with pytest.raises(ConfigError, match="no dump can be written"):
        dump_guest(FakeMachine(), tmp_path / "guest.dmp" / "below" / "guest", timeout=60)


def test_the_next_dump_waits_until_qemu_has_cleaned_up_after_the_last(tmp_path: Path) -> None:
    machine = FakeMachine({"win-dmp": NO_DRIVER, "elf": (ELF, done(4096))})
    machine.qmp.statuses = ["running", "save-vm", "save-vm", "running"]
    real = machine.qmp.execute

    def execute(command: str, arguments: Mapping[str, Any] | None = None, *, timeout: float = 10.0) -> Any:
        if arguments and arguments.get("format") == "elf":
            assert "save-vm" not in machine.qmp.statuses
        return real(command, arguments, timeout=timeout)

    machine.qmp.execute = execute  # type: ignore[method-assign]
    assert dump_guest(machine, tmp_path / "guest", timeout=60).format == "elf"


def test_a_paused_vm_gets_the_time_to_clean_up(tmp_path: Path) -> None:
    machine, clock = FakeMachine({"win-dmp": (WINDOWS, done(8192))}), FakeClock()
    machine.qmp.statuses = ["shutdown"]
    seen: list[float] = []

    def ticking() -> float:
        clock.now += 0.1
        seen.append(clock.now)
        return clock.now

    dump_guest(machine, tmp_path / "guest", timeout=60, clock=ticking)
    assert seen[-1] - seen[0] > 0.3

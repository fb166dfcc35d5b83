"""Marks of a guest with the print relay, and how its prints are found from its image's manifest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lab.errors import EvidenceLost, GuestHung, TransportError
from lab.guest.protocol import CommandResult
from lab.image.manifest import ImageManifest, MachineSpec, PrintPort, usual_offers
from lab.live.guest_logs import find_logs
from lab.live.machine_spec import machine_spec
from lab.live.print_wiring import open_prints
from lab.prints.channel import GuestLink
from lab.prints.record import MarkRecord, PrintRecord
from lab.prints.registry import channel_of
from lab.prints.relay.decoder import RelayPosition
from lab.prints.relay.frame import MARK, PRINT, Frame, encode
from lab.prints.relay.marker import RelayMarker
from lab.prints.relay.source import RelayPrintSource
from lab.prints.relay.start import RelayStart, read_start, start_file, state_of, write_start
from lab.vm.argv import build_argv
from tests.machines import MachineDouble

RELAYMARK = "C:\\lab\\bin\\relaymark.exe"


@dataclass
class Connection:
    """A transport that answers as the test says."""

    answers: list[CommandResult | Exception]
    name: str = "winrm"
    commands: list[tuple[str, ...]] = field(default_factory=list)
    closed: int = 0

    def run(self, command: str | Sequence[str], *, timeout: float, stdin: bytes = b"", shell: bool = True) -> CommandResult:
        assert not shell
        self.commands.append(tuple(command))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def put(self, source: Path, target: str, *, timeout: float = 300) -> None:
        raise NotImplementedError

    def get(self, source: str, target: Path, *, timeout: float = 300) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self.closed += 1


def ended(exit_code: int, stderr: bytes = b"") -> CommandResult:
    return CommandResult(command=RELAYMARK, exit_code=exit_code, stdout=b"", stderr=stderr, duration_s=0.1)


def marker(*connections: Connection, alive: bool = True) -> RelayMarker:
    left = list(connections)
    return RelayMarker(RELAYMARK, lambda: left.pop(0), alive=lambda: alive)


def test_marks_share_one_connection() -> None:
    connection = Connection([ended(0), ended(0)])
    relay = marker(connection)
    relay.write("t-1", 5)
    relay.write("t-2", 5)
    relay.close()
    relay.close()
    assert connection.commands == [(RELAYMARK, "t-1"), (RELAYMARK, "t-2")]
    assert connection.closed == 1


def test_a_connection_that_was_kept_and_broke_is_opened_anew_once() -> None:
    first = Connection([ended(0), TransportError("it ended")])
    second = Connection([ended(0)])
    relay = marker(first, second)
    relay.write("t-1", 5)
    relay.write("t-2", 5)
    assert (first.closed, second.commands) == (1, [(RELAYMARK, "t-2")])


@pytest.mark.parametrize("error", [TransportError("no answer"), GuestHung("too late")])
def test_the_error_of_a_guest_that_does_not_answer_is_passed_on(error: Exception) -> None:
    connection = Connection([error])
    with pytest.raises(type(error)):
        marker(connection).write("t-1", 5)
    assert connection.closed == 1


@pytest.mark.parametrize(
    ("code", "stderr", "message", "hint"),
    [
        (
            2,
            b"relaymark: the print relay's device cannot be opened: Win32 error 2\r\n",
            "device cannot be opened",
            "sc query LabRelay",
        ),
        (50, b"relaymark: the print relay refused the mark: Win32 error 50\r\n", "refused the mark", "no print callback"),
        (1167, b"", "1167", "debug_port"),
    ],
)
def test_a_relay_that_refuses_is_lost_evidence_with_its_reason(code: int, stderr: bytes, message: str, hint: str) -> None:
    with pytest.raises(EvidenceLost) as caught:
        marker(Connection([ended(code, stderr)])).write("t-1", 5)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_a_connection_to_a_dead_vm_is_not_closed_politely() -> None:
    connection = Connection([ended(0)])
    relay = marker(connection, alive=False)
    relay.write("t-1", 5)
    relay.close()
    assert connection.closed == 0


@pytest.fixture
def manifest() -> ImageManifest:
    return ImageManifest(
        name="windows-server-2022",
        key="k",
        created="2026-01-01T00:00:00Z",
        guest="Windows Server 2022",
        kind="windows",
        capabilities=(),
        machine=MachineSpec(machine="q35", memory_mb=4096, disk="disk.qcow2"),
        prints=PrintPort(source="relay", encoding="cp1252"),
        transports=usual_offers("winrm", "ssh"),
    )


def test_a_manifest_with_the_relay_gives_its_vm_the_port_and_the_source_its_log(
    manifest: ImageManifest, tmp_path: Path
) -> None:
    argv = build_argv(machine_spec(manifest, tmp_path, name="g", accelerator="tcg"))
    assert "isa-debugcon,iobase=0xe9,chardev=debugcon" in argv
    log = tmp_path / next(part for part in argv if part.startswith("file,id=debugcon")).split("path=")[1]
    connection = Connection([ended(0)])
    opened: list[Connection] = []

    def open_transport() -> Connection:
        opened.append(connection)
        return connection

    machine = MachineDouble(tmp_path)
    source = open_prints(manifest, machine, "utf-8", open_transport)
    assert isinstance(source, RelayPrintSource)
    assert source.raw_file == log
    source.start()
    assert opened == []  # a guest that boots cannot be connected to
    log.write_bytes(encode(Frame(kind=MARK, session=1, sequence=0, text=b"t-1")))
    source.mark("t-1", timeout=30)
    assert connection.commands == [(RELAYMARK, "t-1")]
    source.close()
    assert connection.closed == 1


def test_another_source_has_no_debug_console(manifest: ImageManifest, tmp_path: Path) -> None:
    other = manifest.model_copy(update={"prints": PrintPort(source="kd")})
    assert machine_spec(other, tmp_path, name="g", accelerator="tcg").debug_port is None


def test_an_image_of_the_last_release_is_read_by_its_old_name_with_a_note(
    manifest: ImageManifest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    older = manifest.model_copy(update={"prints": PrintPort(source="tap", encoding="cp1252")})
    assert machine_spec(older, tmp_path, name="g", accelerator="tcg").debug_port is not None
    connection = Connection([ended(0)])
    source = open_prints(older, MachineDouble(tmp_path), "utf-8", lambda: connection)
    assert source.name == "relay"
    [note] = capsys.readouterr().err.splitlines()
    assert note.startswith("lab: record of image windows-server-2022: `prints.source: tap` is the old name of `relay`")
    source.start()
    (tmp_path / "debugcon.log").write_bytes(encode(Frame(kind=MARK, session=1, sequence=0, text=b"t-1")))
    source.mark("t-1", timeout=30)
    assert connection.commands == [("C:\\lab\\bin\\tapmark.exe", "t-1")]
    source.close()


def test_a_fork_s_source_continues_and_its_folder_says_where_its_log_begins(manifest: ImageManifest, tmp_path: Path) -> None:
    """Tests read a fork's prints while it runs; `lab prints`, `lab run --on` and `lab relay decode` read its log later."""
    record = encode(Frame(kind=PRINT, session=1, sequence=7, text=b"half of it"))
    log, connection = tmp_path / "debugcon.log", Connection([ended(0), ended(0)])
    link = GuestLink(manifest=manifest, machine=MachineDouble(tmp_path), encoding="utf-8", open_transport=lambda: connection)
    source = channel_of(manifest).open(link, resume=state_of(RelayPosition(1, 7), record[:30]))
    start = read_start(log)
    assert (start.position, start.tail) == (RelayPosition(1, 7), record[:30])
    assert start_file(log) in find_logs(tmp_path, manifest)
    source.start()
    log.write_bytes(record[30:] + encode(Frame(kind=MARK, session=1, sequence=8, text=b"t-1")))
    source.mark("t-1", timeout=30)
    resumable = source.resumable
    assert resumable is not None
    resumable.hang_up()
    assert connection.closed == 1
    source.close()
    reader = channel_of(manifest).read(log, "utf-8")
    reader.start()
    reader.close()
    for records in (source.records_since(0), reader.records_since(0)):
        assert [type(found) for found in records] == [PrintRecord, MarkRecord]
        assert isinstance(records[0], PrintRecord)
        assert records[0].text == "half of it"


def test_a_fork_is_joined_where_its_log_begins(manifest: ImageManifest, tmp_path: Path) -> None:
    write_start(tmp_path / "debugcon.log", RelayStart(position=RelayPosition(1, 7)))
    connection = Connection([ended(0)])
    link = GuestLink(manifest=manifest, machine=MachineDouble(tmp_path), encoding="utf-8", open_transport=lambda: connection)
    source = channel_of(manifest).join(link)
    source.start()
    (tmp_path / "debugcon.log").write_bytes(encode(Frame(kind=MARK, session=1, sequence=7, text=b"t-1")))
    source.mark("t-1", timeout=30)
    source.close()
    assert [type(found) for found in source.records_since(0)] == [MarkRecord]

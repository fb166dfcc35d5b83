"""A toy print channel: each line on COM2 is a print, but `mark TOKEN` is a marker, which a program in the guest writes."""

from __future__ import annotations

from pathlib import Path

from lab.image.manifest import PrintPort
from lab.prints.channel import GuestLink, PrintChannel
from lab.prints.file_source import FilePrintSource
from lab.prints.follow import FileFollower
from lab.prints.record import MarkRecord, PrintRecord, Record
from lab.prints.resume import PrintsState

NAME = "toy"
PROGRAM = "toymark.exe"


class ToyDecoder:
    """Turns the bytes of the port into records, however they are cut."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._begun = b""
        self._number = 0

    def feed(self, data: bytes, host_time: float) -> list[Record]:
        *lines, self._begun = (self._begun + data).split(b"\n")
        return [self._record(line, host_time) for line in lines]

    def rest(self, silent_s: float) -> list[Record]:
        return []  # a line says where it ends

    def finish(self, host_time: float) -> list[Record]:
        line, self._begun = self._begun, b""
        return [self._record(line, host_time)] if line else []

    def _record(self, line: bytes, host_time: float) -> Record:
        number, self._number = self._number, self._number + 1
        if line.startswith(b"mark "):
            return MarkRecord(sequence=number, host_time=host_time, guest_time=None, token=line[5:].decode("ascii"))
        text = line.decode(self._encoding, "backslashreplace")
        return PrintRecord(sequence=number, host_time=host_time, guest_time=None, source=NAME, raw=line, text=text)


class ToyChannel(PrintChannel):
    """The channel. PrintChannel has the rest: both serial ports are recorded, the VM is not paused, and there are no forks."""

    name = NAME
    words = "the toy's lines"

    def open(self, link: GuestLink, *, resume: PrintsState | None = None) -> FilePrintSource:
        def write_mark(token: str, timeout: float) -> None:
            transport = link.open_transport()
            try:
                transport.run([PROGRAM, token], timeout=timeout, shell=False).check()
            finally:
                transport.close()

        return FilePrintSource(
            NAME,
            self.file(link.prints, link.machine.run_dir),
            ToyDecoder(link.encoding),
            write_mark,
            what="the toy's port",
            who=PROGRAM,
            hint=f"is {PROGRAM} the guest's own?",
        )

    def join(self, link: GuestLink) -> FilePrintSource:
        return self.open(link)

    def file(self, prints: PrintPort, run_dir: Path) -> Path:
        return run_dir / f"serial{prints.serial}.log"

    def read(self, path: Path, encoding: str) -> FileFollower:
        return FileFollower(path, ToyDecoder(encoding), what="the toy's port")


CHANNEL = ToyChannel()

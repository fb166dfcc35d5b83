"""The driver's own C files, compiled for the host and called from Python."""

from __future__ import annotations

import ctypes
from pathlib import Path

from lab.host.assets import data_root
from lab.host.process import run
from lab.prints.relay.frame import HEADER_SIZE, TEXT_MAX, Frame

_DRIVER = data_root() / "driver" / "relay"
_HERE = Path(__file__).resolve().parent
_COMPILE = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-pthread")
_PORT_SIZE = 16 << 20
_U8, _U16, _U32, _U64 = ctypes.c_ubyte, ctypes.c_ushort, ctypes.c_uint, ctypes.c_ulonglong


def build_native(folder: Path, *, tries: int | None = None) -> Path:
    """Compile the library; ``tries`` replaces the driver's own number of tries for the port."""
    library = folder / "relay.so"
    few = [f"-DRELAY_TRIES={tries}u"] if tries is not None else []
    sources = [_HERE / "native.c", _DRIVER / "writer.c", _DRIVER / "record.c"]
    run(["gcc", *_COMPILE, *few, f"-I{_DRIVER}", *sources, "-o", library], 120.0, hint="apt-get install gcc libc6-dev")
    return library


class NativeRelay:
    """One writer with its port; the library holds one at a time."""

    def __init__(self, library: Path) -> None:
        self._c = ctypes.CDLL(str(library))
        self._c.Open.argtypes = [ctypes.c_void_p, ctypes.c_size_t, _U32, _U32, _U32]
        self._c.Used.restype = ctypes.c_size_t
        self._c.Refused.restype = _U32
        self._c.Write.argtypes = [_U32, _U8, _U32, _U32, ctypes.c_char_p, _U32]
        self._c.HoldAs.argtypes = [ctypes.c_long]
        self._c.Encode.argtypes = [_U8, _U16, _U32, _U32, _U64, _U16, _U32, _U32, ctypes.c_char_p, _U16, ctypes.c_char_p]
        self._port = ctypes.create_string_buffer(_PORT_SIZE)
        self.open()

    def open(self, *, session: int = 7, tear_every: int = 0, interrupt_every: int = 0) -> None:
        """An empty port and a new session."""
        self._c.Open(ctypes.addressof(self._port), _PORT_SIZE, session, tear_every, interrupt_every)

    @property
    def output(self) -> bytes:
        """What was written to the port."""
        return self._port.raw[: self._c.Used()]

    @property
    def refused(self) -> int:
        """How many interrupts could not write."""
        return int(self._c.Refused())

    @property
    def interrupts_are_off(self) -> bool:
        """Whether the calling thread was left with its interrupts off."""
        return bool(self._c.InterruptsAreOff())

    def write(self, kind: int, text: bytes = b"", *, cpu: int = 0, component: int = 0, level: int = 0) -> bool:
        """RelayWrite on a processor; returns whether it had the port."""
        return bool(self._c.Write(cpu, kind, component, level, text, len(text)))

    def hold_as(self, cpu: int | None) -> None:
        """Make a processor hold the port and stop, or release it."""
        self._c.HoldAs(0 if cpu is None else cpu + 1)

    def number_is(self, sequence: int) -> None:
        """The next record's number."""
        self._c.NumberIs(_U32(sequence))

    def flood(self, processors: int, count: int) -> None:
        """So many threads print so many lines each, all at once."""
        assert self._c.Flood(processors, count)

    def encode(self, frame: Frame) -> bytes:
        """RelayEncode, followed by the text."""
        assert len(frame.text) <= TEXT_MAX
        to = ctypes.create_string_buffer(HEADER_SIZE + len(frame.text) + 1)
        self._c.Encode(
            frame.kind,
            frame.flags,
            frame.session,
            frame.sequence,
            frame.time,
            frame.cpu,
            frame.component,
            frame.level,
            frame.text,
            len(frame.text),
            to,
        )
        return to.raw[:-1]

"""Finds out whether a suite compares times of the host, which are not those of a guest with a virtual clock."""

from __future__ import annotations

import dis
import re
import time
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import Any

from lab.gate.blame import kind_of

_CLOCKS = ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns")
_NAMES = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FAST", "LOAD_DEREF")
#: pytest's explanation of an assertion; :attr:`lab.guest.protocol.CommandResult.duration_s` is measured on the host.
_COMMAND = re.compile(r"= CommandResult\(.*\)\.duration_s", re.DOTALL)


def host_clock(frames: Iterable[FrameType], said: str) -> str:
    """Which of the host's clocks a failed assertion may be about; empty if none is read beside it.

    Args:
        frames: Those in which the assertion stands.
        said: Its text.

    Returns:
        For example ``time.monotonic() in test_it.py``.
    """
    if _COMMAND.search(said):
        return "CommandResult.duration_s"
    for frame in frames:
        if kind_of(frame) == "suite" and (name := _read_in(frame)):
            return f"time.{name}() in {Path(frame.f_code.co_filename).name}"
    return ""


def _read_in(frame: FrameType) -> str:
    """The first clock of the host that a function reads; empty if it reads none."""
    loaded: Any = None
    for instruction in dis.get_instructions(frame.f_code):
        if instruction.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            if loaded is time and instruction.argval in _CLOCKS:
                return str(instruction.argval)
            loaded = None
        elif instruction.opname in _NAMES and isinstance(instruction.argval, str):
            name = instruction.argval
            loaded = frame.f_locals.get(name, frame.f_globals.get(name))
            found = next((clock for clock in _CLOCKS if loaded is getattr(time, clock)), "")
            if found:
                return found
    return ""

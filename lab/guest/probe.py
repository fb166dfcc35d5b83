"""The Python side of ``drvprobe.exe``: runs a script in the guest and makes values of its JSON lines."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lab.errors import CommandFailed, ConfigError, GuestLacks, TransportError
from lab.guest import win32
from lab.guest.probescript import Access, ProbeScript, split_operations
from lab.guest.protocol import Transport

__all__ = ["Operation", "ProbeResult", "ProbeScript", "ReadResult", "Reader", "parse_output", "run_probe"]

IO_PENDING = 997
WAIT_TIMEOUT = 258

#: Longest script that goes as an argument, which saves a round trip; cmd, which SSH has in between, takes 8191 characters.
_LONGEST_ARGUMENT = 6000
_WRONG_SCRIPT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation that drvprobe reported.

    Attributes:
        seq: Position in the output, from 1.
        op: ``open``, ``read``, ``aread``, ``wait``, ``write``, ``ioctl``, ``cancel``, ``sleep``, ``close``, ``tick``,
            ``service``, ``go``, ``ended``.
        thread: Thread or process that reported it; ``main`` outside of all.
        handle: Name of the handle, where there is one.
        tag: The tag, where there is one.
        asked: Bytes asked for; 0 where it makes no sense.
        returned: Bytes moved, or the state that a service is in behind the call; 0 where it makes no sense.
        error: Win32 error, 0 for success; 997 for a read that is pending.
        start_us: Start in microseconds of the guest's performance counter.
        end_us: End, same clock.
    """

    seq: int
    op: str
    thread: str
    handle: str | None
    tag: str | None
    asked: int
    returned: int
    error: int
    start_us: int
    end_us: int

    @property
    def duration_s(self) -> float:
        """Guest seconds from start to end."""
        return (self.end_us - self.start_us) / 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadResult(Operation):
    """An operation that filled a buffer: a read that ended, at once or by ``wait``, or a device control's output.

    Attributes:
        data: The returned bytes.
        text: ``data`` up to its first zero byte, as UTF-8; other bytes as U+FFFD.
        tail_intact: Whether the buffer behind the returned bytes is as it was before.
    """

    data: bytes = b""
    text: str = ""
    tail_intact: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """What a script did.

    Attributes:
        operations: Every operation in the order of the output.
        exit_code: 0, or what ``exit`` said.
        reads: The reads that ended, with whatever error, in the order of the output. Those that one ``wait`` collects stand in
            the order in which they were issued; ``end_us`` tells when each ended. A pending read is not among them.
        by_tag: For each tag the last result of its reads; a ``wait`` that timed out is one, with error 258.
    """

    operations: tuple[Operation, ...]
    exit_code: int = 0
    reads: tuple[ReadResult, ...] = field(init=False, repr=False)
    by_tag: Mapping[str, ReadResult] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        ended = [op for op in self.operations if isinstance(op, ReadResult) and op.op != "ioctl"]
        object.__setattr__(self, "reads", tuple(op for op in ended if not (op.op == "wait" and op.error == WAIT_TIMEOUT)))
        object.__setattr__(self, "by_tag", {op.tag: op for op in ended if op.tag is not None})

    @property
    def errors(self) -> list[int]:
        """The Win32 errors of all operations in order."""
        return [op.error for op in self.operations]

    def tagged(self, tag: str) -> tuple[ReadResult, ...]:
        """All reads of a tag that ended, in the order of the output."""
        return tuple(read for read in self.reads if read.tag == tag)

    def of_thread(self, thread: str) -> tuple[Operation, ...]:
        """The operations of one thread in order."""
        return tuple(op for op in self.operations if op.thread == thread)


class Reader:
    r"""Reads from one device, the plain way: each call opens it, reads and closes it in one guest process.

    Args:
        run: Runs a script in the guest.
        link: What to open, for example ``\\\\.\\LySharkSync``.
    """

    def __init__(self, run: Callable[[ProbeScript], ProbeResult], link: str) -> None:
        self._run = run
        self._link = link

    def read(self, length: int, times: int = 1, *, access: Access = "r", share: Access = "r") -> list[ReadResult]:
        """Read ``times`` times in a row on one handle.

        Raises:
            CommandFailed: The device does not open; ``exit_code`` is the Win32 error.
        """
        script = ProbeScript().open("h", self._link, access=access, share=share).read("h", length, times=times).close("h")
        result = self._run(script)
        opened = result.operations[0]
        if opened.error:
            raise CommandFailed(
                str(script), opened.error, stderr=win32.describe(opened.error), hint=f"is the driver of {self._link} loaded?"
            )
        return list(result.reads)


def run_probe(transport: Transport, exe: str, script: ProbeScript | str, timeout: float = 60) -> ProbeResult:
    """Run a script in the guest.

    Args:
        transport: How to reach the guest.
        exe: Windows path of ``drvprobe.exe``.
        script: The script.
        timeout: Seconds for the guest process; reads that nobody completes make it hang.

    Raises:
        ConfigError: drvprobe does not understand the script, or there is none.
        GuestLacks: The guest cannot do what the script asks for.
        CommandFailed: drvprobe itself failed.
        TransportError: Its output is not what it writes, or is cut off.
        GuestHung: It did not end in time.
    """
    operations = script.operations if isinstance(script, ProbeScript) else split_operations(script)
    if not operations:
        raise ConfigError("the drvprobe script is empty")
    line = "; ".join(operations)
    if len(line) <= _LONGEST_ARGUMENT:
        result = transport.run([exe, line], timeout=timeout, shell=False)
    else:
        result = transport.run([exe, "-"], timeout=timeout, shell=False, stdin="\n".join(operations).encode())
    wanted = _exit_codes(operations)
    if result.exit_code == _WRONG_SCRIPT:
        _raise_script_error(result.stdout)
    if result.exit_code not in wanted:
        said = result.error_text.strip() or result.text.strip()[-300:]
        raise CommandFailed(
            f"{exe} {line[:200]}",
            result.exit_code,
            stderr=win32.describe(result.exit_code) + (f"; {said}" if said else ""),
            hint=win32.lookup(result.exit_code).hint,
        )
    return ProbeResult(operations=parse_output(result.stdout), exit_code=result.exit_code)


def parse_output(output: bytes) -> tuple[Operation, ...]:
    """Parse drvprobe's lines.

    Raises:
        TransportError: A line is cut off or is not drvprobe's, or a line is missing.
    """
    operations: list[Operation] = []
    for number, line in enumerate(output.decode("utf-8", "backslashreplace").splitlines(), 1):
        if not line.strip():
            continue
        try:
            operations.append(_operation(json.loads(line)))
        except (ValueError, KeyError, TypeError) as problem:
            raise TransportError(f"line {number} of drvprobe's output is damaged: {line[:200]!r}") from problem
    if output and not output.endswith(b"\n"):
        raise TransportError(f"drvprobe's output is cut off after {len(operations)} operations")
    seen = sorted(op.seq for op in operations)
    if seen != list(range(1, len(seen) + 1)):
        raise TransportError(f"lines of drvprobe's output are missing: {seen[-1]} were written, {len(seen)} arrived")
    return tuple(operations)


def _operation(line: Any) -> Operation:
    common: dict[str, Any] = {
        "seq": _number(line["seq"]),
        "op": _word(line["op"]),
        "thread": _word(line["thread"]),
        "handle": _word_or_none(line.get("handle")),
        "tag": _word_or_none(line.get("tag")),
        "asked": _number(line.get("asked") or 0),
        "returned": _number(line.get("returned") or 0),
        "error": _number(line["error"]),
        "start_us": _number(line["start_us"]),
        "end_us": _number(line["end_us"]),
    }
    data = line.get("data")
    # An asynchronous read that failed at once never gets a `wait` line: its issue is its end.
    ended_at_once = common["op"] == "aread" and common["error"] not in (0, IO_PENDING)
    if data is None and not ended_at_once and common["op"] not in ("read", "wait"):
        return Operation(**common)
    return ReadResult(
        **common,
        data=bytes.fromhex(_word(data or "")),
        text=_word(line.get("text") or ""),
        tail_intact=line.get("tail_intact") is not False,
    )


def _number(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(value)
    return value


def _word(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _word_or_none(value: Any) -> str | None:
    return None if value is None else _word(value)


def _exit_codes(operations: Sequence[str]) -> set[int]:
    """0, and what the script's own ``exit`` operations say."""
    codes = {0}
    for operation in operations:
        words = operation.split()
        if len(words) == 2 and words[0] == "exit":
            try:
                codes.add(int(words[1], 0) & 0xFFFFFFFF)
            except ValueError:
                continue  # drvprobe will complain about it
    return codes


def _raise_script_error(output: bytes) -> None:
    """Raise the complaint about the script, if there is one."""
    for line in output.decode("utf-8", "backslashreplace").splitlines():
        try:
            said = json.loads(line)
        except ValueError:
            continue
        if isinstance(said, dict) and said.get("op") == "error":
            if needs := said.get("needs"):
                raise GuestLacks(str(needs), f"drvprobe: {said.get('message')}: `{said.get('text')}`")
            raise ConfigError(
                f"drvprobe: {said.get('message')} in `{said.get('text')}`", hint="see the script language in driver/"
            )

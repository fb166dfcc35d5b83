"""`lab kd`: decode a capture of the kernel-debugger port, or be the host of a live target."""

from __future__ import annotations

import codecs
import contextlib
import os
import signal
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from lab.errors import ConfigError
from lab.prints.kd.collector import Collector, connect_port, open_raw
from lab.prints.kd.decoder import decode_file
from lab.prints.kd.record import (
    AnyRecord,
    BugcheckText,
    Console,
    ExceptionStop,
    Gap,
    Load,
    Note,
    Print,
    Prompt,
    Unload,
    to_json,
)
from lab.prints.kd.session import Session, StopPolicy

_QUIET_S = 10.0
_BREAK_IN_S = 2.0

_Jsonl = Annotated[bool, typer.Option("--jsonl", help="One JSON object a line")]
_Encoding = Annotated[str, typer.Option("--encoding", metavar="NAME", help="Encoding of the drivers' strings")]


class AtBreakpoint(StrEnum):
    """What is done at an int3."""

    SKIP = "skip"
    HOLD = "hold"


class AtBugcheck(StrEnum):
    """What is done at the break that follows a bugcheck's text."""

    HOLD = "hold"
    CONTINUE = "continue"
    REBOOT = "reboot"


def register(app: typer.Typer) -> None:
    """Add the commands of `lab kd`."""
    group = typer.Typer(no_args_is_help=True, help="Kernel-debugger port: decode a capture, attach to a live target.")

    @group.command("decode")
    def decode(
        file: Annotated[Path, typer.Argument(help="Raw bytes of the target, or - for standard input")],
        jsonl: _Jsonl = False,
        encoding: _Encoding = "cp1252",
    ) -> None:
        """Print the records of a raw capture."""
        _check_encoding(encoding)
        try:
            with contextlib.ExitStack() as stack:
                stream = sys.stdin.buffer if str(file) == "-" else stack.enter_context(file.open("rb"))
                for record in decode_file(stream):
                    _write(to_json(record, encoding) if jsonl else describe(record, encoding))
        except BrokenPipeError:
            _let_go_of_stdout()
        except OSError as error:
            raise ConfigError(f"cannot read {file}: {error.strerror}", hint="name a capture of the debugger port") from None

    @group.command("attach")
    def attach(
        socket: Annotated[Path, typer.Option("--socket", metavar="PATH", help="Unix socket of the serial port")],
        jsonl: _Jsonl = False,
        raw: Annotated[
            Path | None, typer.Option("--raw", metavar="FILE", help="Keep every byte of the target in this new file")
        ] = None,
        break_in: Annotated[bool, typer.Option("--break-in", help="Wake a target that runs already and says nothing")] = False,
        breakpoint_: Annotated[
            AtBreakpoint, typer.Option("--breakpoint", help="At an int3: step over it, or leave the target stopped")
        ] = AtBreakpoint.SKIP,
        bugcheck: Annotated[
            AtBugcheck,
            typer.Option("--bugcheck", help="After a bugcheck: leave it stopped, let it write its dump, or restart it"),
        ] = AtBugcheck.HOLD,
        wait: Annotated[float, typer.Option("--wait", metavar="S", help="Seconds to wait for the socket")] = 30.0,
        encoding: _Encoding = "cp1252",
    ) -> None:
        """Be the debugger of a live target, until it goes away or you interrupt.

        Prints, loads, stops and gaps appear as they come. Interrupting leaves the target with a debugger that does not
        answer: it stands still at its next print.
        """
        _check_encoding(encoding)
        policy = StopPolicy(breakpoint=breakpoint_.value, bugcheck=bugcheck.value)
        with contextlib.ExitStack() as stack:
            raw_file = stack.enter_context(open_raw(raw)) if raw else None
            collector = Collector(connect_port(socket, timeout=wait), Session(policy))
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda *_: collector.stop())
            collector.start()
            try:
                _follow(collector, raw_file, jsonl=jsonl, encoding=encoding, break_in=break_in)
            except BrokenPipeError:
                _let_go_of_stdout()
                _drain_only(collector, raw_file)

    app.add_typer(group, name="kd")


def describe(record: AnyRecord, encoding: str) -> str:
    """A record for people, without a newline."""
    match record:
        case Print():
            return record.raw.decode(encoding, "backslashreplace").rstrip("\r\n")
        case Prompt():
            question = record.raw.decode(encoding, "backslashreplace").strip()
            return f"[prompt] {question} (answered {record.answer!r})"
        case Load() | Unload():
            return f"[{record.kind}] {record.path or '(no name)'} at {record.base:#x}, {record.size} bytes"
        case ExceptionStop():
            chance = "first" if record.first_chance else "second"
            action = f": {record.action}" if record.action else ""
            return f"[exception] {record.code:#010x} at {record.address:#x} on CPU {record.cpu}, {chance} chance{action}"
        case BugcheckText():
            parameters = ", ".join(f"{parameter:#x}" for parameter in record.parameters)
            return f"[bugcheck] {record.code:#x} ({parameters})"
        case Gap():
            return f"[gap] {record.reason}"
        case Console():
            return record.raw.decode(encoding, "backslashreplace").strip()
        case Note():
            return f"[note] {record.text}"


def _follow(collector: Collector, raw_file: BinaryIO | None, *, jsonl: bool, encoding: str, break_in: bool) -> None:
    begin = time.monotonic()
    heard_any = told = False
    tries = 0
    while True:
        try:
            heard = collector.next(0.5)
        except TimeoutError:
            silent = time.monotonic() - begin
            if not heard_any and break_in and silent >= 1.0 + tries * _BREAK_IN_S:
                # A running target looks for a break-in byte; a stopped one answers only a reset.
                collector.ask(_reset if tries % 2 else _break_in)
                tries += 1
            if not heard_any and not told and silent >= _QUIET_S:
                told = True
                hint = "" if break_in else "; for a target that runs already, start with --break-in"
                sys.stderr.write(f"lab kd: nothing heard for {_QUIET_S:.0f} s{hint}\n")
            continue
        if heard is None:
            return
        if raw_file and heard.raw:
            raw_file.write(heard.raw)
        for record in heard.records:
            heard_any = heard_any or not isinstance(record, Console)
            _write(to_json(record, encoding) if jsonl else describe(record, encoding), flush=False)
        if heard.records:
            sys.stdout.flush()


def _drain_only(collector: Collector, raw_file: BinaryIO | None) -> None:
    """Nobody reads our output any more: the guest is answered all the same, or it would stand still."""
    while True:
        with contextlib.suppress(TimeoutError):
            heard = collector.next(5.0)
            if heard is None:
                return
            if raw_file and heard.raw:
                raw_file.write(heard.raw)


def _break_in(session: Session, _now: float) -> None:
    session.break_in()


def _reset(session: Session, _now: float) -> None:
    session.reset()


def _write(line: str, *, flush: bool = True) -> None:
    sys.stdout.buffer.write(line.encode("utf-8", "backslashreplace") + b"\n")
    if flush:
        sys.stdout.buffer.flush()


def _let_go_of_stdout() -> None:
    """Keep Python from complaining at its end about an output that nobody reads."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _check_encoding(name: str) -> None:
    try:
        codecs.lookup(name)
    except LookupError:
        raise ConfigError(f"there is no encoding {name!r}", key="--encoding", hint="for example cp1252, utf-8, gbk") from None

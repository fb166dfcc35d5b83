"""`lab kd`: decode a capture of the kernel-debugger port, or be the host of a live target."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import sys
import time
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from lab.cli.encoding import check_encoding
from lab.cli.output import reader_gone
from lab.errors import ConfigError
from lab.prints.kd.collector import Collector, Heard, connect_port, open_raw
from lab.prints.kd.control import DEBUGGER_SOCKET, DEEDS, CollectorControl, ControlServer
from lab.prints.kd.decoder import decode_file
from lab.prints.kd.ids import read_ids
from lab.prints.kd.output import BackgroundWriter, PatientWriter
from lab.prints.kd.record import (
    AnyRecord,
    BugcheckText,
    Console,
    End,
    ExceptionStop,
    Gap,
    Load,
    Note,
    Print,
    Prompt,
    Unload,
    to_json,
)
from lab.prints.kd.session import Session
from lab.prints.kd.stop_policy import StopPolicy

_QUIET_S = 10.0
#: Without a byte for so long, a target is taken for one that runs already.
_SILENT_S = 15.0
#: Seconds between two tries to wake a target that was asked for by --break-in, the first ones and those behind them.
_BREAK_IN_S = 2.0
_RARE_BREAK_IN_S = 30.0
_OFTEN = 10


class Waking(StrEnum):
    """When a target that says nothing is woken."""

    NEVER = "never"
    WHEN_SILENT = "when silent"
    AT_ONCE = "at once"


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
    group = typer.Typer(no_args_is_help=True, help="Kernel debugger port: decode a capture, attach to a running kernel.")

    @group.command("decode")
    def decode(
        file: Annotated[Path, typer.Argument(help="Raw bytes from the kernel, or - for standard input")],
        jsonl: _Jsonl = False,
        encoding: _Encoding = "cp1252",
    ) -> None:
        """Print the records of a raw capture."""
        check_encoding(encoding)
        try:
            with contextlib.ExitStack() as stack:
                stream = sys.stdin.buffer if str(file) == "-" else stack.enter_context(file.open("rb"))
                for record in decode_file(stream):
                    _write(_line(record, jsonl=jsonl, encoding=encoding))
        except BrokenPipeError:
            _let_go_of_stdout()
        except OSError as error:
            raise ConfigError(f"cannot read {file}: {error.strerror}", hint="give a capture of the debugger port") from None

    @group.command("attach")
    def attach(
        socket: Annotated[Path, typer.Option("--socket", metavar="PATH", help="Unix socket of the serial port")],
        jsonl: _Jsonl = False,
        raw: Annotated[
            Path | None, typer.Option("--raw", metavar="FILE", help="Write every byte from the kernel to this new file")
        ] = None,
        ids: Annotated[
            Path | None,
            typer.Option(
                "--ids", metavar="FILE", help="Continue with the packet ids of a snapshot, as `lab kd tell` prints them"
            ),
        ] = None,
        control: Annotated[
            Path | None, typer.Option("--control", metavar="PATH", help="Make this socket, for `lab kd tell`")
        ] = None,
        break_in: Annotated[
            bool | None,
            typer.Option(
                "--break-in/--no-break-in",
                help="Break in to a running, silent kernel: at once, or never. Default: after 15 s without a byte, "
                "except with --ids and --breakpoint hold",
            ),
        ] = None,
        breakpoint_: Annotated[
            AtBreakpoint, typer.Option("--breakpoint", help="At an int3: step over it, or leave the kernel stopped")
        ] = AtBreakpoint.SKIP,
        bugcheck: Annotated[
            AtBugcheck,
            typer.Option("--bugcheck", help="After a bugcheck: leave the kernel stopped, let it write its dump, or restart it"),
        ] = AtBugcheck.HOLD,
        wait: Annotated[float, typer.Option("--wait", metavar="S", help="Seconds to wait for the socket")] = 30.0,
        encoding: _Encoding = "cp1252",
    ) -> None:
        """Be the debugger of a running kernel, until it ends or you press Ctrl-C.

        Prints, loads, stops and gaps appear as they come. After Ctrl-C the kernel has no debugger: it gives up within a
        second and drops its prints, or stands still at its next stop.
        """
        check_encoding(encoding)
        _check_wait(wait)
        # A fork knows its debugger and may have nothing to say; who holds breakpoints is not given one more.
        by_default = ids is None and breakpoint_ is AtBreakpoint.SKIP
        policy = StopPolicy(breakpoint=breakpoint_.value, bugcheck=bugcheck.value)
        session = Session(policy, read_ids(ids) if ids else None)
        with contextlib.ExitStack() as stack:
            raw_file = stack.enter_context(open_raw(raw)) if raw else None
            collector = Collector(connect_port(socket, timeout=wait), session)
            if raw_file:
                writer = PatientWriter(raw_file.fileno(), str(raw), ended=collector.ended.is_set, complain=_complain)
                background = BackgroundWriter(writer)
                stack.callback(background.close)
                collector.keep_raw = background.write
            if control:
                stack.callback(ControlServer(control, collector).close)
            _end_by_signals(collector, control)
            collector.start()
            try:
                out = PatientWriter(sys.stdout.fileno(), "standard output", ended=collector.ended.is_set, complain=_complain)
                _follow(collector, out, jsonl=jsonl, encoding=encoding, waking=_waking(break_in, by_default))
            except BrokenPipeError:
                _let_go_of_stdout()
                _drain_only(collector)

    @group.command("tell")
    def tell(
        socket: Annotated[Path, typer.Argument(metavar="SOCKET", help="The socket of `lab kd attach --control`")],
        deed: Annotated[str, typer.Argument(metavar="DEED", help=" | ".join(DEEDS))],
    ) -> None:
        """Ask a running `lab kd attach` for the state of its session, or give it a command.

        break-in stops the kernel until release; wake only shows it that there is a debugger; lend offers the kernel to
        another debugger, at the TCP port and the socket in the answer, until take-back. Prints one JSON object. If it says
        idle, a snapshot may be taken of the paused guest, and --ids takes this object for its forks.
        """
        if deed not in DEEDS:
            raise ConfigError(f"there is no {deed!r}", key="DEED", hint=f"there is {', '.join(DEEDS)}")
        status = CollectorControl(socket).tell(deed)  # type: ignore[arg-type]
        told: dict[str, Any] = {"heard": status.heard, "idle": status.idle, "held": status.held}
        told |= {"generation": status.generation, **json.loads(status.ids.to_json())}
        told |= {"port": status.port, "socket": str(socket.with_name(DEBUGGER_SOCKET))} if status.port else {}
        _write(json.dumps(told))

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
        case End():
            return f"[end] {record.reason}"


def _check_wait(seconds: float) -> None:
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ConfigError(f"this is not a waiting time: {seconds} s", key="--wait", hint="a number of seconds, 0 or more")


def _waking(break_in: bool | None, by_default: bool) -> Waking:
    if break_in is None:
        return Waking.WHEN_SILENT if by_default else Waking.NEVER
    return Waking.AT_ONCE if break_in else Waking.NEVER


class Waker:
    """Wakes a target that was running before its host came: it says nothing until it finds that it has a debugger.

    Args:
        when: When it is woken.
    """

    def __init__(self, when: Waking) -> None:
        self._when = when
        self._tries = 0
        self._told = False

    def look(self, collector: Collector, silent: float) -> None:
        """Called now and then while nothing was heard.

        Args:
            collector: The host.
            silent: Seconds since its begin.
        """
        if self._when is not Waking.NEVER and silent >= self._due:
            # A running target looks for a break-in byte; a stopped one answers only a reset.
            what, do = ("reset", _reset) if self._tries % 2 else ("break-in", _break_in)
            self._tries += 1
            text = f"nothing heard for {silent:.0f} s: sent a {what}, for a kernel that is running or stopped"
            collector.ask(partial(_do_and_say, do, text))
        if not self._told and silent >= _QUIET_S:
            self._told = True
            _complain(f"nothing heard for {_QUIET_S:.0f} s{self._hint}")

    @property
    def _due(self) -> float:
        if self._when is Waking.WHEN_SILENT:
            return _SILENT_S * (1 + self._tries)
        return 1.0 + min(self._tries, _OFTEN) * _BREAK_IN_S + max(self._tries - _OFTEN, 0) * _RARE_BREAK_IN_S

    @property
    def _hint(self) -> str:
        if self._when is Waking.NEVER:
            return "; for a kernel that is already running, use --break-in"
        when_silent = self._when is Waking.WHEN_SILENT
        return f"; a kernel that is already running gets a break-in after {_SILENT_S:.0f} s" if when_silent else ""


def _follow(collector: Collector, out: PatientWriter, *, jsonl: bool, encoding: str, waking: Waking) -> None:
    begin = time.monotonic()
    waker = Waker(waking)
    quiet = True
    while True:
        try:
            heard = collector.next(0.5)
        except TimeoutError:
            heard = Heard(0, [])
        if heard is None:
            return
        # Text of firmware shows a machine that boots; only who wants its target woken at once is not content with it.
        packets = any(not isinstance(record, (Console, Note)) for record in heard.records)
        quiet = quiet and not (packets if waking is Waking.AT_ONCE else heard.size)
        if quiet and not heard.size:
            waker.look(collector, time.monotonic() - begin)
        lines = [_line(record, jsonl=jsonl, encoding=encoding) for record in heard.records]
        out.write(b"".join(line.encode("utf-8", "backslashreplace") + b"\n" for line in lines))


def _line(record: AnyRecord, *, jsonl: bool, encoding: str) -> str:
    """A record as it is written; a bug of ours in doing so must not leave the target without its debugger."""
    try:
        return to_json(record, encoding) if jsonl else describe(record, encoding)
    except Exception as error:
        raw = getattr(record, "raw", b"")
        said = f": {raw.hex()}" if raw else ""
        text = f"internal error: the lab cannot write a {record.kind}: {type(error).__name__}: {error}"[:500] + said
        note = Note(time=record.time, generation=record.generation, text=text)
        return to_json(note) if jsonl else describe(note, "cp1252")


def _end_by_signals(collector: Collector, control: Path | None) -> None:
    """The first interrupt ends the session, whose records are then written to their end; the second ends at once."""
    signals = (signal.SIGINT, signal.SIGTERM)

    def end_at_once(number: int, _frame: object) -> None:
        if control:
            control.unlink(missing_ok=True)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def end(_number: int, _frame: object) -> None:
        for number in signals:
            signal.signal(number, end_at_once)
        collector.stop("the session was interrupted; the kernel has no debugger now")

    for number in signals:
        signal.signal(number, end)


def _drain_only(collector: Collector) -> None:
    """Nobody reads our output any more: the guest is answered all the same, or it would stand still."""
    while True:
        with contextlib.suppress(TimeoutError):
            if collector.next(5.0) is None:
                return


def _complain(text: str) -> None:
    with contextlib.suppress(OSError):  # standard error may lie on the same full disk
        sys.stderr.write(f"lab kd: {text}\n")


def _break_in(session: Session, _now: float) -> None:
    session.break_in()


def _reset(session: Session, now: float) -> None:
    session.reset(now)


def _do_and_say(do: Callable[[Session, float], None], text: str, session: Session, now: float) -> None:
    do(session, now)
    session.remark(text, time.time())


def _write(line: str) -> None:
    sys.stdout.buffer.write(line.encode("utf-8", "backslashreplace") + b"\n")
    sys.stdout.buffer.flush()
    if reader_gone():
        raise BrokenPipeError


def _let_go_of_stdout() -> None:
    """Keep Python from complaining at its end about an output that nobody reads."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

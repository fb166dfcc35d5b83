"""The host of a live kernel-debugger target: answers it and writes its records until it ends.

`lab kd attach` calls :func:`attach`; ``python -m lab.prints.kd.attach`` is the collector that a guest's boot starts.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, get_args

from lab.errors import LabError
from lab.prints.kd.collector import Collector, Heard, connect_port, open_raw
from lab.prints.kd.control import ControlServer
from lab.prints.kd.ids import read_ids
from lab.prints.kd.output import BackgroundWriter, PatientWriter
from lab.prints.kd.record import Console, Note
from lab.prints.kd.session import Session
from lab.prints.kd.silence import BreakIn, SilenceWatch
from lab.prints.kd.stop_policy import AtBreakpoint, AtBugcheck, StopPolicy
from lab.prints.kd.text import record_line

MODULE: Final = "lab.prints.kd.attach"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """The arguments of :func:`attach`.

    Attributes:
        socket: Unix socket of the serial port.
        jsonl: Write records as JSON, one object a line; otherwise as lines for people.
        raw: A new file for every byte of the target.
        ids: File with the packet ids of the snapshot of which the target is a fork.
        control: A socket to make, on which `lab kd control` is served.
        break_in: When a silent target gets a break-in.
        policy: What to do at stops.
        wait: Seconds to wait for the socket.
        encoding: Encoding of the drivers' strings.
    """

    socket: Path
    jsonl: bool = False
    raw: Path | None = None
    ids: Path | None = None
    control: Path | None = None
    break_in: BreakIn = BreakIn.NEVER
    policy: StopPolicy = field(default_factory=StopPolicy)
    wait: float = 30.0
    encoding: str = "cp1252"


def attach(what: Attachment) -> None:
    """Be the debugger of a target, and write its records to standard output. Returns when the target ends.

    The first SIGINT or SIGTERM ends the session, whose records are then written to their end; the second ends at once.

    Raises:
        ConfigError: A file cannot be read, or exists already.
        TransportError: The socket cannot be connected in time.
    """
    session = Session(what.policy, read_ids(what.ids) if what.ids else None)
    with contextlib.ExitStack() as stack:
        raw_file = stack.enter_context(open_raw(what.raw)) if what.raw else None
        collector = Collector(connect_port(what.socket, timeout=what.wait), session)
        if raw_file:
            writer = PatientWriter(raw_file.fileno(), str(what.raw), ended=collector.ended.is_set, complain=_complain)
            background = BackgroundWriter(writer)
            stack.callback(background.close)
            collector.keep_raw = background.write
        if what.control:
            stack.callback(ControlServer(what.control, collector).close)
        _end_by_signals(collector, what.control)
        collector.start()
        try:
            out = PatientWriter(sys.stdout.fileno(), "standard output", ended=collector.ended.is_set, complain=_complain)
            _follow(collector, out, what)
        except BrokenPipeError:
            # Keeps Python from an error message at its end about an output that has no reader.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            _drain_only(collector)


def command(what: Attachment) -> list[str]:
    """Return the argument list of a collector: a process that does this, with JSON and without break-ins; see :func:`main`."""
    # Not the interpreter's -I: the collector must find the same lab that started it.
    argv = [sys.executable, "-m", MODULE, "--socket", str(what.socket), "--wait", str(what.wait)]
    argv += ["--breakpoint", what.policy.breakpoint, "--bugcheck", what.policy.bugcheck]
    for option, path in (("--raw", what.raw), ("--control", what.control), ("--ids", what.ids)):
        argv += [option, str(path)] if path else []
    return argv


def _follow(collector: Collector, out: PatientWriter, what: Attachment) -> None:
    begin = time.monotonic()
    silence = SilenceWatch(what.break_in, _complain)
    quiet = True
    while True:
        try:
            heard = collector.next(0.5)
        except TimeoutError:
            heard = Heard(0, [])
        if heard is None:
            return
        # Text of firmware shows a VM that boots, which is enough unless an immediate break-in is requested.
        packets = any(not isinstance(record, (Console, Note)) for record in heard.records)
        quiet = quiet and not (packets if what.break_in is BreakIn.AT_ONCE else heard.size)
        if quiet and not heard.size:
            silence.check(collector, time.monotonic() - begin)
        lines = [record_line(record, jsonl=what.jsonl, encoding=what.encoding) for record in heard.records]
        out.write(b"".join(line.encode("utf-8", "backslashreplace") + b"\n" for line in lines))


def _end_by_signals(collector: Collector, control: Path | None) -> None:
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
    """The output has no reader any more. The guest is still answered, because it would stop otherwise."""
    while True:
        with contextlib.suppress(TimeoutError):
            if collector.next(5.0) is None:
                return


def _complain(text: str) -> None:
    with contextlib.suppress(OSError):  # standard error may be on the same full disk
        sys.stderr.write(f"lab kd: {text}\n")


def main(argv: Sequence[str]) -> int:
    """Run a collector: records as JSON on standard output, messages on standard error.

    The target is connected before its VM's first instruction, so a silent one needs no break-in.

    Args:
        argv: What :func:`command` makes.

    Returns:
        The exit code: 0, or 1 after an error of the lab.
    """
    parser = argparse.ArgumentParser(prog=MODULE)
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--wait", type=float, required=True)
    for name in ("--raw", "--control", "--ids"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--breakpoint", choices=get_args(AtBreakpoint), required=True)
    parser.add_argument("--bugcheck", choices=get_args(AtBugcheck), required=True)
    given = parser.parse_args(argv)
    policy = StopPolicy(breakpoint=given.breakpoint, bugcheck=given.bugcheck)
    what = Attachment(
        socket=given.socket, jsonl=True, raw=given.raw, ids=given.ids, control=given.control, policy=policy, wait=given.wait
    )
    try:
        attach(what)
    except LabError as error:
        _complain(str(error))
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

"""The host of a live kernel-debugger target: answers it and writes its records until it ends.

`lab kd attach` calls :func:`attach`; ``python -m lab.prints.kd.attach`` is the collector of a guest, see
:mod:`lab.prints.kd.process`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lab.errors import LabError
from lab.prints.kd.collector import Collector, Heard, connect_port, open_raw
from lab.prints.kd.control import ControlServer
from lab.prints.kd.ids import read_ids
from lab.prints.kd.output import BackgroundWriter, PatientWriter
from lab.prints.kd.record import Console, Note
from lab.prints.kd.request import TAKEN, CollectorRequest, wait_for_request
from lab.prints.kd.session import Session
from lab.prints.kd.silence import BreakIn, SilenceWatch
from lab.prints.kd.stop_policy import StopPolicy
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


def serve(request: CollectorRequest) -> None:
    """Serve the port of a guest; see :func:`attach`.

    The target is connected before its VM's first instruction, so a silent one needs no break-in.
    """
    attach(
        Attachment(
            socket=request.socket,
            jsonl=True,
            raw=request.raw,
            ids=request.ids,
            control=request.control,
            policy=request.policy,
            wait=request.wait,
        )
    )


def main(argv: Sequence[str]) -> int:
    """Run a collector: wait for a guest, then serve its debugger port. Records are JSON on standard output.

    Args:
        argv: The owner's pid. Standard input is the socket on which the request comes.

    Returns:
        The exit code: 0, or 1 after an error of the lab.
    """
    # No argparse: it would be a tenth of the start.
    with socket.socket(fileno=os.dup(sys.stdin.fileno())) as line:
        came = wait_for_request(line, int(argv[0]))
        if came is None:
            return 0
        request, records, messages = came
        os.dup2(os.open(os.devnull, os.O_RDONLY), sys.stdin.fileno())
        for descriptor, stream in ((records, sys.stdout), (messages, sys.stderr)):
            os.dup2(descriptor, stream.fileno())
            os.close(descriptor)
        # So that `pwdx` and `lsof` tell whose collector this is.
        os.chdir(request.folder)
        line.sendall(TAKEN)
    try:
        serve(request)
    except LabError as error:
        _complain(str(error))
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

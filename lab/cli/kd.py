"""`lab kd`: decode a capture of the kernel-debugger port, or be the host of a live target."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from lab.cli.encoding import check_encoding
from lab.cli.output import reader_gone
from lab.errors import ConfigError
from lab.host.renamed import note_old_name
from lab.prints.kd.attach import Attachment
from lab.prints.kd.attach import attach as do_attach
from lab.prints.kd.control import ACTIONS, DEBUGGER_SOCKET, CollectorControl
from lab.prints.kd.decoder import decode_file
from lab.prints.kd.silence import BreakIn
from lab.prints.kd.stop_policy import StopPolicy
from lab.prints.kd.text import record_line

#: Old name of an action → its name; for one release.
_OLD_ACTIONS = {"wake": "announce"}
_Jsonl = Annotated[bool, typer.Option("--jsonl", help="One JSON object a line")]
_Encoding = Annotated[str, typer.Option("--encoding", metavar="NAME", help="Encoding of the drivers' strings")]


class AtBreakpoint(StrEnum):
    """What to do at an int3."""

    SKIP = "skip"
    HOLD = "hold"


class AtBugcheck(StrEnum):
    """What to do at the break that follows the text of a bugcheck."""

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
                    _write(record_line(record, jsonl=jsonl, encoding=encoding))
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
                "--ids", metavar="FILE", help="Continue with the packet ids of a snapshot, as `lab kd control` prints them"
            ),
        ] = None,
        control: Annotated[
            Path | None, typer.Option("--control", metavar="PATH", help="Make this socket, for `lab kd control`")
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
        second and drops its prints, or waits for ever at its next stop.
        """
        check_encoding(encoding)
        _check_wait(wait)
        # The kernel of a fork knows its debugger already, and may print nothing. With --breakpoint hold, a break-in would be
        # one more stop.
        by_default = ids is None and breakpoint_ is AtBreakpoint.SKIP
        do_attach(
            Attachment(
                socket=socket,
                jsonl=jsonl,
                raw=raw,
                ids=ids,
                control=control,
                break_in=_break_in_when(break_in, by_default),
                policy=StopPolicy(breakpoint=breakpoint_.value, bugcheck=bugcheck.value),
                wait=wait,
                encoding=encoding,
            )
        )

    @group.command("control")
    def control_(
        socket: Annotated[Path, typer.Argument(metavar="SOCKET", help="The socket of `lab kd attach --control`")],
        action: Annotated[str, typer.Argument(metavar="ACTION", help=" | ".join(ACTIONS))],
    ) -> None:
        """Ask a running `lab kd attach` for the state of its session, or give it a command.

        break-in stops the kernel until release. announce only shows the kernel that there is a debugger. lend offers the
        kernel to another debugger, at the TCP port and the socket in the answer, until take-back. Prints one JSON object. If
        it says idle, you may take a snapshot of the paused guest, and --ids takes this object for its forks.
        """
        _control(socket, action)

    @group.command("tell", hidden=True)
    def tell(
        socket: Annotated[Path, typer.Argument(metavar="SOCKET")], action: Annotated[str, typer.Argument(metavar="ACTION")]
    ) -> None:
        """Old name of `lab kd control`."""
        note_old_name("lab kd tell", "lab kd control")
        _control(socket, action)

    app.add_typer(group, name="kd")


def _control(socket: Path, name: str) -> None:
    action = _OLD_ACTIONS.get(name, name)
    if action != name:
        note_old_name(name, action)
    if action not in ACTIONS:
        raise ConfigError(f"there is no {name!r}", key="ACTION", hint=f"available: {', '.join(ACTIONS)}")
    status = CollectorControl(socket).request(action)  # type: ignore[arg-type]
    answer: dict[str, Any] = {"heard": status.heard, "idle": status.idle, "held": status.held}
    answer |= {"generation": status.generation, **json.loads(status.ids.to_json())}
    answer |= {"port": status.port, "socket": str(socket.with_name(DEBUGGER_SOCKET))} if status.port else {}
    _write(json.dumps(answer))


def _check_wait(seconds: float) -> None:
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ConfigError(f"this is not a waiting time: {seconds} s", key="--wait", hint="a number of seconds, 0 or more")


def _break_in_when(break_in: bool | None, by_default: bool) -> BreakIn:
    if break_in is None:
        return BreakIn.WHEN_SILENT if by_default else BreakIn.NEVER
    return BreakIn.AT_ONCE if break_in else BreakIn.NEVER


def _write(line: str) -> None:
    sys.stdout.buffer.write(line.encode("utf-8", "backslashreplace") + b"\n")
    sys.stdout.buffer.flush()
    if reader_gone():
        raise BrokenPipeError


def _let_go_of_stdout() -> None:
    """Prevent an error message of Python at its end about a closed pipe."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

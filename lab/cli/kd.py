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
from lab.prints.kd.attach import Attachment
from lab.prints.kd.attach import attach as do_attach
from lab.prints.kd.control import DEBUGGER_SOCKET, DEEDS, CollectorControl
from lab.prints.kd.decoder import decode_file
from lab.prints.kd.stop_policy import StopPolicy
from lab.prints.kd.text import record_line
from lab.prints.kd.waker import Waking

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
        do_attach(
            Attachment(
                socket=socket,
                jsonl=jsonl,
                raw=raw,
                ids=ids,
                control=control,
                waking=_waking(break_in, by_default),
                policy=StopPolicy(breakpoint=breakpoint_.value, bugcheck=bugcheck.value),
                wait=wait,
                encoding=encoding,
            )
        )

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


def _check_wait(seconds: float) -> None:
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ConfigError(f"this is not a waiting time: {seconds} s", key="--wait", hint="a number of seconds, 0 or more")


def _waking(break_in: bool | None, by_default: bool) -> Waking:
    if break_in is None:
        return Waking.WHEN_SILENT if by_default else Waking.NEVER
    return Waking.AT_ONCE if break_in else Waking.NEVER


def _write(line: str) -> None:
    sys.stdout.buffer.write(line.encode("utf-8", "backslashreplace") + b"\n")
    sys.stdout.buffer.flush()
    if reader_gone():
        raise BrokenPipeError


def _let_go_of_stdout() -> None:
    """Keep Python from complaining at its end about an output that nobody reads."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

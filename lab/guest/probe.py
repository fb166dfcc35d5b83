"""The Python side of ``drvprobe.exe``: checks a script, runs it in the guest, and parses its JSON lines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Protocol

from lab.errors import CommandFailed, ConfigError, GuestLacks
from lab.guest import win32
from lab.guest.ioctl import needed_access
from lab.guest.probeflow import check_flow
from lab.guest.probelang import ScriptOperation, parse_script
from lab.guest.proberecords import (
    IO_PENDING,
    WAIT_TIMEOUT,
    Operation,
    ProbeResult,
    ReadResult,
    Transfer,
    parse_output,
)
from lab.guest.probescript import Access, Data, ProbeScript
from lab.guest.probeserve import ask_probe, needs_process
from lab.guest.protocol import LearnsTime, Transport
from lab.guest.quoting import command_text
from lab.guest.standing import Converses

__all__ = [
    "IO_PENDING",
    "PROBE_CLIENT",
    "WAIT_TIMEOUT",
    "Operation",
    "ProbeEnded",
    "ProbeResult",
    "ProbeScript",
    "ReadResult",
    "Reader",
    "Transfer",
    "parse_output",
    "run_probe",
]

#: The client that runs scripts, by its name in a driver's `clients`.
PROBE_CLIENT = "drvprobe"
#: Longest script that is sent as an argument, which saves a round trip. SSH goes through cmd, which accepts 8191 characters.
_LONGEST_ARGUMENT = 6000
_WRONG_SCRIPT = 2


class ProbeEnded(CommandFailed):
    """drvprobe ended in the middle of a script: ``stdout`` has what it had done, and it may have done one operation more."""


class RunScript(Protocol):
    """Runs a script in the guest."""

    def __call__(self, script: ProbeScript, *, timeout: float | None = None) -> ProbeResult:
        """Run it; ``timeout`` are the seconds until its process is ended; None: the setting ``client_timeout``."""


class Reader:
    r"""Simple operations on one device: each call opens it, does one operation and closes it.

    The records have the driver's answers, errors included; only a device that does not open raises.

    Args:
        run: Runs a script in the guest.
        link: What to open, for example ``\\\\.\\LySharkSync``.
    """

    def __init__(self, run: RunScript, link: str) -> None:
        self._run = run
        self._link = link

    def read(
        self, length: int, times: int = 1, *, access: Access = "r", share: Access = "r", timeout: float | None = None
    ) -> list[ReadResult]:
        """Read ``times`` times in a row on one handle.

        Args:
            length: Bytes of each read.
            times: How many reads.
            access: What to open the device for.
            share: What others may open it for at the same time.
            timeout: Seconds until the process is ended and ``GuestHung`` raised; None: the setting ``client_timeout``.

        Raises:
            CommandFailed: The device does not open; ``exit_code`` is the Win32 error.
            GuestHung: The driver did not complete a read in time.
        """
        __tracebackhide__ = True
        opened = ProbeScript().open("h", self._link, access=access, share=share)
        return list(self._opened(opened.read("h", length, times=times), timeout).reads)

    def write(self, data: Data, *, access: Access = "w", share: Access = "r", timeout: float | None = None) -> Transfer:
        """Write bytes, a text as UTF-8, or this number of bytes 0xCC.

        Args:
            data: What to write.
            access: What to open the device for.
            share: What others may open it for at the same time.
            timeout: Seconds until the process is ended and ``GuestHung`` raised; None: the setting ``client_timeout``.

        Raises:
            CommandFailed: The device does not open; ``exit_code`` is the Win32 error.
            GuestHung: The driver did not complete the write in time.
        """
        __tracebackhide__ = True
        return self._only(ProbeScript().open("h", self._link, access=access, share=share).write("h", data), timeout)

    def ioctl(
        self,
        code: int,
        data: Data = b"",
        *,
        out: int | bytes = 0,
        access: Access | None = None,
        share: Access = "r",
        timeout: float | None = None,
    ) -> Transfer:
        """Send a device control.

        Args:
            code: The code, see :func:`lab.guest.ioctl.ctl_code`.
            data: The input buffer: bytes, a text, or a number of bytes of 0xCC.
            out: Size of the output buffer; or its initial content, which a driver reads with ``in_direct``.
            access: What to open the device for; None: what the code needs.
            share: What others may open it for at the same time.
            timeout: Seconds until the process is ended and ``GuestHung`` raised; None: the setting ``client_timeout``.

        Raises:
            CommandFailed: The device does not open; ``exit_code`` is the Win32 error.
            GuestHung: The driver did not complete the request in time.
        """
        __tracebackhide__ = True
        opened = ProbeScript().open("h", self._link, access=access or needed_access(code), share=share)
        return self._only(opened.ioctl("h", code, data, out=out), timeout)

    def flush(self, *, access: Access = "w", share: Access = "r", timeout: float | None = None) -> Transfer:
        """Flush the device's buffers.

        Args:
            access: What to open the device for.
            share: What others may open it for at the same time.
            timeout: Seconds until the process is ended and ``GuestHung`` raised; None: the setting ``client_timeout``.

        Raises:
            CommandFailed: The device does not open; ``exit_code`` is the Win32 error.
            GuestHung: The driver did not complete the flush in time.
        """
        __tracebackhide__ = True
        return self._only(ProbeScript().open("h", self._link, access=access, share=share).flush("h"), timeout)

    def _only(self, script: ProbeScript, timeout: float | None) -> Transfer:
        __tracebackhide__ = True
        [transfer] = self._opened(script, timeout).transfers
        return transfer

    def _opened(self, script: ProbeScript, timeout: float | None) -> ProbeResult:
        __tracebackhide__ = True
        script = script.close("h")
        result = self._run(script, timeout=timeout)
        opened = result.operations[0]
        if opened.error:
            raise CommandFailed(
                str(script), opened.error, stderr=win32.describe(opened.error), hint=f"is the driver of {self._link} loaded?"
            )
        return result


def run_probe(
    transport: Transport, exe: str, script: ProbeScript | str, timeout: float = 60, *, link: str = "", fresh: bool = False
) -> ProbeResult:
    """Check a script, and run it in the guest.

    Scripts share one process where the transport can leave one in the guest, see :mod:`lab.guest.probeserve`.

    Args:
        transport: How to reach the guest.
        exe: Windows path of ``drvprobe.exe``.
        script: The script.
        timeout: Seconds until the guest process is ended; a request that is never completed makes it hang.
        link: Replaces ``{link}`` in the script.
        fresh: In a process of its own.

    Raises:
        ConfigError: The script is wrong, with line, column and what to try; or it is empty. Nothing was sent.
        GuestLacks: The guest cannot do what the script asks for.
        ProbeEnded: drvprobe, which runs one script after the other, ended in the middle of this one.
        CommandFailed: drvprobe failed.
        TransportError: Its output is not in drvprobe's format, or is cut off.
        GuestHung: It did not end in time.
    """
    __tracebackhide__ = True
    parsed = _checked(script, link)
    operations = [str(operation) for operation in parsed]
    line = "; ".join(operations)
    taken = False
    if not fresh and isinstance(transport, Converses) and not needs_process(parsed):
        served = ask_probe(transport, exe, "\n".join(operations), timeout=timeout, line=_shown(exe, line))
        result, taken = served.result, served.taken
        if served.ended_at is not None and isinstance(transport, LearnsTime):
            transport.answered(served.ended_at)
    elif len(line) <= _LONGEST_ARGUMENT:
        result = transport.run([exe, line], timeout=timeout, shell=False)
    else:
        result = transport.run([exe, "-"], timeout=timeout, shell=False, stdin="\n".join(operations).encode())
    if result.exit_code == _WRONG_SCRIPT:
        _raise_script_error(result.stdout)
    if result.exit_code not in _exit_codes(parsed):
        said = result.error_text.strip() or result.text.strip()[-300:]
        raise (ProbeEnded if taken else CommandFailed)(
            f"{exe} {line[:200]}",
            result.exit_code,
            result.text,
            stderr=win32.describe(result.exit_code) + (f"; {said}" if said else ""),
            hint=win32.lookup(result.exit_code).hint,
        )
    return ProbeResult(operations=parse_output(result.stdout), exit_code=result.exit_code)


def _shown(exe: str, line: str) -> str:
    """A script as the command that would run it in a process of its own."""
    return command_text([exe, line if len(line) <= _LONGEST_ARGUMENT else "-"], shell=False)


def _checked(script: ProbeScript | str, link: str) -> tuple[ScriptOperation, ...]:
    """The operations of a script, after all checks."""
    __tracebackhide__ = True
    try:
        parsed = parse_script("\n".join(script.operations) if isinstance(script, ProbeScript) else script, link=link)
        if not parsed:
            raise ConfigError("the drvprobe script is empty", hint="open h {link}; read h 20")
        for operation in parsed:
            if not link and operation.verb == "open" and "{link}" in operation.words[1]:
                operation.places[2].wrong("there is no link for {link}", hint=r"the device's path: \\.\NAME")
        check_flow(parsed)
    except ConfigError as error:
        raise error.with_traceback(None) from None  # so that the traceback shows the test's line, not the reader's
    return parsed


def _exit_codes(operations: Sequence[ScriptOperation]) -> set[int]:
    """0, and the codes of the script's ``exit`` operations."""
    return {0} | {int(operation.words[0]) for operation in operations if operation.verb == "exit" and operation.words}


def _raise_script_error(output: bytes) -> None:
    """Raise the error that drvprobe found in the script, if there is one."""
    for line in output.decode("utf-8", "backslashreplace").splitlines():
        try:
            said = json.loads(line)
        except ValueError:
            continue
        if isinstance(said, dict) and said.get("op") == "error":
            if needs := said.get("needs"):
                raise GuestLacks(str(needs), f"drvprobe: {said.get('message')}: `{said.get('text')}`")
            raise ConfigError(
                f"drvprobe: {said.get('message')} in `{said.get('text')}`", hint="see the script language in docs/drvprobe.md"
            )

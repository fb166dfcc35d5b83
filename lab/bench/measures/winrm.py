"""A command over WinRM: the lab's transport against pywinrm's session and pypsrp, in turn, on one guest.

Two commands, the same for every client: a line of cmd, `echo lab`, and a program, `drvprobe tick`, each a process of its own.
The lab keeps its shell open, and starts a program directly; the others' convenience calls open a shell for each command, and
`cmd` starts the program. On an emulated guest a process costs more than all requests. So a third way is shown, too, which the
others have not: the same `tick` as tests run it with `reader.run`, by the drvprobe that stays in the guest.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import winrm
from pydantic import SecretStr

from lab.bench.protocol import Context, NotHere
from lab.bench.samples import Samples, Series
from lab.errors import LabError, TransportError
from lab.guest.probe import run_probe
from lab.guest.secret import without_frames
from lab.guest.winrm.transport import open_winrm
from lab.image.manifest import Credentials
from lab.live.guest import LiveGuest
from lab.live.payload import GUEST_FOLDER

_HOST = "127.0.0.1"
#: The smallest action of a program of the suites: it prints the clock.
PROGRAM = f"{GUEST_FOLDER}\\drvprobe.exe"
_TIMEOUT_S = 120


@dataclass(frozen=True, slots=True)
class Command:
    """A command that every client runs.

    Attributes:
        name: Part of the series' keys.
        words: The program or cmd's own command, and its arguments.
        line: It is cmd's own: a shell is needed.
        answer: What its output must hold.
    """

    name: str
    words: tuple[str, ...]
    line: bool
    answer: bytes


COMMANDS = (
    Command("echo", ("echo", "lab"), True, b"lab"),
    Command("program", (PROGRAM, "tick"), False, b'"op":"tick"'),
)

#: Client and command that do not go together: a line of cmd is no script.
WITHOUT = frozenset({("reader", "echo")})

#: Runs a command once and returns what it wrote.
Client = Callable[[Command], bytes]


class WinRmMeasure:
    """Each client connects, and its first commands do not count; then they take turns, so that a drift affects all alike."""

    name = "winrm"
    title = "a command over WinRM, answered"
    needs = "one guest; two minutes"

    def run(self, context: Context) -> Samples:
        """Measure every client that is there."""
        port = guest_port(context.guest(), context.manifest.port_of("winrm"))
        makers = {
            "lab": ("the lab", _lab_client),
            "session": ("pywinrm, Session.run_cmd", _session_client),
            "pypsrp": ("pypsrp, Client.execute_cmd", _pypsrp_client),
            "reader": ("the lab, reader.run", _reader_client),
        }
        notes = []
        with ExitStack() as stack:
            clients: dict[str, Client] = {}
            for key, (label, make) in makers.items():
                try:
                    clients[key] = stack.enter_context(make(port, context.credentials))
                except NotHere as error:
                    notes.append(f"{label}: {error.message}")
            times = take_turns(clients, COMMANDS, context)
        shown = {"echo": "echo", "program": "a program"}
        series = [
            Series(
                key=f"winrm.{command}.{client}",
                label=f"{shown[command]}: {makers[client][0]}",
                unit="s",
                values=tuple(values),
                reference=f"winrm.{command}.session",
                baseline=client not in ("lab", "reader"),
            )
            for (command, client), values in times.items()
        ]
        return Samples(series=tuple(series), notes=tuple(notes))


def take_turns(
    clients: Mapping[str, Client], commands: Sequence[Command], context: Context
) -> dict[tuple[str, str], list[float]]:
    """Run every command with every client once without a reading, then the wanted number of rounds.

    Args:
        clients: By key.
        commands: What each runs.
        context: Says how often, and keeps the time.

    Returns:
        Host seconds by command and client.

    Raises:
        TransportError: A client got other output than the command's.
    """
    pairs = [(command, key) for command in commands for key in clients if (key, command.name) not in WITHOUT]
    times: dict[tuple[str, str], list[float]] = {(command.name, key): [] for command, key in pairs}
    for turn in range(-1, context.repeat(20, 3)):
        context.detail("first commands" if turn < 0 else f"round {turn + 1}")
        for command, key in pairs:
            begin = context.clock()
            said = clients[key](command)
            took = context.clock() - begin
            if command.answer not in said:
                raise TransportError(f"{key}: `{' '.join(command.words)}` said {said[:80]!r}")
            if turn >= 0:
                times[command.name, key].append(took)
    return times


def guest_port(guest: LiveGuest, port: int | None) -> int:
    """The port of 127.0.0.1 that is forwarded to a guest's port.

    Raises:
        NotHere: The guest's image does not offer it.
    """
    ports = guest.machine.ports
    if port is None or port not in ports:
        raise NotHere(f"{guest.manifest.guest} offers no such port")
    return ports[port]


@contextmanager
def _lab_client(port: int, credentials: Credentials) -> Iterator[Client]:
    transport = open_winrm(_HOST, port, credentials.username, SecretStr(credentials.password))

    def run(command: Command) -> bytes:
        words = " ".join(command.words) if command.line else command.words
        return transport.run(words, timeout=_TIMEOUT_S, shell=command.line).stdout

    try:
        yield run
    finally:
        transport.close()


@contextmanager
def _reader_client(port: int, credentials: Credentials) -> Iterator[Client]:
    transport = open_winrm(_HOST, port, credentials.username, SecretStr(credentials.password))

    def run(command: Command) -> bytes:
        done = run_probe(transport, command.words[0], " ".join(command.words[1:]), _TIMEOUT_S)
        return b" ".join(b'"op":"%s"' % one.op.encode() for one in done.operations)

    try:
        yield run
    finally:
        transport.close()


@contextmanager
def _session_client(port: int, credentials: Credentials) -> Iterator[Client]:
    session: Any = winrm.Session(
        f"http://{_HOST}:{port}/wsman",
        auth=(credentials.username, credentials.password),
        transport="ntlm",
        message_encryption="auto",
        proxy=None,
        ca_trust_path=None,
        read_timeout_sec=_TIMEOUT_S + 10,
        operation_timeout_sec=_TIMEOUT_S,
    )
    yield lambda command: _masked(lambda: bytes(session.run_cmd(command.words[0], command.words[1:]).std_out))


@contextmanager
def _pypsrp_client(port: int, credentials: Credentials) -> Iterator[Client]:
    try:
        client_module = importlib.import_module("pypsrp.client")
    except ImportError:
        raise NotHere("pypsrp is not installed (pip install --group bench, in a checkout)") from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        client: Any = client_module.Client(
            _HOST,
            port=port,
            ssl=False,
            username=credentials.username,
            password=credentials.password,
            auth="ntlm",
            encryption="always",
            no_proxy=True,
            read_timeout=_TIMEOUT_S + 10,
            operation_timeout=_TIMEOUT_S,
        )
    with client:
        yield lambda command: _masked(lambda: str(client.execute_cmd(" ".join(command.words))[0]).encode())


def _masked(run: Callable[[], bytes]) -> bytes:
    """Run a client whose frames hold the password, and keep them out of tracebacks."""
    try:
        return run()
    except LabError:
        raise
    except Exception as problem:
        raise without_frames(problem)  # noqa: B904 - the same error; a cause would be the error itself

"""A command over WinRM: the lab's transport against pywinrm's session and pypsrp, in turn, on one guest.

The command is the suites' own: one run of `drvprobe`, which does next to nothing. The lab keeps its shell open and has the
program started directly; the others' convenience calls open a shell for each command and have `cmd` start it. The lab's
way with `cmd` is measured too, because on an emulated guest a process more costs more than all requests together.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import winrm
from pydantic import SecretStr

from lab.bench.measure import Context, NotHere
from lab.bench.samples import Samples, Series
from lab.errors import LabError, TransportError
from lab.guest.secret import without_frames
from lab.guest.winrm import open_winrm
from lab.image.manifest import Credentials
from lab.pool.live import LiveGuest
from lab.pool.payload import GUEST_FOLDER
from lab.vm.machine import VirtualMachine

_HOST = "127.0.0.1"
#: The least that a program of the suites does: it shows the clock.
PROGRAM = f"{GUEST_FOLDER}\\drvprobe.exe"
_ARGUMENT = "tick"
_ANSWER = b'"op":"tick"'
_TIMEOUT_S = 120

#: Runs the command once and returns what it wrote.
Client = Callable[[], bytes]


class WinRmMeasure:
    """Each client is connected, and its first command thrown away; then they take turns, so that a drift hits all alike."""

    name = "winrm"
    title = "a command over WinRM (`drvprobe tick`), answered"
    needs = "one guest; a minute or two"

    def run(self, context: Context) -> Samples:
        """Measure every client that is there."""
        port = guest_port(context.guest(), context.manifest.ports.winrm)
        makers = {
            "winrm.lab": ("the lab: shell kept, program direct", _lab_client),
            "winrm.cmd": ("the lab: shell kept, through cmd", _cmd_client),
            "winrm.session": ("pywinrm: Session.run_cmd", _session_client),
            "winrm.pypsrp": ("pypsrp: Client.execute_cmd", _pypsrp_client),
        }
        notes = []
        with ExitStack() as stack:
            clients: dict[str, Client] = {}
            for key, (label, make) in makers.items():
                try:
                    clients[key] = stack.enter_context(make(port, context.credentials))
                except NotHere as error:
                    notes.append(f"{label}: {error.message}")
            times = take_turns(clients, context)
        series = [
            Series(
                key=key,
                label=makers[key][0],
                unit="s",
                values=tuple(values),
                reference="winrm.session",
                baseline=key in ("winrm.session", "winrm.pypsrp"),
            )
            for key, values in times.items()
        ]
        return Samples(series=tuple(series), notes=tuple(notes))


def take_turns(clients: dict[str, Client], context: Context) -> dict[str, list[float]]:
    """Run every client's command once, unmeasured, then the wanted number of rounds.

    Args:
        clients: By key.
        context: Says how often, and keeps the time.

    Raises:
        TransportError: A client got something else than the program's line.
    """
    times: dict[str, list[float]] = {key: [] for key in clients}
    for turn in range(-1, context.repeat(20, 3)):
        context.detail("first commands" if turn < 0 else f"round {turn + 1}")
        for key, client in clients.items():
            begin = context.clock()
            said = client()
            took = context.clock() - begin
            if _ANSWER not in said:
                raise TransportError(f"{key}: `drvprobe {_ARGUMENT}` said {said[:80]!r}")
            if turn >= 0:
                times[key].append(took)
    return times


def guest_port(guest: LiveGuest, port: int | None) -> int:
    """The port of 127.0.0.1 behind which a guest's port is.

    Raises:
        NotHere: The guest's image does not offer it.
    """
    machine = guest.machine
    ports = machine.ports if isinstance(machine, VirtualMachine) else getattr(machine, "ports", {})
    if port is None or port not in ports:
        raise NotHere(f"{guest.manifest.guest} offers no such port")
    return int(ports[port])


@contextmanager
def _lab_client(port: int, credentials: Credentials, *, shell: bool = False) -> Iterator[Client]:
    transport = open_winrm(_HOST, port, credentials.username, SecretStr(credentials.password))
    try:
        yield lambda: transport.run([PROGRAM, _ARGUMENT], timeout=_TIMEOUT_S, shell=shell).stdout
    finally:
        transport.close()


def _cmd_client(port: int, credentials: Credentials) -> AbstractContextManager[Client]:
    return _lab_client(port, credentials, shell=True)


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
    yield lambda: _masked(lambda: bytes(session.run_cmd(PROGRAM, [_ARGUMENT]).std_out))


@contextmanager
def _pypsrp_client(port: int, credentials: Credentials) -> Iterator[Client]:
    try:
        client_module = importlib.import_module("pypsrp.client")
    except ImportError:
        raise NotHere("pypsrp is not installed (the extra `bench`: pip install 'driver-test-lab[bench]')") from None
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
        yield lambda: _masked(lambda: str(client.execute_cmd(f"{PROGRAM} {_ARGUMENT}")[0]).encode())


def _masked(client: Client) -> bytes:
    """Run a client whose own frames hold the password, and let none of them into a traceback."""
    try:
        return client()
    except LabError:
        raise
    except Exception as problem:
        raise without_frames(problem)  # noqa: B904 - the same error; a cause would be the error itself

"""Transport over SSH: commands through exec, files through SFTP, with a pinned host key.

The server's account opens ``cmd``: OpenSSH on Windows does, and so does the free guest's login shell. A Unix exit status has 8
bits, a Windows exit code 32, so cmd is asked to write the code after the command's output. The user's agent, known_hosts and
key files are not used: all keys come from the image.
"""

from __future__ import annotations

import secrets
import select
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import paramiko
from pydantic import SecretStr

from lab.errors import ConfigError, GuestHung, LabError, TransportError
from lab.guest import files, quoting
from lab.guest.protocol import CommandResult
from lab.guest.ssh import sftp
from lab.guest.ssh.login import load_host_key, load_private_key, login
from lab.guest.ssh.standing import StandingSessions
from lab.guest.ssh.streams import drain, send, take_exit_code, with_exit_code
from lab.guest.standing import Answer, Question, StandingProgram

_POLL_S = 0.02


def open_ssh(
    host: str,
    port: int,
    username: str,
    password: SecretStr | None = None,
    *,
    private_key: SecretStr | None = None,
    host_key: str | None = None,
    tools_dir: str = files.TOOLS_DIR,
    connect_s: float = 30,
    clock: Callable[[], float] = time.monotonic,
) -> SshTransport:
    """Make a transport for a guest's SSH server. Nothing is sent before the first command.

    Args:
        host: Address of the forwarded port, usually 127.0.0.1.
        port: The port on the host.
        username: Guest account.
        password: Its password; used when there is no key, or the key is refused. Never part of a message or a repr.
        private_key: OpenSSH PEM text.
        host_key: The guest's public key line (``ssh-ed25519 AAAA…``); any other key is refused. None accepts every key.
        tools_dir: Guest folder that holds ``labfile.exe``.
        connect_s: Seconds for connection and authentication.
        clock: Monotonic seconds.

    Raises:
        ConfigError: There is neither password nor key, or a key cannot be read.
    """
    if password is None and private_key is None:
        raise ConfigError("SSH needs a password or a private key", hint="the image's credentials.json has both")
    key = load_private_key(private_key) if private_key else None
    pinned = load_host_key(host_key) if host_key else None
    where = f"SSH on {host}:{port} as {username}"

    def connect() -> paramiko.Transport:
        sock = socket.create_connection((host, port), timeout=connect_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return login(sock, username, password, key=key, host_key=pinned, timeout=connect_s)

    return SshTransport(connect, where, tools_dir=tools_dir, clock=clock)


class SshTransport:
    """A :class:`~lab.guest.protocol.Transport` over SSH that also :class:`~lab.guest.standing.Converses`.

    Use it from one thread at a time.

    Args:
        connect: Makes a connection that is logged in; called again after a broken one.
        where: The guest's address for messages.
        tools_dir: Guest folder that holds ``labfile.exe``.
        clock: Monotonic seconds.
    """

    name = "ssh"

    def __init__(
        self,
        connect: Callable[[], paramiko.Transport],
        where: str,
        *,
        tools_dir: str = files.TOOLS_DIR,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connect = connect
        self._where = where
        self._tools_dir = tools_dir
        self._clock = clock
        self._transport: paramiko.Transport | None = None
        self._standing = StandingSessions(lambda timeout: self._ready().open_session(timeout=timeout), clock)

    def __repr__(self) -> str:
        return f"<{self._where}>"

    def run(self, command: str | Sequence[str], *, timeout: float, stdin: bytes = b"", shell: bool = True) -> CommandResult:
        """Run a command; see :meth:`lab.guest.protocol.Transport.run`.

        The server always runs its shell, so ``shell=False`` saves no process here; a list is quoted for it.
        """
        line = quoting.command_text(command, shell=shell or not isinstance(command, str))
        started = self._clock()
        mark = f"#{secrets.token_hex(6)}:"
        with self._words(f"running `{line[:200]}`"):
            channel = self._ready().open_session(timeout=timeout)
            try:
                channel.exec_command(with_exit_code(line, mark))
                out, err = self._talk(channel, stdin, line, started, timeout)
                status = channel.recv_exit_status() if channel.exit_status_ready() else -1
            finally:
                channel.close()
        out, printed = take_exit_code(out, mark)
        status = status if printed is None else printed
        if status == -1:
            raise TransportError(f"{self._where}: `{line[:200]}` ended without an exit code: the guest closed the connection")
        return CommandResult(
            command=line, exit_code=status & 0xFFFFFFFF, stdout=out, stderr=err, duration_s=self._clock() - started
        )

    def put(self, source: Path, target: str, *, timeout: float = 300) -> None:
        """Copy into the guest by SFTP, then compare sums; see :meth:`lab.guest.protocol.Transport.put`."""
        if not source.exists():
            raise ConfigError(f"no such file or folder to copy into the guest: {source}")
        wanted, remote = files.local_sums(source), sftp.sftp_path(target)
        ends = self._clock() + timeout
        with self._sftp(target, ends, timeout) as session:
            sftp.put(session, source, remote, check_time=lambda: self._check_time(ends, target, timeout))
        files.compare(wanted, self._sums(target, ends), target, folder=source.is_dir())

    def get(self, source: str, target: Path, *, timeout: float = 300) -> None:
        """Copy out of the guest by SFTP, then compare sums; see :meth:`lab.guest.protocol.Transport.get`."""
        ends, remote = self._clock() + timeout, sftp.sftp_path(source)
        with files.new_target(target) as place:
            with self._sftp(source, ends, timeout) as session:
                sftp.get(session, remote, place, check_time=lambda: self._check_time(ends, source, timeout))
            files.compare(self._sums(source, ends), files.local_sums(place), source, folder=place.is_dir())

    def close(self) -> None:
        """Close the connection; safe to call twice."""
        transport, self._transport = self._transport, None
        self._standing.forget()
        if transport is not None:
            transport.close()

    def ask(self, program: StandingProgram, question: Question, *, timeout: float, line: str = "") -> Answer:
        """See :meth:`lab.guest.standing.Converses.ask`."""
        shown = line or quoting.command_text(program.words, shell=True)
        with self._words(f"asking `{shown[:200]}`"):
            return self._standing.ask(
                program, question, timeout=timeout, line=shown, hung=lambda said: self._hung(shown, timeout, said)
            )

    # -- commands ------------------------------------------------------------------------------------------------------

    def _talk(self, channel: paramiko.Channel, stdin: bytes, line: str, started: float, timeout: float) -> tuple[bytes, bytes]:
        """Send the input and collect both streams until the command has ended."""
        channel.setblocking(False)
        left = memoryview(stdin)
        if not left:
            channel.shutdown_write()
        out, err = bytearray(), bytearray()
        while True:
            moved = drain(channel, out, err)
            if left and channel.send_ready():
                left = send(channel, left, end=True)
                moved = True
            if not moved and channel.exit_status_ready() and channel.eof_received:
                # EOF comes after the data, so data that arrived between the two checks is still to be read.
                drain(channel, out, err)
                return bytes(out), bytes(err)
            if not moved and channel.closed:
                return bytes(out), bytes(err)
            waits = started + timeout - self._clock()
            if waits <= 0:
                raise self._hung(line, timeout, bytes(out + err))
            if not moved:
                # The descriptor shows incoming data only; whether the window has room for input must be checked again.
                select.select([channel.fileno()], [], [], min(waits, _POLL_S if left or channel.eof_received else 1.0))

    def _hung(self, line: str, timeout: float, said: bytes) -> GuestHung:
        text = said.decode("utf-8", "backslashreplace").strip()[-800:]
        return GuestHung(
            f"in the guest, `{line[:200]}` did not end within {timeout:g} s; its connection was closed; "
            + (f"it had written: {text}" if text else "it had written nothing"),
            hint="a pended request that is never completed keeps its client waiting; see the kernel prints",
        )

    # -- files ---------------------------------------------------------------------------------------------------------

    @contextmanager
    def _sftp(self, what: str, ends: float, timeout: float) -> Iterator[paramiko.SFTPClient]:
        with self._words(f"copying {what}"):
            client = paramiko.SFTPClient.from_transport(self._ready())
            if client is None:
                raise TransportError(f"{self._where}: the guest has no SFTP")
            with client:
                channel = client.get_channel()
                if channel is not None:
                    channel.settimeout(max(1.0, ends - self._clock()))
                try:
                    yield client
                except TimeoutError as late:
                    raise self._too_slow(what, timeout) from late

    def _sums(self, path: str, ends: float) -> dict[str, files.FileSum]:
        left = max(1.0, ends - self._clock())
        return files.parse_sums(files.run_labfile(self, "sum", path, tools_dir=self._tools_dir, timeout=left).text)

    def _check_time(self, ends: float, what: str, timeout: float) -> None:
        if self._clock() >= ends:
            raise self._too_slow(what, timeout)

    def _too_slow(self, what: str, timeout: float) -> GuestHung:
        return GuestHung(f"copying {what} did not end within {timeout:g} s", hint="give the copy more time")

    # -- connection ----------------------------------------------------------------------------------------------------

    def _ready(self) -> paramiko.Transport:
        if self._transport is None or not self._transport.is_active():
            self.close()
            self._transport = self._connect()
        return self._transport

    @contextmanager
    def _words(self, doing: str) -> Iterator[None]:
        """Translate exceptions of the library and of sockets into the lab's errors."""
        try:
            yield
        except LabError:
            raise
        except paramiko.AuthenticationException as problem:
            self.close()
            raise TransportError(
                f"{self._where}: {doing}: the guest rejected the credentials",
                hint="check that the credentials belong to this build of the image",
            ) from problem
        except FileNotFoundError as problem:
            raise TransportError(f"{self._where}: {doing}: a file or folder is missing in the guest") from problem
        except Exception as problem:  # exceptions of paramiko and socket are not raised any further
            self.close()
            raise TransportError(f"{self._where}: {doing}: {_problem_text(problem)}") from problem


def _problem_text(problem: Exception) -> str:
    if isinstance(problem, TimeoutError):
        return "no answer within the deadline"
    if isinstance(problem, OSError) and problem.strerror:
        return problem.strerror.lower()
    if isinstance(problem, EOFError):
        return "the connection broke"
    return f"the answer is not SSH ({type(problem).__name__}: {str(problem)[:200]})"

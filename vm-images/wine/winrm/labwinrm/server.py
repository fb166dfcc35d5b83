"""The listening sockets, a thread for each connection, and the way of a request through login and encryption."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from labwinrm import encryption
from labwinrm.accounts import Accounts
from labwinrm.auth import Authenticator
from labwinrm.channel import LOOK_AGAIN_S, Channel
from labwinrm.config import Config, ConfigError
from labwinrm.http import HttpConnection, HttpError, Request
from labwinrm.processes import ClientGone, Launcher
from labwinrm.service import Caller, Service
from labwinrm.shells import ShellTable
from labwinrm.soap import CONTENT_TYPE

if TYPE_CHECKING:
    import ssl

#: Requests longer than this are cut off, those between it and max_envelope_kb get a fault.
MAX_BODY: Final = 4 << 20
#: A client that neither sends nor reads for so long is let go, seconds.
_SOCKET_TIMEOUT: Final = 7200.0
_HANDSHAKE_TIMEOUT: Final = 60.0
_REAP_EVERY: Final = 5.0


@dataclass(eq=False, slots=True)
class _Listener:
    sock: socket.socket
    tls: ssl.SSLContext | None
    certificate: bytes = b""
    thread: threading.Thread | None = field(default=None)

    @property
    def port(self) -> int:
        return int(self.sock.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a connection.

    Attributes:
        address: For log lines and shells.
        protected: No one else can read or write: by TLS, or because only the VM's owner can reach the channel.
        socket: Descriptor.
    """

    address: str
    protected: bool
    socket: int


class Server:
    """A running service; :func:`start` makes it.

    Attributes:
        port: HTTP port, ``None`` when off.
        tls_port: HTTPS port, ``None`` when off.
    """

    def __init__(self, config: Config, launcher: Launcher, log: logging.Logger) -> None:
        self._config = config
        self._launcher = launcher
        self._log = log
        self._machine = socket.gethostname()
        self._accounts = Accounts(config.ntlm_user_file, config.run_directory / "accounts")
        self._shells = ShellTable(launcher, max_shells=config.max_shells, exit_grace_s=config.exit_grace_s)
        self._service = Service(config, self._shells, self._machine, log)
        self._lock = threading.Lock()
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._stopping = threading.Event()
        self._listeners: list[_Listener] = []
        self._channel: tuple[Channel, threading.Thread] | None = None
        self._reaper = threading.Thread(target=self._reap, name="labwinrm-reaper", daemon=True)
        self.port: int | None = None
        self.tls_port: int | None = None

    def listen(self) -> None:
        """Open the ports and start serving."""
        config = self._config
        if config.http_port is not None:
            http = self._open(config.http_port, None)
            self.port = http.port
        if config.https_port is not None:
            assert config.tls_certificate is not None
            assert config.tls_key is not None
            https = self._open(config.https_port, (config.tls_certificate, config.tls_key))
            self.tls_port = https.port
        if config.channel is not None and config.channel.exists():  # a VM need not have the port
            channel = Channel(config.channel)
            thread = threading.Thread(target=self._serve_channel, args=(channel,), name="labwinrm-channel", daemon=True)
            self._channel = (channel, thread)
            thread.start()
        self._reaper.start()

    def close(self) -> None:
        """Stop listening, drop the connections, end every shell and the launcher; safe to call twice."""
        self._stopping.set()
        for listener in self._listeners:
            _hang_up(listener.sock)
            if listener.thread is not None:
                listener.thread.join()
        self._shells.close()
        with self._lock:
            connections = list(self._connections.items())
        for sock, _ in connections:
            _hang_up(sock)
        for _, thread in connections:
            thread.join()
        if self._channel is not None:
            (channel, thread), self._channel = self._channel, None
            channel.hang_up()
            thread.join()
            channel.close()
        if self._reaper.is_alive():
            self._reaper.join()
        self._launcher.close()

    def _open(self, port: int, tls: tuple[Path, Path] | None) -> _Listener:
        context, certificate = _tls_context(*tls) if tls else (None, b"")
        sock = socket.create_server((self._config.address, port), backlog=64)
        listener = _Listener(sock, context, certificate)
        listener.thread = threading.Thread(target=self._accept, args=(listener,), name="labwinrm-accept", daemon=True)
        self._listeners.append(listener)
        listener.thread.start()
        return listener

    def _accept(self, listener: _Listener) -> None:
        with listener.sock:
            while not self._stopping.is_set():
                try:
                    sock, (address, *_) = listener.sock.accept()
                except OSError as error:
                    if self._stopping.wait(0.1):
                        return
                    self._log.warning("accept: %s", error)  # no more descriptors, for example: others will be closed
                    continue
                thread = threading.Thread(
                    target=self._connection, args=(listener, sock, address), name="labwinrm-connection", daemon=True
                )
                with self._lock:
                    self._connections[sock] = thread
                thread.start()

    def _serve_channel(self, channel: Channel) -> None:
        """Serve the clients of the channel, one after the other."""
        peer = Peer("channel", True, channel.fileno())
        while not self._stopping.is_set():
            try:
                if not channel.held():
                    self._stopping.wait(LOOK_AGAIN_S)
                    continue
                authenticator = Authenticator(self._accounts, protected=True, certificate=b"", log=self._log)
                if not self._serve(HttpConnection(channel, MAX_BODY), authenticator, peer):
                    channel.drain()
            except (OSError, ClientGone) as error:
                self._log.debug("the channel: %s", error)
                channel.discard()
            except Exception:
                self._log.exception("serving the channel failed")

    def _connection(self, listener: _Listener, sock: socket.socket, address: str) -> None:
        wrapped = sock
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if listener.tls is not None:
                sock.settimeout(_HANDSHAKE_TIMEOUT)
                wrapped = listener.tls.wrap_socket(sock, server_side=True)
                with self._lock:
                    del self._connections[sock]
                    self._connections[wrapped] = threading.current_thread()
            wrapped.settimeout(_SOCKET_TIMEOUT)
            tls = listener.tls is not None
            authenticator = Authenticator(self._accounts, protected=tls, certificate=listener.certificate, log=self._log)
            if not self._serve(HttpConnection(wrapped, MAX_BODY), authenticator, Peer(address, tls, wrapped.fileno())):
                _drain(wrapped)
        except (OSError, ClientGone) as error:
            self._log.debug("connection of %s ended: %s", address, error)
        except Exception:
            self._log.exception("connection of %s failed", address)
        finally:
            with self._lock:
                self._connections.pop(wrapped, None)
            _hang_up(wrapped)
            wrapped.close()

    def _serve(self, http: HttpConnection, authenticator: Authenticator, peer: Peer) -> bool:
        """Answer requests until the client ends; False when it sent something that cannot be understood."""
        while not self._stopping.is_set():
            try:
                request = http.read()
                if request is None:
                    return True
                status, headers, body = self._handle(request, authenticator, peer)
            except HttpError as error:
                http.write(error.status, [("Content-Type", "text/plain")], str(error).encode(), keep_alive=False)
                return False
            http.write(status, headers, body, keep_alive=request.keep_alive)
            if not request.keep_alive:
                return True
        return True

    def _handle(self, request: Request, authenticator: Authenticator, peer: Peer) -> tuple[int, list[tuple[str, str]], bytes]:
        if request.path.partition("?")[0].rstrip("/").lower() not in ("/wsman", "/wsman-anon/identify"):
            return 404, [], b""
        if request.method != "POST":
            return 405, [("Allow", "POST")], b""
        verdict = authenticator.check(request.headers.get("authorization", ""))
        headers = list(verdict.headers)
        if not verdict.user:
            return 401, headers, b""
        if not request.body:  # a login by itself
            return 200, headers, b""
        caller = Caller(verdict.user, peer.address, peer.socket)
        content_type = request.headers.get("content-type", "")
        if encryption.is_encrypted(content_type):
            if authenticator.context is None:
                raise HttpError(400, "encrypted messages need an NTLM login")
            try:
                envelope = encryption.decrypt(content_type, request.body, authenticator.context)
            except encryption.EncryptionError as error:
                raise HttpError(400, str(error)) from error
            answer = self._service.answer(envelope, caller)
            body = encryption.encrypt(answer.envelope, authenticator.context)
            return answer.status, [*headers, ("Content-Type", encryption.RESPONSE_TYPE)], body
        if not peer.protected:
            # What Windows does with AllowUnencrypted=false: 500, and not a word.
            self._log.warning("unencrypted message over HTTP refused")
            return 500, headers, b""
        if not content_type.lower().startswith(("application/soap+xml", "text/xml", "application/xml")):
            return 415, headers, b""
        answer = self._service.answer(request.body, caller)
        return answer.status, [*headers, ("Content-Type", CONTENT_TYPE)], answer.envelope

    def _reap(self) -> None:
        while not self._stopping.wait(_REAP_EVERY):
            try:
                if count := self._shells.reap():
                    self._log.info("%d idle shells closed", count)
            except Exception:
                self._log.exception("closing idle shells failed")


def start(config: Config, launcher: Launcher | None = None) -> Server:
    """Start the service in this process.

    Args:
        config: Settings.
        launcher: Used in place of the one that the configuration names.

    Returns:
        The running server; ``close()`` ends it.

    Raises:
        ConfigError: A file that the configuration names cannot be used, or a port is taken.
        StartError: The resident launcher does not come up.
    """
    log = logging.getLogger("labwinrm")
    try:
        config.run_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        config.run_directory.chmod(0o700)
        config.ntlm_user_file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}") from error
    server = Server(config, launcher or _make_launcher(config, log), log)
    try:
        server.listen()
    except (OSError, ValueError) as error:  # ValueError: the TLS files do not belong together
        server.close()
        raise ConfigError(f"cannot listen on {config.address}: {error}") from error
    return server


def _make_launcher(config: Config, log: logging.Logger) -> Launcher:
    if config.launcher == "direct":
        from labwinrm.direct import DirectLauncher

        return DirectLauncher(config)
    from labwinrm.resident import ResidentLauncher

    return ResidentLauncher(config, log)


def _tls_context(certificate: Path, key: Path) -> tuple[ssl.SSLContext, bytes]:
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    pem = certificate.read_text(encoding="ascii", errors="replace")
    begin, end = pem.index(ssl.PEM_HEADER), pem.index(ssl.PEM_FOOTER) + len(ssl.PEM_FOOTER)
    return context, ssl.PEM_cert_to_DER_cert(pem[begin:end])


def _hang_up(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _drain(sock: socket.socket) -> None:
    """Read what the client still sends, for a moment, so that closing does not reset the answer away."""
    with contextlib.suppress(OSError):
        sock.settimeout(0.5)
        for _ in range(256):
            if not sock.recv(1 << 18):
                return

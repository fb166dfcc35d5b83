"""An SSH server in this process: paramiko's server side over a socket pair, commands answered by a function."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import paramiko
from paramiko.common import AUTH_FAILED, AUTH_SUCCESSFUL, OPEN_SUCCEEDED
from paramiko.sftp import SFTP_OK

USERNAME, PASSWORD = "lab", "correct horse"
PENDED = -1


@dataclass
class Request:
    """One command as the server got it, without the part that asks for its exit code."""

    line: str
    stdin: bytes


@dataclass(frozen=True)
class Reply:
    """The server's reply; exit code ``PENDED`` leaves the command running, ``tell`` is whether cmd reports it."""

    code: int
    stdout: bytes = b""
    stderr: bytes = b""
    tell: bool = True


@dataclass
class SshServer:
    """Serves every connection made by :meth:`connect` until :meth:`close`."""

    host_key: paramiko.PKey
    drive_c: Path
    handler: Callable[[Request], Reply]
    client_key: paramiko.PKey | None = None
    read_input: bool = True
    requests: list[Request] = field(default_factory=list)
    _transports: list[paramiko.Transport] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)

    def connect(self) -> socket.socket:
        """The client's end of a new connection."""
        ours, theirs = socket.socketpair()
        transport = paramiko.Transport(ours)
        transport.add_server_key(self.host_key)
        transport.set_subsystem_handler("sftp", paramiko.SFTPServer, _Files, root=self.drive_c)
        transport.start_server(event=threading.Event(), server=_Session(self))
        self._transports.append(transport)
        return theirs

    def drop(self) -> None:
        """Break all connections."""
        for transport in self._transports:
            transport.close()

    def close(self) -> None:
        """Break all connections and wait for the commands' threads."""
        self.drop()
        for thread in self._threads:
            thread.join(30)

    def serve(self, channel: paramiko.Channel, line: str) -> None:
        """Answer one command in a thread of its own."""
        thread = threading.Thread(target=self._serve, args=(channel, line))
        self._threads.append(thread)
        thread.start()

    def _serve(self, channel: paramiko.Channel, line: str) -> None:
        try:
            command, _, question = line.rpartition(" & call echo ")
            if command.endswith(" --serve"):
                self.requests.append(Request(command, b""))
                self._tell(channel, question, self._stay(channel))
                return
            # Input comes after the reply to the request, so that its first byte also shows that the reply was sent.
            stdin = b"" if self.read_input else channel.recv(1)
            while self.read_input and (piece := channel.recv(65536)):
                stdin += piece
            self.requests.append(Request(command, stdin))
            reply = self.handler(self.requests[-1])
            channel.sendall(reply.stdout)
            channel.sendall_stderr(reply.stderr)
            self._tell(channel, question, reply)
        except OSError:  # the client has gone
            channel.close()

    def _tell(self, channel: paramiko.Channel, question: str, reply: Reply) -> None:
        """Tell the exit code, as cmd and as the server, and end the command."""
        if reply.code == PENDED:
            return
        if reply.tell:
            signed = reply.code - (1 << 32) if reply.code >> 31 else reply.code
            channel.sendall(question.replace("%^errorlevel%", str(signed)).encode() + b"\r\n")
        channel.send_exit_status(reply.code & 0xFF)
        channel.close()

    def _stay(self, channel: paramiko.Channel) -> Reply:
        """A drvprobe that stays; the handler does one script, and a script with an exit code ends it."""
        stream = channel.makefile("rb")
        while header := stream.readline():
            _, token, size = header.split()
            script = stream.read(int(size))
            if script == b"deaf":
                return Reply(9)
            channel.sendall(b"begin " + token + b"\n")
            reply = self.handler(Request("", script))
            channel.sendall_stderr(reply.stderr)
            channel.sendall(reply.stdout)
            if reply.code:
                return reply
            channel.sendall(b"end " + token + b"\n")
        return Reply(0)


class _Session(paramiko.ServerInterface):
    def __init__(self, server: SshServer) -> None:
        self._server = server

    def get_allowed_auths(self, username: str) -> str:
        return "publickey,password"

    def check_auth_password(self, username: str, password: str) -> int:
        good = (username, password) == (USERNAME, PASSWORD)
        return AUTH_SUCCESSFUL if good else AUTH_FAILED

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        good = username == USERNAME and key == self._server.client_key
        return AUTH_SUCCESSFUL if good else AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        self._server.serve(channel, command.decode())
        return True


class _Files(paramiko.SFTPServerInterface):
    def __init__(self, server: paramiko.ServerInterface, *args: object, root: Path, **kwargs: object) -> None:
        super().__init__(server)
        self._root = root

    def _local(self, path: str) -> Path:
        assert path.startswith("/C:"), path
        return self._root.joinpath(*path.removeprefix("/C:").strip("/").split("/"))

    def stat(self, path: str) -> paramiko.SFTPAttributes | int:
        try:
            return paramiko.SFTPAttributes.from_stat(self._local(path).stat())
        except OSError as problem:
            return paramiko.SFTPServer.convert_errno(problem.errno or 0)

    lstat = stat

    def list_folder(self, path: str) -> list[paramiko.SFTPAttributes] | int:
        return [paramiko.SFTPAttributes.from_stat(p.stat(), p.name) for p in self._local(path).iterdir()]

    def mkdir(self, path: str, attr: paramiko.SFTPAttributes) -> int:
        try:
            self._local(path).mkdir()
        except OSError as problem:
            return paramiko.SFTPServer.convert_errno(problem.errno or 0)
        return SFTP_OK

    def open(self, path: str, flags: int, attr: paramiko.SFTPAttributes) -> paramiko.SFTPHandle | int:
        try:
            file = os.fdopen(os.open(self._local(path), flags, 0o600), "wb" if flags & os.O_WRONLY else "rb")
        except OSError as problem:
            return paramiko.SFTPServer.convert_errno(problem.errno or 0)
        handle = paramiko.SFTPHandle(flags)
        handle.readfile = file  # type: ignore[attr-defined]
        handle.writefile = file  # type: ignore[attr-defined]
        return handle

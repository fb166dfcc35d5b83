"""The little of HTTP/1.1 that WinRM clients use: POST with keep-alive, one answer in one piece.

``http.server`` would do, but its imports alone cost a second in an emulated guest, and it answers in several writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import socket

    from labwinrm.channel import Channel

_MAX_HEAD: Final = 65536
_REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    411: "Length Required",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    417: "Expectation Failed",
    500: "Internal Server Error",
    501: "Not Implemented",
    505: "HTTP Version Not Supported",
}


class HttpError(Exception):
    """A request that gets an HTTP error, after which the connection is closed."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Request:
    """One request: names of headers are in lower case, repeated ones joined by commas."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    keep_alive: bool


class HttpConnection:
    """Requests and answers on one connection.

    Args:
        sock: A connected socket, a TLS one after its handshake, or the channel.
        max_body: Largest body, bytes.
    """

    def __init__(self, sock: socket.socket | Channel, max_body: int) -> None:
        self._socket = sock
        self._max_body = max_body
        self._buffer = bytearray()

    def read(self) -> Request | None:
        """Read the next request; ``None`` when the client has closed the connection between two of them.

        Raises:
            HttpError: It is not a request that this server takes.
            OSError: The connection broke.
        """
        head = self._read_head()
        if head is None:
            return None
        lines = head.split("\r\n")
        words = lines[0].split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/"):
            raise HttpError(400, "malformed request line")
        method, path, version = words
        if version not in ("HTTP/1.0", "HTTP/1.1"):
            raise HttpError(505, "only HTTP/1.0 and 1.1 are spoken here")
        headers = _headers(lines[1:])
        body = self._read_body(headers)
        wish = headers.get("connection", "").lower()
        keep_alive = "close" not in wish if version == "HTTP/1.1" else "keep-alive" in wish
        return Request(method, path, headers, body, keep_alive)

    def write(self, status: int, headers: Sequence[tuple[str, str]], body: bytes, *, keep_alive: bool) -> None:
        """Send an answer in one piece."""
        lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Status')}", "Server: Microsoft-HTTPAPI/2.0"]
        lines += [f"{name}: {value}" for name, value in headers]
        lines += [f"Content-Length: {len(body)}", *([] if keep_alive else ["Connection: close"]), "", ""]
        self._socket.sendall("\r\n".join(lines).encode("latin-1") + body)

    def _read_head(self) -> str | None:
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > _MAX_HEAD:
                raise HttpError(400, "the header is too long")
            if not self._fill():
                if self._buffer.strip():
                    raise HttpError(400, "the connection ended within a request")
                return None
        if end > _MAX_HEAD:
            raise HttpError(400, "the header is too long")
        head = bytes(self._buffer[:end])
        del self._buffer[: end + 4]
        return head.decode("latin-1").lstrip("\r\n")

    def _read_body(self, headers: dict[str, str]) -> bytes:
        coding = headers.get("transfer-encoding", "").strip().lower()
        length = headers.get("content-length", "").strip()
        expect = headers.get("expect", "").strip().lower()
        if expect not in ("", "100-continue"):
            raise HttpError(417, "the only known expectation is 100-continue")
        if coding not in ("", "chunked"):
            raise HttpError(501, f"transfer coding {coding[:40]!r} is not known")
        if coding and length:
            # Two ways to find the end are how requests get smuggled.
            raise HttpError(400, "Content-Length and Transfer-Encoding exclude each other")
        size = 0
        if length:
            if not (length.isascii() and length.isdigit()):
                raise HttpError(400, "malformed Content-Length")
            size = int(length[:20])
            self._check_size(size)
        if expect and (coding or size):
            self._socket.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        return self._read_chunks() if coding else self._take(size)

    def _check_size(self, size: int) -> None:
        if size > self._max_body:
            raise HttpError(413, f"the body is larger than {self._max_body} bytes")

    def _read_chunks(self) -> bytes:
        parts: list[bytes] = []
        total = 0
        while True:
            word = self._read_line().split(b";", 1)[0].strip()
            try:
                size = int(word, 16)
            except ValueError:
                raise HttpError(400, "malformed chunk size") from None
            if size < 0 or not word.isalnum():
                raise HttpError(400, "malformed chunk size")
            if size == 0:
                break
            total += size
            self._check_size(total)
            parts.append(self._take(size))
            if self._take(2) != b"\r\n":
                raise HttpError(400, "a chunk does not end where it should")
        while self._read_line():
            pass  # trailers say nothing that is of use here
        return b"".join(parts)

    def _read_line(self) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            if len(self._buffer) > _MAX_HEAD or not self._fill():
                raise HttpError(400, "the connection ended within a line")
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            if not self._fill():
                raise HttpError(400, "the connection ended within a body")
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def _fill(self) -> bool:
        data = self._socket.recv(1 << 18)
        self._buffer += data
        return bool(data)


def _headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise HttpError(400, "malformed header line")
        key = name.lower()
        if key == "content-length" and headers.get(key, value.strip()) != value.strip():
            raise HttpError(400, "two different Content-Lengths")
        headers[key] = value.strip() if key not in headers or key == "content-length" else f"{headers[key]}, {value.strip()}"
    return headers

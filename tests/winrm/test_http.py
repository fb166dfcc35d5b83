"""HTTP over a socket pair."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labwinrm.http import HttpConnection, HttpError, Request


@dataclass(frozen=True, slots=True)
class Pair:
    client: socket.socket
    server: HttpConnection

    def feed(self, *pieces: bytes, end: bool = True) -> Request | None:
        for piece in pieces:
            self.client.sendall(piece)
        if end:
            self.client.shutdown(socket.SHUT_WR)
        return self.server.read()


@pytest.fixture
def pair() -> Iterator[Pair]:
    client, server = socket.socketpair()
    with client, server:
        client.settimeout(10)
        server.settimeout(10)
        yield Pair(client, HttpConnection(server, 1000))


def read(data: bytes) -> Request | None:
    client, server = socket.socketpair()
    with client, server:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        return HttpConnection(server, 1000).read()


def test_a_request_with_a_length(pair: Pair) -> None:
    request = pair.feed(b"POST /wsman?x HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nx-a:  2 \r\nContent-Length: 3\r\n\r\nabc")
    assert request == Request("POST", "/wsman?x", {"host": "a", "x-a": "1, 2", "content-length": "3"}, b"abc", True)
    assert pair.server.read() is None


def test_requests_follow_one_another(pair: Pair) -> None:
    one = b"POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\n"
    first = pair.feed(one + b"1" + one + b"2\r\nPOST / HTTP/1.0\r\n\r\n")
    second, third = pair.server.read(), pair.server.read()
    assert first is not None
    assert second is not None
    assert third is not None
    assert (first.body, second.body, third.body) == (b"1", b"2", b"")
    assert (first.keep_alive, third.keep_alive) == (True, False)


@settings(deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8), st.integers(1, 60))
def test_chunked_bodies_come_together_however_they_are_cut(chunks: list[bytes], cut: int) -> None:
    wire = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    wire += b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    client, server = socket.socketpair()
    with client, server:
        connection = HttpConnection(server, 1000)
        for at in range(0, len(wire), cut):
            client.sendall(wire[at : at + cut])
        request = connection.read()
    assert request is not None
    assert request.body == b"".join(chunks)


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_noise_is_refused_or_taken_but_never_breaks(data: bytes) -> None:
    with suppress(HttpError):
        request = read(data)
        assert request is None or request.method


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST / HTTP/2.0\r\n\r\n", 505),
        (b"POST /\r\n\r\n", 400),
        (b"POST  / HTTP/1.1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\n: nameless\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1_0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1001\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n", 413),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc", 400),
        (b"POST / HTTP/1.1\r\nExpect: miracles\r\n\r\n", 417),
        (b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nabc", 400),
        (b"POST / HT", 400),
    ],
)
def test_malformed_requests(head: bytes, status: int) -> None:
    with pytest.raises(HttpError) as caught:
        read(head)
    assert caught.value.status == status


def test_an_endless_header_is_cut_off() -> None:
    client, server = socket.socketpair()
    with client, server:
        client.setblocking(False)
        connection = HttpConnection(server, 1000)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        client.sendall(b"POST / HTTP/1.1\r\n" + b"a" * 70_000)
        client.shutdown(socket.SHUT_WR)
        with pytest.raises(HttpError, match="too long"):
            connection.read()


def test_an_answer_is_one_piece(pair: Pair) -> None:
    pair.server.write(401, [("A", "1"), ("A", "2")], b"body", keep_alive=False)
    head, _, body = pair.client.recv(4096).partition(b"\r\n\r\n")
    assert head.split(b"\r\n") == [
        b"HTTP/1.1 401 Unauthorized",
        b"Server: Microsoft-HTTPAPI/2.0",
        b"A: 1",
        b"A: 2",
        b"Content-Length: 4",
        b"Connection: close",
    ]
    assert body == b"body"


def test_expectation_is_answered_before_the_body_is_there(pair: Pair) -> None:
    pair.client.sendall(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab")
    request = pair.server.read()
    assert request is not None
    assert request.body == b"ab"
    assert pair.client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"

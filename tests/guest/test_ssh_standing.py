"""Resident programs over SSH, against a server on a socket pair: which process answers, and which questions are asked again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from lab.errors import GuestHung, TransportError
from lab.guest.probeserve import framed, standing_probe
from lab.guest.ssh.transport import SshTransport
from lab.guest.standing import Answer, Converses
from tests.guest.sshd_double import PENDED, Reply, Request, SshServer
from tests.guest.test_ssh import connector

PROBE = standing_probe(r"C:\lab\run\drvprobe.exe")
TOKENS = iter(f"t{number}" for number in range(10_000))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SshServer]:
    made = SshServer(paramiko.ECDSAKey.generate(), tmp_path, lambda request: Reply(0, b"{" + request.stdin + b"}\n"))
    yield made
    made.close()


@pytest.fixture
def ssh(server: SshServer) -> Iterator[SshTransport]:
    transport = SshTransport(connector(server, server.host_key), "SSH on x")
    yield transport
    transport.close()


def ask(transport: SshTransport, script: str, *, timeout: float = 30) -> Answer:
    return transport.ask(PROBE, framed(script, next(TOKENS)), timeout=timeout, line=f"drvprobe {script}")


def said(answer: Answer) -> bytes:
    """The output of a script that ran to its end."""
    body, end, _ = answer.stdout.rpartition(b"end t")
    assert end
    assert answer.exit_code is None
    return body


def starts(server: SshServer) -> int:
    return sum(request.line.endswith("drvprobe.exe --serve") for request in server.requests)


def test_one_process_answers_one_question_after_the_other_beside_other_commands(ssh: SshTransport, server: SshServer) -> None:
    assert isinstance(ssh, Converses)
    assert said(ask(ssh, "one")) == b"{one}\n"
    assert ssh.run("other", timeout=30).stdout == b"{}\n"
    assert said(ask(ssh, "two")) == b"{two}\n"
    assert starts(server) == 1


def test_a_long_script_arrives_whole(ssh: SshTransport) -> None:
    text = "x" * 3_000_000
    assert said(ask(ssh, text)) == b"{" + text.encode() + b"}\n"


def test_a_process_that_ends_has_its_exit_code_and_the_next_question_gets_another(ssh: SshTransport, server: SshServer) -> None:
    server.handler = lambda _: Reply(0xC0000005, b"{}\n", b"oh")
    answer = ask(ssh, "crash")
    assert (answer.exit_code, answer.stdout, answer.stderr) == (0xC0000005, b"{}\n", b"oh")
    server.handler = lambda _: Reply(0, b"{}\n")
    assert said(ask(ssh, "next")) == b"{}\n"
    assert starts(server) == 2


def test_a_process_that_never_accepts_is_not_asked_a_third_time(ssh: SshTransport, server: SshServer) -> None:
    said(ask(ssh, "first"))
    assert ask(ssh, "deaf").exit_code == 9
    assert starts(server) == 2
    assert ask(ssh, "deaf").exit_code == 9
    assert starts(server) == 3


def test_a_question_at_its_deadline_closes_the_channel_and_the_next_gets_another(ssh: SshTransport, server: SshServer) -> None:
    server.handler = lambda request: Reply(PENDED, b"so far\n") if request.stdin == b"hang" else Reply(0, b"{}\n")
    with pytest.raises(
        GuestHung, match="`drvprobe hang` did not end within 5 s; its connection was closed; it had written: so"
    ):
        ask(ssh, "hang", timeout=5)  # long enough for the output to come, also on a busy host
    assert said(ask(ssh, "next")) == b"{}\n"
    assert starts(server) == 2


def test_a_connection_that_breaks_is_an_error_and_the_next_question_gets_a_new_one(
    ssh: SshTransport, server: SshServer
) -> None:
    def broken(_request: Request) -> Reply:
        server.drop()
        raise OSError("gone")

    server.handler = broken
    with pytest.raises(TransportError):
        ask(ssh, "first")
    server.handler = lambda _: Reply(0, b"{}\n")
    assert said(ask(ssh, "next")) == b"{}\n"


def test_a_connection_that_broke_between_two_questions_is_replaced(ssh: SshTransport, server: SshServer) -> None:
    said(ask(ssh, "first"))
    server.drop()
    assert said(ask(ssh, "next")) == b"{next}\n"
    assert starts(server) == 2

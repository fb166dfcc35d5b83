"""The message by which a waiting collector gets its guest."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.prints.kd import attach
from lab.prints.kd.attach import Attachment
from lab.prints.kd.request import TAKEN, CollectorRequest, send_request, wait_for_request
from lab.prints.kd.stop_policy import AtBreakpoint, AtBugcheck, StopPolicy

TIMEOUT_S = 60.0
#: Any name that a file may have, also one that is no UTF-8.
paths = st.binary(min_size=1, max_size=100).filter(lambda raw: b"\0" not in raw).map(lambda raw: Path("/", os.fsdecode(raw)))
policies = st.builds(StopPolicy, st.sampled_from(get_args(AtBreakpoint)), st.sampled_from(get_args(AtBugcheck)))
requests = st.builds(
    CollectorRequest,
    socket=paths,
    folder=paths,
    raw=paths,
    control=paths,
    ids=st.none() | paths,
    policy=policies,
    wait=st.floats(0, 600),
)


def request_of(folder: Path) -> CollectorRequest:
    return CollectorRequest(
        socket=folder / "serial0.sock",
        folder=folder,
        raw=folder / "kd.raw",
        control=folder / "kd.ctl",
        ids=folder / "ids.json",
        policy=StopPolicy(breakpoint="hold", bugcheck="reboot"),
        wait=2.5,
    )


@pytest.fixture
def line() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        yield ours, theirs


@given(requests)
def test_a_request_arrives_as_it_was_sent(request: CollectorRequest) -> None:
    assert CollectorRequest.from_json(request.to_json()) == request


def test_a_guest_comes_with_its_two_files_and_is_taken(line: tuple[socket.socket, socket.socket], tmp_path: Path) -> None:
    ours, theirs = line
    taken: list[bool] = []
    with (tmp_path / "records").open("xb") as records, (tmp_path / "messages").open("xb") as messages:
        files = (records.fileno(), messages.fileno())

        def send() -> None:
            taken.append(send_request(ours, request_of(tmp_path), *files, timeout=TIMEOUT_S))

        thread = threading.Thread(target=send)
        thread.start()
        came = wait_for_request(theirs, os.getppid())
        assert came is not None
        theirs.sendall(TAKEN)
        thread.join(TIMEOUT_S)
    request, *descriptors = came
    assert (taken, request) == ([True], request_of(tmp_path))
    for descriptor, text in zip(descriptors, (b"a record", b"a message"), strict=True):
        os.write(descriptor, text)
        os.close(descriptor)
    assert ((tmp_path / "records").read_bytes(), (tmp_path / "messages").read_bytes()) == (b"a record", b"a message")


def test_a_collector_that_does_not_answer_or_has_ended_has_not_taken_it(
    line: tuple[socket.socket, socket.socket], tmp_path: Path
) -> None:
    ours, theirs = line
    with (tmp_path / "file").open("xb") as file:
        assert not send_request(ours, request_of(tmp_path), file.fileno(), file.fileno(), timeout=0.01)
        theirs.close()
        assert not send_request(ours, request_of(tmp_path), file.fileno(), file.fileno(), timeout=TIMEOUT_S)


def test_no_guest_comes_from_an_owner_that_closes_or_is_another_process(line: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = line
    assert wait_for_request(theirs, os.getpid()) is None  # not our parent: it has ended, and its pid was given away
    ours.close()
    assert wait_for_request(theirs, os.getppid()) is None


def test_a_collector_attaches_to_what_was_requested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    did: list[Attachment] = []
    monkeypatch.setattr(attach, "attach", did.append)
    request = request_of(tmp_path)
    attach.serve(request)
    assert did == [
        Attachment(
            socket=request.socket,
            jsonl=True,
            raw=request.raw,
            control=request.control,
            ids=request.ids,
            policy=request.policy,
            wait=2.5,
        )
    ]

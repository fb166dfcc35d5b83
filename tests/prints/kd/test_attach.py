"""`lab kd` as its users run it: a process beside the test, against targets at a Unix socket."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lab.prints.kd.packet import ACKNOWLEDGE, BREAK_IN, INITIAL_ID, Framer, Packet
from tests.prints.kd.fake_target import X86_INT3_PC, Target
from tests.prints.kd.stubborn_target import StubbornTarget, in_turn

#: Where recorded sessions of real kernels lie; they are not part of the project.
CAPTURES = Path(os.environ.get("LAB_KD_CAPTURES", Path(__file__).parents[4] / "shared" / "captures"))
CAPTURE = "nt-like-boot-and-reads"
KEYS = {
    "print": ("cpu", "raw"),
    "prompt": ("cpu", "raw"),
    "load": ("path", "base", "size"),
    "unload": ("path", "base", "size"),
    "exception": ("cpu", "code", "address", "first_chance"),
    "bugcheck": ("code", "parameters"),
}
DEADLINE_S = 60.0

needs_capture = pytest.mark.skipif(
    not (CAPTURES / f"{CAPTURE}.kd").exists(), reason=f"the recorded session {CAPTURE} is not beside this checkout"
)


def lab_kd(*arguments: str | Path, **options: Any) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-m", "lab", "kd", *map(str, arguments)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def records(output: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


def essence(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: item[key] for key in ("kind", *KEYS[item["kind"]])} for item in found if item["kind"] in KEYS]


class Served:
    """A target at a listening socket."""

    def __init__(self, path: Path, play: Callable[[socket.socket], None]) -> None:
        self.path = path
        self.error: BaseException | None = None
        self._play = play
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._listener.settimeout(DEADLINE_S)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        try:
            port, _ = self._listener.accept()
            with port:
                port.settimeout(DEADLINE_S)
                self._play(port)
        except BaseException as error:  # handed to the test
            self.error = error

    def close(self) -> None:
        self._thread.join(DEADLINE_S)
        self._listener.close()
        if self.error:
            raise self.error


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[Callable[[socket.socket], None]], Served]]:
    served: list[Served] = []

    def start(play: Callable[[socket.socket], None]) -> Served:
        served.append(Served(tmp_path / "kd.sock", play))
        return served[-1]

    yield start
    for target in served:
        target.close()


def wait_for_acknowledgement(port: socket.socket, framer: Framer) -> None:
    while True:
        data = port.recv(4096)
        if not data:
            raise AssertionError("the host went away")
        if any(isinstance(item, Packet) and item.kind == ACKNOWLEDGE for item in framer.feed(data)):
            return


@needs_capture
def test_a_recorded_session_decodes_to_what_is_in_it() -> None:
    process = lab_kd("decode", CAPTURES / f"{CAPTURE}.kd", "--jsonl")
    output, _ = process.communicate(timeout=DEADLINE_S)
    expected = json.loads((CAPTURES / f"{CAPTURE}.expected.json").read_text())
    assert process.returncode == 0
    assert essence(records(output)) == expected


@needs_capture
def test_a_recorded_session_replayed_as_a_target_is_answered_byte_by_byte(
    serve: Callable[[Callable[[socket.socket], None]], Served], tmp_path: Path
) -> None:
    lines = gzip.decompress((CAPTURES / f"{CAPTURE}.session.jsonl.gz").read_bytes()).splitlines()
    chunks = [json.loads(line) for line in lines]

    def replay(port: socket.socket) -> None:
        for number, chunk in enumerate(chunks):
            data = bytes.fromhex(chunk["hex"])
            if chunk["dir"] == "rx":
                port.sendall(data)
                continue
            answer = b""
            while len(answer) < len(data):
                more = port.recv(len(data) - len(answer))
                assert more, f"the host went away before its answer in chunk {number}"
                answer += more
            assert answer == data, f"chunk {number}"

    served = serve(replay)
    process = lab_kd("attach", "--socket", served.path, "--jsonl", "--raw", tmp_path / "kd.raw")
    output, errors = process.communicate(timeout=DEADLINE_S)
    served.close()
    assert process.returncode == 0, errors.decode()
    assert essence(records(output)) == json.loads((CAPTURES / f"{CAPTURE}.expected.json").read_text())
    assert (tmp_path / "kd.raw").read_bytes() == (CAPTURES / f"{CAPTURE}.kd").read_bytes()


def test_prints_are_all_there_although_the_reader_stopped(
    serve: Callable[[Callable[[socket.socket], None]], Served],
) -> None:
    count = 20_000
    halfway = threading.Event()

    def flood(port: socket.socket) -> None:
        target, framer = Target(), Framer()
        for number in range(count):
            port.sendall(target.print(b"line %08d\n" % number))
            if number == count // 2:
                halfway.set()
            wait_for_acknowledgement(port, framer)

    served = serve(flood)
    process = lab_kd("attach", "--socket", served.path, "--jsonl")
    assert process.stdout
    # The output is not read until half of it has been sent: far more than a pipe holds.
    assert halfway.wait(DEADLINE_S)
    output, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, errors.decode()
    found = [bytes.fromhex(item["raw"]) for item in records(output) if item["kind"] == "print"]
    assert found == [b"line %08d\n" % number for number in range(count)]
    assert [item["kind"] for item in records(output) if item["kind"] != "print"] == ["end"]


def test_a_reader_that_goes_away_leaves_the_target_answered(
    serve: Callable[[Callable[[socket.socket], None]], Served],
) -> None:
    gone = threading.Event()
    answered = []

    def play(port: socket.socket) -> None:
        target, framer = Target(), Framer()
        port.sendall(target.print(b"first\n"))
        wait_for_acknowledgement(port, framer)
        assert gone.wait(DEADLINE_S)
        for number in range(50):
            port.sendall(target.print(b"%d\n" % number))
            wait_for_acknowledgement(port, framer)
            answered.append(number)

    served = serve(play)
    process = lab_kd("attach", "--socket", served.path, "--jsonl")
    assert process.stdout
    assert b"first" in process.stdout.readline()
    process.stdout.close()
    gone.set()
    assert process.wait(DEADLINE_S) == 0
    assert process.stderr
    process.stderr.close()
    assert len(answered) == 50


def test_a_fork_goes_on_with_the_ids_of_its_snapshot(
    serve: Callable[[Callable[[socket.socket], None]], Served], tmp_path: Path
) -> None:
    taken = threading.Event()
    target = Target()
    first, second, third = (target.print(b"%d\n" % number) for number in (1, 2, 3))

    def original(port: socket.socket) -> None:
        framer = Framer()
        for packet in (first, second):
            port.sendall(packet)
            wait_for_acknowledgement(port, framer)
        assert taken.wait(DEADLINE_S)

    host = lab_kd("attach", "--socket", serve(original).path, "--jsonl", "--control", tmp_path / "ctl")
    assert host.stdout
    assert [host.stdout.readline() for _ in range(2)][1:]
    asked, _ = lab_kd("control", tmp_path / "ctl", "status").communicate(timeout=DEADLINE_S)
    assert json.loads(asked) | {"idle": True, "heard": True, "held": False} == json.loads(asked)
    (tmp_path / "ids.json").write_bytes(asked)
    taken.set()
    host.communicate(timeout=DEADLINE_S)

    def fork(port: socket.socket) -> None:
        # Its last packet was acknowledged and the acknowledgement was lost: it comes again, and is not a second print.
        framer = Framer()
        for packet in (second, third):
            port.sendall(packet)
            wait_for_acknowledgement(port, framer)

    (tmp_path / "kd.sock").unlink()
    host = lab_kd("attach", "--socket", serve(fork).path, "--jsonl", "--ids", tmp_path / "ids.json")
    output, errors = host.communicate(timeout=DEADLINE_S)
    assert (host.returncode, errors) == (0, b"")
    assert [(record["kind"], record.get("raw")) for record in records(output)] == [
        ("note", None),  # it came again: said, and not recorded twice
        ("print", b"3\n".hex()),
        ("end", None),
    ]


def test_an_interrupt_ends_the_session(serve: Callable[[Callable[[socket.socket], None]], Served]) -> None:
    def play(port: socket.socket) -> None:
        port.sendall(Target().print(b"first\n"))
        while port.recv(100):
            pass

    process = lab_kd("attach", "--socket", serve(play).path)
    assert process.stdout
    assert process.stdout.readline() == b"first\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, errors) == (0, b"")


@pytest.mark.parametrize("signals", [1, 2])
def test_a_session_whose_reader_has_stopped_can_be_interrupted(
    signals: int, serve: Callable[[Callable[[socket.socket], None]], Served], tmp_path: Path
) -> None:
    told = threading.Event()

    def play(port: socket.socket) -> None:
        target, framer = Target(), Framer()
        for number in range(2000):  # far more than a pipe holds
            port.sendall(target.print(b"x" * 100 + b"%d\n" % number))
            wait_for_acknowledgement(port, framer)
        told.set()
        while port.recv(100):
            pass

    process = lab_kd("attach", "--socket", serve(play).path, "--jsonl", "--control", tmp_path / "ctl")
    assert told.wait(DEADLINE_S)
    process.send_signal(signal.SIGTERM)
    if signals == 2:
        # A request is answered that the session is over: the first signal had an effect.
        while b"heard" in lab_kd("control", tmp_path / "ctl", "status").communicate(timeout=DEADLINE_S)[0]:
            pass
        process.send_signal(signal.SIGTERM)
    code = process.wait(DEADLINE_S)
    assert process.stderr
    assert process.stdout
    errors = process.stderr.read().decode()
    process.stderr.close()
    process.stdout.close()
    assert "Traceback" not in errors
    assert not (tmp_path / "ctl").exists()
    if signals == 2:
        assert code == -signal.SIGTERM
    else:
        assert code > 0
        assert "standard output is incomplete: its reader has stopped" in errors


def test_a_target_that_runs_already_is_woken_and_joined(
    serve: Callable[[Callable[[socket.socket], None]], Served],
) -> None:
    target = StubbornTarget(INITIAL_ID | 1, INITIAL_ID | 1)

    def play(port: socket.socket) -> None:
        # It sends nothing until it gets a break-in byte.
        assert port.recv(1) == BREAK_IN
        run = in_turn(partial(target.breakpoint, X86_INT3_PC), partial(target.print, b"awake\n"))
        next(run)
        with contextlib.suppress(StopIteration):
            while True:
                port.sendall(target.output)
                target.output.clear()
                target.input += port.recv(4096)
                run.send(False)
        port.sendall(target.output)

    process = lab_kd("attach", "--socket", serve(play).path, "--jsonl", "--break-in")
    output, errors = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, errors) == (0, b"")
    assert [record["kind"] for record in records(output)] == ["note", "gap", "exception", "print", "end"]
    assert "break-in" in records(output)[0]["text"]
    assert target.told_to_step == [(X86_INT3_PC + 1) & 0xFFFFFFFF]


def test_a_capture_from_standard_input_is_readable_for_people() -> None:
    target = Target()
    data = b"BIOS\r\n" + target.print("读字节长度: 20\n".encode()) + target.prompt(b"(boipt)? ")
    process = lab_kd("decode", "-", "--encoding", "utf-8", stdin=subprocess.PIPE)
    output, _ = process.communicate(data, timeout=DEADLINE_S)
    assert output.decode().splitlines() == ["BIOS", "读字节长度: 20", "[prompt] (boipt)? (answered 'i')"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("decode", "missing.kd"), 2, "missing.kd"),
        (("decode", "-", "--encoding", "klingon"), 2, "klingon"),
        (("decode", "-", "--encoding", "rot13"), 2, "rot13"),
        (("decode", "-", "--encoding", "idna"), 2, "idna"),
        (("attach", "--socket", "missing.sock", "--wait", "0", "--encoding", "punycode"), 2, "punycode"),
        (("attach", "--socket", "missing.sock", "--wait", "nan"), 2, "--wait"),
        (("attach", "--socket", "missing.sock", "--wait", "inf"), 2, "--wait"),
        (("attach", "--socket", "missing.sock", "--wait=-1"), 2, "--wait"),
        (("attach", "--socket", "missing.sock", "--wait", "0"), 10, "missing.sock"),
        (("attach", "--socket", "missing.sock", "--ids", "missing.json"), 2, "missing.json"),
        (("attach", "--socket", "missing.sock", "--ids", __file__), 2, "test_attach.py"),
        (("control", "missing.ctl", "status"), 10, "missing.ctl"),
        (("control", "missing.ctl", "dance"), 2, "dance"),
        (("tell", "missing.ctl", "status"), 10, "`lab kd tell` is the old name of `lab kd control`"),
        (("control", "missing.ctl", "wake"), 10, "`wake` is the old name of `announce`"),
    ],
)
def test_wrong_input_is_named(arguments: tuple[str, ...], code: int, message: str, tmp_path: Path) -> None:
    process = lab_kd(*arguments, cwd=tmp_path, stdin=subprocess.DEVNULL)
    _, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == code
    assert message in errors.decode()
    assert "Traceback" not in errors.decode()


def test_an_existing_raw_file_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "kd.raw").write_bytes(b"precious")
    process = lab_kd("attach", "--socket", tmp_path / "no.sock", "--raw", tmp_path / "kd.raw", "--wait", "0")
    _, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 2
    assert "already" in errors.decode()
    assert (tmp_path / "kd.raw").read_bytes() == b"precious"

"""The lanes of ci/test.sh, with programs instead of the parts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from ci.lanes import LANES

ROOT = Path(__file__).resolve().parents[2]
_DEADLINE_S = 300


@dataclass
class Started:
    """ci/lanes.py with other lanes, in a process of its own."""

    folder: Path
    process: subprocess.Popen[str]
    output: str = field(default="")

    def ended(self) -> int:
        self.output, _ = self.process.communicate(timeout=_DEADLINE_S)
        return self.process.returncode

    def wait_for(self, name: str) -> None:
        deadline = time.monotonic() + _DEADLINE_S
        while not (self.folder / name).exists():
            assert self.process.poll() is None, self.process.communicate()[0]
            assert time.monotonic() < deadline, f"there is no {name} after {_DEADLINE_S} s"
            time.sleep(0.05)


class Start:
    """Starts lanes; each part is a name, a shell command, and ``needed``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[Started] = []

    def __call__(self, *lanes: list[tuple[str, str] | tuple[str, str, bool]]) -> Started:
        parts = [[(name, ("sh", "-c", command), *needed) for name, command, *needed in lane] for lane in lanes]
        program = f"""\
            import sys
            from pathlib import Path
            sys.path.insert(0, {str(ROOT)!r})
            from ci.lanes import Part, main
            sys.exit(main([[Part(*part) for part in lane] for lane in {parts!r}], Path("logs")))
            """
        argv = [sys.executable, "-c", textwrap.dedent(program)]
        process = subprocess.Popen(argv, cwd=self.folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.started.append(Started(self.folder, process))
        return self.started[-1]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    start = Start(tmp_path)
    yield start
    for one in start.started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.communicate(timeout=_DEADLINE_S)


def meet(own: str, other: str) -> str:
    """A command that ends when the other one runs."""
    return f"touch {own}; until [ -e {other} ]; do sleep 0.05; done"


def test_lanes_run_side_by_side_and_their_output_is_not_mixed(start: Start) -> None:
    left, right = meet("a", "b") + "; echo left; echo left", meet("b", "a") + "; echo right; echo right"
    run = start([("one", left)], [("two", right), ("three", "echo last")])
    assert run.ended() == 0, run.output
    assert "==== one\nleft\nleft\n" in run.output
    assert "==== two\nright\nright\n" in run.output
    assert run.output.index("==== two") < run.output.index("==== three\nlast\n")
    names = [line.split()[0] for line in run.output.partition("==== summary\n")[2].splitlines()]
    assert names == ["one", "two", "three"]
    assert (run.folder / "logs" / "one.log").read_text() == "left\nleft\n"


def test_the_first_failure_of_the_summary_is_the_exit_code_and_the_lane_goes_on(start: Start) -> None:
    run = start([("one", "true"), ("two", meet("a", "b") + "; exit 3"), ("three", "echo on")], [("four", "touch b; exit 4")])
    assert run.ended() == 3, run.output
    assert "==== three\non\n" in run.output
    results = {line[:28].strip(): line[28:].split()[1:] for line in run.output.partition("==== summary\n")[2].splitlines()}
    assert results == {"one": ["ok"], "two": ["exit", "3"], "three": ["ok"], "four": ["exit", "4"]}


def test_what_needs_a_failed_part_is_not_run(start: Start) -> None:
    run = start([("one", "echo on")], [("image", "exit 10", True), ("two", "touch ran")])
    assert run.ended() == 10, run.output
    assert not (run.folder / "ran").exists()
    assert [line.split()[1:] for line in run.output.splitlines() if line.startswith("two ")] == [["-", "not", "run"]]
    assert "==== one\non\n" in run.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_both_lanes_with_what_they_started(start: Start, number: signal.Signals) -> None:
    """Each part starts a process, and ends as pytest does: by itself, with a code of its own."""
    parts = [
        f"sh -c 'echo $$ >{name}.pid; exec sleep 600' & trap 'kill $!; echo {name} ends; exit 2' INT; touch {name}; wait"
        for name in "ab"
    ]
    run = start([("one", parts[0]), ("three", "touch ran")], [("two", parts[1])])
    for name in "ab":
        run.wait_for(name)
    run.process.send_signal(number)
    assert run.ended() == 128 + number, run.output
    assert "==== one\na ends\n" in run.output
    assert "==== two\nb ends\n" in run.output
    assert not (run.folder / "ran").exists()
    assert [line.split()[1:] for line in run.output.splitlines() if line.startswith("three ")] == [["-", "not", "run"]]


#: Short sleeps: an interrupt just before a long one would come to nothing.
CLEANS_UP = """
import pathlib, sys, time

def doze(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.05)

try:
    pathlib.Path(sys.argv[1]).touch()
    doze(600)
except KeyboardInterrupt:
    try:
        doze(float(sys.argv[2]))
        print("all is put away")
    except KeyboardInterrupt:
        print("again")
"""


def test_a_part_is_interrupted_once(start: Start) -> None:
    """The end of the first part brought the second one another interrupt, and its fixtures did not end."""
    (start.folder / "cleans_up.py").write_text(CLEANS_UP, encoding="utf-8")
    commands = [f"exec {sys.executable} cleans_up.py {name} {seconds}" for name, seconds in (("a", 0.5), ("b", 1.5))]
    run = start([("one", commands[0])], [("two", commands[1])])
    for name in "ab":
        run.wait_for(name)
    run.process.send_signal(signal.SIGINT)
    assert run.ended() == 130, run.output
    assert "==== one\nall is put away\n" in run.output
    assert "==== two\nall is put away\n" in run.output


def test_a_second_interrupt_kills_what_does_not_end(start: Start) -> None:
    run = start([("one", "trap 'touch asked' INT; echo $$ >one.pid; touch a; while :; do sleep 0.05; done")])
    run.wait_for("a")
    run.process.send_signal(signal.SIGINT)
    run.wait_for("asked")
    run.process.send_signal(signal.SIGINT)
    assert run.ended() == 130, run.output
    assert not psutil.pid_exists(int((run.folder / "one.pid").read_text()))


def test_the_parts_of_the_script_are_all_of_them() -> None:
    words = [" ".join(part.argv) for lane in LANES for part in lane]
    assert [any(word.endswith(end) for word in words) for end in ("ci/check.sh", "lab run")] == [True, True]
    chosen = [part.argv[part.argv.index("tests") + 2] for lane in LANES for part in lane if "tests" in part.argv]
    assert chosen == ["not e2e", "e2e"]
    assert os.access(ROOT / "ci" / "bytecode.sh", os.R_OK)

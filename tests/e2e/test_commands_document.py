"""The commands of docs/commands.md for a detached guest, typed as they are written there."""

from __future__ import annotations

import os
import pty
import re
import select
import shlex
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.running import LAB, ROOT, RUN_DEADLINE_S

pytestmark = pytest.mark.e2e


def commands(heading: str) -> list[list[str]]:
    """The command lines of the console block below a heading, without comments and without the name of the command."""
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8").partition(f"## {heading}\n")[2]
    block = text.partition("```console\n")[2].partition("```")[0]
    lines = re.findall(r"^\$ lab (.*)$", block, re.MULTILINE)
    return [shlex.split(line, comments=True) for line in lines]


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A state folder of the test's own: no guest of the user is seen, and every guest of the test ends with it."""
    values = os.environ | {"LAB_STATE": str(tmp_path / "state"), "TERM": "xterm"}
    yield values
    subprocess.run([LAB, "down", "--all"], env=values, timeout=60, check=False)


def type_exit(arguments: list[str], environment: dict[str, str]) -> tuple[int, str]:
    """Run the command on a terminal, and type ``exit`` when a prompt is there."""
    own, its = pty.openpty()
    process = subprocess.Popen([LAB, *arguments], env=environment, stdin=its, stdout=its, stderr=its, start_new_session=True)
    os.close(its)
    said, heard, deadline = b"", time.monotonic(), time.monotonic() + 120
    try:
        while process.poll() is None and time.monotonic() < deadline:
            if select.select([own], [], [], 0.2)[0]:
                try:
                    said += os.read(own, 4096)
                except OSError:  # its end of the terminal is closed
                    process.wait(30)
                heard = time.monotonic()
            elif b">" in said and time.monotonic() - heard > 2:
                # As users do, a moment after the prompt: Wine's console shows it before it accepts a return.
                os.write(own, b"exit\r")
                heard = time.monotonic()
        assert process.poll() is not None, f"the shell did not end: {said!r}"
        return process.returncode, said.decode("utf-8", "backslashreplace")
    finally:
        process.kill()
        process.wait(10)
        os.close(own)


def test_a_guest_to_look_around_in(environment: dict[str, str], tmp_path: Path) -> None:
    typed = commands("A guest to look around in")
    assert [words[0] for words in typed] == ["up", "run-in-guest", "shell", "down", "fork", "run-in-guest", "down"]
    said = []
    for words in typed:
        if words[0] == "shell":
            code, text = type_exit(words, environment)
        else:
            argv = [str(LAB), *words]
            done = subprocess.run(argv, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=RUN_DEADLINE_S)
            code, text = done.returncode, done.stdout + done.stderr
        assert code == 0, f"lab {shlex.join(words)} ended with {code}:\n{text}"
        said.append(text)
    assert "Microsoft Windows" in said[1]
    assert "RUNNING" in said[5]
    assert "wine-2 is down" in said[6]
    assert not list((tmp_path / "state" / "guests").glob("*.json"))

"""The collector is a module of lab.prints.kd: its argument list, and its error when it cannot begin."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lab.prints.kd import attach
from lab.prints.kd.attach import Attachment, command, main
from lab.prints.kd.stop_policy import StopPolicy


@pytest.mark.parametrize(
    "what",
    [
        Attachment(socket=Path("s"), jsonl=True),
        Attachment(
            socket=Path("s"),
            jsonl=True,
            raw=Path("kd.raw"),
            ids=Path("ids.json"),
            control=Path("kd.ctl"),
            policy=StopPolicy(breakpoint="hold", bugcheck="reboot"),
            wait=2.5,
        ),
    ],
)
def test_the_argument_list_says_what_the_collector_does(what: Attachment, monkeypatch: pytest.MonkeyPatch) -> None:
    did: list[Attachment] = []
    monkeypatch.setattr(attach, "attach", did.append)
    argv = command(what)
    assert argv[1:3] == ["-m", "lab.prints.kd.attach"]
    assert main(argv[3:]) == 0
    assert did == [what]


def test_a_collector_that_cannot_begin_says_why_and_ends(tmp_path: Path) -> None:
    (tmp_path / "kd.raw").write_bytes(b"of another guest")
    argv = command(Attachment(socket=tmp_path / "missing.sock", raw=tmp_path / "kd.raw", wait=0))
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert "kd.raw exists already" in done.stderr
    assert "Traceback" not in done.stderr

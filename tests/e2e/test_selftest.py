"""`lab selftest` on the free guest: a driver crashes it, and a guest hangs; every piece of evidence is saved."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.running import LAB, ROOT, RUN_DEADLINE_S

pytestmark = pytest.mark.e2e

CLOCKS = ("virtual", "real")
#: Instead of a minute: the guest that hangs uses a processor until then.
CLIENT_S = "20"


@pytest.fixture
def out(tmp_path: Path) -> Iterator[Path]:
    """Folder of a run; its memory dumps are as large as a guest, and pytest keeps the folders of several sessions."""
    yield tmp_path / "out"
    for dump in (tmp_path / "out").rglob("*.elf"):
        dump.unlink()


def selftest(what: str, out: Path, clock: str) -> dict[str, str]:
    """Run it; returns the state of each piece."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    environment["LAB_CLIENT_TIMEOUT"] = CLIENT_S
    argv = [str(LAB), "selftest", what, "--guest", "wine", "--clock", clock, "--out", str(out)]
    done = subprocess.run(argv, cwd=ROOT, env=environment, text=True, capture_output=True, timeout=RUN_DEADLINE_S, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "every piece of evidence is there" in said
    assert (", virtual clock" in said) == (clock == "virtual")
    pieces = {}
    for line in said.splitlines():
        for state in ("ok", "missing", "not here"):
            name, colon, _ = line.removeprefix(f"{state:<9} ").partition(": ")
            if line.startswith(f"{state:<9} ") and colon:
                pieces[name] = state
    return pieces


@pytest.mark.parametrize("clock", CLOCKS)
def test_a_crash_leaves_every_piece(out: Path, clock: str) -> None:
    pieces = selftest("crash", out, clock)
    # The free guest has no display.
    assert {name for name, state in pieces.items() if state != "ok"} == {"screenshot"}
    assert {"code", "faulting address", "memory dump", "driver that ran", "driver's symbols", "links in report.html"} <= set(
        pieces
    )


@pytest.mark.parametrize("clock", CLOCKS)
def test_a_hang_leaves_every_piece(out: Path, clock: str) -> None:
    pieces = selftest("hang", out, clock)
    # Nor has it a kernel debugger.
    assert {name for name, state in pieces.items() if state != "ok"} == {"screenshot", "break-in"}
    [console] = out.glob("evidence/*/console.txt")
    assert "Uhhuh. NMI received" in console.read_text(encoding="utf-8")

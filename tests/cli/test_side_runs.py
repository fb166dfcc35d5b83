"""Several runs at once: order, limits, interrupts."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from lab.cli.side_runs import SideEnd, SideRun, run_beside

#: Ends when the file `go` is there.
WAITS = "import os, select\nwhile not os.path.exists('go'): select.select([], [], [], 0.01)"


def side(folder: Path, name: str, code: str, *, deadline_s: float = 60) -> SideRun:
    return SideRun(name=name, argv=[sys.executable, "-c", code], log=folder / name / "log", deadline_s=deadline_s)


def test_all_are_run_and_each_has_its_own_log(tmp_path: Path) -> None:
    ends: list[SideEnd] = []
    runs = [side(tmp_path, name, f"print({name!r}); raise SystemExit({code})") for code, name in enumerate("abc")]
    assert run_beside(runs, at_once=2, cwd=tmp_path, env=dict(os.environ), ended=ends.append) == ""
    assert {end.run.name: end.code for end in ends} == {"a": 0, "b": 1, "c": 2}
    assert [(tmp_path / name / "log").read_text() for name in "abc"] == ["a\n", "b\n", "c\n"]
    assert all(end.seconds > 0 for end in ends)


def test_one_may_be_followed_by_another(tmp_path: Path) -> None:
    seen: list[str] = []

    def ended(end: SideEnd) -> SideRun | None:
        seen.append(end.run.name)
        return side(tmp_path, "second", "pass") if end.run.name == "first" else None

    run_beside([side(tmp_path, "first", "pass"), side(tmp_path, "third", "pass")], **common(tmp_path, at_once=1), ended=ended)
    assert seen == ["first", "third", "second"]


def test_two_run_at_the_same_time(tmp_path: Path) -> None:
    ends: list[SideEnd] = []
    opens = "open('go', 'w').close()"
    run_beside([side(tmp_path, "a", WAITS), side(tmp_path, "b", opens)], **common(tmp_path, at_once=2), ended=ends.append)
    assert sorted(end.run.name for end in ends) == ["a", "b"]


def test_one_that_does_not_end_in_time_is_killed(tmp_path: Path) -> None:
    ends: list[SideEnd] = []
    run_beside([side(tmp_path, "a", WAITS, deadline_s=0.1)], **common(tmp_path, at_once=1), ended=ends.append)
    assert [end.code for end in ends] == [-signal.SIGKILL]


def test_an_interrupt_goes_to_all_and_nothing_more_is_started(tmp_path: Path) -> None:
    ends: list[SideEnd] = []
    tells = "import os, signal; os.kill(os.getppid(), signal.SIGTERM)\n" + WAITS
    runs = [side(tmp_path, "a", WAITS), side(tmp_path, "b", tells), side(tmp_path, "c", "pass")]
    assert run_beside(runs, **common(tmp_path, at_once=2), ended=ends.append) == "SIGTERM"
    # Python ends so on SIGINT.
    assert {end.run.name: end.code for end in ends} == {"a": -signal.SIGINT, "b": -signal.SIGINT}


def test_the_second_interrupt_kills(tmp_path: Path) -> None:
    ends: list[SideEnd] = []
    stays = "import os, signal; signal.signal(signal.SIGINT, lambda *_: os.kill(os.getppid(), signal.SIGTERM))\n"
    tells = stays + "os.kill(os.getppid(), signal.SIGINT)\n" + WAITS
    assert run_beside([side(tmp_path, "a", tells)], **common(tmp_path, at_once=1), ended=ends.append) == "SIGINT"
    assert [end.code for end in ends] == [-signal.SIGKILL]


def common(cwd: Path, *, at_once: int) -> dict[str, Any]:
    return {"at_once": at_once, "cwd": cwd, "env": dict(os.environ)}

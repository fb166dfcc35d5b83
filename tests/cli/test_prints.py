"""`lab prints`: which guest or worker is meant, guests of a run one after the other, and the errors when there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from lab.cli import prints as prints_module
from lab.cli.main import app
from lab.errors import ConfigError
from lab.lease import print_file
from lab.lease.detached import DetachedGuest, DetachedGuests, process_start
from lab.prints.live import PrintFile
from lab.report.worker_files import ResultWriter
from tests.prints.conftest import frames


def _line(text: str) -> bytes:
    return f"1.000:013c:017c:warn:debugstr:vDbgPrintExWithPrefix 00000065:00000003: {text}".encode()


@pytest.fixture
def guests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DetachedGuests:
    monkeypatch.chdir(tmp_path)
    found = DetachedGuests(tmp_path / "guests")
    monkeypatch.setattr(prints_module, "detached_guests", lambda: found)
    manifest = SimpleNamespace(name="wine", prints=SimpleNamespace(source="wine", serial=1, encoding="utf-8"), debug=None)
    monkeypatch.setattr(print_file, "read_manifest", lambda _dir: manifest)
    return found


@pytest.fixture
def up(guests: DetachedGuests, tmp_path: Path) -> Callable[..., DetachedGuest]:
    def add(name: str, texts: list[str], **more: Any) -> DetachedGuest:
        folder = tmp_path / f"{name}-run"
        folder.mkdir()
        (folder / "serial1.log").write_bytes(frames([_line(text) for text in texts]))
        started = process_start(os.getpid()) or 0.0
        guest = DetachedGuest(
            name=name, guest="g", image_dir=tmp_path, run_dir=folder, pid=os.getpid(), pid_started=started, **more
        )
        guests.add(guest)
        return guest

    return add


def _run(tmp_path: Path, name: str, workers: dict[str, list[str]], *, over: bool = True) -> Path:
    """A run with a guest for each text of a worker; the first guest's folder is gone, and its log is kept."""
    out = tmp_path / "out" / name
    for worker, texts in workers.items():
        with ResultWriter(out, worker) as writer:
            for number, text in enumerate(texts, 1):
                guest = f"{worker}-{number}"
                folder = out / "guests" / guest if number == 1 else tmp_path / f"{name}-{guest}"
                folder.mkdir(parents=True)
                (folder / "serial1.log").write_bytes(frames([_line(text)]))
                path = (tmp_path / "gone" if number == 1 else folder) / "serial1.log"
                writer.prints(PrintFile(guest=guest, kind="wine", path=path, encoding="utf-8"))
    if over:
        (out / "run.json").write_text("{}", encoding="utf-8")
    return out


def lab(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["prints", *arguments])


def texts(result: Result) -> list[str]:
    assert result.exit_code == 0, result.exception
    return [line.split()[-1] for line in result.stdout.splitlines()]


def error(result: Result) -> ConfigError:
    assert isinstance(result.exception, ConfigError), result.output
    return result.exception


def test_a_guest_that_is_up(up: Callable[[str, list[str]], DetachedGuest]) -> None:
    up("wine", ["one", "two", "three"])
    assert texts(lab()) == ["one", "two", "three"]
    assert texts(lab("wine", "--tail", "2")) == ["two", "three"]
    up("other", ["x"])
    assert "several guests are up: other, wine" in error(lab()).message
    assert texts(lab("other")) == ["x"]


def test_prints_missing_in_a_forks_file_are_reported(
    up: Callable[..., DetachedGuest], guests: DetachedGuests, tmp_path: Path
) -> None:
    """The prints of the template's drivers from their load were missing without a message."""
    up("booted", ["one"])
    assert lab("booted").stderr == ""
    up("fork", ["two"], template="wine-1234", loaded=("async", "sync"))
    said = "lab: fork is a fork of template wine-1234: prints of the template's boot are not shown"
    for words in (["fork"], ["fork", "--tail", "1"]):
        result = lab(*words)
        assert texts(result) == ["two"]
        assert result.stderr == f"{said}, and those of async and sync while the template loaded them\n"
    out = tmp_path / "out" / "a"
    (tmp_path / "serial1.log").write_bytes(frames([_line("three")]))
    with ResultWriter(out, "gw0") as writer:
        writer.prints(
            PrintFile(guest="gw0-1", kind="wine", path=tmp_path / "serial1.log", encoding="utf-8", template="wine-1234")
        )
    (out / "run.json").write_text("{}", encoding="utf-8")
    for more in ([], ["-f"]):
        result = lab("gw0", "--run", str(out), *more)
        assert texts(result) == ["gw0-1", "three"]
        assert result.stderr == f"{said.replace('fork is', 'gw0-1 is')}\n"


def test_following_ends_with_the_guest(up: Callable[[str, list[str]], DetachedGuest], monkeypatch: pytest.MonkeyPatch) -> None:
    up("wine", ["one"])
    alive = iter([True, True, False])
    monkeypatch.setattr(DetachedGuest, "alive", property(lambda _guest: next(alive)))
    result = lab("wine", "-f")
    assert texts(result) == ["one"]
    assert "guest wine has ended" in result.stderr


def test_the_guests_of_a_worker_one_after_the_other(guests: DetachedGuests, tmp_path: Path) -> None:
    out = _run(tmp_path, "a", {"gw0": ["first", "second"], "gw1": ["third"]})
    assert texts(lab("gw0", "--run", str(out))) == ["gw0-1", "first", "gw0-2", "second"]
    assert texts(lab("gw0", "-f", "--run", str(out))) == ["gw0-1", "first", "gw0-2", "second"]
    assert "several workers: gw0, gw1" in error(lab("--run", str(out))).message
    refused = error(lab("gw7", "--run", str(out)))
    assert "there is no 'gw7': up is no guest; workers of" in refused.message


def test_a_running_run_comes_before_the_last_one(guests: DetachedGuests, tmp_path: Path) -> None:
    last = _run(tmp_path, "a", {"gw0": ["old"]})
    (tmp_path / "out" / "latest").symlink_to(last.name)
    assert texts(lab("gw0")) == ["gw0-1", "old"]
    _run(tmp_path, "b", {"gw0": ["new"]}, over=False)
    assert texts(lab("gw0")) == ["gw0-1", "new"]


def test_a_run_whose_processes_have_ended_is_not_running(tmp_path: Path) -> None:
    out = _run(tmp_path, "a", {"gw0": ["x"]}, over=False)
    assert prints_module.goes_on(out)
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait(60)
    [file] = (out / "workers").glob("gw0.*.prints.jsonl")
    file.rename(file.with_name(f"gw0.{ended.pid}.prints.jsonl"))
    assert not prints_module.goes_on(out)


def test_nothing_to_show_is_reported(guests: DetachedGuests, tmp_path: Path) -> None:
    assert "no guest is up, and there is no run" in error(lab()).message
    assert "there is neither a guest 'gw0' nor a run" in error(lab("gw0")).message
    assert "there is no folder" in error(lab("gw0", "--run", "nowhere")).message
    (tmp_path / "out" / "a").mkdir(parents=True)
    assert "was ever ready" in error(lab("gw0", "--run", "out/a")).message


def test_prints_that_stay_in_the_guest_are_reported(
    up: Callable[[str, list[str]], DetachedGuest], monkeypatch: pytest.MonkeyPatch
) -> None:
    up("win", [])
    manifest = SimpleNamespace(name="win", prints=SimpleNamespace(source="none", serial=1, encoding="utf-8"), debug=None)
    monkeypatch.setattr(print_file, "read_manifest", lambda _dir: manifest)
    refused = error(lab("win"))
    assert "the prints of guest win do not reach the host" in refused.message
    assert "LAB_DEBUG=kd" in (refused.hint or "")

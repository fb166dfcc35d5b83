"""`lab run --watch`: what a change affects, the arguments and the screen of a round, and wrong arguments.

Rounds in a guest: e2e.
"""

from __future__ import annotations

import os
import pty
import signal
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from lab.cli import watch
from lab.cli.main import app
from lab.cli.screen import round_lines
from lab.cli.watch import last_line, round_arguments, watch_suites
from lab.cli.watched import Reach, Watched, changed_files, folders_of, learned, reach_of, stamps_of
from lab.cli.watchrun import _manifests, own_words
from lab.config import load_settings
from lab.errors import ConfigError
from lab.toolchain.build import build_drivers
from lab.toolchain.reach import DriverFiles, driver_files
from tests.report.invented import invented_run


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in ("drv/lamp.c", "inc/shared.h", "suites/test_lamp.py", "suites/conftest.py", "lab.yaml", "suites/notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("x", encoding="utf-8")
    return tmp_path


def _watched(project: Path) -> Watched:
    lamp = DriverFiles("lamp", frozenset({project / "drv/lamp.c", project / "inc/shared.h"}))
    horn = DriverFiles("horn", frozenset({project / "inc/shared.h"}))
    return Watched(suites=(project / "suites",), drivers=(lamp, horn), settings=(project / "lab.yaml",))


@pytest.mark.parametrize(
    ("changed", "reach"),
    [
        (["drv/lamp.c"], Reach(drivers=frozenset({"lamp"}))),
        (["inc/shared.h"], Reach(drivers=frozenset({"lamp", "horn"}))),
        (["suites/conftest.py"], Reach(everything=True)),
        (["lab.yaml"], Reach(everything=True)),
        (["suites/notes.txt", "elsewhere.c"], Reach()),
    ],
)
def test_what_a_change_affects(project: Path, changed: list[str], reach: Reach) -> None:
    assert reach_of([project / name for name in changed], _watched(project)) == reach


def test_a_changed_test_file_affects_its_tests_and_with_a_driver_everything(project: Path) -> None:
    test = project / "suites/test_lamp.py"
    assert reach_of([test], _watched(project)) == Reach(suites=frozenset({test}))
    both = reach_of([test, project / "drv/lamp.c"], _watched(project))
    assert both.everything
    assert both.words() == "lamp.c, test_lamp.py changed: everything"
    test.unlink()
    assert reach_of([test], _watched(project)).everything


def test_changes_are_seen_by_time_and_size(project: Path) -> None:
    watched = _watched(project)
    before = stamps_of(watched)
    assert changed_files(before, stamps_of(watched)) == []
    (project / "drv/lamp.c").write_text("longer", encoding="utf-8")
    (project / "suites/test_new.py").write_text("", encoding="utf-8")
    (project / "inc/shared.h").unlink()
    assert {path.name for path in changed_files(before, stamps_of(watched))} == {"lamp.c", "test_new.py", "shared.h"}
    assert folders_of(watched) == [project, project / "drv", project / "inc", project / "suites"]


def test_files_found_by_a_build_are_not_changes(project: Path) -> None:
    """The first build finds the headers: they counted as changed, and a second round ran at once."""
    new = _watched(project)
    lamp = DriverFiles("lamp", frozenset({project / "drv/lamp.c"}))
    old = Watched(suites=new.suites, drivers=(lamp,), settings=new.settings)
    before, since = stamps_of(old), time.time() + 1
    assert changed_files(learned(before, old, new, since=since), stamps_of(new)) == []
    # A file that was written while the round was running is a change.
    os.utime(project / "inc/shared.h", (since + 5, since + 5))
    assert changed_files(learned(before, old, new, since=since), stamps_of(new)) == [project / "inc/shared.h"]


def test_a_round_gets_the_arguments_for_its_change() -> None:
    words = ["--workers", "1", "suites", "-k", "five"]
    assert round_arguments(words, ["suites"], Reach(everything=True)) == words
    assert round_arguments(words, ["suites"], Reach(drivers=frozenset({"b", "a"}))) == [*words, "--lab-only=a", "--lab-only=b"]
    only = Reach(suites=frozenset({Path("/p/suites/test_a.py")}))
    assert round_arguments(words, ["suites"], only) == ["--workers", "1", "-k", "five", "/p/suites/test_a.py"]
    assert own_words(["/bin/lab", "--debug", "run", "--watch", "suites"]) == ["suites"]


def test_a_round_that_does_not_build_shows_the_compilers_last_lines(tmp_path: Path) -> None:
    said = "\n".join(f"line {number}" for number in range(50))
    lines = round_lines(None, said, tmp_path, number=2, seconds=1.25, room=8)
    assert lines[0] == "round 2: nothing was run, after 1.2 s"
    assert lines[1] == "… 44 more lines"
    assert lines[-1] == "line 49"
    assert len(lines) == 8


def test_the_newest_line_of_a_round(tmp_path: Path) -> None:
    file = tmp_path / "said.txt"
    file.write_bytes(b"")
    assert last_line(file) == ""
    file.write_bytes(b"x" * 9000 + b"\nboot wine (tcg)\x1b[0m\n\n")
    assert last_line(file) == "boot wine (tcg)[0m"


def test_the_files_of_a_driver_are_the_compilers_own_list(tmp_path: Path) -> None:
    for name, text in {
        "drv/driver.yaml": "name: lamp\nimage: lamp.sys\nservice: Lamp\nsources: [lamp.c]\n",
        "drv/lamp.c": '#include "../inc/shared.h"\nNTSTATUS DriverEntry(PDRIVER_OBJECT d, PUNICODE_STRING p)'
        " { (void)d; (void)p; return SHARED; }\n",
        "drv/unused.h": "",
        "inc/shared.h": "#include <ntddk.h>\n#define SHARED STATUS_SUCCESS\n",
        "lab.yaml": "",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    drivers = [tmp_path / "drv"]
    [unbuilt] = driver_files(drivers, arch="x64", project=tmp_path)
    assert {path.name for path in unbuilt.files} == {"driver.yaml", "lamp.c", "unused.h"}
    build_drivers([str(tmp_path / "drv")], "x64", project=tmp_path)
    [built] = driver_files(drivers, arch="x64", project=tmp_path)
    assert built.name == "lamp"
    own = {path.name for path in built.files if path.is_relative_to(tmp_path)}
    assert own == {"driver.yaml", "lamp.c", "shared.h"}


def test_a_manifest_that_is_broken_is_still_watched(tmp_path: Path) -> None:
    (tmp_path / "drv").mkdir()
    manifest = tmp_path / "drv" / "driver.yaml"
    manifest.write_text("name: [", encoding="utf-8")
    watched = Watched(
        suites=(),
        drivers=tuple(driver_files([tmp_path / "drv"], arch="x64", project=tmp_path)),
        settings=tuple(_manifests([tmp_path / "drv"])),
    )
    before = stamps_of(watched)
    manifest.write_text("name: lamp\n", encoding="utf-8")
    assert reach_of(changed_files(before, stamps_of(watched)), watched).everything


def test_the_manifests_of_a_set_are_watched(tmp_path: Path) -> None:
    """Only `driver.yaml` was watched: the repair of another manifest was not seen, and the round's error stayed for ever."""
    named = ["set/crane.driver.yaml", "set/winch.driver.yaml", "all/dock/pump.driver.yaml"]
    for name in named:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("name: [", encoding="utf-8")
    found = _manifests([tmp_path / "set", tmp_path / "all"])
    assert {tmp_path / name for name in named} <= set(found)


def test_the_files_of_a_folder_of_sets_are_known(tmp_path: Path) -> None:
    (tmp_path / "all" / "dock").mkdir(parents=True)
    for name in ("crane", "winch"):
        (tmp_path / "all/dock" / f"{name}.c").touch()
        text = f"name: {name}\nimage: {name}.sys\nsources: [{name}.c]\n"
        (tmp_path / "all/dock" / f"{name}.driver.yaml").write_text(text, encoding="utf-8")
    assert [part.name for part in driver_files([tmp_path / "all"], arch="x64", project=tmp_path)] == ["crane", "winch"]


def test_a_round_shows_the_compilers_warnings(tmp_path: Path) -> None:
    said = "lab: lamp: lamp.c:3:12: warning: 'unused' defined but not used\nlab: something else\n"
    lines = round_lines(invented_run(), said, tmp_path, number=3, seconds=1, room=20)
    assert "lamp: lamp.c:3:12: warning: 'unused' defined but not used" in lines
    assert not [line for line in lines if "something else" in line]


def test_wrong_arguments_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    error = CliRunner().invoke(app, ["run", "--watch", "--out", "here"]).exception
    assert isinstance(error, ConfigError)
    assert "--out here and --watch cannot be combined" in error.message
    (tmp_path / "suites").mkdir()
    error = CliRunner().invoke(app, ["run", "--watch", "--driver", "gone", "suites"]).exception
    assert isinstance(error, ConfigError)
    assert "there is no driver" in error.message
    error = CliRunner().invoke(app, ["run", "--watch", "--on", "nobody", "suites"]).exception
    assert isinstance(error, ConfigError)
    assert "no guest" in error.message


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_ends_watching_restores_the_terminal(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab_file = tmp_path / "lab.yaml"
    lab_file.touch()
    settings = load_settings({}, config=lab_file, environ={})
    master, slave = pty.openpty()
    try:
        with open(slave, encoding="utf-8", closefd=False) as terminal:
            monkeypatch.setattr("sys.stdin", terminal)
            before = termios.tcgetattr(slave)

            def round_that_is_ended(*_words: object) -> bool:
                assert termios.tcgetattr(slave) != before
                os.kill(os.getpid(), number)
                raise AssertionError("nothing was interrupted")

            monkeypatch.setattr(watch, "_wait_for", round_that_is_ended)
            monkeypatch.setattr("subprocess.Popen", lambda *_, **__: None)
            with pytest.raises(typer.Exit) as ended:
                watch_suites(settings, [], lambda: Watched(suites=(), drivers=()), [])
            assert ended.value.exit_code == 128 + number
            assert termios.tcgetattr(slave) == before
    finally:
        os.close(slave)
        os.close(master)
    assert not list(tmp_path.rglob(".watch-*"))


@pytest.fixture
def wakes(monkeypatch: pytest.MonkeyPatch) -> Wakes:
    """A double of watchfiles.watch."""
    double = Wakes()
    monkeypatch.setattr("watchfiles.watch", double.watch)
    return double


class Wakes:
    """Yields for each step what the system reports after what the step does.

    Attributes:
        steps: What is done, and whether the system reports it.
    """

    def __init__(self) -> None:
        self.steps: list[tuple[Callable[[], object], bool]] = []
        self.done = 0

    def watch(self, *_folders: Path, **_settings: object) -> Iterator[set[str]]:
        for step, reported in self.steps:
            step()
            self.done += 1
            yield {"changed"} if reported else set()


def _awaited(project: Path) -> Reach | None:
    watched = _watched(project)
    return watch._wait(stamps_of(watched), lambda: watched, watched, watch.Keys())


def _nothing() -> None:
    pass


def test_a_change_before_the_systems_watch_begins_is_found(project: Path, wakes: Wakes) -> None:
    """It was never reported, and the round waited for the next change for ever."""
    wakes.steps = [(lambda: (project / "drv/lamp.c").write_text("longer", encoding="utf-8"), False), (_nothing, False)]
    assert _awaited(project) == Reach(drivers=frozenset({"lamp"}))


def test_a_change_that_the_system_never_reports_is_found_by_a_look(
    project: Path, wakes: Wakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("lab.cli.watch.time.monotonic", lambda: now[0])

    def later() -> None:
        (project / "drv/lamp.c").write_text("longer", encoding="utf-8")
        now[0] += 0.2

    def due() -> None:
        now[0] += 5.0

    wakes.steps = [(_nothing, False), (later, False), (due, False), (_nothing, False), (_nothing, False)]
    assert _awaited(project) == Reach(drivers=frozenset({"lamp"}))
    assert wakes.done == 4


def test_a_look_into_the_middle_of_a_save_waits_for_its_end(project: Path, wakes: Wakes) -> None:
    def first() -> None:
        (project / "drv/lamp.c").write_text("longer", encoding="utf-8")

    def second() -> None:
        (project / "suites/test_lamp.py").write_text("longer", encoding="utf-8")

    wakes.steps = [(first, False), (second, False), (_nothing, False)]
    reach = _awaited(project)
    assert reach is not None
    assert reach.because == ("lamp.c", "test_lamp.py")


def test_a_reported_change_is_taken_at_once(project: Path, wakes: Wakes) -> None:
    wakes.steps = [
        (_nothing, False),
        (lambda: (project / "suites/notes.txt").write_text("longer", encoding="utf-8"), True),
        (lambda: (project / "suites/test_lamp.py").write_text("longer", encoding="utf-8"), True),
        (_nothing, False),
    ]
    assert _awaited(project) == Reach(suites=frozenset({project / "suites/test_lamp.py"}))
    assert wakes.done == 3

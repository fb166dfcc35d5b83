"""`lab run` from the command line to the exit code, with a real pytest underneath."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner, Result

from lab.cli import resolved
from lab.cli import run as run_module
from lab.cli.child import ChildEnd
from lab.cli.main import app
from lab.cli.open_log import open_log
from lab.errors import ConfigError, HostToolError
from lab.gate.verdict import Verdict
from lab.host.accel import Accelerator, Accelerators
from lab.image.registry import kind_named
from lab.live import chosen_drivers, resolve
from lab.live.chosen_drivers import ChosenDrivers
from lab.report.model import ImageEntry, RunReport, TestEntry, kind_entry
from lab.report.runfiles import RunMeta, write_meta
from lab.report.sessionfile import SessionFacts, write_session
from lab.report.worker_files import ResultWriter

Suite = Callable[[str], Path]

GREEN = "def test_one(): pass\ndef test_two(): pass\n"


def lab(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def read(folder: Path) -> RunReport:
    return RunReport.model_validate_json((folder / "run.json").read_text(encoding="utf-8"))


def test_a_green_run_leaves_its_report_and_the_link(suite: Suite, tmp_path: Path) -> None:
    suite(GREEN)
    result = lab("run", "--workers", "2")
    assert result.exit_code == 0, result.output
    latest = tmp_path / "out" / "latest"
    assert latest.is_symlink()
    folder = latest.resolve()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ", folder.name)
    assert folder.parent == tmp_path / "out"
    assert {"run.json", "report.html", "junit.xml", "meta.json", "workers"} <= {path.name for path in folder.iterdir()}
    report = read(folder)
    assert report.totals == {"passed": 2}
    assert report.exit_code == 0
    assert report.command[0] == "lab"
    assert "All 2 tests passed" in result.output
    assert f"{Path('out') / folder.name / 'report.html'}" in result.output


def test_a_red_test_is_named_with_the_command_that_tries_it_again(suite: Suite) -> None:
    suite("def test_red(): assert 'c' == 'C'\n" + GREEN)
    result = lab("run", "-n0", "--guest", "wine")
    assert result.exit_code == 1, result.output
    assert re.search(r"^product +suites/test_it\.py::test_red  ", result.output, re.MULTILINE)
    assert "lab run --guest wine --workers 1 --keep failed suites/test_it.py::test_red" in result.output


class FakeChild:
    """Takes pytest's place: writes down the given verdicts and ends with the given code."""

    def __init__(
        self, end: ChildEnd, verdicts: Sequence[Verdict] = (), collected: int = 0, stopped_by: Literal["", "stop"] = ""
    ) -> None:
        self.end = end
        self.stopped_by = stopped_by
        self.verdicts = verdicts
        self.names = [f"suites/test_it.py::t{number}" for number in range(max(collected, len(verdicts)))]
        self.argv: list[str] = []
        self.env: Mapping[str, str] = {}
        self.terminal = False

    def __call__(self, argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], terminal: bool) -> ChildEnd:
        self.argv, self.env, self.terminal = list(argv), env, terminal
        out = Path(next(word for word in self.argv if word.startswith("--lab-out=")).partition("=")[2])
        if self.names:
            image = ImageEntry(name="wine", key="k", guest="g", kind=kind_entry("wine"), capabilities=[])
            meta = RunMeta(
                lab_version="0", started="", started_at=0.0, guest="g", image=image, accelerator="tcg", qemu="0", workers=1
            )
            write_meta(out, meta)
            with ResultWriter(out, "gw0") as writer:
                writer.collected(self.names)
                failed = [n for n, v in zip(self.names, self.verdicts, strict=False) if v not in ("passed", "skipped")]
                write_session(out, SessionFacts(exit_status=self.end.exit_code, failed=failed, stopped_by=self.stopped_by))
                for name, verdict in zip(self.names, self.verdicts, strict=False):
                    writer.test(TestEntry(nodeid=name, verdict=verdict, duration_s=1.0, started=1.0, worker="gw0"))
        return self.end


@pytest.fixture
def child(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeChild]:
    """Let a stand-in run instead of pytest."""
    suite(GREEN)

    def install(
        end: ChildEnd, verdicts: Sequence[Verdict] = (), collected: int = 0, stopped_by: Literal["", "stop"] = ""
    ) -> FakeChild:
        fake = FakeChild(end, verdicts, collected, stopped_by)
        monkeypatch.setattr(run_module, "run_child", fake)
        return fake

    return install


@pytest.mark.parametrize(
    ("verdicts", "end", "code"),
    [
        (["passed", "skipped", "known"], 1, 0),
        (["passed", "product", "infra"], 1, 1),
        (["product", "crash", "infra"], 1, 3),
        (["passed", "infra"], 1, 10),
        (["passed"], 3, 10),
        (["passed"], 0, 0),
        ([], 0, 5),  # not one test of the lab
        ([], 4, 2),  # an option that nobody knows
        ([], 5, 5),  # nothing collected
        ([], 3, 10),
        ([], -9, 10),
    ],
)
def test_the_exit_code_is_the_gates(
    child: Callable[..., FakeChild], verdicts: list[Verdict], end: int, code: int, tmp_path: Path
) -> None:
    child(ChildEnd(end), verdicts)
    assert lab("run", "--out", "o").exit_code == code
    assert not verdicts or read(tmp_path / "o").exit_code == code


def test_tests_that_never_started_are_not_green(child: Callable[..., FakeChild], tmp_path: Path) -> None:
    child(ChildEnd(1), ["passed"], collected=3)
    assert lab("run", "--out", "o").exit_code == 10
    assert read(tmp_path / "o").totals == {"passed": 1, "infra": 2}


def test_the_first_failure_may_end_the_run(child: Callable[..., FakeChild], tmp_path: Path) -> None:
    child(ChildEnd(2), ["passed", "product"], collected=4, stopped_by="stop")
    assert lab("run", "--out", "o").exit_code == 1
    report = read(tmp_path / "o")
    assert report.totals == {"passed": 1, "product": 1}
    assert report.not_run == ["suites/test_it.py::t2", "suites/test_it.py::t3"]


def test_pytest_gets_what_was_asked_for(
    child: Callable[..., FakeChild], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = child(ChildEnd(0), ["passed"])
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw7")
    monkeypatch.setenv("LAB_TRANSPORT", "ssh")
    (tmp_path / "mine").mkdir()
    monkeypatch.setattr(ChosenDrivers, "check", lambda *_, **__: [])
    (tmp_path / "lab.yaml").write_text("boot_timeout: 90.5\n", encoding="utf-8")
    arguments = [
        "--driver",
        "mine",
        "--accel",
        "tcg",
        "--keep",
        "failed",
        "--crash-dump",
        "always",
        "--workers",
        "3",
        "--isolation",
        "test",
        "-k",
        "two or one",
        "suites",
        "-v",
    ]
    assert lab("run", *arguments).exit_code == 0
    text = " ".join(fake.argv)
    for part in (
        "-m pytest --numprocesses=3 --dist=loadscope --junitxml=",
        f"--lab-driver={tmp_path / 'mine'}",
        "--lab-transport=ssh",
        "--lab-boot-timeout=90.5",
        "--lab-accel=tcg",
        "--lab-keep=failed",
        "--lab-crash-dump=always",
        "--lab-isolation=test",
        "--lab-units=2",
        f"--lab-config={tmp_path / 'lab.yaml'}",
    ):
        assert part in text
    assert fake.argv[-4:] == ["-k", "two or one", "suites", "-v"]
    assert "PYTEST_XDIST_WORKER" not in fake.env
    assert not fake.terminal


@pytest.mark.parametrize("arguments", [("-k", "two"), ("suites/test_it.py",), ("suites/test_it.py", "-v")])
def test_one_piece_of_work_needs_no_worker(child: Callable[..., FakeChild], arguments: tuple[str, ...]) -> None:
    fake = child(ChildEnd(0), ["passed"])
    assert lab("run", "--workers", "3", *arguments).exit_code == 0
    assert "--numprocesses=0" in fake.argv


@pytest.mark.parametrize(("words", "worker"), [((), "master"), (("-n", "1"), "gw")])
def test_a_test_that_ends_its_process_costs_no_more_without_a_worker(
    suite: Suite, tmp_path: Path, words: tuple[str, ...], worker: str
) -> None:
    suite("import os\ndef test_one(): pass\ndef test_two(): os._exit(3)\ndef test_three(): pass\n")
    assert lab("run", "--workers", "3", "--out", "o", "suites", *words).exit_code == 10
    found = {test.nodeid.rpartition("::")[2]: (test.verdict, test.reason) for test in read(tmp_path / "o").tests}
    assert found["test_one"] == ("passed", "")
    assert found["test_two"][1].startswith(f"worker {worker}")
    assert "ended in the middle of this test" in found["test_two"][1]
    assert found["test_three"] == ("infra", "never started: pytest ended before this test")


def test_a_debugger_gets_the_terminal_and_no_workers(child: Callable[..., FakeChild]) -> None:
    fake = child(ChildEnd(0), ["passed"])
    assert lab("run", "--pdb").exit_code == 0
    assert fake.terminal
    assert "--numprocesses=0" in fake.argv


def test_arguments_for_pytest_arrive(suite: Suite, tmp_path: Path) -> None:
    suite(GREEN)
    assert lab("run", "-k", "two", "--out", "here", "suites/test_it.py", "--", "-n0", "-v").exit_code == 0
    assert [test.nodeid for test in read(tmp_path / "here").tests] == ["suites/test_it.py::test_two"]


def test_nothing_collected_is_nothing_checked(suite: Suite) -> None:
    suite(GREEN)
    assert lab("run", "-n0", "-k", "nothing_of_this_name").exit_code == 5


@pytest.mark.parametrize(("arguments", "code"), [(["--bogus"], 2), (["-k", "nothing_of_this_name"], 5)])
def test_a_run_that_did_not_take_place_leaves_nothing(suite: Suite, tmp_path: Path, arguments: list[str], code: int) -> None:
    suite(GREEN)
    (tmp_path / "suites" / "conftest.py").unlink()
    earlier = tmp_path / "out" / "earlier"
    earlier.mkdir(parents=True)
    (tmp_path / "out" / "latest").symlink_to("earlier")
    assert lab("run", "-n0", *arguments).exit_code == code
    assert (tmp_path / "out" / "latest").resolve() == earlier
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["earlier", "latest"]


def test_an_accelerator_that_does_not_work_is_told_once(suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suite(GREEN)
    found = Accelerators(kvm=Accelerator("kvm", False, "no /dev/kvm", 0.0), tcg=Accelerator("tcg", True, "", 0.3))
    monkeypatch.setattr(resolve, "probe_accelerators", lambda _cache: found)
    monkeypatch.setattr(run_module, "run_child", lambda *_args, **_options: pytest.fail("pytest was started"))
    result = lab("run", "--accelerator", "kvm")
    assert isinstance(result.exception, HostToolError)
    assert "kvm does not work here: no /dev/kvm" in str(result.exception)
    assert "--lab-accel" not in str(result.exception)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["suites/missing.py"], "there is no suite suites/missing.py"),
        (["--workers", "none"], "--workers must be"),
        (["--transport", "telnet"], "--transport must be 'winrm' or 'ssh'"),
        (["--driver", "missing.sys"], "there is no driver"),
        (["--config", "missing.yaml"], "there is no such file"),
        (["--out", "suites"], "is not empty"),
        (["--out", "pytest.ini"], "is a file"),
        (["--out", "pytest.ini/sub"], "which is a file"),
    ],
)
def test_wrong_usage_is_told_before_anything_starts(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    suite(GREEN)
    monkeypatch.setattr(run_module, "run_child", lambda *_args, **_options: pytest.fail("pytest was started"))
    monkeypatch.setattr(resolved, "ensure_image", lambda *_args: pytest.fail("the image was touched"))
    result = lab("run", *arguments)
    assert isinstance(result.exception, ConfigError)
    assert said in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_a_run_of_everything_says_which_known_issues_are_too_many(child: Callable[..., FakeChild], tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text(
        "suites: [suites/test_it.py]\nout: results\n"
        "known:\n- {test: 'suites/*::t0', reason: r, until: 2099-01-01}\n- {test: x, reason: r, until: 2020-01-01}\n",
        encoding="utf-8",
    )
    child(ChildEnd(0), ["passed"])
    output = lab("run").output
    assert (tmp_path / "results" / "latest").exists()
    assert "known issue: known.0 (suites/*::t0) is no longer needed" in output
    assert "known issue: known.1 (x) expired on 2020-01-01" in output
    assert "known issue" not in lab("run", "suites").output


def test_pytest_that_dies_leaves_a_report(suite: Suite, tmp_path: Path) -> None:
    suite(
        """\
        import os, signal
        def test_a(): pass
        def test_b(): os.kill(os.getpid(), signal.SIGKILL)
        def test_c(): pass
        """
    )
    result = lab("run", "-n0", "--out", "o")
    assert result.exit_code == 10
    report = read(tmp_path / "o")
    assert [(test.verdict, test.reason) for test in report.tests] == [
        ("passed", ""),
        ("infra", "worker master ended in the middle of this test"),
        ("infra", "never started: pytest was ended by SIGKILL"),
    ]
    assert (tmp_path / "o" / "report.html").exists()
    assert re.search(r"lab doctor && \S*lab run", result.output)


def test_a_worker_that_dies_is_an_attempt(suite: Suite, tmp_path: Path) -> None:
    suite(
        """\
        import os, pathlib, signal
        def test_a(): pass
        def test_b():
            if not pathlib.Path("once").exists():
                pathlib.Path("once").touch()
                os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    assert lab("run", "--workers", "1", "--out", "o").exit_code == 0
    [a, b] = read(tmp_path / "o").tests
    assert a.attempts == 1
    assert [attempt.verdict for attempt in b.history] == ["infra", "passed"]


def test_github_gets_annotations_and_a_summary(
    child: Callable[..., FakeChild], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child(ChildEnd(1), ["product"])
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    result = lab("run")
    assert re.search(r"^::error file=suites/test_it\.py,title=product%3A suites/test_it", result.output, re.MULTILINE)
    assert (tmp_path / "summary.md").read_text(encoding="utf-8").startswith("### 1 product failure")


def test_report_renders_anew(child: Callable[..., FakeChild], tmp_path: Path) -> None:
    child(ChildEnd(0), ["passed", "passed"])
    assert lab("run", "--out", "o").exit_code == 0
    (tmp_path / "o" / "report.html").unlink()
    (tmp_path / "o" / "run.json").unlink()
    result = lab("report", "o")
    assert result.exit_code == 0
    assert (tmp_path / "o" / "report.html").exists()
    assert json.loads((tmp_path / "o" / "run.json").read_text(encoding="utf-8"))["totals"] == {"passed": 2}


def test_report_of_no_run_is_an_error(tmp_path: Path) -> None:
    result = lab("report", str(tmp_path))
    assert isinstance(result.exception, ConfigError)
    assert "is not the folder of a run" in str(result.exception)
    result = lab("report", str(tmp_path / "nothere"))
    assert isinstance(result.exception, ConfigError)
    assert "there is no folder" in str(result.exception)


@pytest.mark.parametrize("name", ["run.json", "meta.json"])
@pytest.mark.parametrize("text", ['{"lab_version": "0", "sta', '{"name": "foreign"}', "[]"])
def test_report_of_a_foreign_file_names_it(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    result = lab("report", str(tmp_path))
    assert isinstance(result.exception, ConfigError)
    assert str(tmp_path / name) in str(result.exception)


SLOW = """\
import os, pathlib, time
def test_a(): pass
def test_b():
    pathlib.Path("started").write_text(str(os.getpid()))
    end = time.monotonic() + 60
    while time.monotonic() < end:
        time.sleep(0.05)
def test_c(): pass
"""

#: The command with image and drivers replaced, as a process of its own that can be sent signals.
PROGRAM = """\
import sys, types
from pathlib import Path
from lab.cli import resolved
from lab.live import chosen_drivers, resolve
resolved.ensure_image = lambda name, progress: Path("image")
none = types.SimpleNamespace(source="none")
resolve.read_manifest = lambda image: types.SimpleNamespace(arch="x64", kernel=None, prints=none)
chosen_drivers.resolve_drivers = lambda *args, **options: ()
resolve.choose_accelerator = lambda wanted, found: "tcg"
resolve.probe_accelerators = lambda cache: None
from lab.cli.main import main
main()
"""


def start_lab(tmp_path: Path, *arguments: str, before: Sequence[str] = ()) -> tuple[subprocess.Popen[str], int]:
    """Start `lab run` in the background; returns it and the process that runs its slow test, once it does."""
    process = subprocess.Popen(
        [*before, sys.executable, "-c", PROGRAM, "run", "--out", "o", *arguments],
        cwd=tmp_path,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "started").exists() or not (tmp_path / "started").read_text():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "the slow test did not start"
        time.sleep(0.02)
    return process, int((tmp_path / "started").read_text())


def gone(pid: int) -> bool:
    """The process ends within some seconds."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] == "Z":
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize(("number", "workers"), [(signal.SIGINT, "-n1"), (signal.SIGTERM, "-n0")])
def test_an_interrupt_is_passed_on_and_reported(suite: Suite, tmp_path: Path, number: signal.Signals, workers: str) -> None:
    suite(SLOW)
    process, worker = start_lab(tmp_path, workers)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number, output
    assert gone(worker)
    report = read(tmp_path / "o")
    assert report.totals == {"passed": 1}
    assert report.not_run == ["suites/test_it.py::test_b", "suites/test_it.py::test_c"]
    assert report.ended == f"the run was interrupted ({number.name})"
    assert report.exit_code == 128 + number
    assert f"2 tests were not run: the run was interrupted ({number.name})" in output
    assert "lab failure" not in output
    junit = ElementTree.parse(tmp_path / "o" / "junit.xml").getroot()
    told = {case.get("name"): [child.get("message") for child in case] for case in junit.iter("testcase")}
    reason = f"not run: the run was interrupted ({number.name})"
    assert told == {"test_a": [], "test_b": [reason], "test_c": [reason]}


def test_an_interrupt_reaches_a_run_that_was_started_with_it_ignored(suite: Suite, tmp_path: Path) -> None:
    """As a background job of a shell script is."""
    suite(SLOW)
    process, worker = start_lab(tmp_path, "-n0", before=["sh", "-c", "trap '' INT HUP; exec \"$@\"", "sh"])
    process.send_signal(signal.SIGHUP)  # as under nohup: no reason to end
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=20)  # well below the grace after which it would be killed
    assert process.returncode == 143, output
    assert gone(worker)
    assert "suites/test_it.py::test_c" in read(tmp_path / "o").not_run


def test_nothing_outlives_a_killed_run(suite: Suite, tmp_path: Path) -> None:
    suite(SLOW)
    process, worker = start_lab(tmp_path, "-n2")
    process.kill()
    process.communicate(timeout=60)
    assert gone(worker)


def test_a_full_disk_costs_no_result(suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_STATE", str(tmp_path / "state"))
    suite(
        """\
        from pathlib import Path
        def test_fills_the_disk(request):
            out = Path(request.config.getoption("lab_out"))
            for name in ("run.json.part", "report.html.part", "junit.xml", "junit.xml.part", "session.json.part"):
                (out / name).symlink_to("/dev/full")
        def test_red(): assert 0
        """
    )
    result = lab("run", "-n0", "--out", "o")
    assert result.exit_code == 1, result.output
    [folder] = (tmp_path / "state" / "results").iterdir()
    assert {"run.json", "report.html", "junit.xml"} <= {path.name for path in folder.iterdir()}
    assert read(folder).totals == {"passed": 1, "product": 1}
    assert "1 product failure" in result.output
    assert f"results of this run are in {folder}" in result.output
    assert "unexpected error" not in result.output
    assert "<failure" in (folder / "junit.xml").read_text(encoding="utf-8")


def test_a_log_that_cannot_begin_is_let_go_of(tmp_path: Path) -> None:
    """Its handler and its level stayed on the lab's logger."""
    logger = logging.getLogger("lab")
    before = (list(logger.handlers), logger.level)
    with pytest.raises(TypeError):
        open_log(tmp_path, None, level="debug")  # type: ignore[arg-type]
    assert (list(logger.handlers), logger.level) == before


def test_what_was_shown_before_there_was_a_log_is_in_it(tmp_path: Path) -> None:
    """Warnings of a build that came before that of the image are told once, and there is no second time for the log."""
    with open_log(tmp_path, tmp_path / "image", level="info", said=["lamp: lamp.c:3:12: warning: unused"]):
        pass
    assert "lamp.c:3:12: warning: unused" in (tmp_path / "lab.log").read_text(encoding="utf-8")


def test_a_driver_is_read_and_built_before_an_image_is(suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt key was told when the image was there, minutes later."""
    suite(GREEN)
    (tmp_path / "driver.yaml").write_text("name: kettle\nnonsense: 1\n", encoding="utf-8")
    order: list[str] = []
    monkeypatch.setattr(resolved, "ensure_image", lambda name, progress: order.append("image"))
    monkeypatch.setattr(chosen_drivers, "builder_of", lambda image: None)  # whatever this machine has
    result = lab("run", "--driver", str(tmp_path / "driver.yaml"))
    assert isinstance(result.exception, ConfigError)
    assert "nonsense" in str(result.exception)

    def fails(*args: object, **options: object) -> None:
        raise ConfigError("does not compile")

    monkeypatch.setattr(chosen_drivers, "resolve_drivers", fails)
    monkeypatch.setattr(chosen_drivers, "builder_of", lambda image: kind_named("wine"))
    result = lab("run")
    assert "does not compile" in str(result.exception)
    assert order == []

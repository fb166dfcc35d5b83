"""`lab bisect` with scratch repositories, with doubles of the compiler and of pytest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from lab.bisect import commit_builds, finished_builds
from lab.bisect.model import BisectLog
from lab.bisect.place import Place
from lab.cli import bisect_runs
from lab.cli.side_runs import SideRun
from lab.errors import ConfigError, HostToolError
from lab.live import chosen_drivers
from lab.report.model import Attempt, TestEntry
from lab.report.runfiles import write_run
from lab.toolchain.files import sha256_of
from lab.toolchain.package import DriverPackage, read_packages, write_packages
from tests.bisect.scratch import Scratch
from tests.cli.running import lab
from tests.compare.recording import recorded

MANIFEST = "name: ring\nimage: ring.sys\nservice: Ring\nsources: [ring.c]\nlinks: ['\\\\.\\Ring']\n"
LAB_FILE = "drivers: [driver]\n"
TEST = "def test_the_ring():\n    pass\n"


def driver(text: str, *, comment: str = "", builds: bool = True) -> str:
    return f"say {text}\n// {comment}\n" + ("" if builds else "BROKEN\n")


def fake_build(
    paths: Sequence[Path], *, into: Path, beside: Sequence[Path] = (), project: Path | None = None, **_more: Any
) -> tuple[DriverPackage, ...]:
    """A double of the compiler: an image is its source without comments."""
    [path, *_] = [*paths, *beside]
    source = path if path.suffix == ".sys" else path / "ring.c"
    if path.is_dir() and (path / "ring.sys").exists():
        source = path / "ring.sys"
    elif path.is_dir() and not (path / "driver.yaml").exists():
        raise ConfigError("there is neither a driver.yaml nor a .sys file in it", file=str(path))
    text = source.read_text(encoding="utf-8")
    if "BROKEN" in text:
        raise ConfigError("does not compile:\n    ring.c:3:1: error: expected ';'\n  3 | BROKEN", file=str(source), line=3)
    image = into / "ring" / "ring.sys"
    image.parent.mkdir(parents=True)
    image.write_text("".join(line for line in text.splitlines(keepends=True) if not line.startswith("//")), encoding="utf-8")
    package = DriverPackage(
        name="ring",
        service="Ring",
        image=image,
        sha256=sha256_of(image),
        arch="x64",
        load_order_group="",
        links=(),
        clients={},
        encoding="utf-8",
    )
    write_packages(into, (package,))
    return (package,)


class FakePytest:
    """A double of pytest: a test is red if its driver's image says BUG."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.before: Callable[[], None] = lambda: None
        self.interrupted = ""

    def __call__(self, runs: Sequence[SideRun], **_more: Any) -> str:
        self.before()
        [job] = runs
        command = list(job.argv)
        self.commands.append(command)
        job.log.write_text("of pytest\n", encoding="utf-8")
        values = dict(word.partition("=")[::2] for word in command if word.startswith("--"))
        out = Path(values["--lab-out"])
        [package] = read_packages(out / "drivers") or ()
        bad = b"BUG" in package.image.read_bytes()
        count = 1 if bad and "--lab-until-red" in values else int(values.get("--lab-repeat", 1))
        history = [
            Attempt(
                verdict="product" if bad else "passed",
                reason="it said BUG" if bad else "",
                signature="product AssertionError: assert said == 'fine'" if bad else "",
                duration_s=1.0,
                started=float(number),
            )
            for number in range(count)
        ]
        last = history[-1]
        entry = TestEntry(
            nodeid="suites/test_ring.py::test_the_ring",
            verdict=last.verdict,
            reason=last.reason,
            signature=last.signature,
            duration_s=1.0,
            started=1.0,
            worker="gw0",
            drivers=["ring"],
            attempts=count,
            history=history,
        )
        write_run(out, recorded([entry], root=str(Path.cwd())).report)
        return self.interrupted


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePytest:
    double = FakePytest()
    monkeypatch.setenv("LAB_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(bisect_runs, "run_beside", double)
    monkeypatch.setattr(chosen_drivers, "resolve_drivers", fake_build)
    for module in (commit_builds, finished_builds):
        monkeypatch.setattr(module, "drivers_digest", lambda packages: packages[0].sha256)
    return double


@pytest.fixture
def project(tmp_path: Path, fake: FakePytest, monkeypatch: pytest.MonkeyPatch) -> Scratch:
    """A repository in whose folder `ring` is a project; the current folder is that one."""
    scratch = Scratch.make(tmp_path / "repository")
    folder = scratch.top / "ring"
    (folder / "driver").mkdir(parents=True)
    (folder / "suites").mkdir()
    (folder / "driver" / "driver.yaml").write_text(MANIFEST, encoding="utf-8")
    (folder / "lab.yaml").write_text(LAB_FILE, encoding="utf-8")
    (folder / "suites" / "test_ring.py").write_text(TEST, encoding="utf-8")
    (folder / ".gitignore").write_text("out/\nbuild/\n", encoding="utf-8")
    monkeypatch.chdir(folder)
    return scratch


def commit(scratch: Scratch, text: str, subject: str = "", **how: Any) -> str:
    (scratch.top / "ring" / "driver" / "ring.c").write_text(driver(text, **how), encoding="utf-8")
    return scratch.commit(subject or f"Say {text}")


def twelve(scratch: Scratch) -> list[str]:
    """Twelve commits: the seventh brings the fault, the fifth does not build, the fourth and the ninth only have comments."""
    row = [commit(scratch, f"fine {number}") for number in range(3)]
    row.append(commit(scratch, "fine 2", comment="explained"))
    row.append(commit(scratch, "fine 4", builds=False))
    row.append(commit(scratch, "fine 5"))
    row += [commit(scratch, f"BUG {number}") for number in (6, 7)]
    row.append(commit(scratch, "BUG 7", comment="explained"))
    row += [commit(scratch, f"BUG {number}") for number in (9, 10, 11)]
    return row


def record() -> BisectLog:
    [file] = Path("out").glob("bisect-*/bisect.json")
    return BisectLog.model_validate_json(file.read_text(encoding="utf-8"))


def test_it_names_the_commit_and_leaves_the_checkout_alone(project: Scratch) -> None:
    row = twelve(project)
    (Path("driver") / "ring.c").write_text(driver("BUG of today"), encoding="utf-8")
    before = project.state()
    result = lab("bisect", "--good", row[0], "suites/test_ring.py::test_the_ring")
    assert result.exit_code == 0, result.stdout
    assert f"first bad commit: {row[6][:7]} Say BUG 6" in result.stdout
    assert "Author: Ada Example <ada@example.org>" in result.stdout
    assert "ring/driver/ring.c | 2 +-" in result.stdout
    assert "confidence:  99." in result.stdout
    after = project.state()
    files = {name for name in str(after.pop("files")).split(",") if "/ring/out" not in name and "/ring/build" not in name}
    assert files <= set(str(before.pop("files")).split(","))
    assert after == before
    assert not Place.of(Path.cwd()).worktree.exists()
    log = record()
    assert log.result is not None
    assert [one.id for one in log.result.candidates] == [row[6]]
    [folder] = Path("out").glob("bisect-*")
    for step in log.steps:
        assert all((folder / run / name).is_file() for run in step.runs for name in ("run.json", "report.html", "pytest.log"))
    replay = (folder / "git-bisect.log").read_text(encoding="utf-8")
    assert f"git bisect start '{row[11]}' '{row[0]}'" in replay
    assert f"# first bad commit: [{row[6]}] Say BUG 6" in replay


def test_every_commit_of_the_middle_is_skipped_reused_or_judged(project: Scratch, fake: FakePytest) -> None:
    row = [commit(project, "fine"), commit(project, "fine", comment="a"), commit(project, "fine", comment="b")]
    row += [commit(project, "x", builds=False), commit(project, "BUG"), commit(project, "BUG", comment="c")]
    result = lab("bisect", "--good", row[0])
    assert result.exit_code == 5, result.stdout
    assert "it does not build (ring/driver/ring.c:3: does not compile: ring.c:3:1: error: expected ';')" in result.stdout
    assert f"{row[4][:7]} Say BUG: bad" in result.stdout
    assert "its driver has the same bytes as that of" in result.stdout
    assert len(fake.commands) == 3, "the bad end twice, the good end once; all others have one of the two drivers"


def test_tests_and_clients_are_those_of_the_checkout(project: Scratch, fake: FakePytest) -> None:
    row = [commit(project, "fine"), commit(project, "BUG")]
    (Path("suites") / "test_new.py").write_text(TEST, encoding="utf-8")
    assert lab("bisect", "--good", row[0], "suites/test_new.py").exit_code == 0
    assert all(word in fake.commands[0] for word in ("suites/test_new.py", "--lab-prepared", "--lab-keep=never"))


@pytest.mark.parametrize("suite", ["suites", "suites/test_ring.py"])
@pytest.mark.parametrize("changed", ["suites/data/expected.bin", "suites/clients/ask.c", "suites/helper.py", "lab.yaml"])
def test_a_file_of_the_tests_that_changes_ends_the_search(project: Scratch, fake: FakePytest, suite: str, changed: str) -> None:
    row = twelve(project)
    if changed != "lab.yaml":
        Path(changed).parent.mkdir(exist_ok=True)
        Path(changed).write_text("1\n", encoding="utf-8")

    def edit() -> None:
        if len(fake.commands) == 3:
            with Path(changed).open("a", encoding="utf-8") as file:
                file.write("# 2\n")

    fake.before = edit
    result = lab("bisect", "--good", row[0], suite)
    assert isinstance(result.exception, ConfigError)
    assert "are not what they were" in result.exception.message


@pytest.mark.parametrize("written", ["suites/__pycache__/x.pyc", "suites/.cache/x", "out/x.log", "suites/build/ask.exe"])
def test_what_runs_write_does_not_end_the_search(project: Scratch, fake: FakePytest, written: str) -> None:
    row = [commit(project, "fine"), commit(project, "fine too"), commit(project, "BUG")]

    def write() -> None:
        Path(written).parent.mkdir(exist_ok=True)
        Path(written).write_text(f"{len(fake.commands)}\n", encoding="utf-8")

    fake.before = write
    assert lab("bisect", "--good", row[0], "suites").exit_code == 0


def test_a_commit_without_the_folder_or_the_manifest(project: Scratch) -> None:
    project.git("commit", "--quiet", "--allow-empty", "--message", "Nothing yet")
    empty = project.head()
    manifest = Path("driver") / "driver.yaml"
    text = manifest.read_text(encoding="utf-8")
    manifest.unlink()
    old = [commit(project, "fine"), commit(project, "BUG")]
    manifest.write_text(text, encoding="utf-8")
    new = commit(project, "BUG again")
    result = lab("bisect", "--good", old[0], "--bad", new)
    assert result.exit_code == 0, result.stdout
    assert f"first bad commit: {old[1][:7]}" in result.stdout
    assert any("with ring/driver/driver.yaml of the checkout" in step.reason for step in record().steps)
    with pytest.raises(ConfigError, match="cannot be tested: it has no folder ring"):
        raise lab("bisect", "--good", empty, "--out", "second").exception or AssertionError


def test_the_users_own_build(project: Scratch, fake: FakePytest) -> None:
    build = "! grep -l BROKEN driver/ring.c && cp driver/ring.c driver/ring.sys"
    row = [commit(project, "fine"), commit(project, "x", builds=False), commit(project, "BUG"), commit(project, "BUG 2")]
    result = lab("bisect", "--good", row[0], "--build", build)
    assert result.exit_code == 5, result.stdout + str(result.exception)
    assert "ended with 1: driver/ring.c; 04-" in result.stdout
    [log] = [file for file in Path("out").glob("bisect-*/*-build.log") if file.stat().st_size]
    assert log.read_text(encoding="utf-8") == "driver/ring.c\n"


@pytest.mark.parametrize("command", ["kill -9 $$", "exit 130"])
def test_a_build_that_is_interrupted_is_no_answer(project: Scratch, command: str) -> None:
    row = [commit(project, "fine"), commit(project, "BUG")]
    result = lab("bisect", "--good", row[0], "--build", command)
    assert isinstance(result.exception, HostToolError)
    assert lab("bisect", "--abort").exit_code == 0


def test_an_interrupted_search_goes_on_and_another_one_waits(project: Scratch, fake: FakePytest) -> None:
    row = twelve(project)

    def fail() -> None:
        if len(fake.commands) == 4:
            raise HostToolError(["qemu"], None, message="no space left on device")

    fake.before = fail
    result = lab("bisect", "--good", row[0])
    assert isinstance(result.exception, HostToolError)
    assert "`lab bisect --continue` goes on from here" in result.stderr
    fake.before = lambda: None
    second = lab("bisect", "--good", row[0])
    assert "is not over" in str(second.exception)
    with Place.of(Path.cwd()).alone():
        assert "another `lab bisect` of this project is going on" in str(lab("bisect", "--continue").exception)
    result = lab("bisect", "--continue")
    assert result.exit_code == 0, result.stdout
    assert f"first bad commit: {row[6][:7]}" in result.stdout
    assert "no search of this project is going on" in str(lab("bisect", "--continue").exception)


def test_ctrl_c_and_abort(project: Scratch, fake: FakePytest) -> None:
    row = twelve(project)
    fake.interrupted = "SIGINT"
    result = lab("bisect", "--good", row[0])
    assert result.exit_code == 130
    assert "--continue" in result.stderr
    place = Place.of(Path.cwd())
    assert place.worktree.exists()
    result = lab("bisect", "--abort")
    assert result.exit_code == 0
    assert "is given up" in result.stdout
    assert not place.worktree.exists()
    assert len(project.git("worktree", "list").splitlines()) == 1
    assert list(Path("out").glob("bisect-*/bisect.json")), "its runs stay"
    assert "no search is going on" in lab("bisect", "--abort").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--good is missing"),
        (["--good", "HEAD"], "--good and --bad are the same commit"),
        (["--good", "no-such"], "there is no such commit"),
        (["--continue", "--good", "HEAD"], "--continue and --abort stand alone"),
        (["--good", "HEAD~1", "--collect-only"], "pytest cannot use these arguments"),
        (["--good", "HEAD~1", "no/such/suite.py"], "there is no suite"),
        (["--drivers", "driver"], "a search needs two or more"),
        (["--drivers", "nowhere"], "there is no such file or folder"),
        (["--drivers", "driver", "--build", "make"], "--build and --first-parent are for commits"),
    ],
)
def test_wrong_usage_makes_nothing(project: Scratch, arguments: list[str], said: str) -> None:
    commit(project, "fine")
    commit(project, "BUG")
    result = lab("bisect", *arguments)
    assert isinstance(result.exception, ConfigError)
    assert said in str(result.exception)
    assert not Path("out").exists()


def test_a_green_bad_end_ends_the_search(project: Scratch) -> None:
    row = [commit(project, "fine"), commit(project, "fine 2")]
    result = lab("bisect", "--good", row[0])
    assert "passes on the bad end" in str(result.exception)
    assert "no search" in str(lab("bisect", "--continue").exception)


def test_finished_builds_in_a_folder(project: Scratch, fake: FakePytest, tmp_path: Path) -> None:
    commit(project, "fine")
    builds = tmp_path / "builds"
    builds.mkdir()
    for number in (1, 2, 9, 10, 11):
        text = driver(f"{'BUG' if number > 9 else 'fine'} {number}")
        (builds / f"ring-{number}.sys").write_text(text, encoding="utf-8")
    (builds / "notes.txt").write_text("not a build\n", encoding="utf-8")
    (builds / "ring-3.sys").write_text("BROKEN\n", encoding="utf-8")
    result = lab("bisect", "--drivers", str(builds))
    assert result.exit_code == 0, result.stdout + str(result.exception)
    assert "first bad build: ring-10.sys" in result.stdout
    assert "before it:   ring-9.sys: red in 0 of 5" in result.stdout
    result = lab("bisect", "--drivers", str(builds), "--good", "ring-2.sys", "--bad", "ring-10.sys", "--out", "again")
    assert result.exit_code == 0, result.stdout + str(result.exception)

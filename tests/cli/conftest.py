"""A small suite that needs no guest, and `lab run` with a stand-in for image and drivers."""

from __future__ import annotations

import tempfile
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest

from lab.cli import child as child_module
from lab.cli import forked, resolved
from lab.cli import run as run_module
from lab.cli.child import ChildEnd
from lab.gate.verdict import Verdict
from lab.host import process
from lab.host.accel import Accelerator, Accelerators
from lab.host.process import Finished
from lab.live import chosen_drivers, resolve
from tests.cli.running import GREEN, FakeChild, Suite
from tests.simulated import manifest
from tests.warm import WarmPython

#: Does for a handful of guestless tests what the plugin does for real ones: meta, announcements, verdicts.
CONFTEST = """
import time
from pathlib import Path

import pytest

from lab.gate.facts import Facts, PhaseFact
from lab.gate.verdict import decide
from lab.report.runfiles import RunMeta, write_meta
from lab.report.worker_files import ResultWriter
from lab.report.model import DriverEntry, GuestEntry, ImageEntry, TestEntry, kind_entry


class Stand:
    def __init__(self, config):
        self.out = Path(config.getoption("lab_out"))
        self.worker = getattr(config, "workerinput", {}).get("workerid", "master")
        image = ImageEntry(name="wine", key="k", guest="stand-in", kind=kind_entry("wine"), capabilities=[])
        meta = RunMeta(lab_version="0", started="2026-01-01T00:00:00Z", started_at=time.time(), guest="stand-in", image=image,
                       accelerator="tcg", qemu="0", workers=2,
                       drivers=[DriverEntry(name="sync", path="sync.sys", sha256="0", arch="x64")])
        write_meta(self.out, meta)
        self.writer = ResultWriter(self.out, self.worker)
        self.phases = []

    def pytest_collection_finish(self, session):
        self.writer.collected([item.nodeid for item in session.items])

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        self.phases, self.started = [], time.time()
        self.writer.begin(item.nodeid, started=self.started)
        result = yield
        decision = decide(Facts(phases=self.phases))
        self.writer.test(TestEntry(nodeid=item.nodeid, verdict=decision.verdict, reason=decision.reason,
                                   duration_s=time.time() - self.started, started=self.started, worker=self.worker))
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item, call):
        report = yield
        error = call.excinfo.value if call.excinfo else None
        self.phases.append(PhaseFact(when=report.when, outcome=report.outcome, error=error))
        return report


def pytest_configure(config):
    if config.getoption("collectonly"):
        return
    if config.getoption("lab_out") and (hasattr(config, "workerinput") or not config.getoption("numprocesses")):
        config.pluginmanager.register(Stand(config), "stand")
"""


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Write a suite `suites/test_it.py` into the current folder, which is a new one."""
    monkeypatch.chdir(tmp_path)
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(name, raising=False)

    def write(text: str) -> Path:
        folder = tmp_path / "suites"
        folder.mkdir(exist_ok=True)
        (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        (folder / "conftest.py").write_text(CONFTEST, encoding="utf-8")
        file = folder / "test_it.py"
        file.write_text(textwrap.dedent(text), encoding="utf-8")
        return file

    return write


@pytest.fixture
def child(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeChild]:
    """Run a double instead of pytest. With one worker, pytest is not asked either how many tests there are."""
    suite(GREEN)
    monkeypatch.setenv("LAB_WORKERS", "1")

    def install(
        end: ChildEnd, verdicts: Sequence[Verdict] = (), collected: int = 0, stopped_by: Literal["", "stop"] = ""
    ) -> FakeChild:
        fake = FakeChild(end, verdicts, collected, stopped_by)
        monkeypatch.setattr(run_module, "run_child", fake)
        return fake

    return install


@pytest.fixture(autouse=True)
def _no_guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No image is built and no driver compiled."""
    image = tmp_path / "image"
    monkeypatch.setattr(resolved, "ensure_image", lambda _name, _progress: image)
    monkeypatch.setattr(resolve, "read_manifest", lambda _image: manifest())
    found = Accelerators(kvm=Accelerator("kvm", True, "", 0.2), tcg=Accelerator("tcg", True, "", 0.3))
    monkeypatch.setattr(resolve, "probe_accelerators", lambda _cache: found)
    monkeypatch.setattr(chosen_drivers, "resolve_drivers", lambda *_args, **_options: ())


@pytest.fixture(autouse=True)
def _warm_pytest(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pytest of a `lab run` within this process is a warm one: a fork of this process is refused, as this is a pytest."""
    start, run = child_module._start, process.run

    def warm() -> WarmPython:
        found: WarmPython = request.getfixturevalue("warm")
        return found

    def started(argv: Sequence[str], output: Any, *, cwd: Path, env: Mapping[str, str], group: bool) -> Any:
        if list(argv[1:3]) != ["-m", "pytest"]:
            return start(argv, output, cwd=cwd, env=env, group=group)
        streams = [number if stream is None else stream for number, stream in ((1, output.stdout), (2, output.stderr))]
        return warm().start(argv, cwd=cwd, env=env, output=streams[0], errors=streams[1], group=group)

    def finished(argv: Sequence[str], timeout: float, **options: Any) -> Finished:
        if list(argv[1:3]) != ["-m", "pytest"]:
            return run(argv, timeout, **options)
        begin = time.monotonic()
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            streams = (out.fileno(), err.fileno())
            code = (
                warm()
                .start(argv, cwd=Path.cwd(), env=options["env"], output=streams[0], errors=streams[1], group=True)
                .wait(timeout)
            )
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(file.read().decode("utf-8", "backslashreplace"))
        return Finished(tuple(argv), code, texts[0], texts[1], time.monotonic() - begin)

    monkeypatch.setattr(child_module, "_start", started)
    monkeypatch.setattr(forked, "run", finished)

"""Common parts of the tests of `lab run`: the command, a suite, and a double of pytest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from typer.testing import CliRunner, Result

from lab.cli.child import ChildEnd
from lab.cli.main import app
from lab.gate.verdict import Verdict
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


class FakeChild:
    """A double of pytest: writes the given verdicts and ends with the given code."""

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

"""The runs of `lab bisect`: pytest with the drivers of one commit or build, its output in a file of the run's folder."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.cli.pytest_args import child_environment, pytest_arguments
from lab.cli.repeats import Repeats
from lab.cli.side_runs import SideEnd, SideRun, run_beside
from lab.config import Settings
from lab.config.words import Words
from lab.host.capacity import measure
from lab.live.resolve import ResolvedGuest
from lab.report.model import RunReport
from lab.report.outdir import COPIES
from lab.report.places import address_of
from lab.report.publish import publish_page
from lab.report.runfiles import read_run
from lab.toolchain.package import PACKAGES_FILE

#: What pytest wrote, in the folder of a run.
PYTEST_LOG = "pytest.log"
#: Seconds of a run until it is ended by force: it may have hundreds of repetitions.
_RUN_S = 7200.0
_TEST_FILE = re.compile(r"test_.*\.py|.*_test\.py")
#: Folders that pytest does not look into either (its ``norecursedirs``), and Python's caches.
_NO_SUITE = re.compile(r"\..*|.*\.egg|__pycache__|build|dist|node_modules|venv")


@dataclass(frozen=True, slots=True, kw_only=True)
class BisectRuns:
    """Runs tests.

    Attributes:
        settings: What is in force.
        guest: The guests.
        suites: What is run where no test is named.
        words: What is known of the user's words.
        arguments: These words.
        cwd: The folder that their paths start from.
    """

    settings: Settings
    guest: ResolvedGuest
    suites: Sequence[str]
    words: Words
    arguments: Sequence[str]
    cwd: Path

    def run(
        self, drivers: Path, nodeid: str, count: int, into: Path, /, *, until_red: bool, root: str = ""
    ) -> RunReport | None:
        """See :class:`lab.bisect.workbench.Runner`."""
        into.mkdir(parents=True)
        # The list of packages has absolute paths: the drivers themselves need not be there.
        (into / COPIES).mkdir()
        shutil.copyfile(drivers / PACKAGES_FILE, into / COPIES / PACKAGES_FILE)
        # pytest refuses a folder with any other file in it.
        log = into.with_name(f"{into.name}.log")
        job = SideRun(name=nodeid, argv=self._command(nodeid, count, into, until_red, root), log=log, deadline_s=_RUN_S)
        interrupted = run_beside([job], at_once=1, cwd=self.cwd, env=child_environment(os.environ), ended=_over)
        log.replace(into / PYTEST_LOG)
        if interrupted:
            raise KeyboardInterrupt
        report = read_run(into)
        if report is not None:
            publish_page(into, report)
        return report

    def _command(self, nodeid: str, count: int, into: Path, until_red: bool, root: str) -> list[str]:
        named = set(self.words.suites)
        workers = min(self._workers(), count) if nodeid else self._workers()
        arguments = pytest_arguments(
            self.settings,
            image=str(self.guest.image_dir),
            accelerator=self.guest.accelerator,
            out=into,
            suites=[address_of(nodeid, root, self.cwd)] if nodeid else self.suites,
            workers=str(workers if workers > 1 else 0),
            words=Words() if nodeid else self.words,
            # The user's options, such as those of a suite's conftest.py; one test is run without the user's paths.
            rest=[word for word in self.arguments if not (nodeid and word in named)],
        )
        more = [*Repeats(count, until_red=until_red).arguments(), "--dist=loadscope", "--lab-keep=never", "--maxfail=0"]
        more += [f"--rootdir={root}"] if root else []
        return [sys.executable, "-m", "pytest", *arguments, *more]

    def _workers(self) -> int:
        wanted, machine = self.settings.values.workers, self.guest.manifest.machine
        virtual = self.guest.clock == "virtual"
        return measure().forks(machine.memory_mb, smp=machine.smp, virtual_clock=virtual) if wanted == "auto" else wanted

    def tests_digest(self) -> str:
        """See :class:`lab.bisect.workbench.Runner`."""
        found = hashlib.sha256()
        for file in sorted(self._test_files()):
            found.update(os.fsencode(file) + b"\0" + hashlib.sha256(file.read_bytes()).digest())
        return found.hexdigest()

    def _test_files(self) -> set[Path]:
        """The lab file, all files of the suites (data and clients are part of a test), and what pytest reads above them.

        Of a suite that is one file, what lies beside and below it counts, too, but not the other test files.
        """
        found: set[Path] = {self.settings.file} if self.settings.file is not None else set()
        out = (self.settings.project / self.settings.values.out).resolve()
        for suite in self.words.suites or self.suites:
            path = (self.cwd / suite.partition("::")[0]).resolve()
            if path.is_dir():
                found |= set(_files_below(path, out))
            else:
                found |= {path, *(file for file in _files_below(path.parent, out) if not _TEST_FILE.fullmatch(file.name))}
            above = [folder for folder in path.parents if folder.is_relative_to(self.settings.project.resolve())]
            found |= {folder / "conftest.py" for folder in above}
        return {file for file in found if file.is_file()}


def _files_below(folder: Path, out: Path) -> Iterator[Path]:
    """All files of a suite, without caches, environments, and what was built or written by runs."""
    for top, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not _NO_SUITE.fullmatch(name) and Path(top, name) != out]
        yield from (Path(top, name) for name in files if not name.endswith(".pyc"))


def _over(_end: SideEnd) -> None:
    """Its report says how it ended."""

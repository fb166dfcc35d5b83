"""The drivers of a commit: its files in the worktree of the search, built as `lab run` builds those of the checkout.

The lab file, the tests and their clients are those of the user's checkout at every commit: what is searched is the driver.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.bisect.model import Candidate
from lab.bisect.repository import Worktree
from lab.bisect.workbench import Built, NotBuilt
from lab.compare.kept_drivers import with_clients_of
from lab.errors import ConfigError, HostToolError
from lab.host.git import git_environment
from lab.host.process import run
from lab.live.chosen_drivers import ChosenDrivers
from lab.toolchain.compile import Arch
from lab.toolchain.content import drivers_digest
from lab.toolchain.known import project_components
from lab.toolchain.manifest import MANIFEST_NAME, manifests_in

_LOG = logging.getLogger(__name__)
#: A driver of the largest kind, on a busy host.
BUILD_S = 7200.0
#: Below the folder of the search: what --build wrote.
BUILD_LOG = "build.log"
#: A shell adds it to the number of the signal that ended a program; `git bisect run` stops from there on, too.
_SIGNALLED = 128
_LONGEST_REASON = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitBuilds:
    """Builds commits.

    Attributes:
        worktree: Of the search.
        project: The user's project, in the checkout.
        chosen: The drivers of the checkout.
        clients: Folder of the run's copies of the checkout: its clients are used.
        arch: Processor of the guests.
        command: The user's own build, for a shell; empty: the lab builds alone.
        progress: Called with a line for each step.
    """

    worktree: Worktree
    project: Path
    chosen: ChosenDrivers
    clients: Path
    arch: Arch
    command: str = ""
    progress: Callable[[str], None] | None = None

    def check(self) -> None:
        """Refuse drivers that no commit can change.

        Raises:
            ConfigError: None of them lies in the repository.
        """
        paths = (*self.chosen.paths, *self.chosen.beside)
        if paths and all(self.of_commit(path) == path for path in paths):
            raise ConfigError(
                f"no driver lies in the repository {self.worktree.repository.top}: {', '.join(map(str, paths))}",
                hint="name the driver in the repository with --driver, or search finished builds with --drivers",
            )

    def of_commit(self, path: Path) -> Path:
        """A path of the checkout in the worktree; one outside of the repository is the same for all commits."""
        found = Path(os.path.realpath(path))
        top = self.worktree.repository.top
        return self.worktree.folder / found.relative_to(top) if found.is_relative_to(top) else path

    def build(self, candidate: Candidate, into: Path, drivers: Sequence[str], /) -> Built:
        """See :class:`lab.bisect.workbench.Builder`."""
        self.worktree.show(candidate.id)
        project = self.of_commit(self.project)
        if not project.is_dir():
            raise NotBuilt(f"it has no folder {self._short(str(project))}")
        lent = self._lend_manifests()
        if self.command:
            self._run_build(project, into)
        try:
            packages = self._chosen(project, drivers).take(self.arch, into=into, progress=self.progress)
        except NotBuilt:
            raise
        except ConfigError as error:
            _LOG.info("%s is not built: %s", candidate.label, error)
            shutil.rmtree(into, ignore_errors=True)
            raise NotBuilt(self._short(error.message)) from error
        self._refuse_missing([package.name for package in packages], drivers)
        digest = drivers_digest(packages)
        with_clients_of(into, self.clients)
        return Built(folder=into, digest=digest, note=f"with {lent} of the checkout" if lent else "")

    def _chosen(self, project: Path, drivers: Sequence[str]) -> ChosenDrivers:
        """The drivers of the commit that are needed: another one that does not build is no reason to skip it."""
        paths, beside = (tuple(self.of_commit(path) for path in group) for group in (self.chosen.paths, self.chosen.beside))
        if drivers:
            paths, beside = self._needed(paths, project, drivers), self._needed(beside, project, drivers)
        names = tuple(name for name in self.chosen.names if not drivers or name in drivers)
        return ChosenDrivers(paths=paths, beside=beside, names=names, project=project, clients=False)

    def _needed(self, paths: Sequence[Path], project: Path, drivers: Sequence[str]) -> tuple[Path, ...]:
        found = []
        for path in paths:
            try:
                named = ChosenDrivers(paths=(path,), project=project).named()
            except ConfigError:
                found.append(path)  # the build says what is wrong with it
                continue
            if any(name in drivers for names in named for name in names):
                found.append(path)
        return tuple(found)

    def _refuse_missing(self, there: Sequence[str], drivers: Sequence[str]) -> None:
        """The tests would get the checkout's driver instead of a missing one."""
        of_project = project_components(self.project).components
        missing = [name for name in drivers if name in of_project and name not in there]
        if missing:
            raise NotBuilt(f"it has no driver {', '.join(missing)}")

    def _lend_manifests(self) -> str:
        """Copy manifests of the checkout beside sources that have none yet; returns their names for readers."""
        lent = []
        for path in (*self.chosen.paths, *self.chosen.beside):
            for file in manifests_in(path) if path.is_dir() else [path]:
                target = self.of_commit(file)
                if file.name.endswith(MANIFEST_NAME) and not target.exists() and target.parent.is_dir():
                    shutil.copyfile(file, target)
                    lent.append(self._short(str(target)))
        return ", ".join(lent)

    def _run_build(self, project: Path, into: Path) -> None:
        """Run the user's own build.

        Raises:
            NotBuilt: It failed.
            HostToolError: A signal ended it, or it did not end.
        """
        log = into.with_name(f"{into.name}-{BUILD_LOG}")
        with log.open("w", encoding="utf-8", errors="backslashreplace") as file:

            def keep(line: str) -> None:
                file.write(f"{line}\n")

            environ = git_environment(os.environ)
            done = run(["sh", "-c", self.command], BUILD_S, cwd=project, env=environ, check=False, on_line=keep)
        if done.exit_code < 0 or done.exit_code >= _SIGNALLED:
            raise HostToolError(done.argv, done.exit_code, done.stderr or done.stdout, hint=f"read {log}, then use --continue")
        if done.exit_code:
            last = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()][-1:]
            raise NotBuilt(self._short(f"`{self.command}` ended with {done.exit_code}: {''.join(last)}; {log.name}"))

    def _short(self, text: str) -> str:
        """A message of a build in one line, with paths as in the repository."""
        lines = [line.strip() for line in text.replace(f"{self.worktree.folder}/", "").splitlines() if line.strip()]
        said = " ".join(lines[:2])
        return said if len(said) <= _LONGEST_REASON else said[: _LONGEST_REASON - 1] + "…"

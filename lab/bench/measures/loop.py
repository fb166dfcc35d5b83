"""The loop of a driver's developer: change it, save, `lab run` one test; and the same command again with nothing changed.

This lab and an earlier commit of it do both in turn, in copies of one small project. The earlier one comes from the repository
around this package: it has a clone, an environment, a cache and an image of its own, made by its `ci/setup.sh`.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lab.bench.measures.suites import plain_environment
from lab.bench.protocol import Context, NotHere
from lab.bench.samples import Samples, Series
from lab.config.model import DEFAULT_IMAGE
from lab.errors import HostToolError
from lab.host.paths import cache_dir
from lab.host.process import find_program, run
from lab.report.runfiles import read_run

#: The commit that the loop's goal compares with.
BEFORE = "f207318"
#: The project: a driver, three tests of it, and a lab file.
PROJECT = Path(__file__).parents[1] / "loop"
_COMMAND = ("run", "suites/test_greeter.py", "-k", "delivers_the_greeting")
_GREETING = "good day 0"
_EDITED = ("driver/greeter.c", "suites/test_greeter.py")

_SETUP_S = 3600.0
_RUN_S = 600.0
_READY = "lab-bench-ready"


@dataclass(slots=True, kw_only=True)
class Side:
    """One lab, and a user's project that it works on.

    Attributes:
        name: Part of the series' keys and of folders.
        label: For people.
        command: The `lab` command.
        folder: The project.
        environment: Of the command.
        changed: Seconds from saving a changed driver to the verdict.
        again: Seconds of the same command with nothing changed.
    """

    name: str
    label: str
    command: Path
    folder: Path
    environment: Mapping[str, str]
    changed: list[float] = field(default_factory=list)
    again: list[float] = field(default_factory=list)


class LoopMeasure:
    """Wall time of the whole command, as a user waits for it."""

    name = "loop"
    title = "change a driver, save, and run one test of it"
    needs = f"the repository with commit {BEFORE}; its environment and image the first time: ten minutes; then two"

    def run(self, context: Context) -> Samples:
        """Run both in turn; the first run of each, which makes templates, does not count."""
        if context.manifest.name != DEFAULT_IMAGE:
            raise NotHere(f"the loop is that of a user who names no guest, so of the guest {DEFAULT_IMAGE}")
        before = prepare_before(context)
        context.end_guest()
        shutil.rmtree(context.out / self.name, ignore_errors=True)
        sides = (
            Side(
                name="before",
                label=f"commit {BEFORE}",
                command=before / ".venv" / "bin" / "lab",
                folder=context.out / self.name / "before",
                environment=environment_in(before),
            ),
            Side(
                name="now",
                label="the lab",
                command=own_command(),
                folder=context.out / self.name / "now",
                environment=plain_environment(),
            ),
        )
        for side in sides:
            context.detail(f"{side.label}: first run")
            shutil.copytree(PROJECT, side.folder)
            run_once(context, side)
        # A driver that was never built before: a template of a driver of an earlier bench may still exist.
        new = secrets.token_hex(4)
        for turn in range(1, context.repeat(5, 1, most=9) + 1):
            for side in sides if turn % 2 else sides[::-1]:
                context.detail(f"{side.label}: change {turn}")
                save_change(side.folder, f"good day {new}-{turn}")
                side.changed.append(run_once(context, side))
                context.detail(f"{side.label}: nothing changed, {turn}")
                side.again.append(run_once(context, side))
        return Samples(series=series_of(sides), notes=(f"lab {' '.join(_COMMAND)}", "from saving the driver to the report"))


def series_of(sides: tuple[Side, ...]) -> tuple[Series, ...]:
    """Both kinds of readings of all sides."""
    found = []
    for kind, label in (("changed", "a changed driver"), ("again", "nothing changed")):
        for side in sides:
            found.append(
                Series(
                    key=f"loop.{side.name}.{kind}",
                    label=f"{label}: {side.label}",
                    unit="s",
                    values=tuple(side.changed if kind == "changed" else side.again),
                    reference="" if side.name == "before" else f"loop.before.{kind}",
                    baseline=side.name == "before",
                )
            )
    return tuple(found)


def save_change(folder: Path, greeting: str) -> None:
    """Give the driver another text, and let its test expect it, so that a test of an old build fails."""
    for name in _EDITED:
        text = (PROJECT / name).read_text(encoding="utf-8")
        if _GREETING not in text:
            raise HostToolError(["lab"], None, message=f"{PROJECT / name} has no {_GREETING!r} any more")
        (folder / name).write_text(text.replace(_GREETING, greeting), encoding="utf-8")


def run_once(context: Context, side: Side) -> float:
    """Run the test by the user's command.

    Returns:
        Host seconds.

    Raises:
        HostToolError: The test failed, or more or fewer than one ran: the time would mean nothing.
    """
    argv: list[str | Path] = [side.command, *_COMMAND]
    begin = context.clock()
    done = run(argv, _RUN_S, check=False, cwd=side.folder, env=side.environment)
    took = context.clock() - begin
    (side.folder / "run.log").write_text(done.stdout + done.stderr, encoding="utf-8")
    if done.exit_code:
        raise HostToolError(done.argv, done.exit_code, done.stdout + done.stderr, hint=f"read {side.folder / 'run.log'}")
    report = read_run(side.folder / "out" / "latest")
    if report is None or [test.verdict for test in report.tests] != ["passed"]:
        raise HostToolError(done.argv, 0, message=f"{side.label}: no test passed, so the time measures something else")
    return took


def own_command() -> Path:
    """The command that a user types, from the folder of the running Python."""
    return Path(sys.executable).with_name("lab")


def prepare_before(context: Context, source: Path = Path(__file__).parents[3]) -> Path:
    """The clone of the earlier commit, made ready by its own set-up; minutes the first time.

    Args:
        context: Shows what is being done.
        source: The repository.

    Raises:
        NotHere: The commit is not in the repository around this package.
        HostToolError: Its set-up failed.
    """
    folder = cache_dir() / "bench" / f"loop-{BEFORE}"
    if (folder / _READY).exists():
        return folder
    git = find_program("git")
    if not git or run([git, "-C", source, "cat-file", "-e", f"{BEFORE}^{{commit}}"], 60, check=False).exit_code:
        raise NotHere(f"{source} is no git repository with commit {BEFORE}", hint="clone it with its whole history")
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    context.detail(f"commit {BEFORE}: clone")
    run([git, "clone", "--quiet", "--no-checkout", source, folder], 600)
    run([git, "-C", folder, "checkout", "--quiet", BEFORE], 600)
    context.detail(f"commit {BEFORE}: its set-up, with its image; minutes")
    run(["bash", folder / "ci" / "setup.sh"], _SETUP_S, cwd=folder, env=environment_in(folder), hint="it needs the network")
    (folder / _READY).touch()
    return folder


def environment_in(folder: Path) -> dict[str, str]:
    """The environment of the earlier lab: nothing of it is shared with this one."""
    places = {name: str(folder / "home" / name.lower()) for name in ("LAB_CACHE", "LAB_DATA", "LAB_STATE")}
    plain = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "LAB_", "PYTHON"))}
    return {**plain, **places}

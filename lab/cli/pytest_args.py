"""From `lab run`'s settings to pytest's arguments."""

from __future__ import annotations

import contextlib
import json
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lab.cli.forked import run_quietly
from lab.config import Settings
from lab.config.model import LabFile
from lab.config.setting_table import keys_of, written
from lab.config.words import QUESTION, Words, read_answer
from lab.errors import ConfigError

if TYPE_CHECKING:
    from lab.plugin.units import Unit

#: Longest time for pytest to read its command line: it imports plugins and conftest files.
_ASK_S = 300.0
#: The most that ``auto`` becomes on a usual host; the plugin counts again if it becomes more.
_AUTO_WORKERS = 8
#: All options of the plugin have a value.
_LAB_OPTION = re.compile(r"--lab-[a-z-]+")

#: Settings that pytest gets with the value that was chosen on this host, or as paths.
_RESOLVED = ("image", "accelerator", "drivers")


@dataclass(frozen=True, slots=True)
class Work:
    """The work to count.

    Attributes:
        unit: What goes to a worker in one piece, see :mod:`lab.plugin.units`.
        workers: How many workers are wanted; work beyond that need not be counted.
    """

    unit: Unit
    workers: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """pytest refused the arguments.

    Attributes:
        exit_code: Its own: 4 for wrong usage.
        text: Its output.
    """

    exit_code: int
    text: str


def read_words(
    words: Sequence[str], *, default: Sequence[str], environ: Mapping[str, str], work: Work | None = None
) -> Words | Refusal:
    """What the user's arguments mean to pytest, found by pytest itself; see :mod:`lab.plugin.words`.

    Args:
        words: Arguments for pytest, paths of suites among them.
        default: Suites that are run if the arguments name none: their conftest files may have options, too.
        environ: The environment that pytest will have.
        work: What goes to a worker in one piece, where more than one worker is wanted: then it is counted.

    Raises:
        HostToolError: pytest gave no answer in time.
    """
    plain = not any(word.startswith(("-", "@")) for word in words)
    if plain and work is None:
        return Words(suites=tuple(words))  # the common case needs no pytest
    named = any(Path(word.partition("::")[0]).exists() for word in words)
    found = ask(words, () if named else default, environ, work=work)
    if plain:
        # The run itself will report what pytest refuses.
        return Words(suites=tuple(words), units=found.units if isinstance(found, Words) and named == bool(words) else None)
    if isinstance(found, Refusal) and named:
        # An existing path may be the value of an option that a suite adds.
        return next((again for again in (ask(words, default, environ),) if isinstance(again, Words)), found)
    if isinstance(found, Words) and bool(found.suites) != named:
        return replace(found, units=None)  # the run will collect other tests
    return found


def ask(
    words: Sequence[str], default: Sequence[str], environ: Mapping[str, str], *, work: Work | None = None
) -> Words | Refusal:
    """Let pytest itself read the arguments, after ``default``; see :func:`read_words`.

    Raises:
        HostToolError: pytest gave no answer in time.
    """
    with tempfile.TemporaryDirectory(prefix="lab-words-") as folder:
        answer = Path(folder) / "answer.json"
        unit, workers = (work.unit, work.workers) if work else (None, 0)
        question = json.dumps({"words": list(words), "answer": str(answer), "unit": unit, "workers": workers})
        without = without_hypothesis([*default, *(word for word in words if Path(word.partition("::")[0]).exists())], words)
        argv = [sys.executable, "-m", "pytest", "-p", "lab.plugin.words", *default, *without, *joined(words)]
        done = run_quietly(argv, _ASK_S, env={**environ, QUESTION: question})
        found = read_answer(answer)
    if found is not None:
        return found
    # pytest answers --version before it reads anything else.
    return Words(shows=True) if done.exit_code == 0 else Refusal(done.exit_code, done.stderr or done.stdout)


def joined(words: Sequence[str]) -> list[str]:
    """The arguments, with each of the plugin's own options and its value as one word, ``--lab-driver=PATH``.

    pytest chooses its root folder before it knows any plugin's options: a path that is a separate word would count as a suite
    there, and the root would be a folder above both.
    """
    found: list[str] = []
    for word in words:
        if found and _LAB_OPTION.fullmatch(found[-1]) and not word.startswith("-"):
            found[-1] += f"={word}"
        else:
            found.append(word)
    return found


def check_suites(suites: Sequence[str], *, given: bool, root: Path, packages: bool = False) -> list[str]:
    """The suites as arguments of pytest; those of the user's project if the default ones are not in the current folder.

    Args:
        suites: Paths and node ids.
        given: The user named them.
        root: The user's project.
        packages: Names that are not paths are those of packages.

    Raises:
        ConfigError: One does not exist.
    """
    found = []
    for suite in suites:
        path, separator, inside = suite.partition("::")
        if not Path(path).exists() and not given and (root / Path(path).name).exists():
            path = str(root / Path(path).name)
        if not Path(path).exists() and not packages:
            raise ConfigError(
                f"there is no suite {path}", hint="give a folder or a file with pytest suites; `lab init` writes a first one"
            )
        found.append(path + separator + inside)
    return found


def pytest_arguments(
    settings: Settings,
    *,
    image: str,
    accelerator: str,
    out: Path,
    suites: Sequence[str],
    workers: str,
    words: Words,
    rest: Sequence[str],
) -> list[str]:
    """Arguments of pytest: parallelism, results, the plugin's options, then the user's own, which take precedence.

    Each option and its value are one word, see :func:`joined`.

    Args:
        settings: What is in force.
        image: Name or folder of the guest image.
        accelerator: The one that was chosen.
        out: Folder of the run.
        suites: All suites that are run.
        workers: For pytest-xdist's ``-n``.
        words: The result of :func:`read_words`.
        rest: The user's own arguments.
    """
    values: LabFile = settings.values
    arguments = [] if words.suites else list(suites)
    arguments += [f"--numprocesses={workers}", f"--dist={distribution(values)}", f"--junitxml={out / 'junit.xml'}"]
    arguments += [f"--lab-out={out}", "--lab-prepared", f"--lab-image={image}", f"--lab-accel={accelerator}"]
    arguments += without_hypothesis(suites, rest)
    if settings.file is not None:
        arguments.append(f"--lab-config={settings.file}")
    if words.units:
        arguments.append(f"--lab-units={words.units}")
    if settings.sources["drivers"] != "lab file":
        arguments += [f"--lab-driver={driver}" for driver in values.drivers]
    for key in keys_of(LabFile):
        value = getattr(values, key.name)
        if key.pytest_flag and key.name not in _RESOLVED and settings.sources[key.name] != "default" and value is not None:
            arguments.append(f"{key.pytest_flag}={written(value)}")
    return [*arguments, *joined(rest)]


def without_hypothesis(suites: Sequence[str], rest: Sequence[str]) -> list[str]:
    """Arguments that leave Hypothesis' plugin out where nothing needs it.

    pytest loads it wherever Hypothesis is installed, and it imports all of Hypothesis at the end of every process: a second of
    each run.
    """
    if any("hypothesis" in argument for argument in rest):
        return []
    for suite in suites:
        path = Path(suite.partition("::")[0])
        for file in path.rglob("*.py") if path.is_dir() else [path]:
            with contextlib.suppress(OSError):
                if b"hypothesis" in file.read_bytes():
                    return []
    return ["-p", "no:hypothesispytest"]


def distribution(values: LabFile) -> str:
    """How pytest-xdist hands out tests.

    Where each test or class has a fork of its own, any worker may run any of them; the plugin's scheduler distributes them.
    With a guest for a whole file, or for everything, tests that belong together go to one worker.
    """
    return "loadscope" if values.boot == "fork" and values.isolation in ("test", "class") else "loadfile"


def work_of(values: LabFile) -> Work | None:
    """The work to count before a run; None if one worker runs everything."""
    workers = values.workers if isinstance(values.workers, int) else _AUTO_WORKERS
    if workers <= 1:
        return None
    unit: Unit = "class"
    if distribution(values) == "loadfile":
        unit = "file"
    elif values.isolation == "test":
        unit = "test"
    return Work(unit, workers)


def child_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without variables of a pytest that runs this command: the child is not one of its workers."""
    return {key: value for key, value in environ.items() if not key.startswith(("PYTEST_XDIST_", "PYTEST_CURRENT_TEST"))}

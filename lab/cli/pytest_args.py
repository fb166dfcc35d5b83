"""From `lab run`'s settings to pytest's arguments."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab.config import Settings
from lab.config.model import LabFile
from lab.errors import ConfigError

#: Options of pytest and xdist whose next argument is a value, and so no path of a suite.
_WITH_VALUE = frozenset(
    [
        *("-k", "-m", "-c", "-p", "-o", "-W", "-n", "-r", "--maxfail", "--tb", "--durations", "--durations-min", "--verbosity"),
        *("--capture", "--color", "--rootdir", "--confcutdir", "--ignore", "--ignore-glob", "--deselect", "--import-mode"),
        *("--override-ini", "--pythonwarnings", "--junitxml", "--junit-xml", "--junit-prefix", "--basetemp", "--config-file"),
        *("--log-level", "--log-cli-level", "--log-file", "--log-file-level", "--log-format", "--show-capture", "--pdbcls"),
        *("--dist", "--tx", "--numprocesses", "--maxprocesses", "--max-worker-restart", "--maxschedchunk"),
        *("--last-failed-no-failures", "--lfnf", "--reruns", "--reruns-delay", "--only-rerun"),
        *("--lab-config", "--lab-out", "--lab-image", "--lab-driver", "--lab-transport", "--lab-files", "--lab-boot-timeout"),
        *("--lab-accel", "--lab-debug", "--lab-keep", "--lab-crash-dump", "--lab-boot", "--lab-isolation"),
    ]
)
#: Which settings are passed on, and under which name of the plugin.
_PASSED = {
    "transport": "--lab-transport",
    "files": "--lab-files",
    "boot_timeout": "--lab-boot-timeout",
    "accelerator": "--lab-accel",
    "debug": "--lab-debug",
    "keep": "--lab-keep",
    "crash_dump": "--lab-crash-dump",
    "boot": "--lab-boot",
    "isolation": "--lab-isolation",
}


def split_suites(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Part the user's arguments into suites (paths, node ids) and the rest, each in its order."""
    suites: list[str] = []
    rest: list[str] = []
    value = False
    for argument in arguments:
        if value or argument.startswith("-"):
            rest.append(argument)
            value = not value and _wants_value(argument)
        else:
            suites.append(argument)
    return suites, rest


def check_suites(suites: Sequence[str], *, given: bool, root: Path) -> list[str]:
    """The suites as pytest takes them; the checkout's own when the default ones are not in the current folder.

    Args:
        suites: Paths and node ids.
        given: The user named them.
        root: The checkout.

    Raises:
        ConfigError: One is not there.
    """
    found = []
    for suite in suites:
        path, separator, inside = suite.partition("::")
        if not Path(path).exists() and not given and (root / Path(path).name).exists():
            path = str(root / Path(path).name)
        if not Path(path).exists():
            raise ConfigError(
                f"there is no suite {path}", hint="name a folder or a file of pytest suites, for example suites/sync"
            )
        found.append(path + separator + inside)
    return found


def pytest_arguments(
    settings: Settings, *, image: str, out: Path, suites: Sequence[str], workers: str, rest: Sequence[str]
) -> list[str]:
    """Arguments of pytest: suites, parallelism, results, the plugin's options, then the user's own, which win."""
    values: LabFile = settings.values
    arguments = [*suites, "-n", workers, "--dist", distribution(values), f"--junitxml={out / 'junit.xml'}"]
    arguments += ["--lab-out", str(out), "--lab-image", image, *without_hypothesis(suites, rest)]
    if settings.file is not None:
        arguments += ["--lab-config", str(settings.file)]
    for driver in values.drivers:
        arguments += ["--lab-driver", driver]
    for key, option in _PASSED.items():
        value = getattr(values, key)
        if value is not None and settings.sources[key] != "default":
            arguments += [option, f"{value:g}" if isinstance(value, float) else str(value)]
    return [*arguments, *rest]


def without_hypothesis(suites: Sequence[str], rest: Sequence[str]) -> list[str]:
    """Arguments that leave Hypothesis' plugin out where nothing needs it.

    It comes by itself where Hypothesis is installed, and imports all of it at the end of every process, the workers' and
    pytest's own: a second of each run.
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

    Where each test or class has a fork of its own, any worker may take any of them; the plugin's scheduler sees to that. A
    guest that serves a whole file, or everything, serves best what belongs together.
    """
    return "loadscope" if values.boot == "fork" and values.isolation in ("test", "class") else "loadfile"


def stops_early(rest: Sequence[str]) -> bool:
    """Whether the user asked for an end before the last test."""
    starts = ("--exitfirst", "--maxfail", "--sw", "--stepwise")
    value = False
    for argument in rest:
        if value:
            value = False
            continue
        if argument.startswith(starts) or "x" in _short_options(argument):
            return True
        value = _wants_value(argument)
    return False


def _short_options(argument: str) -> str:
    """The short options that stand together in one argument: ``vx`` of ``-vx``, ``vk`` of ``-vkfive``."""
    if argument.startswith("--") or not argument.startswith("-"):
        return ""
    letters = argument[1:]
    for number, letter in enumerate(letters, 1):
        if f"-{letter}" in _WITH_VALUE:
            return letters[:number]
    return letters


def _wants_value(argument: str) -> bool:
    """Whether the next argument is this one's value, and no suite."""
    letters = _short_options(argument)
    if letters:
        return letters == argument[1:] and f"-{letters[-1]}" in _WITH_VALUE
    return argument in _WITH_VALUE


def wants_terminal(rest: Sequence[str]) -> bool:
    """Whether pytest will talk to the user: with a debugger it must own the terminal, and cannot have workers."""
    return any(argument in ("--pdb", "--trace") for argument in rest)


def child_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without what a pytest around us left in it: the child is not one of its workers."""
    return {key: value for key, value in environ.items() if not key.startswith(("PYTEST_XDIST_", "PYTEST_CURRENT_TEST"))}

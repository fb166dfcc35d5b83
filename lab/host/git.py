"""Runs git in a repository of the user, without the variables of a calling git and without the user's hooks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from lab.host.process import Finished, run

_OF_ANOTHER = frozenset(
    {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_PREFIX", "GIT_NAMESPACE"}
)


def git(folder: Path, *arguments: str, timeout: float, check: bool = True) -> Finished:
    """Run a command of git.

    No index is refreshed by the way, no monitor of files is started, and no hook runs.

    Args:
        folder: Where.
        arguments: The command.
        timeout: Seconds.
        check: Raise when it ends with anything but 0.

    Raises:
        HostToolError: git is missing, failed, or did not end in time.
    """
    argv = ["git", "--no-optional-locks", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", *arguments]
    return run(argv, timeout, cwd=folder, env=git_environment(os.environ), check=check)


def git_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without the variables of a calling git: in a hook, GIT_DIR names another repository."""
    return {name: value for name, value in environ.items() if name not in _OF_ANOTHER} | {"LC_ALL": "C"}

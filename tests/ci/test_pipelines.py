"""The ready pipelines: well-formed, and on each branch they run what belongs there, with a double of `lab`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PIPELINES = sorted((ROOT / "ci" / "pipelines").glob("*.yml"))
OWN = sorted((ROOT / "ci" / "pipelines" / "own").iterdir())
#: System → variables of a job on the main branch, and of one on another branch.
BRANCHES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "github": ({"IS_MAIN": "true"}, {"IS_MAIN": "false"}),
    "gitlab": (
        {"CI_COMMIT_BRANCH": "trunk", "CI_DEFAULT_BRANCH": "trunk"},
        {"CI_COMMIT_BRANCH": "fix", "CI_DEFAULT_BRANCH": "trunk"},
    ),
    "azure": ({"BUILD_SOURCEBRANCH": "refs/heads/main"}, {"BUILD_SOURCEBRANCH": "refs/pull/7/merge"}),
    "Jenkinsfile": ({"BRANCH_NAME": "trunk", "BRANCH_IS_PRIMARY": "true"}, {"BRANCH_NAME": "PR-7"}),
}


@dataclass(frozen=True)
class Lab:
    """A double of `lab` that notes its calls.

    Attributes:
        folder: Where the scripts run.
    """

    folder: Path

    def write(self, place: Path, *, show: int, run: int = 0) -> None:
        """Write the program: its runs, and `lab baseline show`, end with a code."""
        place.parent.mkdir(parents=True, exist_ok=True)
        text = f'#!/bin/sh\necho "$*" >>{self.folder}/calls\ncase "$1 $2" in\n'
        text += f'    "baseline show") exit {show} ;;\n    "run "*) exit {run} ;;\nesac\n'
        place.write_text(text, encoding="utf-8")
        place.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text(encoding="utf-8").splitlines()


def steps(pipeline: Path) -> list[dict[str, Any]]:
    (job,) = [job for name, job in yaml.safe_load(pipeline.read_text(encoding="utf-8"))["jobs"].items() if name == "free-guest"]
    found: list[dict[str, Any]] = job["steps"]
    return found


def script_of(pipeline: Path) -> str:
    """The lines of a user's pipeline that run the tests."""
    text = pipeline.read_text(encoding="utf-8")
    if pipeline.name == "Jenkinsfile":
        (found,) = [part for part in text.split("'''")[1::2] if "lab run" in part]
        return found
    document = yaml.safe_load(text)
    if pipeline.stem == "gitlab":
        scripts = document["driver-lab"]["script"]
    elif pipeline.stem == "azure":
        scripts = [step["script"] for step in document["jobs"][0]["steps"] if "script" in step]
    else:
        scripts = [step["run"] for step in steps(pipeline) if "run" in step]
    (script,) = [script for script in scripts if "lab run" in script]
    return str(script)


def result(script: str, folder: Path, **variables: str) -> int:
    environ = {"PATH": f"{folder}/bin:{os.environ['PATH']}", "HOME": str(folder), **variables}
    return subprocess.run(["bash", "-e", "-c", script], cwd=folder, env=environ, timeout=60, check=False).returncode


CASES = [
    (True, 5, 0, ["run", "baseline save main --replace"], 0),
    (True, 0, 1, ["run"], 1),
    (False, 0, 0, ["baseline show main", "run --baseline main"], 0),
    (False, 0, 3, ["baseline show main", "run --baseline main"], 3),
    (False, 5, 5, ["baseline show main", "run"], 5),
    (False, 2, 0, ["baseline show main"], 2),
]
NAMES = ["main", "main is red", "no worse", "worse", "no baseline yet", "damaged baseline"]


@pytest.mark.parametrize(("main", "show", "run", "calls", "code"), CASES, ids=NAMES)
@pytest.mark.parametrize("pipeline", OWN, ids=lambda p: p.name)
def test_a_users_pipeline_keeps_the_main_branch_and_compares_the_others(
    pipeline: Path, main: bool, show: int, run: int, calls: list[str], code: int, tmp_path: Path
) -> None:
    lab = Lab(tmp_path)
    # Jenkins has the lab in an environment of the workspace.
    for place in ("bin/lab", ".venv/bin/lab"):
        lab.write(tmp_path / place, show=show, run=run)
    variables = BRANCHES[pipeline.stem][0 if main else 1]
    assert result(script_of(pipeline), tmp_path, **variables) == code
    assert lab.calls == calls


@pytest.mark.parametrize(("main", "show", "run", "calls", "code"), CASES, ids=NAMES)
def test_this_repositorys_pipelines_do_the_same(
    main: bool, show: int, run: int, calls: list[str], code: int, tmp_path: Path
) -> None:
    (tmp_path / "ci").mkdir()
    shutil.copy(ROOT / "ci" / "gate.sh", tmp_path / "ci")
    (tmp_path / "ci" / "setup.sh").write_text("touch ready\n", encoding="utf-8")
    lab = Lab(tmp_path)
    lab.write(tmp_path / ".venv" / "bin" / "lab", show=show, run=run)
    assert result(f"bash ci/gate.sh {'main' if main else 'fix'}", tmp_path) == code
    assert (tmp_path / "ready").exists()
    assert lab.calls == calls


@pytest.mark.parametrize("variables", [{}, {"BRANCH_NAME": "main"}], ids=["unknown branch", "a branch that is not primary"])
def test_jenkins_keeps_a_baseline_of_the_primary_branch_alone(variables: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "ci").mkdir()
    (tmp_path / "ci" / "gate.sh").write_text(f'echo "$1" >>{tmp_path}/gate\n', encoding="utf-8")
    lab = Lab(tmp_path)
    for place in ("bin/lab", ".venv/bin/lab"):
        lab.write(tmp_path / place, show=0)
    [own] = [one for one in OWN if one.name == "Jenkinsfile"]
    assert result(script_of(own), tmp_path, **variables) == 0
    assert lab.calls == ["baseline show main", "run --baseline main"]
    script = (ROOT / "ci" / "pipelines" / "Jenkinsfile").read_text(encoding="utf-8").split("'''")[1]
    for more in ({}, {"BRANCH_IS_PRIMARY": "true"}):
        assert result(script, tmp_path, **variables, **more) == 0
    first, second = (tmp_path / "gate").read_text(encoding="utf-8").splitlines()
    assert first == f"not the primary branch: {variables.get('BRANCH_NAME', 'unknown')}"
    assert (second == "main") is bool(variables)


def test_the_gate_wants_the_branch() -> None:
    done = subprocess.run(["bash", str(ROOT / "ci" / "gate.sh")], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, "needs the name of the branch" in done.stderr) == (2, True)


@pytest.mark.parametrize("pipeline", PIPELINES, ids=lambda p: p.name)
def test_pipelines_are_yaml_and_run_the_gate(pipeline: Path) -> None:
    text = pipeline.read_text(encoding="utf-8")
    assert isinstance(yaml.safe_load(text), dict)
    assert "bash ci/gate.sh" in text


@pytest.mark.parametrize("pipeline", OWN, ids=lambda p: p.name)
def test_pipelines_of_a_users_repository_need_nothing_of_this_one(pipeline: Path) -> None:
    text = pipeline.read_text(encoding="utf-8")
    if pipeline.suffix == ".yml":
        assert isinstance(yaml.safe_load(text), dict)
    assert re.search(r"pip install driver-test-lab && (\.venv/bin/)?lab setup\b", text)
    assert "ci/" not in text


@pytest.mark.parametrize("pipeline", [*PIPELINES, *OWN], ids=lambda p: f"{p.parent.name}-{p.name}")
def test_baselines_are_kept_between_jobs(pipeline: Path) -> None:
    """In the default folder (LAB_STATE), or in one that the pipeline names to the lab."""
    text = pipeline.read_text(encoding="utf-8")
    if pipeline.name == "Jenkinsfile":
        return  # its agents keep their home folder
    if pipeline.stem == "gitlab":
        folder = re.search(r"LAB_BASELINES: \$CI_PROJECT_DIR/(\S+)", text)
        assert folder
        assert f"paths: [{folder[1]}/]" in text
    else:
        assert "/.local/state/driver-test-lab/baselines" in text


def test_github_saves_the_baseline_of_the_main_branch_alone() -> None:
    for pipeline in PIPELINES + OWN:
        if pipeline.stem == "github":
            (restore,) = [step for step in steps(pipeline) if step.get("uses") == "actions/cache/restore@v4"]
            (save,) = [step for step in steps(pipeline) if step.get("uses") == "actions/cache/save@v4"]
            assert {key: save["with"][key] for key in ("path", "key")} == {
                key: restore["with"][key] for key in ("path", "key")
            }, "GitHub finds a cache by its path, too"
            assert save["if"].startswith("success() && ")

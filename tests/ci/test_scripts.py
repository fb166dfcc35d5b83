"""The set-up scripts and the pipelines: well-formed, and calling only what exists."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = [*sorted((ROOT / "ci").glob("*.sh")), ROOT / ".ci" / "run"]
PIPELINES = sorted((ROOT / "ci" / "pipelines").glob("*.yml"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.name)
def test_shell_scripts_parse(script: Path) -> None:
    subprocess.run(["bash", "-n", str(script)], check=True, timeout=30)


@pytest.mark.parametrize("pipeline", PIPELINES, ids=lambda p: p.name)
def test_pipelines_are_yaml_and_run_the_readme_command(pipeline: Path) -> None:
    text = pipeline.read_text(encoding="utf-8")
    assert isinstance(yaml.safe_load(text), dict)
    assert "bash ci/run.sh" in text


@pytest.mark.parametrize(
    "path", [*SCRIPTS, *PIPELINES, ROOT / "ci/pipelines/Jenkinsfile", ROOT / "README.md"], ids=lambda p: p.name
)
def test_scripts_that_are_named_exist(path: Path) -> None:
    named = set(re.findall(r"\bci/[a-z-]+\.(?:sh|txt|in|lock)\b", path.read_text(encoding="utf-8")))
    assert {n for n in named if not (ROOT / n).exists()} == set()


def test_setup_refuses_unknown_arguments_before_it_touches_anything() -> None:
    done = subprocess.run(["bash", str(ROOT / "ci" / "setup.sh"), "--nonsense"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert "--nonsense" in done.stderr


def test_every_package_list_is_one_name_a_line() -> None:
    for name in ("packages.txt", "packages-test.txt"):
        lines = (ROOT / "ci" / name).read_text(encoding="utf-8").splitlines()
        packages = [line for line in lines if line and not line.startswith("#")]
        assert packages
        assert all(re.fullmatch(r"[a-z0-9][a-z0-9.+-]+", p) for p in packages)


def test_the_lock_names_no_host_and_every_requirement_has_hashes() -> None:
    lock = (ROOT / "ci" / "requirements.lock").read_text(encoding="utf-8")
    assert "://" not in lock
    pinned = re.findall(r"^[a-z0-9][^\s=]*==", lock, re.MULTILINE | re.IGNORECASE)
    assert len(pinned) > 30
    blocks = re.split(r"^(?=[a-zA-Z0-9])", lock, flags=re.MULTILINE)
    assert all("--hash=sha256:" in block for block in blocks if "==" in block.split("\n")[0])

"""The scripts of ci/: well-formed, and calling only what exists."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = [*sorted((ROOT / "ci").glob("*.sh")), ROOT / ".ci" / "run"]
PIPELINES = sorted((ROOT / "ci" / "pipelines").glob("*.yml"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.name)
def test_shell_scripts_parse(script: Path) -> None:
    subprocess.run(["bash", "-n", str(script)], check=True, timeout=30)


@pytest.mark.parametrize(
    "path", [*SCRIPTS, *PIPELINES, ROOT / "ci/pipelines/Jenkinsfile", ROOT / "README.md"], ids=lambda p: p.name
)
def test_scripts_that_are_named_exist(path: Path) -> None:
    named = set(re.findall(r"\bci/[a-z-]+\.(?:sh|txt|in|lock)\b", path.read_text(encoding="utf-8")))
    assert {n for n in named if not (ROOT / n).exists()} == set()


@pytest.mark.parametrize(("name", "said"), [("setup.sh", "--nonsense"), ("peer.sh", "no arguments")])
def test_set_up_refuses_unknown_arguments_before_it_touches_anything(name: str, said: str) -> None:
    done = subprocess.run(["bash", str(ROOT / "ci" / name), "--nonsense"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert said in done.stderr


def test_every_package_list_is_one_name_a_line() -> None:
    for name in ("packages.txt", "packages-test.txt"):
        lines = (ROOT / "ci" / name).read_text(encoding="utf-8").splitlines()
        packages = [line for line in lines if line and not line.startswith("#")]
        assert packages
        assert all(re.fullmatch(r"[a-z0-9][a-z0-9.+-]+", p) for p in packages)


@pytest.mark.parametrize(("name", "least"), [("requirements.lock", 30), ("requirements-peer.lock", 15)])
def test_a_lock_names_no_host_and_every_requirement_has_hashes(name: str, least: int) -> None:
    lock = (ROOT / "ci" / name).read_text(encoding="utf-8")
    assert "://" not in lock
    pinned = re.findall(r"^[a-z0-9][^\s=]*==", lock, re.MULTILINE | re.IGNORECASE)
    assert len(pinned) > least
    blocks = re.split(r"^(?=[a-zA-Z0-9])", lock, flags=re.MULTILINE)
    assert all("--hash=sha256:" in block for block in blocks if "==" in block.split("\n")[0])


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout of the set-up script alone, with a pip that fails: what the script does before it needs the network."""
    checkout = tmp_path / "checkout"
    (checkout / "ci").mkdir(parents=True)
    for name in ("setup.sh", "requirements.lock"):
        shutil.copy(ROOT / "ci" / name, checkout / "ci")
    (checkout / "ci" / "packages.txt").write_text("# none\n", encoding="utf-8")
    shutil.copy(ROOT / "pyproject.toml", checkout)
    return checkout


def set_up(checkout: Path) -> subprocess.CompletedProcess[str]:
    """Run the script with a Python whose venvs have a pip that prints its arguments, and fails."""
    tools = checkout.parent / "tools"
    tools.mkdir(exist_ok=True)
    python = tools / "python"
    python.write_text(
        """#!/bin/sh
case "$*" in
    "-m venv --clear .venv")
        rm -rf .venv && mkdir -p .venv/bin && touch .venv/pyvenv.cfg
        printf '#!/bin/sh\\ncat .venv/lab-key >&2; echo "asked: $*" >&2; exit 7\\n' >.venv/bin/python
        chmod +x .venv/bin/python ;;
    --version) echo Python 3.11.2 ;;
esac
""",
        encoding="utf-8",
    )
    python.chmod(0o755)
    return subprocess.run(
        ["bash", "ci/setup.sh"],
        cwd=checkout,
        env={**os.environ, "PYTHON": str(python)},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("holds", ["pyvenv.cfg", "notes.txt"])
def test_setup_leaves_a_folder_that_is_not_its_own(checkout: Path, holds: str) -> None:
    (checkout / ".venv").mkdir()
    (checkout / ".venv" / holds).write_text("precious", encoding="utf-8")
    done = set_up(checkout)
    assert done.returncode == 10
    assert "was not made by this script" in done.stderr
    assert (checkout / ".venv" / holds).read_text(encoding="utf-8") == "precious"


def test_setup_goes_on_after_it_was_interrupted(checkout: Path) -> None:
    first = set_up(checkout)
    assert first.returncode == 7
    assert "unfinished" in first.stderr
    (checkout / ".venv" / "half").touch()
    again = set_up(checkout)
    assert again.returncode == 7
    assert "was not made" not in again.stderr
    assert not (checkout / ".venv" / "half").exists()


def test_setup_replaces_its_own_environment_when_the_lock_has_changed(checkout: Path) -> None:
    (checkout / ".venv").mkdir()
    (checkout / ".venv" / "lab-key").write_text("of another lock\n", encoding="utf-8")
    (checkout / ".venv" / "old").touch()
    assert set_up(checkout).returncode == 7
    assert not (checkout / ".venv" / "old").exists()

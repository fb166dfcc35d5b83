"""The lab as users install it: a wheel from the sdist, in an environment outside of any checkout, for a driver of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import venv
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.host.paths import cache_dir
from lab.image.recipes import recipe_of
from lab.report.model import RunReport
from tests.e2e import teapot
from tests.e2e.running import ROOT, RUN_DEADLINE_S

_BUILD_S = 300


@dataclass(frozen=True, slots=True)
class Installed:
    """An environment with the wheel, a home folder that was empty, and a user's repository.

    Attributes:
        bin: Programs of the environment.
        home: The user's home.
        project: The repository.
        wheel: What was installed.
    """

    bin: Path
    home: Path
    project: Path
    wheel: Path

    def run(self, *command: str, code: int = 0) -> str:
        """Run a program of the environment in the repository, and return its output."""
        # Nothing of this checkout's environment; the image comes from the cache.
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR", "LAB_LOCKS") if name in os.environ}
        environ = {**kept, "HOME": str(self.home), "LAB_CACHE": str(cache_dir())}
        argv = [str(self.bin / command[0]), *command[1:]]
        done = subprocess.run(
            argv,
            cwd=self.project,
            env=environ,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=RUN_DEADLINE_S,
        )
        assert done.returncode == code, done.stdout
        return done.stdout

    def report(self) -> RunReport:
        """Of the latest run."""
        return RunReport.model_validate_json((self.project / "out" / "latest" / "run.json").read_text(encoding="utf-8"))


def _check(command: Sequence[str | Path], *, cwd: Path | None = None) -> None:
    subprocess.run(command, cwd=cwd, check=True, timeout=_BUILD_S)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from an unpacked sdist."""
    work = tmp_path_factory.mktemp("dist")
    build: list[str | Path] = [sys.executable, "-m", "hatchling", "build", "-d", work, "-t"]
    _check([*build, "sdist"], cwd=ROOT)
    (sdist,) = work.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(work, filter="data")
    _check([*build, "wheel"], cwd=work / sdist.name.removesuffix(".tar.gz"))
    (found,) = work.glob("*.whl")
    return found


@pytest.fixture
def installed(wheel: Path) -> Iterator[Installed]:
    """The wheel without a checkout around it. Its dependencies are those of this environment: nothing is downloaded."""
    # A short path: sockets of guests lie below the home.
    folder = Path(tempfile.mkdtemp(prefix="lab-user-"))
    try:
        environment, home, project = folder / "env", folder / "home", folder / "teapot"
        venv.create(environment, with_pip=True)
        site = environment / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
        # A path in a .pth file is searched, but the .pth files in it are not read: this checkout's own lab is not among them.
        (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
        pip: list[str | Path] = [environment / "bin" / "pip", "--disable-pip-version-check"]
        # The lab of the checkout, which pip finds by the same path, is not to be removed.
        _check([*pip, "install", "--quiet", "--no-deps", "--no-index", "--ignore-installed", wheel])
        _check([*pip, "check"])
        home.mkdir()
        project.mkdir()
        teapot.write_repository(project)
        yield Installed(environment / "bin", home, project, wheel)
    finally:
        shutil.rmtree(folder)


def test_the_wheel_has_what_users_need_and_nothing_of_the_bench(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "lab/_data/vm-images/wine/recipe.yaml" in names
    assert "lab/_data/driver/clients/drvprobe.driver.yaml" in names
    assert not [name for name in names if name.startswith(("lab/bench", "lab/cli/bench")) or "__pycache__" in name]
    assert any(name.endswith("licenses/LICENSE") for name in names)
    (metadata,) = (name for name in names if name.endswith("/METADATA"))
    text = zipfile.ZipFile(wheel).read(metadata).decode()
    assert all(word in text for word in ("License-Expression: MIT", "Author: ", "Project-URL: Source", "Requires-Dist: pytest"))
    assert "Requires-Dist: pypsrp" not in text


@pytest.mark.e2e
def test_a_users_driver_from_init_to_a_red_test(installed: Installed) -> None:
    said = installed.run("lab", "doctor")
    assert "Ready" in said
    assert "(installed)" in said
    # The image of the cache is this wheel's, too: its recipe is the same, byte for byte.
    assert recipe_of("wine").key() in installed.run("lab", "image", "build", "wine")

    assert "`lab init` writes a first one" in installed.run("lab", "run", code=2).replace(f"`{installed.bin}/", "`")
    stray = installed.project / "test_stray.py"
    stray.write_text("import pytest\n\n@pytest.mark.lab_driver('cup')\ndef test_it(driver): ...\n", encoding="utf-8")
    assert "this run has no driver, and its tests ask for cup" in installed.run("lab", "run", stray.name, code=2)
    stray.unlink()

    shown = installed.run("lab", "init")
    assert "drv/teapot.c: DriverEntry" in shown
    assert "GitHub Actions" in shown
    assert not (installed.project / "lab.yaml").exists()
    installed.run("lab", "init", "--yes")
    installed.run("lab", "run")
    report = installed.report()
    assert [test.verdict for test in report.tests] == ["passed"] * 3
    assert [driver.name for driver in report.drivers] == ["teapot"]

    teapot.extend(installed.project)
    installed.run("python", "-m", "pytest", "-n", "2")
    assert {test.verdict for test in installed.report().tests} == {"passed"}
    assert len(installed.report().tests) == 7

    source = installed.project / "drv" / "teapot.c"
    text = source.read_text(encoding="utf-8")
    assert teapot.RIGHT in text
    source.write_text(text.replace(teapot.RIGHT, teapot.WRONG), encoding="utf-8")
    said = installed.run("lab", "run", code=1)
    red = [test for test in installed.report().tests if test.verdict != "passed"]
    assert [(test.nodeid, test.verdict) for test in red] == [
        ("suites/test_pouring.py::test_what_is_poured_is_missing_and_printed", "product")
    ]
    assert "598" in red[0].reason + red[0].details
    assert "teapot: 2 x 150 ml, 598 left" in said + red[0].details

    # All new files are in the repository, the cache and the home folder.
    assert (installed.project / "build" / "x64" / "teapot.sys").is_file()
    assert "build" not in {path.name for path in installed.home.iterdir()}

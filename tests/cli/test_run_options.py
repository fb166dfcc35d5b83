"""`lab run` before pytest starts: what is passed on, how many workers there are, and wrong usage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lab.cli import resolved
from lab.cli import run as run_module
from lab.cli.child import ChildEnd
from lab.errors import ConfigError, HostToolError
from lab.host.accel import Accelerator, Accelerators
from lab.image.registry import kind_named
from lab.live import chosen_drivers, resolve
from lab.live.chosen_drivers import ChosenDrivers
from tests.cli.running import GREEN, FakeChild, Suite, lab, read


def test_pytest_gets_what_was_asked_for(
    child: Callable[..., FakeChild], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = child(ChildEnd(0), ["passed"])
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw7")
    monkeypatch.setenv("LAB_TRANSPORT", "ssh")
    (tmp_path / "mine").mkdir()
    monkeypatch.setattr(ChosenDrivers, "check", lambda *_, **__: [])
    (tmp_path / "lab.yaml").write_text("boot_timeout: 90.5\n", encoding="utf-8")
    arguments = [
        "--driver",
        "mine",
        "--accel",
        "tcg",
        "--keep",
        "failed",
        "--crash-dump",
        "always",
        "--workers",
        "3",
        "--isolation",
        "test",
        "-k",
        "two or one",
        "suites",
        "-v",
    ]
    assert lab("run", *arguments).exit_code == 0
    text = " ".join(fake.argv)
    for part in (
        "-m pytest --numprocesses=3 --dist=loadscope --junitxml=",
        f"--lab-driver={tmp_path / 'mine'}",
        "--lab-transport=ssh",
        "--lab-boot-timeout=90.5",
        "--lab-accel=tcg",
        "--lab-keep=failed",
        "--lab-crash-dump=always",
        "--lab-isolation=test",
        "--lab-units=2",
        f"--lab-config={tmp_path / 'lab.yaml'}",
    ):
        assert part in text
    assert fake.argv[-4:] == ["-k", "two or one", "suites", "-v"]
    assert "PYTEST_XDIST_WORKER" not in fake.env
    assert not fake.terminal


@pytest.mark.parametrize("arguments", [("-k", "two"), ("suites/test_it.py",), ("suites/test_it.py", "-v")])
def test_one_piece_of_work_needs_no_worker(child: Callable[..., FakeChild], arguments: tuple[str, ...]) -> None:
    fake = child(ChildEnd(0), ["passed"])
    assert lab("run", "--workers", "3", *arguments).exit_code == 0
    assert "--numprocesses=0" in fake.argv


def test_a_debugger_gets_the_terminal_and_no_workers(child: Callable[..., FakeChild]) -> None:
    fake = child(ChildEnd(0), ["passed"])
    assert lab("run", "--pdb").exit_code == 0
    assert fake.terminal
    assert "--numprocesses=0" in fake.argv


def test_arguments_for_pytest_arrive(suite: Suite, tmp_path: Path) -> None:
    suite(GREEN)
    assert lab("run", "-k", "two", "--out", "here", "suites/test_it.py", "--", "-n0", "-v").exit_code == 0
    assert [test.nodeid for test in read(tmp_path / "here").tests] == ["suites/test_it.py::test_two"]


@pytest.mark.parametrize(("arguments", "code"), [(["--bogus"], 2), (["-k", "nothing_of_this_name"], 5)])
def test_a_run_that_did_not_start_leaves_nothing(suite: Suite, tmp_path: Path, arguments: list[str], code: int) -> None:
    suite(GREEN)
    (tmp_path / "suites" / "conftest.py").unlink()
    earlier = tmp_path / "out" / "earlier"
    earlier.mkdir(parents=True)
    (tmp_path / "out" / "latest").symlink_to("earlier")
    assert lab("run", "-n0", *arguments).exit_code == code
    assert (tmp_path / "out" / "latest").resolve() == earlier
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["earlier", "latest"]


def test_an_accelerator_that_does_not_work_is_reported_once(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite(GREEN)
    found = Accelerators(kvm=Accelerator("kvm", False, "no /dev/kvm", 0.0), tcg=Accelerator("tcg", True, "", 0.3))
    monkeypatch.setattr(resolve, "probe_accelerators", lambda _cache: found)
    monkeypatch.setattr(run_module, "run_child", lambda *_args, **_options: pytest.fail("pytest was started"))
    result = lab("run", "--accelerator", "kvm")
    assert isinstance(result.exception, HostToolError)
    assert "kvm does not work here: no /dev/kvm" in str(result.exception)
    assert "--lab-accel" not in str(result.exception)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["suites/missing.py"], "there is no suite suites/missing.py"),
        (["--workers", "none"], "--workers must be"),
        (["--transport", "telnet"], "--transport must be 'winrm' or 'ssh'"),
        (["--driver", "missing.sys"], "there is no driver"),
        (["--config", "missing.yaml"], "there is no such file"),
        (["--out", "suites"], "is not empty"),
        (["--out", "pytest.ini"], "is a file"),
        (["--out", "pytest.ini/sub"], "which is a file"),
    ],
)
def test_wrong_usage_is_reported_before_anything_starts(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    suite(GREEN)
    monkeypatch.setattr(run_module, "run_child", lambda *_args, **_options: pytest.fail("pytest was started"))
    monkeypatch.setattr(resolved, "ensure_image", lambda *_args: pytest.fail("the image was touched"))
    result = lab("run", *arguments)
    assert isinstance(result.exception, ConfigError)
    assert said in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_a_driver_is_read_and_built_before_an_image(suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt key was reported after the build of the image, minutes later."""
    suite(GREEN)
    (tmp_path / "driver.yaml").write_text("name: kettle\nnonsense: 1\n", encoding="utf-8")
    order: list[str] = []
    monkeypatch.setattr(resolved, "ensure_image", lambda name, progress: order.append("image"))
    monkeypatch.setattr(chosen_drivers, "builder_of", lambda image: None)  # whatever this host has
    result = lab("run", "--driver", str(tmp_path / "driver.yaml"))
    assert isinstance(result.exception, ConfigError)
    assert "nonsense" in str(result.exception)

    def fails(*args: object, **options: object) -> None:
        raise ConfigError("does not compile")

    monkeypatch.setattr(chosen_drivers, "resolve_drivers", fails)
    monkeypatch.setattr(chosen_drivers, "builder_of", lambda image: kind_named("wine"))
    result = lab("run")
    assert "does not compile" in str(result.exception)
    assert order == []


def test_repeats_are_passed_on(child: Callable[..., FakeChild]) -> None:
    fake = child(ChildEnd(0), ["passed"])
    assert lab("run", "--workers", "8", "--repeat", "5", "--until-red", "-k", "one", "suites").exit_code == 0
    assert {"--lab-repeat=5", "--lab-until-red", "--dist=loadscope"} <= set(fake.argv)
    assert "--lab-units=5" in fake.argv


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--until-red"], "--until-red needs --repeat N"),
        (["--repeat", "2", "--watch"], "--repeat and --watch cannot be combined"),
        (["--repeat", "2", "--on", "box"], "--repeat and --on cannot be combined"),
        (["--repeat", "2", "--isolation", "module"], "--repeat and --isolation module cannot be combined"),
    ],
)
def test_repeats_that_contradict_another_option_are_refused(arguments: list[str], said: str) -> None:
    result = lab("run", *arguments)
    assert isinstance(result.exception, ConfigError)
    assert said in str(result.exception)

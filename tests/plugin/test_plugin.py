"""The plugin's surface: silence without lab tests, options and their layers, markers, xdist, JUnit."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import pytest

from lab.report.elsewhere import find, other_folders


def test_a_session_without_lab_tests_is_left_alone(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_a(tmp_path): pass")
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1)
    assert "driver test lab" not in result.stdout.str()
    assert not (pytester.path / "out").exists()


def test_fixtures_of_a_suite_that_have_the_labs_names_are_not_the_labs(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
import pytest

@pytest.fixture
def client():
    return 1

def test_a(client):
    assert client == 1
"""
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1)
    assert not (pytester.path / "out").exists()


_WRONG_SCRIPT = """
@pytest.mark.lab_driver("sync")
def test_a(reader):
    reader.run("open h {link}" + chr(10) + "raed h 20")
"""


def test_a_wrong_script_is_the_tests_mistake_and_reported_with_its_place(inner: Any) -> None:
    inner.run(_WRONG_SCRIPT)
    entry = inner.test("test_a")
    assert entry.verdict == "test"
    assert "drvprobe script, line 2, column 1: unknown operation 'raed'" in entry.reason
    assert "    raed h 20\n" in entry.details
    assert "try: read or aread" in entry.details
    assert "probelang.py" not in entry.details, "the test's own line is what its author wants to see"
    assert inner.report.exit_code == 4


_OTHERS = """
import pytest

@pytest.fixture
def client():
    return "a web client"

@pytest.fixture
def driver():
    return "a browser"
"""
_BOTH = """
def test_web(client, driver):
    assert (client, driver) == ("a web client", "a browser")

@pytest.mark.lab_driver("sync")
def test_kernel(lab_client, lab_driver, reader, prints, client, driver):
    assert driver == "a browser"
    assert lab_driver.service == "SimSync"
    assert reader.read(length=20)[0].text == "slot A"
    assert lab_client("sim_reader").check().stdout.startswith(b"read slot B")
    assert [record.text for record in prints.load] == ["SimSync loaded"]
    prints.skip_load()
    prints.expect(["read 20"] * 2)
"""


@pytest.mark.parametrize("where", ["plugin", "conftest", "suite"])
def test_other_plugins_may_define_the_short_names_and_the_long_ones_work(inner: Any, where: str) -> None:
    """pytest-django has `client`, pytest-selenium has `driver`; fixtures of plugins loaded before the lab were replaced."""
    arguments = []
    if where == "plugin":
        inner.pytester.makepyfile(web_plugin=_OTHERS)
        arguments = ["-p", "web_plugin"]
        inner.pytester.syspathinsert()
    elif where == "conftest":
        inner.prepare(more=_OTHERS)
    inner.run((_OTHERS if where == "suite" else "") + _BOTH, *arguments).assert_outcomes(passed=2)
    assert inner.verdicts == {"test_kernel": "passed", "test_web": "passed"}
    assert [test.nodeid for test in inner.report.tests if test.guest_id] == ["test_inner.py::test_kernel"]


def test_both_names_mean_the_same(inner: Any) -> None:
    tests = """
@pytest.mark.lab_driver("sync")
def test_a(client, lab_client, driver, lab_driver):
    assert client is lab_client
    assert driver is lab_driver
"""
    inner.run(tests).assert_outcomes(passed=1)


def test_the_run_gets_a_folder_and_the_link_latest(inner: Any) -> None:
    inner.pytester.makepyfile(test_inner="def test_a(guest): pass")
    result = inner.pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1)
    latest = inner.pytester.path / "out" / "latest"
    assert latest.is_symlink()
    assert (latest / "run.json").is_file()


def test_collecting_alone_starts_nothing(inner: Any) -> None:
    result = inner.run("def test_a(guest): pass", "--collect-only")
    assert result.ret == 0
    assert not inner.out.exists()


def test_two_workers_have_a_guest_each_and_one_report(inner: Any) -> None:
    tests = """
import time
pytestmark = pytest.mark.lab_driver("sync")

@pytest.mark.parametrize("number", range(8))
def test_read(reader, prints, number):
    time.sleep(0.05)
    reader.read(length=20 + number)
    prints.expect(["SimSync loaded", f"read {20 + number}"])
"""
    result = inner.run(tests, "-n", "2")
    result.assert_outcomes(passed=8)
    report = inner.report
    assert report.workers == 2
    assert {test.worker for test in report.tests} == {"gw0", "gw1"}
    assert sorted(guest.guest_id for guest in report.guests) == ["gw0-1", "gw1-1"]
    assert report.unattributed_prints == 0
    assert report.prints == 16


def test_lab_cpus_tests_have_the_host_to_themselves(inner: Any) -> None:
    tests = """
import pathlib, time

def overlap(name):
    folder = pathlib.Path(__file__).parent / "running"
    folder.mkdir(exist_ok=True)
    mine = folder / name
    mine.touch()
    time.sleep(0.1)
    others = {path.name for path in folder.iterdir()} - {name}
    mine.unlink()
    return others

@pytest.mark.parametrize("number", range(4))
def test_shared(guest, number):
    overlap(f"shared{number}")

@pytest.mark.lab_cpus(2)
@pytest.mark.parametrize("number", range(4))
def test_alone(guest, number):
    assert overlap(f"alone{number}") == set()
"""
    result = inner.run(tests, "-n", "2")
    result.assert_outcomes(passed=8)


def test_a_worker_that_dies_leaves_its_test_as_infra(inner: Any) -> None:
    tests = """
import os

def test_dies(guest):
    os._exit(1)

def test_lives(guest):
    pass
"""
    inner.run(tests, "-n", "1")
    assert inner.verdicts == {"test_dies": "infra", "test_lives": "passed"}


def test_a_missing_guest_is_reported_once_without_workers_and_is_infra_with_them(inner: Any) -> None:
    inner.prepare("from lab.errors import ImageError; raise ImageError('no image', hint='lab image build wine')")
    tests = "def test_a(guest): pass"
    alone = inner.run(tests)
    assert alone.ret == pytest.ExitCode.USAGE_ERROR
    alone.stderr.fnmatch_lines(["*no guest is available: no image*"])
    spread = inner.run(tests, "-n", "1")
    spread.assert_outcomes(errors=1)
    spread.stdout.fnmatch_lines(["*no image*"])


def test_junit_has_the_verdict_and_the_guest(inner: Any) -> None:
    inner.run("def test_a(guest): assert False", "--junitxml=junit.xml", "-o", "junit_family=xunit2")
    tree = ElementTree.parse(inner.pytester.path / "junit.xml")
    found = {node.get("name"): node.get("value") for node in tree.iter("property")}
    assert found["lab_verdict"] == "product"
    assert found["lab_guest"] == "simulated guest: no operating system at all"
    assert found["lab_guest_id"] == "master-1"


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        ("lab_driver()", "write lab_driver(name, *names, reload=True)"),
        ("lab_driver('sync', relaod=False)", "lab_driver('sync', relaod=False) is wrong"),
        ("lab_needs('direct_oi')", "did you mean direct_io"),
        ("lab_cpus('2')", "write lab_cpus(n)"),
        ("lab_fresh(1)", "write lab_fresh"),
    ],
)
def test_a_marker_that_is_used_wrongly_is_the_mistake_of_its_test_alone(inner: Any, marker: str, message: str) -> None:
    result = inner.run(f"@pytest.mark.{marker}\ndef test_a(guest): pass\ndef test_b(guest): pass")
    result.assert_outcomes(errors=1, passed=1)
    assert inner.verdicts == {"test_a": "test", "test_b": "passed"}
    assert message in inner.test("test_a").reason + inner.test("test_a").details
    assert "session.py" not in inner.test("test_a").details
    assert inner.report.exit_code == 4


def test_options_have_layers(inner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tests = "def test_a(lab_config): print('keep', lab_config.keep, 'accel', lab_config.accelerator, lab_config.transport)"
    inner.pytester.makeini("[pytest]\nlab_keep = failed\nlab_accel = tcg\nlab_transport = ssh\n")
    inner.pytester.makefile(".yaml", lab="keep: always\naccelerator: kvm\n")
    monkeypatch.setenv("LAB_ACCELERATOR", "auto")
    result = inner.run(tests, "-s", "--lab-transport", "winrm")
    result.stdout.fnmatch_lines(["*keep failed accel auto winrm*"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lab-transport", "telnet"], "invalid choice: 'telnet'"),
        (["--lab-boot-timeout", "-1"], "must be a number of seconds above 0"),
        (["--lab-config", "nosuch.yaml"], "nosuch.yaml"),
    ],
)
def test_wrong_options_are_usage_errors(inner: Any, arguments: list[str], message: str) -> None:
    result = inner.run("def test_a(guest): pass", *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert message in result.stderr.str()


def test_the_markers_and_options_are_documented(pytester: pytest.Pytester) -> None:
    markers = pytester.runpytest_subprocess("--markers").stdout.str()
    assert all(f"@pytest.mark.lab_{name}" in markers for name in ("driver", "needs", "fresh", "cpus", "expect_fault"))
    help_text = pytester.runpytest_subprocess("--help").stdout.str()
    flags = ("image", "driver", "out", "transport", "boot-timeout", "accel", "debug", "keep", "crash-dump", "config")
    assert all(re.search(rf"--lab-{flag}\b", help_text) for flag in flags)


def test_the_folder_of_another_run_is_refused(inner: Any) -> None:
    assert inner.run("def test_a(guest): pass").ret == 0
    again = inner.run("def test_a(guest): pass")
    assert again.ret == pytest.ExitCode.USAGE_ERROR
    assert "is not empty; a run never overwrites" in again.stderr.str()


@pytest.mark.parametrize("workers", [(), ("-n", "1")])
@pytest.mark.parametrize("there", ["mine.txt", "run.json", "workers/gw0.jsonl"])
def test_a_named_folder_with_files_is_left_alone(inner: Any, there: str, workers: tuple[str, ...]) -> None:
    file = inner.out / there
    file.parent.mkdir(parents=True)
    file.write_text("mine", encoding="utf-8")
    result = inner.run("def test_a(guest): pass", *workers)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "is not empty; a run never overwrites files" in result.stdout.str() + result.stderr.str()
    assert [path for path in inner.out.rglob("*") if path.is_file()] == [file]


def test_an_empty_named_folder_is_taken(inner: Any) -> None:
    inner.out.mkdir()
    inner.run("def test_a(guest): pass").assert_outcomes(passed=1)
    assert inner.verdicts == {"test_a": "passed"}


@pytest.mark.parametrize("workers", [(), ("-n", "1")])
@pytest.mark.parametrize("tests", ["def test_a(guest): pass", "def test_a(): pass"])
def test_results_of_an_earlier_run_elsewhere_are_not_part_of_this_one(
    inner: Any, monkeypatch: pytest.MonkeyPatch, workers: tuple[str, ...], tests: str
) -> None:
    """The disk was full, the user has emptied the folder, and runs again."""
    monkeypatch.setenv("LAB_STATE", str(inner.pytester.path / "state"))
    inner.run("def test_of_before(guest): pass")
    earlier = next(other_folders(inner.out))
    earlier.parent.mkdir(parents=True)
    inner.out.rename(earlier)
    inner.out.mkdir()
    assert inner.run(tests, *workers).ret == 0
    assert find(inner.out, "run.json").exists() is ("guest" in tests)
    assert "test_of_before" not in "".join(path.read_text() for path in inner.out.rglob("*.json*"))
    assert (earlier.with_name(f"{earlier.name}.1") / "run.json").exists()


_UNKNOWN_DRIVER = """
@pytest.mark.lab_driver("synk")
def test_a(driver):
    pass
"""


@pytest.mark.parametrize("workers", [(), ("-n", "1")])
def test_an_unknown_driver_is_the_tests_mistake_and_boots_no_guest(inner: Any, workers: tuple[str, ...]) -> None:
    result = inner.run(_UNKNOWN_DRIVER, *workers)
    assert result.ret == 1
    entry = inner.test("test_a")
    assert entry.verdict == "test"
    assert "no driver 'synk' in this run (available: async, sync); did you mean 'sync'" in entry.reason
    assert inner.report.guests == []


def test_prints_are_asked_only_of_a_guest_that_delivers_them(inner: Any) -> None:
    inner.prepare("import simulated; source.manifest = simulated.manifest(capabilities=('driver_load',))")
    tests = """
pytestmark = pytest.mark.lab_driver("sync")

def test_silent(reader):
    assert reader.read(length=20)[0].text == "slot A"

def test_loud(reader, prints):
    reader.read(length=20)
    prints.expect(["x"])
"""
    result = inner.run(tests)
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["*skipped, because the guest lacks dbgprint: 1*"])


_DEADLINES = """
@pytest.mark.lab_driver("sync")
def test_a(guest, reader, lab_client, monkeypatch):
    seen, run = [], guest.transport.run

    def watched(command, *, timeout, **more):
        seen.append(timeout)
        return run(command, timeout=timeout, **more)

    monkeypatch.setattr(guest.transport, "run", watched)
    reader.read(length=20)
    reader.read(length=20, timeout=3)
    lab_client("sim_reader").check()
    assert seen == [7, 3, 7]
"""


def test_clients_have_the_deadline_of_the_settings_unless_the_test_gives_one(inner: Any) -> None:
    inner.run(_DEADLINES, "--lab-client-timeout=7")
    assert inner.verdicts == {"test_a": "passed"}, inner.test("test_a").details

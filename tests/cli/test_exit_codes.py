"""Every row of exit codes and verdicts that needs no guest of its own, by the `lab` command in a process of its own.

The guests are simulated (tests/simulated.py); drivers are compiled, files are read, and pytest runs with its workers as always.
Rows that only a real guest can show are in tests/e2e/test_exit_codes.py.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lab.gate.exitcode import meaning
from lab.report.model import RunReport
from tests.warm import WarmProcess, WarmPython

TESTS = Path(__file__).resolve().parents[1]

#: The command with the image of the simulated guests instead of a real one.
PROGRAM = f"""\
import sys
from pathlib import Path
sys.path.insert(0, {str(TESTS)!r})
from simulated import manifest
from lab.cli import resolved
from lab.live import resolve
resolved.ensure_image = lambda name, progress: Path("image")
resolve.read_manifest = lambda image: manifest()
resolve.choose_accelerator = lambda wanted, found: "tcg"
resolve.probe_accelerators = lambda cache: None
from lab.cli.main import main
main()
"""

CONFTEST = f"""\
import os, pathlib, sys
sys.path.insert(0, {str(TESTS)!r})
from simulated import SimulatedSource

def pytest_lab_guest_source(config, lab_config):
    return SimulatedSource(pathlib.Path({{payload!r}}) / str(os.getpid()))
"""

HEAD = "import pytest\nsync = pytest.mark.lab_driver('sync')\n"
PASSES = "@sync\ndef test_passes(reader): assert reader.read(length=20)[0].text == 'slot A'\n"
PRODUCT = "@sync\ndef test_product(reader): assert reader.read(length=20)[0].text == 'slot Z'\n"
CRASH = "@sync\ndef test_crash(reader): reader.read(length=66)\n"
INFRA = "@sync\ndef test_infra(reader): reader.read(length=99)\n"
MISTAKE = "@sync\ndef test_mistake(reader): reader.read(lenght=20)\n"
SKIPPED = "@pytest.mark.lab_needs('nt_kernel')\ndef test_skipped(guest): pass\n"
KNOWN = "@sync\n@pytest.mark.xfail(reason='slot Z is to come')\ndef test_known(reader): assert False\n"

NO_GUEST = """
def pytest_lab_guest_source(config, lab_config):
    from lab.errors import SnapshotFailed
    raise SnapshotFailed('there is none')
"""

DRIVER_C = """\
#include <ntddk.h>
NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
    (void)driver; (void)path;
    return STATUS_SUCCESS TYPO
}
"""
MANIFEST = (
    "name: kettle\nimage: kettle.sys\nservice: Kettle\nsources: [kettle.c]\nlinks: ['\\\\.\\Kettle']\nclients: [drvprobe]\n"
)


@dataclass(frozen=True)
class Row:
    """One row: the suite, the arguments of `lab run`, how it ends, and its message."""

    code: int
    suite: str = ""
    arguments: tuple[str, ...] = ()
    verdicts: dict[str, int] | None = None
    said: tuple[str, ...] = ()
    files: dict[str, str | bytes] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    conftest: str = ""
    workers: bool = False


def mistake(code: str, said: str) -> Row:
    return Row(4, f"@sync\ndef test_it(reader, prints, client):\n    {code}\n", verdicts={"test": 1}, said=(said,))


OWN = ("--driver", "kettle")
ODD = os.fsdecode(b"caf\xe9")
GOOD_C = DRIVER_C.replace(" TYPO", ";")
ROWS = {
    # 0: all passed, known, or skipped for a named reason beside something that was checked
    "passed": Row(0, PASSES, verdicts={"passed": 1}, said=("The only test passed",), workers=True),
    "passed, one skipped": Row(0, PASSES + SKIPPED, verdicts={"passed": 1, "skipped": 1}),
    "known by xfail alone": Row(0, KNOWN, verdicts={"known": 1}),
    "known by the lab file": Row(
        0, PRODUCT, verdicts={"known": 1}, files={"lab.yaml": "known:\n- {test: '*', reason: r, until: 2999-01-01}\n"}
    ),
    # The name of the folder is no UTF-8.
    "a folder of drivers, one of them used": Row(
        0,
        PASSES,
        arguments=("--driver", ODD),
        verdicts={"passed": 1},
        files={
            f"{ODD}/kettle.c": GOOD_C,
            f"{ODD}/kettle.driver.yaml": MANIFEST,
            f"{ODD}/sync.driver.yaml": MANIFEST.replace("name: kettle", "name: sync")
            .replace("kettle.sys", "sync.sys")
            .replace("Kettle", "LySharkSync"),
        },
    ),
    # 1: product
    "a driver's wrong answer": Row(1, PRODUCT, verdicts={"product": 1}, said=("1 product failure",)),
    "a read that should have been refused": Row(
        1, "@sync\ndef test_it(reader):\n    with pytest.raises(OSError): reader.read(length=20)\n", verdicts={"product": 1}
    ),
    # 2: usage, and nothing is started
    "a driver that does not compile": Row(
        2,
        PASSES,
        arguments=OWN,
        said=("kettle.c",),
        files={"kettle/kettle.c": DRIVER_C, "kettle/driver.yaml": MANIFEST},
    ),
    "a truncated .sys": Row(
        2, PASSES, arguments=("--driver", "sync.sys"), said=("sync.sys",), files={"sync.sys": b"MZ" + bytes(80)}
    ),
    "an empty .sys": Row(2, PASSES, arguments=("--driver", "sync.sys"), said=("sync.sys",), files={"sync.sys": b""}),
    "a driver that is not there": Row(
        2, PASSES, arguments=("--driver", "nosuch.sys"), said=("there is no driver", "nosuch.sys")
    ),
    "a suite that is not there": Row(2, PASSES, arguments=("suites/nosuch.py",), said=("there is no suite suites/nosuch.py",)),
    "an option that nobody knows": Row(2, PASSES, arguments=("--nosuch",), said=("--nosuch",)),
    "a value that is none": Row(2, PASSES, arguments=("--workers", "many"), said=("--workers must be",)),
    "a lab file with a wrong key": Row(2, PASSES, files={"lab.yaml": "drivres: []\n"}, said=("drivres",)),
    # 3: crash
    "a driver fault": Row(3, CRASH, verdicts={"crash": 1}, said=("0xC0000005",)),
    # 4: test
    "TypeError": mistake("reader.read(lenght=20)", "TypeError"),
    "NameError": mistake("nosuch", "NameError: name 'nosuch' is not defined (test_it.py:5)"),
    "AttributeError": mistake("reader.reed(20)", "has no attribute 'reed'"),
    "ImportError": mistake("import nosuch", "No module named 'nosuch'"),
    "a wrong type given to the lab": mistake("prints.expect(17, timeout=0.1)", "TypeError"),
    "a client that is not there": mistake("client('nosuch')", "no client 'nosuch' in this run"),
    "a drvprobe script with nothing in it": mistake("reader.run('# nothing')", "the drvprobe script is empty"),
    "a word that no drvprobe script may have": mistake(
        "reader.script().read('a \"quoted\" word', 5)", "not a word of a drvprobe script"
    ),
    "an error in the suite's own fixture": Row(
        4, "@pytest.fixture\ndef broken(guest): {}['x']\ndef test_it(broken): pass\n", verdicts={"test": 1}, said=("KeyError",)
    ),
    "an assertion without the lab": Row(4, PASSES + "def test_plain(): assert 1 == 2\n", verdicts={"passed": 1, "test": 1}),
    "a fixture that is not there": Row(4, "def test_it(guest, nosuch): pass\n", verdicts={"test": 1}, said=("nosuch",)),
    "a fixture that is used wrongly": Row(
        4, "def test_it(driver): pass\n", verdicts={"test": 1}, said=("needs @pytest.mark.lab_driver",)
    ),
    "a marker that is used wrongly": Row(
        4, "@pytest.mark.lab_cpus('2')\ndef test_it(guest): pass\n", verdicts={"test": 1}, said=("write lab_cpus(n)",)
    ),
    "a capability that is none": Row(
        4,
        "@pytest.mark.lab_needs('direct_oi')\ndef test_it(guest): pass\n",
        verdicts={"test": 1},
        said=("'direct_oi'",),
        workers=True,
    ),
    "a marker that names no driver of the run": Row(
        4, "@pytest.mark.lab_driver('synk')\ndef test_it(driver): pass\n", verdicts={"test": 1}, said=("did you mean 'sync'",)
    ),
    "a strict xfail that passes": Row(
        4, "@pytest.mark.xfail(strict=True, reason='x')\n" + PASSES, verdicts={"test": 1}, said=("XPASS(strict)",)
    ),
    "a suite that cannot be imported": Row(
        4, "import nosuch\n" + PASSES, said=("suites/test_it.py cannot be collected", "nosuch"), workers=True
    ),
    "one suite of two that cannot be imported": Row(
        4,
        PASSES,
        verdicts={"test": 1},
        said=("suites/test_other.py", "1 test was not run: 1 error during collection"),
        files={"suites/test_other.py": "def test(:\n"},
    ),
    # With workers, pytest runs what could be collected.
    "one suite of two that cannot be imported, with workers": Row(
        4,
        PASSES,
        verdicts={"passed": 1, "test": 1},
        said=("suites/test_other.py",),
        files={"suites/test_other.py": "def test(:\n"},
        workers=True,
    ),
    "a conftest.py that cannot be imported": Row(4, PASSES, said=("nosuch",), conftest="import nosuch\n"),
    "a conftest.py that cannot be imported, with workers": Row(
        4, PASSES, said=("nosuch",), conftest="import nosuch\n", workers=True
    ),
    "a suite that calls pytest.exit()": Row(
        4, PASSES + "def test_leaves(guest): pytest.exit('no licence')\n", verdicts={"passed": 1}, said=("no licence",)
    ),
    # 5: nothing was checked
    "no test": Row(5, "", said=("nothing was checked",), workers=True),
    "all left out": Row(5, PASSES, arguments=("-k", "nosuch"), said=("all 1 tests were deselected",), workers=True),
    "all skipped": Row(5, SKIPPED, verdicts={"skipped": 1}, said=("nothing was checked: the only test was skipped",)),
    "no test of the lab": Row(5, "def test_plain(): pass\n", said=("none of them uses the lab's fixtures",)),
    "-x at a known failure": Row(
        5,
        PRODUCT + PASSES,
        arguments=("-x",),
        verdicts={"known": 1},
        said=("1 test was not run: stopping after 1",),
        files={"lab.yaml": "known:\n- {test: '*', reason: r, until: 2999-01-01}\n"},
    ),
    "a suite that stops its run": Row(
        5,
        PASSES + PRODUCT,
        verdicts={"passed": 1},
        said=("1 test was not run: enough",),
        conftest="\ndef pytest_runtest_teardown(item): item.session.shouldstop = 'enough'\n",
    ),
    "own driver, used by no test": Row(
        5,
        PASSES,
        arguments=OWN,
        verdicts={"passed": 1},
        said=("nothing was checked of the driver kettle",),
        files={"kettle/kettle.c": GOOD_C, "kettle/driver.yaml": MANIFEST},
    ),
    # 10: the lab
    "no guest, and no fault of the user's": Row(10, PASSES, said=("no guest is available: there is none",), conftest=NO_GUEST),
    "no guest for any worker": Row(
        10, PASSES + MISTAKE, said=("no guest is available: there is none",), conftest=NO_GUEST, workers=True
    ),
    "QEMU ends": Row(10, INFRA, verdicts={"infra": 1}),
    "the host has no room": Row(
        10, "def test_it(guest): open('/dev/full', 'w').write('x' * 99999)\n", verdicts={"infra": 1}, said=("no space left",)
    ),
    # several at once
    "crash before all": Row(
        3, CRASH + PRODUCT + MISTAKE + INFRA, verdicts={"crash": 1, "product": 1, "test": 1, "infra": 1}, workers=True
    ),
    "product before test": Row(1, PRODUCT + MISTAKE + INFRA + SKIPPED),
    "test before infra": Row(4, MISTAKE + INFRA + PASSES),
    "infra before nothing": Row(10, INFRA + SKIPPED),
    # tests that were left out on purpose are neither red nor green
    "-x": Row(1, PRODUCT + PASSES, arguments=("-x",), verdicts={"product": 1}, said=("1 test was not run: stopping after 1",)),
    "-x in addopts": Row(
        1,
        PRODUCT + PASSES,
        files={"pytest.ini": "[pytest]\naddopts = -x\n"},
        verdicts={"product": 1},
        said=("1 test was not run",),
        workers=True,
    ),
    "-x in PYTEST_ADDOPTS": Row(
        1, PRODUCT + PASSES, env={"PYTEST_ADDOPTS": "--maxfail=1"}, verdicts={"product": 1}, said=("1 test was not run",)
    ),
}


def start(
    folder: Path, row: Row, *, before: Sequence[str] = (), warm: WarmPython | None = None
) -> subprocess.Popen[str] | WarmProcess:
    """Write a row's files and start its run, in a new interpreter or in a warm one."""
    (folder / "suites").mkdir()
    conftest = CONFTEST.format(payload=str(folder / "payload"))
    files: dict[str, str | bytes] = {
        "pytest.ini": "[pytest]\n",
        "suites/conftest.py": conftest + row.conftest,
        "suites/test_it.py": HEAD + row.suite,
        **row.files,
    }
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else textwrap.dedent(text).encode())
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "GITHUB_", "CI_"))}
    workers = ("--workers", "1") if row.workers else ("-n0",)
    suites = () if any(argument.startswith("suites") for argument in row.arguments) else ("suites",)
    out = () if "--out" in row.arguments else ("--out", "o")
    argv = [sys.executable, "-c", PROGRAM, "run", *out, *workers, *suites, *row.arguments]
    if warm is not None:
        return warm.start(argv, cwd=folder, env=kept | row.env)
    return subprocess.Popen(
        [*before, *argv], cwd=folder, env=kept | row.env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def report_of(folder: Path) -> RunReport | None:
    file = folder / "o" / "run.json"
    return RunReport.model_validate_json(file.read_text(encoding="utf-8")) if file.exists() else None


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_exit_code_and_verdicts(row: Row, tmp_path: Path, warm: WarmPython) -> None:
    process = start(tmp_path, row, warm=warm)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == row.code, output
    for said in row.said:
        assert said in output
    report = report_of(tmp_path)
    if report is not None:
        assert report.exit_code == row.code
    if row.verdicts is not None:
        assert report is not None, output
        assert report.totals == row.verdicts
    if row.code == 2:
        assert not list(tmp_path.glob("o/*")), "nothing was started"


WAITS = """\
import pathlib, time
def test_waits(guest):
    pathlib.Path('started').touch()
    end = time.monotonic() + 60
    while time.monotonic() < end:
        time.sleep(0.05)
def test_never(guest): pass
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("workers", [False, True])
def test_an_interrupt_keeps_the_verdicts_of_what_ran(number: signal.Signals, workers: bool, tmp_path: Path) -> None:
    process = start(tmp_path, Row(128 + number, PRODUCT + WAITS, workers=workers))
    deadline = time.monotonic() + 120
    while not (tmp_path / "started").exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "the test that waits did not start"
        time.sleep(0.05)
    process.send_signal(number)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 128 + number, output
    report = report_of(tmp_path)
    assert report is not None
    assert (report.exit_code, report.totals) == (128 + number, {"product": 1})
    assert [nodeid.rpartition("::")[2] for nodeid in report.not_run] == ["test_waits", "test_never"]
    assert f"2 tests were not run: the run was interrupted ({number.name})" in output
    assert "lab failure" not in output


FILLS = """\
def test_fills(guest):
    try:
        with open('small/fill', 'wb', buffering=0) as file:
            while True:
                file.write(bytes(4096))
    except OSError as error:
        assert error.errno == 28
"""


def test_verdicts_are_kept_if_the_disk_of_out_fills_up(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    in_it = [
        "unshare",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        'mount -t tmpfs -o size=8m tmpfs "$0" && exec "$@"',
        str(small),
    ]
    if subprocess.run([*in_it, "true"], capture_output=True, timeout=30).returncode:
        pytest.skip("this machine lets nobody mount a file system of their own, so no disk can be filled")
    process = start(tmp_path, Row(1, FILLS + PRODUCT, arguments=("--out", "small/o")), before=in_it)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 1, output
    assert "1 product failure" in output
    assert "could not store all results (a full disk?); the results of this run are in" in output
    assert "unexpected error" not in output


def test_the_readme_has_each_exit_code() -> None:
    text = (TESTS.parent / "README.md").read_text(encoding="utf-8")
    table = text[text.index("| exit code | means |") :].partition("\n\n")[0]
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)}
    checked = {row.code for row in ROWS.values()} | {128 + signal.SIGINT}
    assert listed == checked
    assert all("unknown" not in meaning(code) for code in listed)

"""A made-up product that uses every key of the manifest, in one run on the free guest."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.host.process import run
from lab.report.outdir import COPIES
from lab.toolchain.build import build_drivers
from lab.toolchain.compile import find_compiler
from lab.toolchain.sign import sign, signing_key
from tests.e2e.running import ROOT, FinishedRun

pytestmark = pytest.mark.e2e

_GCC = "x86_64-w64-mingw32-gcc"


#: Rust's core for Windows: libstd-rust-dev-windows and rustc of Debian 12. Debian 13 has no such package.
RUST = Path("/usr/lib/rustlib/x86_64-pc-windows-gnu").is_dir() and Path("/usr/bin/rustc").exists()


@pytest.fixture
def product(tmp_path: Path) -> Path:
    """A copy of ``tests/e2e/product``, with its suite under a name that pytest looks for and the finished drivers built."""
    copy = tmp_path / "boiler"
    shutil.copytree(ROOT / "tests" / "e2e" / "product", copy)
    (copy / "suite.py").rename(copy / "test_boiler.py")
    (gauge,) = build_drivers([str(copy / "gauge") + "/"], out=tmp_path / "built")
    shutil.copyfile(gauge.path, copy / "pnp" / "boilerpnp.sys")
    build_finished(copy / "finished")
    if RUST:
        build_in_rust(copy / "rusty")
    return copy


def build_finished(folder: Path, *flags: str) -> None:
    """Build ``finished.sys`` without the lab, as a third party would."""
    headers = find_compiler("x64").kernel_headers
    run([_GCC, "-g", "-O1", "-isystem", str(headers), *flags, "-c", "finished.c", "-o", "finished.o"], 120, cwd=folder)
    link(folder, "finished", "finished.o")


def build_in_rust(folder: Path, *flags: str) -> None:
    """The same in Rust. Debian's own: that of rustup has no other target than this host's."""
    words = ["/usr/bin/rustc", "--target", "x86_64-pc-windows-gnu", "--crate-type", "staticlib", "-g", "-Cpanic=abort"]
    run([*words, "-Copt-level=1", *flags, "rusty.rs", "-o", "rusty.a"], 120, cwd=folder)
    link(folder, "rusty", "rusty.a")


def link(folder: Path, name: str, what: str) -> None:
    """Link with DWARF inside and a PDB beside, and sign."""
    options = f"-Wl,--entry,DriverEntry,--subsystem,native:5.2,--dynamicbase,--gc-sections,--pdb={name}.pdb"
    run([_GCC, "-nostdlib", options, what, "-o", "linked.sys", "-lntoskrnl"], 120, cwd=folder)
    (folder / f"{name}.sys").unlink(missing_ok=True)
    sign(folder / "linked.sys", folder / f"{name}.sys", name, signing_key())


def test_every_key_of_the_manifest_in_one_run(product: Path, finish_run: Callable[..., FinishedRun]) -> None:
    names = ["meter", "pnp", "finished", *(["rusty"] if RUST else [])]
    rest = [] if RUST else ["-k", "not rust"]
    drivers = [f"--driver={product / name}" for name in names]
    done = finish_run(*drivers, "--workers", "1", str(product / "test_boiler.py"), *rest)
    skipped = done.tests("skipped")
    assert len(done.tests("passed")) == 5 + RUST, done.output
    assert [test.nodeid.partition("::")[2] for test in skipped] == ["test_a_package_is_installed"]
    assert skipped[0].missing_capability == "pnp"
    assert done.exit_code == 5, "a skipped test was not checked, and the run says so"
    # The tested files are the run's own copies, and each was checked in the guest.
    copies = {path.relative_to(done.out / COPIES).as_posix() for path in (done.out / COPIES).rglob("*") if path.is_file()}
    assert {
        "gauge/boilergauge.sys",
        "meter/boilermeter.sys",
        "meter/LabBoilerMeter.reg",
        "meter/files/curve.txt",
        "meter/files/meter.1.limits.txt",  # it has a place of its own in the guest
        "clients/meterctl.exe",
        "boilerpnp/files/boilerpnp.inf",
        "boilerpnp/files/boilerpnp.cat",
    } <= copies


@pytest.mark.parametrize(
    ("name", "source", "function"),
    [
        ("finished", "finished.c", "Twice"),
        pytest.param(
            *("rusty", "rusty.rs", "twice"), marks=pytest.mark.skipif(not RUST, reason="no Rust for Windows in this Debian")
        ),
    ],
)
def test_the_fault_of_a_finished_driver_is_reported_with_its_line(
    product: Path, finish_run: Callable[..., FinishedRun], name: str, source: str, function: str
) -> None:
    if name == "rusty":
        build_in_rust(product / name, "--cfg", "faulty")
    else:
        build_finished(product / name, "-DFAULTY")
    test = f"{product / 'test_boiler.py'}::test_a_{'driver_in_rust' if name == 'rusty' else 'finished_driver'}"
    done = finish_run(f"--driver={product / name}", "--workers", "1", test)
    assert done.exit_code == 3, done.output
    (crashed,) = done.tests("crash")
    lines = (product / name / source).read_text(encoding="utf-8").splitlines()
    line = next(number for number, text in enumerate(lines, 1) if "the line of the fault" in text)
    assert crashed.fault is not None
    assert crashed.fault.code.lower() == "0xc0000005"
    # For Rust, the inlined function of core comes first.
    assert crashed.fault.where.endswith(f"{function}, {source}:{line})"), crashed.fault.where
    found = {Path(file.path).name: file.kind for file in crashed.evidence}
    assert found[f"{name}.sys"] == "driver"
    assert found[f"{name}.pdb"] == "symbols"

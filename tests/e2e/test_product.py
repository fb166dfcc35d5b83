"""A made-up product that uses every key of the manifest, in one run on the free guest."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.host.process import run
from lab.report.outdir import COPIES
from lab.toolchain.build import build_drivers
from lab.toolchain.sign import sign, signing_key
from tests.e2e.running import ROOT, FinishedRun

pytestmark = pytest.mark.e2e


@pytest.fixture
def product(tmp_path: Path) -> Path:
    """A copy of ``tests/e2e/product``, with its suite under a name that pytest looks for and the finished driver built."""
    copy = tmp_path / "boiler"
    shutil.copytree(ROOT / "tests" / "e2e" / "product", copy)
    (copy / "suite.py").rename(copy / "test_boiler.py")
    (gauge,) = build_drivers([str(copy / "gauge") + "/"], out=tmp_path / "built")
    shutil.copyfile(gauge.path, copy / "pnp" / "boilerpnp.sys")
    build_in_rust(copy / "rusty")
    return copy


def build_in_rust(folder: Path, *flags: str) -> None:
    """Build ``rusty.sys`` as its maker would, with its DWARF in it and a PDB beside it."""
    # Debian's own: one of rustup has no other target than this machine's.
    compile_words = ["/usr/bin/rustc", "--target", "x86_64-pc-windows-gnu", "--crate-type", "staticlib", "-g"]
    run([*compile_words, "-Cpanic=abort", "-Copt-level=1", *flags, "rusty.rs", "-o", "rusty.a"], 120, cwd=folder)
    linked = ["-nostdlib", "-Wl,--entry,DriverEntry,--subsystem,native:5.2,--dynamicbase,--gc-sections,--pdb=rusty.pdb"]
    run(["x86_64-w64-mingw32-gcc", *linked, "rusty.a", "-o", "linked.sys", "-lntoskrnl"], 120, cwd=folder)
    (folder / "rusty.sys").unlink(missing_ok=True)
    sign(folder / "linked.sys", folder / "rusty.sys", "rusty", signing_key())


def test_every_key_of_the_manifest_in_one_run(product: Path, finish_run: Callable[..., FinishedRun]) -> None:
    drivers = [f"--driver={product / name}" for name in ("meter", "pnp", "rusty")]
    done = finish_run(*drivers, "--workers", "1", str(product / "test_boiler.py"))
    skipped = done.tests("skipped")
    assert len(done.tests("passed")) == 5, done.output
    assert [test.nodeid.partition("::")[2] for test in skipped] == ["test_a_package_is_installed"]
    assert skipped[0].missing_capability == "pnp"
    assert done.exit_code == 5, "a skipped test was not checked, and the run says so"
    # What was tested are the run's own copies, and the guest was told of each.
    copies = {path.relative_to(done.out / COPIES).as_posix() for path in (done.out / COPIES).rglob("*") if path.is_file()}
    assert {
        "gauge/boilergauge.sys",
        "meter/boilermeter.sys",
        "meter/LabBoilerMeter.reg",
        "meter/files/curve.txt",
        "meter/files/limits.txt",
        "clients/meterctl.exe",
        "boilerpnp/files/boilerpnp.inf",
        "boilerpnp/files/boilerpnp.cat",
    } <= copies


def test_the_fault_of_a_finished_driver_is_told_with_its_line(product: Path, finish_run: Callable[..., FinishedRun]) -> None:
    build_in_rust(product / "rusty", "--cfg", "faulty")
    done = finish_run(
        f"--driver={product / 'rusty'}", "--workers", "1", str(product / "test_boiler.py"), "-k", "another_compiler"
    )
    assert done.exit_code == 3, done.output
    (crashed,) = done.tests("crash")
    source = (product / "rusty" / "rusty.rs").read_text(encoding="utf-8").splitlines()
    line = next(number for number, text in enumerate(source, 1) if "the line of the fault" in text)
    assert crashed.fault is not None
    assert crashed.fault.code.lower() == "0xc0000005"
    assert crashed.fault.where.endswith(f"twice, rusty.rs:{line})"), crashed.fault.where
    found = {Path(file.path).name: file.kind for file in crashed.evidence}
    assert found["rusty.sys"] == "driver"
    assert found["rusty.pdb"] == "symbols"

"""What a guest cannot do skips a test with its reason: capabilities, and what its kernel does not export."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest


def test_a_missing_capability_skips_with_its_name_and_without_a_boot(inner: Any) -> None:
    result = inner.run(
        """
@pytest.mark.lab_needs("direct_io")
@pytest.mark.lab_driver("sync")
def test_needs(reader):
    pass
""",
        "-rs",
    )
    result.assert_outcomes(skipped=1)
    entry = inner.test("test_needs")
    assert entry.verdict == "skipped"
    assert entry.missing_capability == "direct_io"
    assert entry.reason == "needs capability direct_io, which simulated guest: no operating system at all lacks"
    result.stdout.fnmatch_lines([f"*{entry.reason}*"])
    assert inner.report.guests == []
    assert inner.report.skipped_for == {"direct_io": 1}


STUB = "function:ntoskrnl.exe!MmGetVirtualForPhysical"


WHY = f"needs {STUB}: this guest's kernel has no MmGetVirtualForPhysical"


@pytest.mark.parametrize("behind", ["assert reads[0].text == 'slot A'", "pass"])
def test_a_call_of_a_missing_kernel_function_skips_the_test_and_accuses_no_driver(inner: Any, behind: str) -> None:
    result = inner.run(
        f"""
@pytest.mark.lab_driver("sync")
def test_stub(reader):
    reads = reader.read(length=55)
    {behind}

@pytest.mark.lab_driver("sync")
def test_after(reader):
    assert reader.read(length=20)[0].text == "slot A"
"""
    )
    assert inner.verdicts == {"test_stub": "skipped", "test_after": "passed"}
    entry = inner.test("test_stub")
    assert (entry.reason, entry.missing_capability, entry.fault, entry.evidence) == (WHY, STUB, None, [])
    assert inner.report.skipped_for == {STUB: 1}
    assert [guest.ended for guest in inner.report.guests] == [
        f"lacks {STUB}, called in test_inner.py::test_stub",
        "end of run",
    ]
    assert inner.report.exit_code == 0
    assert result.ret == 0, "pytest must not count as failed what the lab does not"
    assert not (inner.out / "evidence").exists()


def test_an_expected_fault_does_not_turn_a_missing_function_into_a_finding(inner: Any) -> None:
    result = inner.run(
        """
pytestmark = pytest.mark.lab_driver("sync")

@pytest.mark.lab_expect_fault(0xC0000005)
def test_expects_a_fault(reader):
    reader.read(length=55)

@pytest.mark.xfail(reason="not done yet", strict=True)
def test_expected_to_fail(reader):
    reader.read(length=55)
    assert False

def test_waits_for_a_print(reader, prints):
    reader.read(length=55)
    prints.expect(["SimSync loaded", "read 55", "and more"], timeout=5)
"""
    )
    assert set(inner.verdicts.values()) == {"skipped"}
    assert {test.missing_capability for test in inner.report.tests} == {STUB}
    assert inner.report.exit_code == 5
    assert result.ret == 5
    result.assert_outcomes(passed=1, skipped=2, xfailed=1)


def test_a_driver_fault_before_such_a_call_is_still_a_crash(inner: Any) -> None:
    inner.run(
        """
@pytest.mark.lab_driver("sync")
def test_both(reader, guest):
    reader.read(length=66)
    guest.prints.stub()
"""
    )
    assert inner.verdicts == {"test_both": "crash"}


def test_a_missing_export_of_another_driver_is_not_the_guests_lack(inner: Any) -> None:
    inner.run(
        """
@pytest.mark.lab_driver("sync")
def test_own(reader):
    reader.read(length=56)
"""
    )
    assert inner.verdicts == {"test_own": "crash"}


def test_such_a_call_after_a_test_only_replaces_the_next_tests_guest(inner: Any) -> None:
    inner.prepare(
        more="""
@pytest.hookimpl(trylast=True)
def pytest_runtest_logfinish(nodeid):
    if nodeid.endswith("test_one"):
        SOURCES[0].guests[0].prints.stub()
"""
    )
    inner.run(
        """
@pytest.mark.lab_driver("sync")
def test_one(reader):
    assert reader.read(length=20)[0].text == "slot A"

@pytest.mark.lab_driver("sync")
def test_two(reader):
    assert reader.read(length=20)[0].text == "slot A"
"""
    )
    assert inner.verdicts == {"test_one": "passed", "test_two": "passed"}
    assert len(inner.report.guests) == 2
    assert inner.report.exit_code == 0


KERNEL = """
    from lab.image.manifest import KernelFacts, KernelModule
    from simulated import manifest
    known = KernelModule(functions=("DbgPrint",), stubs=("MmGetVirtualForPhysical",))
    source.manifest = manifest(kernel=KernelFacts(modules={"ntoskrnl.exe": known}))
"""


def imports_of(monkeypatch: pytest.MonkeyPatch, **imports: dict[str, tuple[str, ...]]) -> None:
    """Have the drivers ``sim.sys`` and ``other.sys`` import this."""
    monkeypatch.setattr("lab.image.gaps.pe.inspect", lambda path: SimpleNamespace(imports=imports.get(path.stem, {})))


def test_a_driver_that_cannot_be_loaded_needs_no_boot(inner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    imports_of(monkeypatch, sim={"wdfldr.sys": ("WdfVersionBind",), "ntoskrnl.exe": ("DbgPrint",)})
    inner.prepare(changes=KERNEL.strip())
    result = inner.run(
        """
@pytest.mark.lab_driver("sync")
def test_frameworked(driver):
    assert False, "it must not be started"
"""
    )
    entry = inner.test("test_frameworked")
    assert (entry.verdict, entry.missing_capability) == ("skipped", "module:wdfldr.sys")
    assert entry.reason == "needs module:wdfldr.sys: this guest has no module wdfldr.sys"
    assert inner.report.guests == []
    result.stdout.fnmatch_lines(["lab: sync: this guest has no module wdfldr.sys: its tests are skipped on this guest"])


def test_an_import_that_fails_only_when_called_prevents_no_test(inner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    imports_of(monkeypatch, sim={"ntoskrnl.exe": ("DbgPrint", "MmGetVirtualForPhysical", "ExNewer")})
    inner.prepare(changes=KERNEL.strip())
    result = inner.run(
        """
@pytest.mark.lab_driver("sync")
def test_reads(reader):
    assert reader.read(length=20)[0].text == "slot A"
"""
    )
    assert inner.verdicts == {"test_reads": "passed"}
    said = "lab: sync imports functions that this guest's kernel only declares: MmGetVirtualForPhysical, ExNewer; a test *"
    result.stdout.fnmatch_lines([said])


def test_a_real_windows_is_not_compared_with_any_list(inner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    imports_of(monkeypatch, sim={"wdfldr.sys": ("WdfVersionBind",)})
    inner.run(
        """
@pytest.mark.lab_driver("sync")
def test_reads(reader):
    assert reader.read(length=20)[0].text == "slot A"
"""
    )
    assert inner.verdicts == {"test_reads": "passed"}


LOADER = """
    from lab.prints.record import NoteRecord
    from tests.simulated_guest import SimulatedTransport
    def refuse(self, verb, service, real=SimulatedTransport._sc):
        if verb != "start":
            return real(self, verb, service)
        said = NoteRecord(sequence=len(self.prints.log), host_time=1.0, text="not found", lacks="module:{module}")
        self.prints.log.extend([said])
        return 1114, "[SC] StartService FAILED 1114:"
    monkey.setattr(SimulatedTransport, "_sc", refuse)
"""


@pytest.mark.parametrize(("module", "verdict"), [("wdfldr.sys", "skipped"), ("other.sys", "product")])
def test_a_missing_module_is_the_guests_lack_unless_it_is_the_runs_own(inner: Any, module: str, verdict: str) -> None:
    inner.prepare(changes="monkey = config.stash.setdefault(MONKEY, pytest.MonkeyPatch())" + LOADER.format(module=module))
    path = inner.pytester.path / "conftest.py"
    path.write_text(path.read_text().replace("SOURCES = []", "SOURCES = []\nMONKEY = pytest.StashKey()") + UNDO)
    inner.run(
        """
@pytest.mark.lab_driver("sync")
def test_loads(driver):
    pass
"""
    )
    entry = inner.test("test_loads")
    assert entry.verdict == verdict, entry.reason
    assert entry.missing_capability == ("module:wdfldr.sys" if verdict == "skipped" else None)


UNDO = """
def pytest_unconfigure(config):
    if MONKEY in config.stash:
        config.stash[MONKEY].undo()
"""

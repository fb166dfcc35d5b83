"""Prints of a debug kernel in a run: not counted, kept, and shown as such."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import Inner

#: The simulated kernel prints a line of its own before each read's print.
_NOISY = """
from tests.simulated_guest import SimulatedPrints

class NoisyPrints(SimulatedPrints):
    def say(self, text):
        if text.startswith("read"):
            super().say("(/core/io/read.c:%d) dispatching\\n" % 170)
        super().say(text)
"""
_USE_NOISY = "source.prints_of = NoisyPrints"
_TESTS = """
pytestmark = pytest.mark.lab_driver("sync")

def test_reads(driver, reader, prints):
    reader.read(length=20, times=2)
    prints.expect(["SimSync loaded", "read 20", "read 20"])
    prints.expect_none()
    assert prints.texts() == ["SimSync loaded", "read 20", "read 20"]
"""
_PATTERN = r"\(/[a-z/]+\.c:\d+\) "


def _by_kernel(inner: Inner) -> list[tuple[str, bool]]:
    return [
        (record.text.strip(), record.by_kernel) for record in inner.test("test_reads").prints if "loaded" not in record.text
    ]


def test_the_lab_file_names_the_kernels_prints(inner: Inner) -> None:
    inner.prepare(_USE_NOISY, more=_NOISY)
    (inner.pytester.path / "lab.yaml").write_text(f"kernel_prints: ['{_PATTERN}']\n", encoding="utf-8")
    inner.run(_TESTS)
    assert inner.verdicts == {"test_reads": "passed"}
    assert _by_kernel(inner) == [("(/core/io/read.c:170) dispatching", True), ("read 20", False)] * 2
    page = (inner.out / "report.html").read_text(encoding="utf-8")
    assert page.count('class="kernel"') == 2
    assert "[kernel] " in page


def test_the_manifest_of_a_source_of_a_hook_names_the_kernels_prints(inner: Inner) -> None:
    changes = (
        "prints = source.manifest.prints.model_copy(update={'kernel_prints': ('[(]/core',)}); "
        "source.manifest = source.manifest.model_copy(update={'prints': prints})"
    )
    inner.prepare(f"{_USE_NOISY}; {changes}", more=_NOISY)
    inner.run(_TESTS)
    assert inner.verdicts == {"test_reads": "passed"}
    assert _by_kernel(inner)[0] == ("(/core/io/read.c:170) dispatching", True)


def test_without_a_pattern_the_prints_are_the_drivers(inner: Inner) -> None:
    inner.prepare(_USE_NOISY, more=_NOISY)
    inner.run(_TESTS)
    assert inner.verdicts == {"test_reads": "product"}
    assert not any(own for _, own in _by_kernel(inner))


@pytest.mark.parametrize("pattern", ["(", ".*"])
def test_a_wrong_pattern_is_wrong_usage(inner: Inner, pattern: str) -> None:
    inner.prepare(_USE_NOISY, more=_NOISY)
    (inner.pytester.path / "lab.yaml").write_text(f"image: wine\nkernel_prints: ['{pattern}']\n", encoding="utf-8")
    result = inner.run(_TESTS)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*lab.yaml:2: kernel_prints.0: *"])

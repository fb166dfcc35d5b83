"""Every pytest session of an environment with the lab loads its plugin, and most have no test of the lab."""

from __future__ import annotations

import pytest

_CONFTEST = """
import sys

def pytest_unconfigure():
    loaded = {name.split(".")[0] if not name.startswith("lab.") else ".".join(name.split(".")[:2]) for name in sys.modules}
    print("\\nloaded:", *loaded)
"""


def test_a_session_without_tests_of_the_lab_imports_little_of_it(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(_CONFTEST)
    pytester.makepyfile("def test_plain(): pass")
    # Other plugins of the environment import more: anyio, which watchfiles brings, imports asyncio.
    result = pytester.runpytest_subprocess("-s", "-p", "no:hypothesispytest", "-p", "no:anyio", timeout=120)
    result.assert_outcomes(passed=1)
    [line] = [line for line in result.outlines if line.startswith("loaded: ")]
    loaded = set(line.split())
    assert {"lab.plugin", "lab.config"} <= loaded
    assert not loaded & {
        "lab.vm",
        "lab.prints",
        "lab.crash",
        "lab.toolchain",
        "lab.live",
        "lab.snapshot",
        "lab.lease",
        "lab.image",
    }
    assert not loaded & {"rich", "cryptography", "jinja2", "pefile", "asyncio"}

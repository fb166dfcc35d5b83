"""A test lab for Windows kernel drivers: guests under QEMU, driver suites in pytest, kernel prints as evidence.

Suites use the fixtures of :mod:`lab.plugin` and what :mod:`lab.suite` exports; the rest is importable but may change.

To pytest: PYTEST_DONT_REWRITE. This package has no assertions for pytest to rewrite, and `lab run` imports it before pytest.
"""

__version__ = "0.1.0"

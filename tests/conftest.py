"""Fixtures of all of the lab's own tests."""

from __future__ import annotations

import gc
import importlib
import logging
import signal
from collections.abc import Iterator

import hypothesis
import pytest

from tests.warm import WarmPython

# An example that takes long depends on the host, not on the code: no test here measures time.
hypothesis.settings.register_profile("lab", deadline=None)
hypothesis.settings.load_profile("lab")

#: Inner pytest runs, for the plugin's tests; pytest allows this in the topmost conftest only.
pytest_plugins = ["pytester"]

# An inner run in this process ends with all modules forgotten that it was first to import. The plugin imports these late, and
# what a test patches must be what its inner run uses.
for _late in ("lab.plugin.meta", "lab.plugin.reader", "lab.plugin.run_end", "lab.plugin.run_guests", "lab.plugin.session"):
    importlib.import_module(_late)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Exempt what thousands of collected tests consist of from garbage collection: it stays until the end.

    pytest and pefile ask for full collections. Each of them walked all of these objects, which took a third of a second.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def _locks_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests, and what they start, do not wait for other runs on this host."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAB_LOCKS", str(tmp_path_factory.mktemp("locks")))
        yield


@pytest.fixture(autouse=True)
def _log_as_it_was() -> Iterator[None]:
    """Restore the lab's logger: a handler, a level or a filter that a test leaves changes what later tests see."""
    logger = logging.getLogger("lab")

    def state() -> tuple[list[logging.Handler], int, bool, list[object]]:
        return list(logger.handlers), logger.level, logger.propagate, list(logger.filters)

    before = state()
    yield
    after = state()
    if after != before:
        logger.handlers[:], logger.level, logger.propagate = before[0], before[1], before[2]
        pytest.fail(f"this test has changed the logger of the lab: {before} before it, {after} behind it")


@pytest.fixture(autouse=True, scope="session")
def _console_signals() -> Iterator[None]:
    """Make processes of tests interruptible, even if the tests themselves run in the background.

    A shell starts a background job with SIGINT and SIGQUIT ignored, and nohup one with SIGHUP; every child inherits that, and a
    shell among them cannot even trap them: a test that waits for such a trap would wait for ever.
    """
    wanted = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
    ignored = [number for number in wanted if signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, signal.default_int_handler if number is signal.SIGINT else signal.SIG_DFL)
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.fixture(scope="session")
def warm_python() -> Iterator[WarmPython]:
    """Starts Python processes that have the lab imported, for all tests of this session."""
    warm = WarmPython()
    yield warm
    warm.close()


@pytest.fixture
def warm(warm_python: WarmPython) -> Iterator[WarmPython]:
    """The same; what a test has started and left running is killed at its end."""
    yield warm_python
    warm_python.forget()

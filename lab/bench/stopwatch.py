"""A pytest plugin for the bench alone: how long each test took, and how much of that was spent in calls to its guest.

It wraps the transport and the print source of every guest, and the boot. Loaded by ``-p lab.bench.stopwatch`` into a process
that runs tests for their times; never into an ordinary run.
"""

from __future__ import annotations

import functools
import json
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

from lab.lease.starter import GuestStarter
from lab.live.guest import LiveGuest

FILE_OPTION = "--lab-bench-timings"
#: Calls that wait for the guest, where there are such. All other calls of both are the lab's own work. Nearly all that a test
#: asks of a guest is an ``ask``: without it, scripts and loads of drivers were overhead, and a test had 59 to 74 ms, not 19
#: (medians of 22 tests on a busy host).
_TRANSPORT_CALLS = ("run", "ask", "put", "get", "close")
_PRINT_CALLS = ("mark", "wait", "close")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """One test, in host seconds.

    Attributes:
        nodeid: The test.
        wall_s: From the first hook of its protocol to the last.
        guest_s: Of that, inside of calls to the guest.
        guest_cpu_s: Processor time of the calling thread inside of those calls.
        guests: Guests that were booted or forked meanwhile.
    """

    nodeid: str
    wall_s: float
    guest_s: float
    guest_cpu_s: float
    guests: int

    @property
    def waited_s(self) -> float:
        """What passed in the guest's calls without work of the caller."""
        return self.guest_s - self.guest_cpu_s

    @property
    def overhead_s(self) -> float:
        """All the rest."""
        return self.wall_s - self.waited_s


class Stopwatch:
    """Sums up the guest calls of the thread that runs the tests; a call within a call counts once.

    Args:
        clock: Monotonic seconds.
        cpu: Processor seconds of the calling thread.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter, cpu: Callable[[], float] = time.thread_time) -> None:
        self._clock = clock
        self._cpu = cpu
        self._depth = 0
        self._guest_s = self._guest_cpu_s = 0.0
        self._guests = 0
        #: Another thread prepares forks meanwhile; no test waits for it.
        self._thread = threading.get_ident()

    @contextmanager
    def guest_call(self) -> Iterator[None]:
        """The time inside of the ``with`` is the guest's."""
        if threading.get_ident() != self._thread:
            yield
            return
        self._depth += 1
        begin, cpu = self._clock(), self._cpu()
        try:
            yield
        finally:
            self._depth -= 1
            if not self._depth:
                passed = self._clock() - begin
                self._guest_s += passed
                # Two clocks: over a call of microseconds one may be a little faster than the other.
                self._guest_cpu_s += min(self._cpu() - cpu, passed)

    @contextmanager
    def guest(self) -> Iterator[None]:
        """The ``with`` makes a guest ready."""
        self._guests += 1
        with self.guest_call():
            yield

    @contextmanager
    def test(self, nodeid: str, done: Callable[[Timing], None]) -> Iterator[None]:
        """One test; ``done`` gets its timing after it."""
        self._guest_s = self._guest_cpu_s = 0.0
        self._guests = 0
        begin = self._clock()
        try:
            yield
        finally:
            done(
                Timing(
                    nodeid=nodeid,
                    wall_s=self._clock() - begin,
                    guest_s=self._guest_s,
                    guest_cpu_s=self._guest_cpu_s,
                    guests=self._guests,
                )
            )


def watch_guest(transport: object, prints: object, watch: Stopwatch) -> None:
    """Measure the calls of a guest's transport and print source that wait for the guest."""
    watch_calls(transport, _TRANSPORT_CALLS, watch)
    watch_calls(prints, _PRINT_CALLS, watch)


def watch_calls(of: object, calls: tuple[str, ...], watch: Stopwatch) -> None:
    """Measure some of an object's calls, where it has them, from now on; the object stays the same.

    Args:
        of: The object; one whose instances take attributes.
        calls: Names of the methods that wait for the guest.
        watch: Takes the time.
    """
    for name in (name for name in calls if hasattr(of, name)):
        setattr(of, name, _timed(getattr(of, name), watch))


def _timed(method: Callable[..., Any], watch: Stopwatch) -> Callable[..., Any]:
    @functools.wraps(method)
    def timed(*args: Any, **kwargs: Any) -> Any:
        with watch.guest_call():
            return method(*args, **kwargs)

    return timed


class StopwatchPlugin:
    """The hooks; made by :func:`pytest_configure`.

    Args:
        file: Gets one JSON line for each test.
        watch: Takes the time.
    """

    def __init__(self, file: Path, watch: Stopwatch) -> None:
        self._file = file
        self._watch = watch
        self._undo = pytest.MonkeyPatch()

    def install(self) -> None:
        """Measure every guest that is made from now on, and its boot."""
        watch = self._watch
        init: Callable[..., None] = LiveGuest.__init__
        start_once: Callable[..., Any] = GuestStarter._start_once

        def watched_init(guest: LiveGuest, *args: Any, **kwargs: Any) -> None:
            init(guest, *args, **kwargs)
            watch_guest(guest.transport, guest.prints, watch)

        def watched_start(starter: GuestStarter, *args: Any, **kwargs: Any) -> Any:
            with watch.guest():
                return start_once(starter, *args, **kwargs)

        self._undo.setattr(LiveGuest, "__init__", watched_init)
        self._undo.setattr(LiveGuest, "sleep", _timed(LiveGuest.sleep, watch))
        self._undo.setattr(GuestStarter, "_start_once", watched_start)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Measure one test, around the hooks of all other plugins."""
        with self._watch.test(item.nodeid, self._write):
            return (yield)

    def pytest_unconfigure(self) -> None:
        """Stop measuring."""
        self._undo.undo()

    def _write(self, timing: Timing) -> None:
        with self._file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(asdict(timing)) + "\n")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register the file's option."""
    parser.addoption(FILE_OPTION, dest="lab_bench_timings", metavar="FILE", required=True, help="Where each test's time goes")


def pytest_configure(config: pytest.Config) -> None:
    """Start measuring."""
    plugin = StopwatchPlugin(Path(config.getoption("lab_bench_timings")), Stopwatch())
    plugin.install()
    config.pluginmanager.register(plugin, "lab-bench-stopwatch")

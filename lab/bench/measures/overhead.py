"""What the lab itself costs a test, the guest's time excluded.

Real tests run on a real guest, in a child with :mod:`lab.bench.stopwatch` loaded, which notes for each test: the wall time from
the first hook to the last, the part of it that passed inside of calls to the guest, and the processor time that the calling
thread spent in those calls. The overhead is wall time minus guest calls plus that processor time: all computation of the lab
during a test counts, and waiting does not. pytest's own share is included.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path

from lab.bench.measures.suites import run_logged
from lab.bench.protocol import Context
from lab.bench.samples import Samples, Series
from lab.bench.stopwatch import FILE_OPTION, Timing
from lab.errors import HostToolError

#: Tests that only read, print and reload: none sleeps or computes on the host.
TESTS = ("suites/sync/test_slots.py", "suites/sync/test_counter.py", "suites/sync/test_device.py")
_SMALL = ("suites/sync/test_slots.py",)
_DEADLINE_S = 900.0


class OverheadMeasure:
    """One worker without xdist, so that the tests run in the process that is measured."""

    name = "overhead"
    title = "the lab's own time for one test, the guest's excluded"
    needs = "one guest of its own; a minute"

    def run(self, context: Context) -> Samples:
        """Run the tests and read the timings."""
        folder = context.out / self.name
        folder.mkdir(parents=True, exist_ok=True)
        context.end_guest()
        # The first test includes warm-up, and perhaps the making of a template.
        timings = self._run(context, folder)[1:]
        if not timings:
            raise HostToolError(["pytest"], 0, message="fewer than two tests ran", hint=f"read {folder}")
        return summarise(timings)

    @staticmethod
    def _run(context: Context, folder: Path) -> list[Timing]:
        file = folder / "timings.jsonl"
        tests = _SMALL if context.quick else TESTS
        argv = [sys.executable, "-m", "pytest", "-p", "lab.bench.stopwatch", f"{FILE_OPTION}={file}", "-p", "no:xdist"]
        argv += ["-p", "no:cacheprovider", f"--lab-image={context.image_dir}", f"--lab-accel={context.accelerator}"]
        argv += [f"--lab-out={folder / 'run'}", *tests]
        context.detail(" ".join(tests))
        run_logged(argv, folder / "pytest.log", timeout=_DEADLINE_S)
        return [Timing(**json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()]


def summarise(timings: Iterable[Timing]) -> Samples:
    """The series of some tests' timings; at least one test."""
    found = list(timings)
    series = (
        Series(key="overhead.test", label="the lab and pytest", unit="s", values=tuple(one.overhead_s for one in found)),
        Series(
            key="overhead.transport",
            label="of that, inside of guest calls",
            unit="s",
            values=tuple(one.guest_cpu_s for one in found),
            note="processor time for envelopes, encryption and parsing",
        ),
        Series(
            key="overhead.guest",
            label="the guest, not counted",
            unit="s",
            values=tuple(one.waited_s for one in found),
            baseline=True,
        ),
    )
    guests = sum(one.guests for one in found)
    return Samples(series=series, notes=(f"{len(found)} tests, {guests} new guests for them; the first test is left out",))

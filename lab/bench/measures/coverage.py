"""The suites without coverage beside the same suites with it. Both ways take turns."""

from __future__ import annotations

from collections.abc import Mapping

from lab.bench.measures.clock import same_verdicts
from lab.bench.measures.suites import choose_tests, run_suites
from lab.bench.protocol import Context
from lab.bench.samples import Samples, Series

_WAYS: dict[str, tuple[str, ...]] = {"without": (), "with": ("--coverage",)}


class CoverageMeasure:
    """Wall time of the whole command `lab run`, from its start to its report, with the number of workers that it chooses."""

    name = "coverage"
    title = "`lab run` of the suites, without and with `--coverage`"
    needs = "the whole host; a minute or two for each of eight runs"

    def run(self, context: Context) -> Samples:
        """Run both in turn; the first run of each way, which builds the drivers and makes templates, does not count."""
        suites, choice = choose_tests(context)
        context.end_guest()
        verdicts: dict[str, Mapping[str, str]] = {}
        seconds: dict[str, list[float]] = {way: [] for way in _WAYS}

        def once(way: str, what: str) -> float:
            context.detail(f"{way} coverage: {what}")
            folder = context.out / self.name / f"{way}-{what.replace(' ', '-')}"
            done = run_suites(context, suites, workers=None, options=(*_WAYS[way], *choice), folder=folder)
            verdicts[folder.name] = done.verdicts
            same_verdicts(verdicts)
            return done.seconds

        for way in _WAYS:
            once(way, "first run")
        for turn in range(1, context.repeat(3, 1, most=5) + 1):
            for way in list(_WAYS)[:: 1 if turn % 2 else -1]:
                seconds[way].append(once(way, f"turn {turn}"))
        tests = len(next(iter(verdicts.values())))
        return Samples(
            series=tuple(
                Series(
                    key=f"coverage.{way}",
                    label=f"{way} coverage",
                    unit="s",
                    values=tuple(values),
                    reference="" if way == "without" else "coverage.without",
                    baseline=way == "without",
                )
                for way, values in seconds.items()
            ),
            notes=(
                f"tests: {' '.join((*suites, *choice))}",
                f"{tests} tests, with the same verdict in each of {len(verdicts)} runs",
            ),
        )

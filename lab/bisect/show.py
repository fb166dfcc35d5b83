"""What a search says to its reader: a line for each step, and the end."""

from __future__ import annotations

from collections.abc import Iterator
from math import floor

from lab.bisect.model import BisectLog, Candidate, Result, Step, Tally
from lab.bisect.numbers import least_rate
from lab.gate.proportions import Rate, fisher


def step_line(step: Step, name: str, log: BisectLog) -> str:
    """A step that is over, in one line.

    Args:
        step: The step.
        name: What it is, such as ``step 2 of about 4``.
        log: The record of the search.
    """
    parts = [f"{name}: {step.candidate.label}: {step.answer}"]
    if step.answer == "skip":
        parts = [f"{name}: {step.candidate.label}: skipped, {_why(step)}"]
    elif step.same_as:
        parts.append(f"its driver has the same bytes as that of {step.same_as}")
    build = log.build_of(step.digest)
    if build is not None and (step.runs or step.answer != "skip") and build.tally.rate.runs:
        parts.append(rate_words(build.tally))
    parts.append(f"{step.seconds:.0f} s")
    if step.runs:
        parts.append(step.runs[-1])
    return ", ".join(parts)


def _why(step: Step) -> str:
    words = {
        "not built": "it does not build",
        "another failure": "it fails in another way",
        "not tested": "the test did not run",
        "lab failed": "the lab failed",
    }
    return f"{words[step.kind or 'lab failed']} ({step.reason})"


def rate_words(tally: Tally) -> str:
    """How often the failure showed: ``red in 3 of 8 (95%: 9% to 76%)``."""
    rate = tally.rate
    low, high = rate.interval()
    more = [f"{count} {what}" for count, what in ((tally.other, "with another failure"), (tally.lost, "not judged")) if count]
    return f"red in {rate.failed} of {rate.runs} (95%: {low:.0%} to {high:.0%}{''.join(f'; {one}' for one in more)})"


def needs_line(log: BisectLog, needed: int) -> str:
    """What is looked for, and how many green runs an answer takes."""
    assert log.target is not None
    target, tally = log.target, log.tally_of(log.bad.id)
    what = f"the failure {target.signature}" if target.signature else "any failure"
    runs = "1 green run" if needed == 1 else f"{needed} green runs"
    lines = [f"looking for {what} of {target.nodeid}"]
    lines += [f"not looked for, but also red there: {one}" for one in log.also_red]
    lines.append(f"it shows in at least {least_rate(tally):.0%} of all runs, so {runs} mean good, and 1 red run means bad")
    return "\n".join(lines)


def result_lines(log: BisectLog, result: Result) -> Iterator[str]:
    """The end of a search."""
    if result.first_bad is None:
        yield f"the first bad one is among these {len(result.candidates)}; the others could not be tested well enough:"
        yield from (f"  {one.label}: {_left_because(log, one)}" for one in result.candidates)
        return
    first = result.first_bad
    what = "commit" if log.kind == "commits" else "build"
    yield f"first bad {what}: {first.label}"
    if result.text:
        yield ""
        yield from result.text.splitlines()
        yield ""
    bad = log.tally_of(first.id)
    yield f"the failure: {log.target.reason if log.target else ''}"
    yield f"on it:       {rate_words(bad)}"
    for parent in result.parents:
        good = log.tally_of(parent.id)
        yield f"before it:   {parent.label}: {rate_words(good)}"
    yield f"confidence:  {percent(result.confidence)}: a driver with the failure would have shown it before it, too"
    if result.parents:
        before = log.tally_of(result.parents[0].id).rate
        chance = fisher(Rate(before.failed, before.runs), bad.rate) if before.runs else 1.0
        yield f"             chance of such a difference between equal drivers (Fisher's exact test): {chance:.2g}"


def _left_because(log: BisectLog, candidate: Candidate) -> str:
    """Why a candidate may be the first bad one."""
    skip = log.skip_of(candidate.id)
    if log.answers().get(candidate.id) == "bad":
        return "bad"
    if skip is not None:
        return _why(skip)
    return f"{rate_words(log.tally_of(candidate.id))}, too few for a confidence of {percent(log.plan.confidence)}"


def percent(share: float) -> str:
    """A confidence: never rounded up, so that it never says 100%."""
    return f"{min(99.99, floor(share * 10000) / 100):.4g}%"

"""What a run says about Driver Verifier: what was asked for, and what was in force in its guests."""

from __future__ import annotations

from collections.abc import Iterator

from lab.report.model import RunReport, VerifierEntry

_WAYS = {"now": "without a restart, by /dif … /now", "volatile": "without a restart, by /volatile", "reboot": "by a restart"}


def verifier_lines(report: RunReport) -> list[str]:
    """The sentences for readers; none if Driver Verifier was not asked for."""
    return [] if report.verifier is None else list(_lines(report))


def _lines(report: RunReport) -> Iterator[str]:
    assert report.verifier is not None
    wanted = report.verifier
    states: dict[tuple[str, ...], tuple[VerifierEntry, int]] = {}
    for guest in report.guests:
        if guest.verifier is not None:
            found = guest.verifier
            same = (found.way, *found.checks, "|", *found.left_out)
            states[same] = (found, states.get(same, (found, 0))[1] + 1)
    head = f"Driver Verifier: profile {wanted.profile} for {', '.join(wanted.drivers)}"
    if wanted.probability is not None:
        tags = f" with the pool tags {', '.join(wanted.pool_tags)}" if wanted.pool_tags else ""
        programs = f" of {', '.join(wanted.applications)}" if wanted.applications else ""
        head += f"; {wanted.probability} of 10000 allocations{tags}{programs} fail, {wanted.delay_minutes} min after the start"
    yield head
    if not states:
        yield "Driver Verifier was in force in no guest"
    for found, count in states.values():
        text = f"in force in {count} guest(s), {_WAYS.get(found.way, found.way)}: {', '.join(found.checks)}"
        if found.left_out:
            text += f"; left out, because they need a restart (reboot: true): {', '.join(found.left_out)}"
        if found.unseen:
            text += f"; switched on, but not in the guest's answer: {', '.join(found.unseen)}"
        yield text

"""Goes through statements in the order of what they need, and keeps a record that an interrupted session goes on from."""

from __future__ import annotations

import datetime
import logging
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from lab.errors import CommandFailed, GuestError, LabError
from lab.proofs.record import ProofRecord, Row
from lab.proofs.statement import NEEDS, Bench, Need, Outcome, Statement, not_reached, refuted
from lab.proofs.ways import Ask

_LOG = logging.getLogger(__name__)
_LINES = 6


class ProvingBench(Bench, Protocol):
    """A bench whose guests the session ends."""

    def keep_only(self, need: Need) -> None:
        """End the guests that a proof with this need does not use."""

    def end_guests(self) -> None:
        """End every guest: one of them may be damaged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Where a session reports.

    Attributes:
        begins: Called before a statement is proved, with its number among those that are to be reached, and their count.
        ended: Called with its row.
        save: Called with the record after each statement.
    """

    begins: Callable[[Statement, int, int], None] = lambda _statement, _number, _of: None
    ended: Callable[[Row], None] = lambda _row: None
    save: Callable[[ProofRecord], None] = lambda _record: None


def open_statements(catalogue: Sequence[Statement], record: ProofRecord, again: Collection[str] = ()) -> tuple[Statement, ...]:
    """The statements that have no answer yet, or are to be proved again, in the order in which they are reached.

    Args:
        catalogue: Those to be looked at.
        record: What is known.
        again: Names of statements that are proved once more.
    """
    todo = [one for one in catalogue if one.id in again or not _answered(record, one)]
    return tuple(sorted(todo, key=lambda one: NEEDS.index(one.proof.needs)))


def prove(
    todo: Sequence[Statement],
    record: ProofRecord,
    bench: ProvingBench,
    listener: Listener,
    *,
    now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    clock: Callable[[], float] = time.monotonic,
) -> ProofRecord:
    """Prove statements one after the other.

    An interrupt loses the statement that it meets, and no answer that was there before.

    Args:
        todo: The statements, see :func:`open_statements`.
        record: What is known; its subject is what is there now.
        bench: What proofs get from the lab.
        listener: Gets each step, and saves the record.
        now: The present time.
        clock: Seconds, monotonic.

    Returns:
        The record with a row for each of them.
    """
    for number, statement in enumerate(todo, 1):
        listener.begins(statement, number, len(todo))
        began = clock()
        outcome = _outcome(statement, bench)
        row = Row(
            id=statement.id,
            text=statement.text,
            state=outcome.state,
            said=outcome.said,
            by="person" if isinstance(statement.proof, Ask) else "lab",
            when=now().strftime("%Y-%m-%dT%H:%M:%SZ"),
            seconds=round(clock() - began, 1),
            accelerator=record.subject.accelerator,
            qemu=record.subject.qemu,
            lab=record.subject.lab,
        )
        record = record.with_row(row)
        listener.save(record)
        listener.ended(row)
    return record


def _answered(record: ProofRecord, statement: Statement) -> bool:
    row = record.row(statement.id)
    return row is not None and row.answered


def _outcome(statement: Statement, bench: ProvingBench) -> Outcome:
    recipe = bench.recipe
    if not statement.is_about(recipe.windows):
        return not_reached(f"it is about another Windows: {', '.join(statement.windows)}")
    if statement.only_kvm and bench.accelerator != "kvm":
        return not_reached(f"it needs KVM, and guests run under {bench.accelerator} here")
    bench.keep_only(statement.proof.needs)
    try:
        return statement.proof.prove(bench)
    except CommandFailed as error:
        return refuted(_short(error))
    except LabError as error:
        _LOG.info("statement %s is not reached: %s", statement.id, error)
        if isinstance(error, GuestError):
            bench.end_guests()
        return not_reached(_short(error))


def _short(error: LabError) -> str:
    lines = error.message.splitlines()
    return "\n".join(lines[:_LINES] + (["…"] if len(lines) > _LINES else []))

r"""All statements about Windows that the lab relies on, in the order of the table in docs/windows.md.

To add one:

1. Write a :class:`lab.proofs.statement.Statement` into the module of :mod:`lab.proofs.topics` that fits, or into a new
   module there with a tuple ``STATEMENTS``, which gets one line in :func:`statements` below.
2. Choose its proof: most are :class:`lab.proofs.ways.InGuest` (a command, and what it must answer), ``SuitesPass`` (`lab run`
   ends with 0), ``Decided`` (some lines of Python over a :class:`lab.proofs.statement.Bench`) or ``Ask`` (a person looks).
3. ``python -m lab.proofs.document``: it writes the table. tests/proofs/test_catalogue.py compares both.
4. Teach the stand-in for Windows in tests/proofs/standin.py the answer to its command: test_session.py there proves every
   statement against it. A statement that the stand-in's image cannot prove is named in ``NOT_HERE`` there.

An example::

    Statement(
        id="verifier-query",
        text="`verifier /query` shows what is in force, and not the settings of the next boot",
        proof=InGuest(command="verifier /query", says=r"labtest\.sys", seen="the driver's name"),
    )

Commands for people name the image ``windows-server-2022``. A proof must not contain a secret: what a guest answers is sent in.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from lab.errors import ConfigError
from lab.image.names import one_of
from lab.image.windows.recipe import windows_recipe
from lab.proofs.statement import Statement
from lab.proofs.topics import crashes, debugger, drivers, forks, guests, hosts, installing, policies, verifier


def statements() -> tuple[Statement, ...]:
    """Every statement."""
    return tuple(
        chain(
            installing.STATEMENTS,
            guests.STATEMENTS,
            drivers.STATEMENTS,
            policies.STATEMENTS,
            debugger.STATEMENTS,
            crashes.STATEMENTS,
            verifier.STATEMENTS,
            forks.STATEMENTS,
            hosts.STATEMENTS,
        )
    )


def about_image(name: str, among: tuple[Statement, ...]) -> tuple[Statement, ...]:
    """The statements that are not about another Windows than that of an image.

    Args:
        name: The image's.
        among: The statements that there are.
    """
    windows = windows_recipe(name).windows
    return tuple(one for one in among if one.is_about(windows))


def chosen(ids: Iterable[str], among: tuple[Statement, ...]) -> tuple[Statement, ...]:
    """Some statements, in the order of the catalogue.

    Args:
        ids: As a user wrote them.
        among: The statements that there are.

    Raises:
        ConfigError: There is none of this name.
    """
    names = tuple(statement.id for statement in among)
    wanted = set(ids)
    for name in sorted(wanted):
        if name not in names:
            raise ConfigError(f"there is no statement {name!r}", hint=one_of(name, names))
    return tuple(statement for statement in among if statement.id in wanted)

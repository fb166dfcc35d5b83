"""``session.json``: pytest's own record of a run, beside the verdicts of its tests.

pytest's exit code alone does not distinguish a run that was interrupted from one that stopped at its first failure, nor a
suite that cannot be imported from an unknown option; its hooks do.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lab.host.passed import said
from lab.report.elsewhere import find, write_text
from lab.report.model import Text, as_json

_LOG = logging.getLogger(__name__)

SESSION_FILE = "session.json"


class CollectionError(BaseModel):
    """A suite, or a conftest.py, that could not be collected."""

    model_config = ConfigDict(extra="forbid")

    nodeid: Text = Field(description="the file or folder, relative to pytest's root")
    verdict: Literal["test", "infra"] = Field(default="test", description="infra: the host had no space left")
    reason: Text = Field(description="one line")
    details: Text = Field(default="", description="the traceback as pytest shows it")


class SessionFacts(BaseModel):
    """The facts of one pytest session, apart from the tests' own records."""

    model_config = ConfigDict(extra="forbid")

    exit_status: int = 0
    stopped: Text = Field(default="", description="why it ended before its last test, in pytest's words; empty when it did not")
    stopped_by: Literal["", "interrupt", "exit", "stop", "internal error"] = Field(
        default="", description="interrupt: a signal; exit: pytest.exit(); stop: a number of failures, errors of collection"
    )
    blame: Literal["test", "lab"] = Field(default="lab", description="of an internal error: whose code raised it")
    ran: int = Field(default=0, description="tests that pytest has a result of, the lab's and others")
    failed: list[Text] = Field(default_factory=list, description="ids of all tests of which a phase failed")
    deselected: int = 0
    no_guest: Text = Field(
        default="", description="why no guest is available, if that is known before any test; otherwise empty"
    )
    no_guest_by: Literal["", "usage", "infra"] = Field(
        default="",
        description="usage: the request is wrong, for example an image that is not built; infra: the host or the lab",
    )
    collection_errors: list[CollectionError] = Field(default_factory=list)


def write_session(out: Path, facts: SessionFacts) -> None:
    """Write the facts into a run's folder, in one step."""
    write_text(out, SESSION_FILE, as_json(facts, indent=2) + "\n")


def read_session(out: Path) -> SessionFacts | None:
    """Read the file of :func:`write_session`; None if pytest ended before that."""
    try:
        return SessionFacts.model_validate_json(find(out, SESSION_FILE).read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        _LOG.info("what pytest saw of the session cannot be read: %s", said(error))
        return None

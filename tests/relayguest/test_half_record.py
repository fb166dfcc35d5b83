"""A guest that is stopped in the middle of a record: each fork finishes it, and it comes once. And forks whose owner is killed.

The guest is the stand-in for a kernel with the finished labrelay.sys, in QEMU under TCG. It is not Windows.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from lab.host.paths import templates_dir
from lab.image.recipes import ensure_image
from lab.live.guest import LiveGuest
from lab.prints.record import GapRecord, PrintRecord, Record
from lab.prints.relay.decoder import decode_file
from lab.prints.relay.frame import HEADER_SIZE, MAGIC
from lab.prints.relay.source import LOG_FILE
from lab.prints.relay.start import read_start
from lab.snapshot.forks import Forks
from lab.snapshot.store import TemplateStore
from lab.snapshot.template import Template
from tests.prints.kd.live import wait_for
from tests.relayguest.logs import frames_of
from tests.relayguest.package import ROOT, environment, settings
from tests.relayguest.restless import PLAIN, restless_forks, restless_guest, restless_text
from tests.relayguest.stand_in import RESTLESS, RESTLESS_BYTES, TRANSPORT

pytestmark = pytest.mark.e2e

FORKS = 50
KILLS = 5
OWNER_S = 120.0
#: A guest that is stopped at random is in a record more often than between two.
TRIES = 10


class Silent:
    """Progress that is not shown."""

    def stage(self, text: str) -> None:
        """Nothing."""

    def detail(self, text: str) -> None:
        """Nothing."""

    def done(self, text: str) -> None:
        """Nothing."""


@pytest.fixture
def forks(home: Path, site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Forks]:
    for name, value in settings(home).items():
        monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(str(site))
    made = restless_forks(ensure_image(RESTLESS, Silent()))
    yield made
    made.close()


@pytest.fixture
def template(forks: Forks) -> Template:
    """One whose guest was stopped in the middle of a record."""
    for _ in range(TRIES):
        found = forks.template(PLAIN)
        assert found is not None, forks.figures.notes
        if found.prints_state().replay:
            return found
        TemplateStore(templates_dir()).discard(found)
    pytest.fail(f"{TRIES} times, the guest was stopped between two records")


def decoded(log: Path) -> list[Record]:
    start = read_start(log)
    with log.open("rb") as stream:
        return list(decode_file(stream, "ascii", resume=start.position, tail=start.tail))


def numbered(records: list[Record]) -> list[str]:
    """The guest's own prints."""
    return [record.text for record in records if isinstance(record, PrintRecord) and record.text.startswith("restless")]


def finish(guest: LiveGuest, before: int) -> None:
    """Stop a fork's prints and compare all of them; the template had ``before`` of them, which do not come again."""
    try:
        total = TRANSPORT.guest(guest.machine.run_dir).orders.restless(0)
        guest.prints.mark("end", timeout=OWNER_S)
        records = guest.prints.records_since(0)
        assert not [record for record in records if isinstance(record, GapRecord)]
        assert numbered(records) == [restless_text(number) for number in range(before, total)]
        assert total > before
        log = guest.machine.run_dir / LOG_FILE
        assert numbered(decoded(log)) == numbered(records)
        frames_of(log)
    finally:
        guest.close()


def test_a_record_that_was_half_written_at_the_snapshot_comes_once_in_each_fork(forks: Forks, template: Template) -> None:
    half = template.prints_state().replay
    assert half.startswith(MAGIC[: len(half)])
    assert len(half) < HEADER_SIZE + RESTLESS_BYTES
    before = numbered(decoded(template.folder / LOG_FILE))
    assert before == [restless_text(number) for number in range(len(before))]

    def some(name: str) -> int:
        """Half of the forks, one after the other."""
        with contextlib.closing(restless_forks(forks.image_dir)) as own:
            for number in range(FORKS // 2):
                finish(restless_guest(own, f"{name}-{number}"), len(before))
        return FORKS // 2

    with ThreadPoolExecutor(2) as pool:
        assert sum(pool.map(some, ("one", "other"))) == FORKS


def test_a_killed_owner_leaves_a_log_without_a_hole_and_forks_that_are_not_affected(
    forks: Forks, template: Template, home: Path, site: Path
) -> None:
    before = len(numbered(decoded(template.folder / LOG_FILE)))
    for number in range(KILLS):
        owner = subprocess.Popen(
            [sys.executable, "-m", "tests.relayguest.owner", str(forks.image_dir)],
            cwd=ROOT,
            env=environment(home, site),
            stdout=subprocess.PIPE,
            text=True,
        )
        assert owner.stdout is not None
        folder, pid = owner.stdout.readline().split()
        log = Path(folder) / LOG_FILE
        wait_for(lambda log=log: log.stat().st_size > 2 * RESTLESS_BYTES, "some prints of the fork")  # type: ignore[misc]
        owner.kill()
        owner.wait(OWNER_S)
        owner.stdout.close()
        wait_for(lambda pid=pid: not psutil.pid_exists(int(pid)), "the end of its QEMU")  # type: ignore[misc]
        records = decoded(log)
        texts = numbered(records)
        assert texts == [restless_text(number) for number in range(before, before + len(texts))]
        gaps = [record for record in records if isinstance(record, GapRecord)]
        # QEMU, too, was killed in the middle of a record: that is one gap, and the last record of the log.
        assert [(gap.reason.startswith("the log ends in"), gap is records[-1]) for gap in gaps] in ([], [(True, True)])
        finish(restless_guest(forks, f"after-{number}"), before)

"""`lab bisect` in real guests: twelve commits, with a fault that always shows and one that rarely does."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from lab.bisect.model import BisectLog
from tests.bisect.scratch import Scratch
from tests.e2e.running import LAB, ROOT, RUN_DEADLINE_S

pytestmark = pytest.mark.e2e

SUITE = '''
import random

import pytest

pytestmark = pytest.mark.lab_driver("lantern")


def test_a_write_is_taken_as_a_whole(reader):
    assert reader.write("on").returned == 2


def test_letters_come_in_their_order(reader):
    """One, two or three reads by chance: a fault in the third one shows one time in three."""
    times = random.choice((1, 2, 3))
    assert [read.text for read in reader.read(length=1, times=times)] == ["a", "b", "c"][:times]
'''

#: What each commit replaces in lantern.c.
COMMITS = [
    ("Start", "", ""),
    ("Make room for more letters", "LETTERS 26", "LETTERS 52"),
    ("Explain the letters", "#define LETTERS", "/* capital letters follow */\n#define LETTERS"),
    ("Count flashes from zero", "FIRST + number % LETTERS", "FIRST + (ULONG)number % LETTERS"),
    ("Flash brighter", "% LETTERS)", "% LETTERS - (number == 2))"),
    ("Rename the counter", "volatile LONG flashes", "volatile LONG count"),
    ("Rename it everywhere", "&extension->flashes", "&extension->count"),
    ("Report what was written", "Complete(irp, STATUS_SUCCESS, length)", "Complete(irp, STATUS_SUCCESS, length - 1)"),
    ("Explain writes", "ULONG length =", "/* bytes */\n    ULONG length ="),
    ("Forget the comment", "/* number of reads so far */", ""),
    ("Make room for even more", "LETTERS 52", "LETTERS 104"),
    ("Say nothing twice", "LETTERS 104", "LETTERS 208"),
]
RARE, BROKEN, ALWAYS = 4, 5, 7


@pytest.fixture
def scratch(tmp_path: Path) -> tuple[Scratch, list[str]]:
    """The repository and its commits."""
    scratch = Scratch.make(tmp_path / "project")
    (scratch.top / "suites").mkdir()
    (scratch.top / "suites" / "test_lantern.py").write_text(SUITE, encoding="utf-8")
    (scratch.top / "lab.yaml").write_text("drivers: [driver]\n", encoding="utf-8")
    (scratch.top / ".gitignore").write_text("out/\nbuild/\n__pycache__/\n", encoding="utf-8")
    shutil.copytree(ROOT / "tests" / "e2e" / "lantern", scratch.top / "driver")
    source = scratch.top / "driver" / "lantern.c"
    row = []
    for subject, old, new in COMMITS:
        text = source.read_text(encoding="utf-8")
        assert old in text
        source.write_text(text.replace(old, new, 1), encoding="utf-8")
        row.append(scratch.commit(subject))
    return scratch, row


def bisect(scratch: Scratch, *arguments: str) -> tuple[str, BisectLog]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    done = subprocess.run(
        [str(LAB), "bisect", *arguments],
        cwd=scratch.top,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=RUN_DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    folder = scratch.top / arguments[arguments.index("--out") + 1]
    return done.stdout, BisectLog.model_validate_json((folder / "bisect.json").read_text(encoding="utf-8"))


def test_the_commit_of_a_fault_that_always_shows_and_of_one_that_rarely_does(scratch: tuple[Scratch, list[str]]) -> None:
    repository, row = scratch
    before = repository.state()
    test = "suites/test_lantern.py::test_a_write_is_taken_as_a_whole"
    output, log = bisect(repository, "--good", row[0], "--repeat", "1", "--out", "out/always", test)
    assert f"first bad commit: {row[ALWAYS][:7]} Report what was written" in output
    answers = {row.index(step.candidate.id): step for step in log.steps}
    assert answers[BROKEN].kind == "not built"
    assert answers[ALWAYS + 1].digest == answers[ALWAYS].digest, "only a comment differs"
    assert log.result is not None
    assert log.result.confidence >= 0.99

    # Fewer runs than by default: eight miss the fault in 4% of cases, which the end would notice.
    few = ("--repeat", "8", "--confidence", "0.95")
    output, log = bisect(repository, "--good", row[0], *few, "--out", "out/rare", "-k", "letters_come_in_their_order")
    assert f"first bad commit: {row[RARE][:7]} Flash brighter" in output
    assert log.result is not None
    assert log.result.confidence >= 0.95
    at_the_end = log.tally_of(row[-1])
    assert at_the_end.green, "it does not always show"
    after = repository.state()
    assert {key: after[key] for key in after if key != "files"} == {key: before[key] for key in before if key != "files"}

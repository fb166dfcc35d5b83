"""A search over the commits of scratch repositories, by the real `git bisect`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from lab.bisect.commits import CommitSearch
from lab.bisect.model import BisectLog, Candidate, Plan
from lab.bisect.repository import Repository, Worktree
from lab.bisect.search import Contradiction
from lab.errors import ConfigError
from tests.bisect.bench import GREEN, RED, Bench, Searching, Spec
from tests.bisect.scratch import Scratch


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    return Scratch.make(tmp_path / "project")


@pytest.fixture
def over_commits(tmp_path: Path) -> Callable[..., Searching]:
    """Search a repository in which these commits are bad, and these cannot be built."""

    def make(
        scratch: Scratch, good: str, bad: str, *, red: Sequence[str], broken: Sequence[str] = (), first_parent: bool = False
    ) -> Searching:
        repository = Repository.around(scratch.top)
        ends = repository.commit(good), repository.commit(bad)
        repository.check_ends(*ends)
        worktree = Worktree(repository=repository, folder=tmp_path / "state" / "worktree")
        worktree.make(bad)
        commits = scratch.git("rev-list", "--all").split()
        specs = {one: Spec(outcomes=(RED,) if one in red else (GREEN,), builds=one not in broken) for one in commits}
        log = BisectLog(kind="commits", started="", good=ends[0], bad=ends[1], plan=Plan(confidence=0.99))
        (tmp_path / "out").mkdir()
        return Searching(tmp_path / "out", Bench(specs), log, lambda: CommitSearch(worktree, *ends, first_parent=first_parent))

    return make


def found(search: Searching) -> list[str]:
    return [one.id for one in search.run().candidates]


def test_it_finds_the_guilty_one_of_twelve_commits(scratch: Scratch, over_commits: Callable[..., Searching]) -> None:
    row = scratch.row(12)
    search = over_commits(scratch, row[0], "HEAD", red=row[6:], broken=[row[4]])
    assert found(search) == [row[6]]
    assert search.log.result is not None
    assert [one.id for one in search.log.result.parents] == [row[5]]
    assert search.log.result.confidence >= 0.99


@pytest.mark.parametrize("guilty", [1, 3, 5, 7])
@pytest.mark.parametrize("broken", [(), (3,), (2, 3, 4)])
def test_commits_that_do_not_build_are_candidates_only_beside_the_guilty_one(
    scratch: Scratch, over_commits: Callable[..., Searching], guilty: int, broken: tuple[int, ...]
) -> None:
    row = scratch.row(8)
    left = found(over_commits(scratch, row[0], row[-1], red=row[guilty:], broken=[row[number] for number in broken]))
    numbers = sorted(row.index(one) for one in left)
    first = guilty
    while first - 1 in broken:
        first -= 1
    last = guilty
    while last in broken:
        last += 1
    assert numbers == list(range(first, last + 1))


@pytest.mark.parametrize("broken", [False, True])
def test_a_merge_is_blamed_only_if_all_its_parents_are_known_to_be_good(
    scratch: Scratch, over_commits: Callable[..., Searching], broken: bool
) -> None:
    [before, good, fix] = scratch.row(3)
    scratch.git("checkout", "--quiet", "-B", "main", before)
    scratch.git("merge", "--quiet", "--no-ff", "--message", "Merge the fix", fix)
    merge = scratch.head()
    search = over_commits(scratch, good, merge, red=[merge], broken=[before] if broken else ())
    left = found(search)
    assert search.log.result is not None
    if broken:
        assert (left, search.log.result.exit_code, search.log.result.first_bad) == ([before, merge], 5, None)
    else:
        assert (left, search.log.result.exit_code) == ([merge], 0)
        assert search.log.result.confidence >= 0.99


def test_nothing_of_the_user_changes(scratch: Scratch, over_commits: Callable[..., Searching], tmp_path: Path) -> None:
    row = scratch.row(12)
    scratch.git("bisect", "start", row[9], row[2])
    hook = scratch.top / ".git" / "hooks" / "post-checkout"
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/the-hook-ran\n", encoding="ascii")
    hook.chmod(0o755)
    (scratch.top / "ring.c").write_text("work of the user\n", encoding="ascii")
    (scratch.top / "new.c").write_text("not added yet\n", encoding="ascii")
    scratch.git("add", "new.c")
    (scratch.top / "new.c").write_text("changed again\n", encoding="ascii")
    before = scratch.state()
    search = over_commits(scratch, row[0], row[11], red=row[6:])
    assert found(search) == [row[6]]
    worktree = Worktree(repository=Repository.around(scratch.top), folder=tmp_path / "state" / "worktree")
    worktree.remove()
    assert scratch.state() == before
    assert not (tmp_path / "the-hook-ran").exists()
    worktree.remove()


def test_a_worktree_shows_a_commit_and_nothing_else(scratch: Scratch, tmp_path: Path) -> None:
    first = scratch.commit("First", ring_c="one\n", _gitignore="build\n")
    second = scratch.commit("Second", ring_c="two\n", more_c="x\n")
    worktree = Worktree(repository=Repository.around(scratch.top), folder=tmp_path / "w")
    worktree.make(first)
    worktree.show(second)
    (worktree.folder / "ring.c").write_text("changed by a build\n", encoding="ascii")
    (worktree.folder / "build").mkdir()
    (worktree.folder / "build" / "ring.sys").write_text("of the second\n", encoding="ascii")
    worktree.show(first)
    assert sorted(path.name for path in worktree.folder.iterdir()) == [".git", ".gitignore", "ring.c"]
    assert (worktree.folder / "ring.c").read_text(encoding="ascii") == "one\n"
    worktree.make(second)
    worktree.show(second)
    assert (worktree.folder / "more.c").exists()


def merged(scratch: Scratch) -> dict[str, str]:
    """base - m1 - m2 - merge - last, with s1 - s2 on a side branch from base."""
    at = {"base": scratch.commit("base", ring_c="0\n")}
    scratch.git("checkout", "--quiet", "-b", "side")
    at |= {name: scratch.commit(name, side_c=f"{name}\n") for name in ("s1", "s2")}
    scratch.git("checkout", "--quiet", "main")
    at |= {name: scratch.commit(name, ring_c=f"{name}\n") for name in ("m1", "m2")}
    scratch.git("merge", "--quiet", "--no-ff", "--message", "merge", "side")
    at["merge"] = scratch.head()
    at["last"] = scratch.commit("last", ring_c="last\n")
    return at


def test_a_guilty_commit_on_a_merged_branch_is_found(scratch: Scratch, over_commits: Callable[..., Searching]) -> None:
    at = merged(scratch)
    search = over_commits(scratch, at["base"], at["last"], red=[at[one] for one in ("s2", "merge", "last")])
    assert found(search) == [at["s2"]]


def test_first_parents_alone_end_at_the_merge(scratch: Scratch, over_commits: Callable[..., Searching]) -> None:
    at = merged(scratch)
    red = [at[one] for one in ("s2", "merge", "last")]
    search = over_commits(scratch, at["base"], at["last"], red=red, first_parent=True)
    assert found(search) == [at["merge"]]
    assert search.log.result is not None
    assert [one.id for one in search.log.result.parents] == [at["m2"]]


def test_a_guilty_merge_has_two_good_parents_that_are_both_looked_at(
    scratch: Scratch, over_commits: Callable[..., Searching]
) -> None:
    at = merged(scratch)
    search = over_commits(scratch, at["base"], at["last"], red=[at["merge"], at["last"]])
    assert found(search) == [at["merge"]]
    assert search.log.result is not None
    assert {one.id for one in search.log.result.parents} == {at["m2"], at["s2"]}
    assert all(search.log.tally_of(at[one]).green >= 5 for one in ("m2", "s2"))


def test_a_good_commit_of_another_branch_leads_by_the_common_one(
    scratch: Scratch, over_commits: Callable[..., Searching]
) -> None:
    at = merged(scratch)
    search = over_commits(scratch, at["s2"], at["m2"], red=[at["m2"]])
    assert found(search) == [at["m2"]]
    assert at["base"] in search.bench.built


def test_a_common_commit_that_is_bad_says_that_the_failure_was_fixed(
    scratch: Scratch, over_commits: Callable[..., Searching]
) -> None:
    at = merged(scratch)
    search = over_commits(scratch, at["s2"], at["m2"], red=[at["base"], at["m1"], at["m2"]])
    with pytest.raises(Contradiction, match="is part of the history of"):
        search.run()


def test_the_log_can_be_replayed(scratch: Scratch, over_commits: Callable[..., Searching], tmp_path: Path) -> None:
    row = scratch.row(12)
    search = over_commits(scratch, row[0], row[11], red=row[6:], broken=[row[4]])
    assert found(search) == [row[6]]
    assert search.search is not None
    (tmp_path / "replay").write_text(search.search.log(), encoding="utf-8")
    scratch.git("clone", "--quiet", ".", str(tmp_path / "clone"))
    said = Scratch(tmp_path / "clone").git("bisect", "replay", str(tmp_path / "replay"))
    assert f"{row[6]} is the first bad commit" in said


def test_an_interrupted_search_goes_on_without_its_worktree(
    scratch: Scratch, over_commits: Callable[..., Searching], tmp_path: Path
) -> None:
    row = scratch.row(12)
    search = over_commits(scratch, row[0], row[11], red=row[6:])

    def stop() -> None:
        if len(search.bench.built) == 4:
            raise KeyboardInterrupt

    search.bench.before = stop
    with pytest.raises(KeyboardInterrupt):
        search.run()
    search.bench.before = lambda: None
    Worktree(repository=Repository.around(scratch.top), folder=tmp_path / "state" / "worktree").make(row[11])
    asked = list(search.bench.built)
    assert found(search.again()) == [row[6]]
    assert len(set(search.bench.built)) == len(search.bench.built), "no commit is built twice"
    assert search.bench.built[: len(asked)] == asked


@pytest.mark.parametrize(
    ("good", "bad", "said"),
    [
        ("HEAD", "HEAD", "--good and --bad are the same commit"),
        ("HEAD", "HEAD~1", "is older than the good commit"),
        ("nothing", "HEAD", "--good nothing: there is no such commit"),
        ("--all", "HEAD", "there is no such commit"),
        ("alone", "HEAD", "have no common history"),
    ],
)
def test_ends_that_cannot_be_searched(scratch: Scratch, good: str, bad: str, said: str) -> None:
    scratch.row(3)
    scratch.git("checkout", "--quiet", "--orphan", "alone")
    scratch.commit("alone")
    scratch.git("checkout", "--quiet", "main")
    repository = Repository.around(scratch.top)
    with pytest.raises(ConfigError, match=said):
        repository.check_ends(repository.commit(good, option="--good"), repository.commit(bad, option="--bad"))


def test_a_shallow_clone_says_how_to_get_the_history(scratch: Scratch, tmp_path: Path) -> None:
    row = scratch.row(6)
    scratch.git("clone", "--quiet", "--depth=2", f"file://{scratch.top}", str(tmp_path / "shallow"))
    repository = Repository.around(tmp_path / "shallow")
    with pytest.raises(ConfigError, match="git fetch --unshallow"):
        repository.commit(row[0], option="--good")


def test_submodules_are_seen(scratch: Scratch, tmp_path: Path) -> None:
    other = Scratch.make(tmp_path / "other")
    other.row(1)
    scratch.row(1)
    scratch.git("submodule", "--quiet", "add", str(other.top), "lib/other")
    added = scratch.commit("With a submodule")
    repository = Repository.around(scratch.top)
    assert repository.submodules(added) == ["lib/other"]
    assert repository.submodules(f"{added}~1") == []


def test_the_repository_is_found_from_a_folder_in_it_and_from_a_worktree(scratch: Scratch, tmp_path: Path) -> None:
    scratch.row(1)
    (scratch.top / "below").mkdir()
    assert Repository.around(scratch.top / "below").top == scratch.top
    scratch.git("worktree", "add", "--quiet", "--detach", str(tmp_path / "second"))
    assert Repository.around(tmp_path / "second").top == tmp_path / "second"
    with pytest.raises(ConfigError, match="is in no git repository"):
        Repository.around(tmp_path)


def test_details_are_those_of_the_commit(scratch: Scratch) -> None:
    scratch.row(2)
    text = Repository.around(scratch.top).details("HEAD")
    assert "Author: Ada Example <ada@example.org>" in text
    assert "    Change number 1" in text
    assert "ring.c | 2 +-" in text
    assert Repository.around(scratch.top).commit("HEAD") == Candidate(
        id=scratch.head(), label=f"{scratch.head()[:7]} Change number 1", slug=scratch.head()[:7]
    )

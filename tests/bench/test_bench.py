"""The real context: the shared guest's life, and the command line around it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from typer.testing import CliRunner

from lab.bench.bench import Bench
from lab.bench.forks import TemplateForks
from lab.bench.protocol import NotHere
from lab.cli.main import app
from lab.errors import ConfigError
from lab.image.manifest import Credentials
from lab.lease.image_source import ImageSource
from tests.bench.fakes import FakeForks, SilentProgress
from tests.simulated import SimulatedSource


@pytest.fixture
def source(tmp_path: Path) -> SimulatedSource:
    return SimulatedSource(tmp_path / "payload")


@pytest.fixture
def bench(source: SimulatedSource, tmp_path: Path) -> Bench:
    return Bench(
        source=cast(ImageSource, source),
        payload=source.payload,
        credentials=Credentials(username="lab", password="secret"),
        out=tmp_path,
        progress=SilentProgress(),
        make_forks=lambda: FakeForks(source),
    )


def test_measures_share_one_guest_that_has_the_drivers_and_ends_with_the_bench(bench: Bench, source: SimulatedSource) -> None:
    with bench:
        assert bench.guest() is bench.guest()
        transport = cast(Any, source.guests[0].transport)
        assert set(transport.services) == {"SimSync", "SimAsync"}
    assert len(source.guests) == 1
    assert not source.guests[0].alive


def test_a_guest_that_a_measure_spoilt_is_replaced_for_the_next_one(bench: Bench, source: SimulatedSource) -> None:
    with bench:
        bench.guest().machine.kill()
        assert bench.guest().alive
    assert len(source.guests) == 2


def test_a_guest_that_does_not_get_ready_is_ended(
    bench: Bench, source: SimulatedSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object) -> None:
        raise ConfigError("two files of one name")

    monkeypatch.setattr("lab.bench.bench.deploy", fail)
    with bench, pytest.raises(ConfigError):
        bench.guest()
    assert not source.guests[0].alive


def test_forks_are_made_once_and_do_not_run_beside_the_shared_guest(bench: Bench, source: SimulatedSource) -> None:
    bench.make_forks = lambda: FakeForks(source)
    with bench:
        shared = bench.guest()
        assert bench.forks() is bench.forks()
        assert not shared.alive


def test_what_was_prepared_ends_with_the_bench(bench: Bench, source: SimulatedSource) -> None:
    forks = FakeForks(source)
    bench.make_forks = lambda: forks
    with bench:
        bench.forks()
        assert not forks.closed
    assert forks.closed


@pytest.mark.parametrize("notes", [[], ["QEMU lacks x-ignore-shared"]])
def test_a_host_without_snapshots_is_reported_and_is_not_a_failure(notes: list[str]) -> None:
    class NoForks:
        figures = SimpleNamespace(notes=notes)

        def template(self, _wish: object) -> None:
            return None

    with pytest.raises(NotHere, match=notes[0] if notes else "no template can be made here"):
        TemplateForks(cast(Any, NoForks()), 1).take_snapshot()


@pytest.mark.parametrize(
    ("count", "quick", "most", "taken"), [(None, False, None, 20), (None, True, None, 3), (7, True, None, 7), (50, False, 5, 5)]
)
def test_how_often_a_reading_is_taken(bench: Bench, count: int | None, quick: bool, most: int | None, taken: int) -> None:
    bench.count, bench.quick = count, quick
    assert bench.repeat(20, 3, most=most) == taken


def test_the_list_says_what_each_measure_needs() -> None:
    said = CliRunner().invoke(app, ["bench", "--list", "--only", "kd,peer"]).output
    assert "kernel-debugger port: the decoder, and a live host" in said
    assert "needs labgrid (`bash ci/peer.sh`)" in said
    assert "WinRM" not in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "speed"], "no measure 'speed'"),
        (["--peer", "nowhere/python"], "no Python nowhere/python"),
        (["--suite", "suites/nowhere"], "no suite suites/nowhere"),
        (["--out", "."], "is not empty"),
    ],
)
def test_wrong_usage_is_reported_before_anything_starts(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["bench", *arguments])
    assert isinstance(result.exception, ConfigError)
    assert message in str(result.exception)

"""Runs that differ in one setting, side by side."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab.gate.verdict import Verdict
from lab.report.matrix import Column, matrix_lines, matrix_markdown, matrix_of, worst_code, write_matrix
from lab.report.model import GuestEntry, ImageEntry, RunReport, TestEntry, VerifierEntry, WantedVerifier, kind_entry
from lab.report.verifier_view import verifier_lines


def report(tests: dict[str, tuple[Verdict, str]], *guests: GuestEntry, profile: str = "") -> RunReport:
    totals: dict[Verdict, int] = {}
    for verdict, _ in tests.values():
        totals[verdict] = totals.get(verdict, 0) + 1
    wanted = WantedVerifier(profile=profile, checks=["special_pool"], drivers=["sync.sys"]) if profile else None
    return RunReport(
        lab_version="0",
        started="",
        duration_s=1.0,
        exit_code=0,
        guest="Windows 11",
        image=ImageEntry(name="windows-11", key="k", guest="Windows 11", kind=kind_entry("windows"), capabilities=[]),
        accelerator="kvm",
        qemu="0",
        workers=1,
        drivers=[],
        totals=totals,
        prints=0,
        unattributed_prints=0,
        verifier=wanted,
        guests=list(guests),
        tests=[
            TestEntry(nodeid=name, verdict=verdict, signature=signature, duration_s=1.0, started=1.0, worker="gw0")
            for name, (verdict, signature) in tests.items()
        ],
    )


def guest(way: str = "now", **more: object) -> GuestEntry:
    facts = {"profile": "standard", "way": way, "checks": ["special_pool"], "drivers": ["sync.sys"], "flags": "0x00000001"}
    found = VerifierEntry.model_validate({**facts, **more})
    return GuestEntry(guest_id=f"gw0-{way}", worker="gw0", started=1.0, verifier=found)


OFF = report({"t::a": ("passed", ""), "t::b": ("passed", ""), "t::c|d": ("skipped", "")})
LOWRES = report({"t::a": ("passed", ""), "t::b": ("crash", "crash 0xC4 rule 0x62")}, guest(), profile="standard")


def matrix(tmp_path: Path):  # type: ignore[no-untyped-def]
    columns = [
        Column(value="off", folder=tmp_path / "verifier-off", code=0, report=OFF),
        Column(value="lowres", folder=tmp_path / "verifier-lowres", code=3, report=LOWRES),
        Column(value="systematic", folder=tmp_path / "verifier-systematic", code=10, report=None),
    ]
    return matrix_of("verifier", columns, folder=tmp_path)


def test_verdicts_stand_beside_each_other(tmp_path: Path) -> None:
    found = matrix(tmp_path)
    assert {row.nodeid: row.verdicts for row in found.tests} == {
        "t::a": ["passed", "passed", None],
        "t::b": ["passed", "crash", None],
        "t::c|d": ["skipped", None, None],
    }
    assert [row.nodeid for row in found.different] == ["t::b", "t::c|d", "t::a"]
    assert found.exit_code == 3


def test_the_table_for_a_terminal(tmp_path: Path) -> None:
    lines = matrix_lines(matrix(tmp_path))
    assert lines[0].split() == ["verifier=off", "verifier=lowres", "verifier=systematic"]
    assert any(line.split() == ["0", "1", "0", "crash"] for line in lines)
    assert any(line.split() == ["passed", "crash", "–", "t::b"] for line in lines)
    same = matrix_of("clock", [Column(value="a", folder=tmp_path / "a", code=0, report=OFF)] * 2, folder=tmp_path)
    assert matrix_lines(same)[-1] == "the runs do not differ in any test"


def test_the_files(tmp_path: Path) -> None:
    file = write_matrix(tmp_path, matrix(tmp_path))
    text = file.read_text(encoding="utf-8")
    assert text == matrix_markdown(matrix(tmp_path))
    assert "[verifier=lowres](verifier-lowres/report.html)" in text
    assert "| t::b | passed | crash (crash 0xC4 rule 0x62) | – |" in text
    assert "t::c\\|d" in text
    assert "in force in 1 guest(s), without a restart, by /dif … /now: special_pool" in text
    stored = json.loads((tmp_path / "matrix.json").read_text(encoding="utf-8"))
    assert [run["exit_code"] for run in stored["runs"]] == [0, 3, 10]


@pytest.mark.parametrize(
    ("codes", "worst"), [([0, 0], 0), ([0, 5], 5), ([10, 1], 1), ([1, 3], 3), ([0, 2], 2), ([3, 130], 130), ([], 5)]
)
def test_the_gravest_exit_code_counts(codes: list[int], worst: int) -> None:
    assert worst_code(codes) == worst


def test_a_run_says_what_was_in_force() -> None:
    several = report(
        {"t::a": ("passed", "")},
        guest(left_out=["dma"]),
        guest("reboot", unseen=["wdf"]),
        guest(left_out=["dma"]),
        profile="own",
    )
    assert verifier_lines(several) == [
        "Driver Verifier: profile own for sync.sys",
        "in force in 2 guest(s), without a restart, by /dif … /now: special_pool; left out, because they need a restart"
        " (reboot: true): dma",
        "in force in 1 guest(s), by a restart: special_pool; switched on, but not in the guest's answer: wdf",
    ]
    assert verifier_lines(OFF) == []
    nowhere = report({"t::a": ("infra", "")}, profile="lowres")
    assert verifier_lines(nowhere)[-1] == "Driver Verifier was in force in no guest"

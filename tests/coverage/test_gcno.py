"""Notes of a compiler that seem to come from another folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab.coverage.gcno import compiled_in
from lab.errors import LabError
from lab.host.process import run
from tests.coverage.counting import build


def read_by_gcov(note: bytes, folder: Path) -> dict[str, object]:
    (folder / "0.gcno").write_bytes(note)
    done = run(["gcov", "--json-format", "--stdout", "0.gcno"], 60, cwd=folder)
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


@pytest.mark.parametrize("name", ["/x", "/a/much/longer/folder than the compiler's, with ümlaut", "/abc"])
def test_gcov_reads_all_else_as_before(tmp_path: Path, name: str) -> None:
    (tmp_path / "own").mkdir()
    note = build(tmp_path / "own").notes.files["0.gcno"]
    before, after = read_by_gcov(note, tmp_path), read_by_gcov(compiled_in(note, Path(name)), tmp_path)
    assert before.pop("current_working_directory") == str(tmp_path / "own")
    assert after.pop("current_working_directory") == name
    assert before == after
    assert before["files"]


@pytest.mark.parametrize("data", [b"", b"adcg" + bytes(16), b"oncg*22B"])
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(LabError, match="notes of a source cannot be read"):
        compiled_in(data, Path("/x"))

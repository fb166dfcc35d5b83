"""`lab windows prove` and `lab windows statements`: the record, the exit codes, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from typer.testing import CliRunner

import lab
from lab.cli import windows
from lab.cli.main import app
from lab.errors import ConfigError
from lab.host.accel import Accelerator, Accelerators
from lab.image.manifest import load_credentials
from lab.image.progress import Progress
from lab.image.windows.install_host import InstallEnded, InstallError, InstallStalled, StageFailed
from lab.proofs.bench import ImageBench
from lab.proofs.catalogue import statements
from lab.proofs.document import table
from lab.proofs.record import ProofRecord
from lab.proofs.statement import Outcome
from tests.proofs.conftest import Proving
from tests.proofs.standin import yes

#: Statements that need no guest, one that needs one, and one that needs a person.
SOME = ("key-prompt", "stages-run", "test-signing", "winrm-client", "no-page-of-oobe")
KVM = Accelerators(kvm=Accelerator("kvm", True, "ran", 0.2), tcg=Accelerator("tcg", True, "ran", 0.3))


@pytest.fixture
def command(proving: Proving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs the command in a folder of its own, with the stand-in for Windows as the image's guests."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(windows, "probe_accelerators", lambda _cache: KVM)

    def opened(_benches: windows.Benches, _progress: Progress) -> ImageBench:
        return proving.bench(_benches.asker)

    monkeypatch.setattr(windows.Benches, "open", opened)

    def run(*words: str) -> Any:
        chosen = [part for name in SOME for part in ("--only", name)] if "--only" not in words else []
        return CliRunner().invoke(app, ["windows", "prove", str(proving.image), *chosen, *words])

    return run


def record_in(folder: Path) -> ProofRecord:
    return ProofRecord.model_validate_json((folder / "proofs.json").read_bytes())


def test_the_record_is_written_for_programs_and_for_readers(
    proving: Proving, tmp_path: Path, command: Callable[..., Any]
) -> None:
    result = command()
    assert result.exit_code == 5, result.output
    folder = tmp_path / "out" / "proofs-windows-server-2022-k1"
    assert "not reached: no-page-of-oobe: it needs a person" in result.stdout
    assert f"4 proved, 0 refuted, 1 not reached, of 5 statements\n  {folder / 'proofs.json'}" in result.stdout
    record = record_in(folder)
    assert [row.state for row in record.rows] == ["proved"] * 4 + ["not reached"]
    assert (record.subject.windows, record.subject.accelerator) == ("ServerStandardEval 20348.587", "kvm")
    assert (record.subject.machine, record.subject.language) == ("pc-q35-9.0,hpet=off,vmport=off", "en-US")
    page = (folder / "proofs.md").read_text(encoding="utf-8")
    assert "# Proofs of ServerStandardEval 20348.587" in page
    assert "- **PowerShell 5.1 runs all stages** (`stages-run`" in page
    assert "## Not begun" in page
    text = page + (folder / "proofs.json").read_text(encoding="utf-8")
    assert load_credentials(proving.image).password not in text
    assert str(tmp_path) not in text


def test_the_same_command_goes_on_and_asks_only_what_is_open(
    proving: Proving, tmp_path: Path, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    command()
    asked: list[str] = []

    def ask(question: str, by_hand: str) -> Outcome:
        asked.append(question)
        return yes(question, by_hand)

    monkeypatch.setattr(windows, "_person", lambda: True)
    monkeypatch.setattr(windows, "ask", ask)
    proving.windows.commands.clear()
    assert command("--no-questions").exit_code == 5
    result = command()
    assert (result.exit_code, len(asked)) == (0, 1), result.output
    assert "5 proved, 0 refuted, 0 not reached" in result.stdout
    assert proving.windows.commands == []
    assert command("--again", "winrm-client").exit_code == 0
    assert "ver" in proving.windows.commands


def test_each_row_keeps_what_it_was_proved_with(
    tmp_path: Path, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "qemu_version", lambda _program: "8.2.0")
    command("--out", "mine", "--only", "key-prompt")
    file = tmp_path / "mine" / "proofs.json"
    # A record of before rows said so.
    document = json.loads(file.read_text(encoding="utf-8"))
    document["subject"].update(accelerator="tcg", lab="0.1")
    for name in ("accelerator", "qemu", "lab"):
        document["rows"][0].pop(name)
    file.write_text(json.dumps(document), encoding="utf-8")
    monkeypatch.setattr(windows, "qemu_version", lambda _program: "9.0.1")
    assert command("--out", "mine", "--only", "key-prompt", "--only", "stages-run").exit_code == 0
    record = record_in(tmp_path / "mine")
    found = [(row.id, row.accelerator, row.qemu, row.lab) for row in record.rows]
    assert found == [("key-prompt", "tcg", "8.2.0", "0.1"), ("stages-run", "kvm", "9.0.1", lab.__version__)]
    assert ", tcg, QEMU 8.2.0, lab 0.1)" in (tmp_path / "mine" / "proofs.md").read_text(encoding="utf-8")
    by_name = {one.id: one for one in statements()}
    lines = table([by_name["key-prompt"], by_name["stages-run"]], [record]).splitlines()
    assert ["proved: ServerStandardEval 20348.587 (tcg, " in lines[-2], " (kvm, " in lines[-1]] == [True, True]


def test_statements_about_another_windows_are_not_wanted(
    proving: Proving, tmp_path: Path, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    by_name = {one.id: one for one in statements()}
    of_eleven = by_name["windows-11-bypasses"]
    monkeypatch.setattr(windows, "statements", lambda: (by_name["key-prompt"], of_eleven, by_name["stages-run"]))
    result = CliRunner().invoke(app, ["windows", "prove", str(proving.image), "--out", "mine"])
    assert result.exit_code == 0, result.output
    assert "2 proved, 0 refuted, 0 not reached, of 2 statements" in result.stdout
    assert of_eleven.id not in (tmp_path / "mine" / "proofs.md").read_text(encoding="utf-8")
    # One that is named is not passed over in silence.
    named = command("--out", "mine", "--only", of_eleven.id)
    assert named.exit_code == 5
    assert f"not reached: {of_eleven.id}: it is about another Windows: 11" in named.stdout


def test_a_refuted_statement_is_no_failure_of_a_driver(
    proving: Proving, tmp_path: Path, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    proving.windows.replies["ver"] = (0, "Linux 6.1")
    result = command("--out", "mine")
    assert result.exit_code == 10
    assert "refuted: winrm-client: exit code 0: Linux 6.1" in result.stdout
    page = (tmp_path / "mine" / "proofs.md").read_text(encoding="utf-8")
    assert page.index("## Refuted") < page.index("## Proved")
    assert "    Linux 6.1" in page or "exit code 0: Linux 6.1" in page
    proving.windows.replies["ver"] = (0, "Microsoft Windows")
    assert command("--out", "mine", "--again", "refuted").exit_code == 5
    assert record_in(tmp_path / "mine").count("refuted") == 0


def test_an_interrupt_keeps_what_is_answered(proving: Proving, tmp_path: Path, command: Callable[..., Any]) -> None:
    def interrupt(_line: str) -> None:
        raise KeyboardInterrupt

    proving.commands.before = interrupt
    result = command("--only", "key-prompt", "--only", "capabilities")
    assert result.exit_code == 130
    file = tmp_path / "out" / "proofs-windows-server-2022-k1" / "proofs.json"
    assert f"interrupted (SIGINT); answers so far: 1, in {file}; the same command goes on" in result.stderr
    proving.commands.before = lambda _line: None
    result = command("--only", "key-prompt", "--only", "capabilities")
    assert result.exit_code == 0
    assert "key-prompt" not in result.stdout


def test_what_a_person_answers_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(["maybe", "n", "a page that asks for a keyboard", "y", "", "no", ""])
    monkeypatch.setattr("typer.prompt", lambda *_texts, default, **_more: next(answers) or default)
    assert windows.ask("Does it?", "`lab ps`") == Outcome("refuted", "a page that asks for a keyboard")
    assert windows.ask("Does it?", "`lab ps`").state == "proved"
    assert windows.ask("Does it?", "`lab ps`") == Outcome("not reached", "skipped")
    assert windows.ask("Does it?", "`lab ps`") == Outcome("refuted", "answered with no")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--only", "test-singing"), "there is no statement 'test-singing'"),
        (("--again", "test-singing"), "there is no statement 'test-singing'"),
    ],
)
def test_a_name_that_does_not_exist_is_wrong_usage(command: Callable[..., Any], words: tuple[str, ...], said: str) -> None:
    result = command(*words)
    assert isinstance(result.exception, ConfigError)
    assert said in str(result.exception)


def test_another_image_has_a_record_of_its_own(proving: Proving, tmp_path: Path, command: Callable[..., Any]) -> None:
    command("--out", "mine")
    file = tmp_path / "mine" / "proofs.json"
    document = json.loads(file.read_text(encoding="utf-8"))
    document["subject"]["key"] = "another"
    file.write_text(json.dumps(document), encoding="utf-8")
    result = command("--out", "mine")
    assert "is the record of another image: windows-server-2022-another" in str(result.exception)
    file.write_text("{}", encoding="utf-8")
    result = command("--out", "mine")
    assert "is no record of `lab windows prove` of this version" in str(result.exception)
    assert file.read_text(encoding="utf-8") == "{}"


def test_two_sessions_do_not_write_the_same_record(tmp_path: Path, command: Callable[..., Any]) -> None:
    (tmp_path / "mine").mkdir()
    with FileLock(tmp_path / "mine" / ".lock"):
        assert "another `lab windows prove` writes to" in str(command("--out", "mine").exception)


@pytest.mark.parametrize(
    ("error", "refuted"),
    [
        (InstallStalled("no reset, console output or disk write for 900 s"), ["setup-asks-nothing"]),
        (StageFailed("stage relay failed in the guest: access denied"), ["stages-run"]),
        (InstallEnded("QEMU ended unexpectedly"), []),
    ],
)
def test_a_build_that_fails_is_recorded(
    tmp_path: Path, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, error: InstallError, refuted: list[str]
) -> None:
    def fail(name: str, **options: object) -> None:
        assert (name, options["iso"], options["allow_tcg"]) == ("windows-11", Path("w.iso"), True)
        raise error

    monkeypatch.setattr(windows, "build", fail)
    result = CliRunner().invoke(app, ["windows", "prove", "windows-11", "--iso", "w.iso", "--allow-tcg"])
    assert result.exception is error
    record = record_in(tmp_path / "out" / "proofs-windows-11")
    assert [row.id for row in record.rows if row.state == "refuted"] == refuted
    assert {row.state for row in record.rows} <= {"refuted", "not reached"}
    assert len(record.rows) == len(statements())
    assert (record.subject.image, record.subject.accelerator) == ("windows-11", "kvm")
    assert "the failed build is recorded" in result.stdout


def test_a_failed_build_replaces_no_record_of_an_image_and_stops_no_proof(
    proving: Proving, tmp_path: Path, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_name: str, **_options: object) -> None:
        raise InstallEnded("QEMU ended unexpectedly")

    def failing_build() -> Any:
        words = ["windows", "prove", "windows-server-2022", "--iso", "w.iso", "--out", "mine"]
        return CliRunner().invoke(app, words)

    monkeypatch.setattr(windows, "build", fail)
    mine = tmp_path / "mine"
    failing_build()
    assert record_in(mine).subject.key == ""
    # The record of a failed build stops no later proof.
    assert command("--out", "mine", "--only", "key-prompt").exit_code == 0
    good = (mine / "proofs.json").read_bytes()
    assert ProofRecord.model_validate_json(good).subject.key == "k1"
    assert [row.id for row in record_in(mine).rows] == ["key-prompt"]
    page = (mine / "proofs.md").read_bytes()
    result = failing_build()
    assert (mine / "proofs.json").read_bytes() == good
    assert (mine / "proofs.md").read_bytes() == page
    assert f"the failed build is recorded:\n  {mine / 'failed-build.json'}\n  {mine / 'failed-build.md'}" in result.stdout
    assert "QEMU ended unexpectedly" in (mine / "failed-build.md").read_text(encoding="utf-8")
    # What is no record of this version is left alone, too.
    (mine / "proofs.json").write_text("{}", encoding="utf-8")
    failing_build()
    assert (mine / "proofs.json").read_text(encoding="utf-8") == "{}"


def test_the_free_guest_proves_nothing_about_windows(proving: Proving, command: Callable[..., Any]) -> None:
    file = proving.image / "manifest.json"
    file.write_text(file.read_text(encoding="utf-8").replace('"kind":"windows"', '"kind":"wine"'), encoding="utf-8")
    assert "is no Windows image, but Windows Server 2022" in str(command().exception)


def test_statements_are_listed_with_what_is_known(tmp_path: Path, command: Callable[..., Any]) -> None:
    command("--out", "mine")
    plain = CliRunner().invoke(app, ["windows", "statements"])
    assert "test-signing\n    test signing is in force" in plain.stdout
    known = CliRunner().invoke(app, ["windows", "statements", str(tmp_path / "mine" / "proofs.json")])
    assert "test-signing  [proved]" in known.stdout
    assert "capabilities  [open]" in known.stdout
    missing = CliRunner().invoke(app, ["windows", "statements", str(tmp_path / "none.json")])
    assert "cannot be read: No such file" in str(missing.exception)

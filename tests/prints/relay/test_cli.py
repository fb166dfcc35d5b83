"""`lab relay decode`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from lab.cli import driver, relay
from lab.errors import ConfigError
from lab.prints.relay.frame import HELLO, PRINT, Frame, encode
from lab.prints.relay.start import start_file, start_of, write_start
from lab.prints.resume import PrintsState


@pytest.fixture
def app() -> typer.Typer:
    application = typer.Typer()
    relay.register(application)
    application.callback()(lambda: None)
    return application


@pytest.fixture
def log(tmp_path: Path) -> Path:
    file = tmp_path / "debugcon.log"
    hello = Frame(kind=HELLO, session=1, sequence=0, text=b"labrelay 1 x64")
    frames = [hello, *(Frame(kind=PRINT, session=1, sequence=n, text="\u8bfb %d\n".encode("gbk") % n) for n in (1, 2, 4))]
    file.write_bytes(b"".join(map(encode, frames)))
    return file


def test_lines_for_people(app: typer.Typer, log: Path) -> None:
    result = CliRunner().invoke(app, ["relay", "decode", "--encoding", "gbk", str(log)])
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "[note] the print relay begins: labrelay 1 x64",
        "    0.000000  cpu 0  读 1",
        "    0.000000  cpu 0  读 2",
        "[gap] 1 record(s) before record 4 did not arrive",
        "    0.000000  cpu 0  读 4",
    ]


def test_json_from_standard_input(app: typer.Typer, log: Path) -> None:
    result = CliRunner().invoke(app, ["relay", "decode", "--jsonl", "-"], input=log.read_bytes())
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [record["kind"] for record in records] == ["note", "print", "print", "gap", "print"]
    assert bytes.fromhex(records[1]["raw"]) == "读 1\n".encode("gbk")


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "has no record of the print relay"), (b"Linux version 6.1\n" * 99, "has no record"), (None, "cannot read")],
)
def test_a_file_with_other_content_is_refused(app: typer.Typer, tmp_path: Path, content: bytes | None, words: str) -> None:
    file = tmp_path / "serial0.log"
    if content is not None:
        file.write_bytes(content)
    result = CliRunner().invoke(app, ["relay", "decode", str(file)])
    assert isinstance(result.exception, ConfigError)
    assert words in str(result.exception)
    assert "log of the debug console" in result.exception.hint or "debugcon.log" in result.exception.hint


def test_an_unknown_encoding_is_refused(app: typer.Typer, log: Path) -> None:
    result = CliRunner().invoke(app, ["relay", "decode", "--encoding", "klingon", str(log)])
    assert isinstance(result.exception, ConfigError)
    assert "klingon" in str(result.exception)


def test_the_old_name_of_the_command_works_with_a_note(app: typer.Typer, log: Path) -> None:
    old = CliRunner().invoke(app, ["tap", "decode", "--encoding", "gbk", str(log)])
    new = CliRunner().invoke(app, ["relay", "decode", "--encoding", "gbk", str(log)])
    assert (old.exit_code, old.stdout) == (0, new.stdout)
    assert old.stderr == "lab: `lab tap` is the old name of `lab relay`, which the next release no longer has\n"
    assert new.stderr == ""
    assert " tap " not in CliRunner().invoke(app, ["--help"]).stdout


@pytest.mark.parametrize(("names", "built"), [(["tap", "tapmark"], ["relay", "relaymark"]), (["relay"], ["relay"])])
def test_the_old_names_of_the_driver_and_its_client_are_built_with_a_note(
    names: list[str], built: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    asked: list[str] = []

    def build(chosen: list[str], *_more: object, **_settings: object) -> list[object]:
        asked.extend(chosen)
        return []

    monkeypatch.setattr(driver, "build_drivers", build)
    application = typer.Typer()
    driver.register(application)
    result = CliRunner().invoke(application, ["driver", "build", *names])
    assert (result.exit_code, asked) == (0, built)
    assert result.stderr.count("is the old name of") == (2 if names[0] == "tap" else 0)


def test_a_project_s_own_driver_keeps_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tap").mkdir()
    assert driver._present_name("tap") == "tap"


def fork_of(log: Path) -> Path:
    """The log of a fork of that guest, which was stopped in its last record."""
    fork = log.with_name("fork") / log.name
    fork.parent.mkdir()
    content = log.read_bytes()
    write_start(fork, start_of(PrintsState(replay=content[:-4])))
    fork.write_bytes(content[-4:] + encode(Frame(kind=PRINT, session=1, sequence=5, text=b"of the fork\n")))
    return fork


def test_the_log_of_a_fork_goes_on_where_its_template_was_stopped(app: typer.Typer, log: Path) -> None:
    fork = fork_of(log)
    result = CliRunner().invoke(app, ["relay", "decode", "--encoding", "gbk", str(fork)])
    assert result.stdout.splitlines() == [
        "[gap] 1 record(s) before record 4 did not arrive",
        "    0.000000  cpu 0  读 4",
        "    0.000000  cpu 0  of the fork",
    ]
    # A damaged file is an error: without it, the first records would look lost.
    start_file(fork).write_bytes(b"{")
    result = CliRunner().invoke(app, ["relay", "decode", str(fork)])
    assert isinstance(result.exception, ConfigError)
    assert "debugcon.start.json, which says where debugcon.log begins, cannot be read" in result.exception.message
    start_file(fork).unlink()
    result = CliRunner().invoke(app, ["relay", "decode", str(fork)])
    assert result.stdout.splitlines()[0].startswith("[gap] the log begins with record 5 of the print relay, not with its first")

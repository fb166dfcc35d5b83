"""`lab crash dump`."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from lab.cli import crash
from lab.errors import ConfigError

DumpMaker = Callable[..., Path]


@pytest.fixture
def app() -> typer.Typer:
    application = typer.Typer()
    crash.register(application)
    application.callback()(lambda: None)
    return application


def test_plain_lines_where_there_is_no_terminal(app: typer.Typer, make_dump: DumpMaker) -> None:
    file = make_dump()
    result = CliRunner().invoke(app, ["crash", "dump", str(file)])
    assert result.exit_code == 0
    lines = dict(line.split(": ", 1) for line in result.output.splitlines())
    assert lines["file"] == f"{file} (20480 bytes)"
    assert lines["bugcheck"] == "0x000000D1 DRIVER_IRQL_NOT_LESS_OR_EQUAL"
    assert lines["parameter 1"] == "0xFFFFD00012345678"
    assert "4 the instruction" in lines["meaning"]
    assert lines["exception"] == "0x80000003 at 0xFFFFF80212345678"
    assert lines["Windows"] == "build 19041, 64 bits, x64, 2 CPUs"
    assert lines["time"] == "2026-01-02 03:04:05 UTC"
    assert lines["uptime"] == "125 s"


def test_a_table_on_a_terminal(app: typer.Typer, make_dump: DumpMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(crash, "open_console", lambda: Console(file=out, force_terminal=True, width=160, no_color=True))
    result = CliRunner().invoke(app, ["crash", "dump", str(make_dump(32))])
    assert result.exit_code == 0
    assert "SYSTEM_THREAD_EXCEPTION_NOT_HANDLED_M" in out.getvalue()
    assert "0x804E1234" in out.getvalue()
    assert "by a test" in out.getvalue()


def test_json(app: typer.Typer, make_dump: DumpMaker) -> None:
    result = CliRunner().invoke(app, ["crash", "dump", str(make_dump()), "--json"])
    values = json.loads(result.output)
    assert values["bugcheck"]["code"] == "0x000000D1"
    assert values["bugcheck"]["name"] == "DRIVER_IRQL_NOT_LESS_OR_EQUAL"
    assert values["bugcheck"]["parameters"][1] == "0x0000000000000002"
    assert values["system_time"] == "2026-01-02T03:04:05+00:00"
    assert values["exception"] == {"code": "0x80000003", "address": "0xFFFFF80212345678"}
    assert values["dump_type"] == {"number": 2, "name": "kernel"}
    assert values["live"] is False


def test_a_live_dump_says_that_nothing_crashed(app: typer.Typer, make_dump: DumpMaker) -> None:
    file = make_dump(code=0x161, exception=0, filetime=0)
    assert "no crash" in CliRunner().invoke(app, ["crash", "dump", str(file)]).output
    values = json.loads(CliRunner().invoke(app, ["crash", "dump", str(file), "--json"]).output)
    assert values["live"] is True
    assert values["exception"] is None
    assert values["system_time"] is None


def test_a_file_that_is_no_dump_is_the_users_error(app: typer.Typer, tmp_path: Path) -> None:
    core = tmp_path / "core.elf"
    core.write_bytes(b"\x7fELF" + bytes(100))
    result = CliRunner().invoke(app, ["crash", "dump", str(core)])
    assert isinstance(result.exception, ConfigError)
    assert "elf2dmp" in result.exception.hint

"""The list of commands, so that a module is imported only when one of its commands is used."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from lab.cli.commands import MODULES, Commands, commands_of
from lab.cli.main import app


@pytest.mark.parametrize("module", sorted(set(MODULES.values())))
def test_every_module_registers_what_the_list_says(module: str) -> None:
    assert list(commands_of(module)) == [name for name, where in MODULES.items() if where == module]


def test_the_help_lists_every_command_in_the_order_of_the_list() -> None:
    told = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "120"}).output
    hidden = {name for module in set(MODULES.values()) for name, command in commands_of(module).items() if command.hidden}
    assert hidden == {"freeze", "tap"}  # the old names of snapshot and relay, for one release
    places = [told.index(f" {name} ") for name in MODULES if name not in hidden]
    assert places == sorted(places)
    assert not [name for name in hidden if f" {name} " in told]


def test_a_misspelt_command_gets_a_suggestion() -> None:
    told = CliRunner().invoke(app, ["tempaltes"], env={"COLUMNS": "120"})
    assert told.exit_code == 2
    assert "'templates'" in told.output


def test_a_command_waits_for_the_imports_of_its_own_module_only() -> None:
    code = (
        "import sys\n"
        "from lab.cli.main import app\n"
        "try:\n    app(['run', '--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'lab.bench.bench', 'lab.lease.pool', 'lab.guest.winrm.transport', 'paramiko', 'winrm'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, stdout=subprocess.DEVNULL)


def test_the_list_can_be_read_without_any_import() -> None:
    commands = Commands({"one": "no_such_module"})
    assert list(commands) == ["one"]
    assert len(commands) == 1
    with pytest.raises(ModuleNotFoundError):
        commands["one"]
    with pytest.raises(KeyError):
        commands["two"]


def test_a_command_may_be_added_and_taken_away() -> None:
    commands = Commands(MODULES)
    command = commands["doctor"]
    commands["physician"] = command
    assert commands["physician"] is command
    del commands["physician"]
    assert "physician" not in commands

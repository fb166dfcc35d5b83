"""The configuration file."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from labwinrm.__main__ import main
from labwinrm.config import Config, ConfigError, load_config, parse_config

LEAST: dict[str, Any] = {"ntlm_user_file": "/u", "run_directory": "/r", "tls_certificate": "/c", "tls_key": "/k"}


def test_the_least_that_is_needed() -> None:
    config = parse_config(LEAST)
    assert (config.http_port, config.https_port, config.launcher) == (5985, 5986, "resident")
    assert config.ntlm_user_file == Path("/u")
    assert config.log_file is None


def test_every_kind_of_value() -> None:
    config = parse_config(
        {
            **LEAST,
            "http_port": None,
            "launcher": "direct",
            "shell_command": ["sh", "-c"],
            "environment": {"A": "b"},
            "idle_timeout_s": 5,
            "max_shells": 3,
            "drive_c": "",
            "address": "::1",
        }
    )
    assert config.shell_command == ("sh", "-c")
    assert config.idle_timeout_s == 5.0
    assert config.drive_c is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"htp_port": 1}, "unknown key 'htp_port'"),
        ({"http_port": "5985"}, "http_port"),
        ({"http_port": True}, "http_port"),
        ({"https_port": 70000}, "https_port"),
        ({"http_port": None, "https_port": None}, "nothing would listen"),
        ({"tls_key": ""}, "tls_key"),
        ({"launcher": "other"}, "launcher"),
        ({"resident_command": "wine"}, "resident_command"),
        ({"resident_command": []}, "resident_command"),
        ({"launcher": "direct", "shell_command": []}, "shell_command"),
        ({"environment": {"A": 1}}, "environment"),
        ({"idle_timeout_s": "x"}, "idle_timeout_s"),
        ({"max_shells": 1.5}, "max_shells"),
        ({"max_shells": 0}, "max_shells"),
        ({"run_directory": 5}, "run_directory"),
        ({"ntlm_user_file": None}, "ntlm_user_file"),
        ({"comspec": 1}, "comspec"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        parse_config({**LEAST, **change})
    if "run_directory" not in change:
        with pytest.raises(ConfigError, match="run_directory: is missing"):
            parse_config({k: v for k, v in LEAST.items() if k != "run_directory"})


def test_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "winrm.json"
    file.write_text(json.dumps(LEAST))
    assert load_config(file) == parse_config(LEAST)
    for content in ("[]", "{", '{"x": 1}'):
        file.write_text(content)
        with pytest.raises(ConfigError, match=re.escape(str(file))):
            load_config(file)
    assert main(["--config", str(file)]) == 2
    assert main(["--config", str(tmp_path / "none")]) == 2
    assert main([]) == 2
    assert "usage" in capsys.readouterr().err


def test_the_readme_describes_every_key() -> None:
    readme = (Path(__file__).parents[2] / "vm-images/wine/winrm/README.md").read_text(encoding="utf-8")
    described = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (.*?) \|", readme, re.MULTILINE))))
    assert {field.name for field in fields(Config)} == described

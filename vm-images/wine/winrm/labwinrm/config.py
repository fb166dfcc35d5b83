"""The settings of the service: one JSON object, checked before anything starts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any


class ConfigError(Exception):
    """The configuration cannot be used; the message names the key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The service's settings; README.md describes each key.

    Attributes:
        ntlm_user_file: Accounts, ``DOMAIN:user:password`` a line.
        run_directory: Private folder for pipes and the account store.
        address: Address to listen on.
        http_port: HTTP port; 0 lets the kernel choose, ``None`` switches it off.
        https_port: HTTPS port, like ``http_port``.
        tls_certificate: PEM certificate chain for HTTPS.
        tls_key: PEM key for HTTPS.
        channel: Device of a virtio-serial port that is served as well.
        launcher: ``resident`` (a launcher inside Wine) or ``direct`` (one Unix process a command).
        resident_command: Starts the resident launcher.
        comspec: Windows path of the shell.
        shell_command: ``direct``: gets the command line as its last argument.
        program_command: ``direct``: gets a program and its arguments appended.
        environment: Added to the launcher's Unix environment.
        working_directory: Where commands start unless the client says otherwise.
        drive_c: Unix path of drive C, for ``direct``.
        log_file: Where log lines go; empty means standard error.
        idle_timeout_s: Seconds without a request after which a shell is closed, unless the client names its own.
        max_shells: Shells open at once.
        exit_grace_s: Seconds that left-over output is awaited after a command's own process has ended.
        max_envelope_kb: Largest request and response, in units of 1024 bytes.
    """

    ntlm_user_file: Path
    run_directory: Path
    address: str = "0.0.0.0"
    http_port: int | None = 5985
    https_port: int | None = 5986
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    channel: Path | None = None
    launcher: str = "resident"
    resident_command: tuple[str, ...] = ("wine", "C:\\lab\\labexec.exe")
    comspec: str = "C:\\windows\\system32\\cmd.exe"
    shell_command: tuple[str, ...] = ("/bin/sh", "-c")
    program_command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    working_directory: str = ""
    drive_c: Path | None = None
    log_file: Path | None = None
    idle_timeout_s: float = 7200.0
    max_shells: int = 30
    exit_grace_s: float = 1.0
    max_envelope_kb: int = 500

    def __post_init__(self) -> None:
        if self.launcher not in ("resident", "direct"):
            raise ConfigError(f"launcher: {self.launcher!r} is neither 'resident' nor 'direct'")
        if self.http_port is None and self.https_port is None:
            raise ConfigError("http_port, https_port: both are null, so nothing would listen")
        if self.https_port is not None and (self.tls_certificate is None or self.tls_key is None):
            raise ConfigError("https_port: needs tls_certificate and tls_key; set it to null to serve HTTP alone")
        if self.launcher == "resident" and not self.resident_command:
            raise ConfigError("resident_command: is empty")
        if self.launcher == "direct" and not self.shell_command:
            raise ConfigError("shell_command: is empty")
        if self.max_shells < 1 or self.idle_timeout_s <= 0 or self.exit_grace_s < 0 or self.max_envelope_kb < 32:
            raise ConfigError("max_shells, idle_timeout_s, exit_grace_s, max_envelope_kb: a number is too small")


_PATHS = {"ntlm_user_file", "run_directory", "tls_certificate", "tls_key", "channel", "drive_c", "log_file"}
_PORTS = {"http_port", "https_port"}
_ARGVS = {"resident_command", "shell_command", "program_command"}
_NUMBERS = {"idle_timeout_s", "exit_grace_s"}
_INTEGERS = {"max_shells", "max_envelope_kb"}


def parse_config(data: Mapping[str, Any]) -> Config:
    """Make a Config of a decoded JSON object.

    Raises:
        ConfigError: A key is unknown, missing, or has a value of the wrong type.
    """
    known = {f.name: f for f in fields(Config)}
    if unknown := sorted(set(data) - set(known)):
        raise ConfigError(f"unknown key {unknown[0]!r}; known are {', '.join(sorted(known))}")
    for name, spec in known.items():
        if name not in data and spec.default is MISSING and spec.default_factory is MISSING:
            raise ConfigError(f"{name}: is missing")
    return Config(**{name: _value(name, value) for name, value in data.items()})


def load_config(path: Path) -> Config:
    """Read the configuration file.

    Raises:
        ConfigError: The file cannot be read, is not a JSON object, or fails :func:`parse_config`.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: is not a JSON object")
    try:
        return parse_config(data)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _value(name: str, value: Any) -> Any:
    if name in _PATHS:
        return _path(name, value)
    if name in _ARGVS:
        _demand(isinstance(value, list) and all(isinstance(item, str) for item in value), name, value, "a list of strings")
        return tuple(value)
    if name in _PORTS:
        _demand(value is None or (type(value) is int and 0 <= value <= 65535), name, value, "a port or null")
    elif name in _NUMBERS:
        _demand(type(value) in (int, float), name, value, "a number")
    elif name in _INTEGERS:
        _demand(type(value) is int, name, value, "an integer")
    elif name == "environment":
        fits = isinstance(value, dict) and all(isinstance(item, str) for item in value.values())
        _demand(fits, name, value, "an object of strings")
    else:
        _demand(isinstance(value, str), name, value, "a string")
    return value


def _demand(fits: bool, name: str, value: Any, what: str) -> None:
    if not fits:
        raise ConfigError(f"{name}: {value!r} is not {what}")


def _path(name: str, value: Any) -> Path | None:
    if value is None or value == "":
        if name in ("ntlm_user_file", "run_directory"):
            raise ConfigError(f"{name}: is empty")
        return None
    if not isinstance(value, str):
        raise ConfigError(f"{name}: {value!r} is not a path")
    return Path(value)

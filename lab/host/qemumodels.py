"""Which device models, properties and CPU models a QEMU has: from its own answers on the monitor."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab.errors import HostToolError
from lab.host.process import run

_SECONDS = 60.0
_DEVICE = re.compile(r'^name "(?P<name>[^"]+)"(?P<more>.*)$', re.MULTILINE)
_ALIAS = re.compile(r', alias "([^"]+)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class QemuModels:
    """What one QEMU has.

    Attributes:
        devices: Names that ``-device`` takes, aliases among them → the model's own name.
        cpus: Names that ``-cpu`` takes.
        properties: Model's own name → its properties, of the models that were asked for.
    """

    devices: Mapping[str, str]
    cpus: tuple[str, ...]
    properties: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def ask_models(qemu: str, models: Sequence[str]) -> QemuModels:
    """Start QEMU without a guest, ask, and end it: two times 0.1 s.

    Args:
        qemu: The binary.
        models: Device models whose properties are wanted; those that it does not have are left out.

    Raises:
        HostToolError: It is missing, failed, or did not answer.
    """
    help_text, cpus = ask_monitor(
        qemu,
        [
            {"execute": "human-monitor-command", "arguments": {"command-line": "device_add help"}},
            {"execute": "query-cpu-definitions"},
        ],
    )
    devices = devices_of(str(help_text))
    wanted = list(dict.fromkeys(devices[model] for model in models if model in devices))
    lists = ask_monitor(qemu, [{"execute": "device-list-properties", "arguments": {"typename": name}} for name in wanted])
    properties = {name: tuple(str(item["name"]) for item in answer) for name, answer in zip(wanted, lists, strict=True)}
    return QemuModels(devices=devices, cpus=tuple(str(cpu["name"]) for cpu in cpus), properties=properties)


def devices_of(text: str) -> dict[str, str]:
    """Read what ``device_add help`` says: one line a model, ``name "edu", bus PCI, desc "…", alias "…"``."""
    found: dict[str, str] = {}
    for match in _DEVICE.finditer(text):
        found[match["name"]] = match["name"]
        if alias := _ALIAS.search(match["more"]):
            found[alias[1]] = match["name"]
    return found


def ask_monitor(qemu: str, questions: Sequence[Mapping[str, object]]) -> list[list[Mapping[str, object]]]:
    """Start QEMU without a guest, ask its monitor some questions, and end it.

    Args:
        qemu: The binary.
        questions: Commands of QMP.

    Returns:
        The answers, in the order of the questions.

    Raises:
        HostToolError: It is missing, failed, or did not answer.
    """
    if not questions:
        return []
    argv = [qemu, "-machine", "none", "-nodefaults", "-no-user-config", "-display", "none", "-qmp", "stdio"]
    lines = [json.dumps(question) for question in ({"execute": "qmp_capabilities"}, *questions, {"execute": "quit"})]
    with tempfile.TemporaryDirectory(prefix="lab-qemu-") as folder:
        answer = Path(folder) / "answer"
        # A file, not a pipe: on its way out QEMU 7.2 drops what a pipe did not take at once.
        to_file = ["sh", "-c", 'exec "$@" > "$0"', str(answer)]
        done = run([*to_file, *argv], _SECONDS, stdin="\n".join([*lines, ""]).encode(), hint="`lab doctor` checks QEMU")
        said = answer.read_text(encoding="utf-8", errors="replace")
    answers = []
    try:
        for line in said.splitlines():
            message = json.loads(line)
            if "error" in message:
                raise HostToolError(argv, done.exit_code, str(message["error"]), message=f"{qemu} refused a question")
            if "return" in message:
                answers.append(message["return"])
    except ValueError as error:
        raise HostToolError(argv, done.exit_code, said, message=f"{qemu} gave an answer that is not JSON: {error}") from None
    # The first one is that of qmp_capabilities; the one of quit need not come.
    answers = answers[1 : 1 + len(questions)]
    if len(answers) < len(questions):
        raise HostToolError(argv, done.exit_code, done.stderr or said, message=f"{qemu} did not answer its monitor")
    return answers

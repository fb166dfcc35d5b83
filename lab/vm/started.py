"""What was started in a run folder (``machine.json``): read by processes that did not start it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from lab.errors import GuestExited
from lab.vm.spec import VmSpec

MACHINE_FILE = "machine.json"
_SPEC = TypeAdapter(VmSpec)


def save_started(run_dir: Path, spec: VmSpec, ports: Mapping[int, int]) -> None:
    """Write the spec of a VM, and the host's port of each forwarded port of its guest; as a whole or not at all."""
    saved: dict[str, Any] = {"spec": _SPEC.dump_python(spec, mode="json"), "ports": dict(ports)}
    temporary = run_dir / (MACHINE_FILE + ".new")
    temporary.write_text(json.dumps(saved, indent=1), encoding="utf-8")
    temporary.replace(run_dir / MACHINE_FILE)


def read_started(run_dir: Path) -> tuple[VmSpec, dict[int, int]]:
    """The spec of the VM that was started in a run folder, and its ports: the guest's, and the host's.

    Raises:
        GuestExited: There was none.
    """
    try:
        saved = json.loads((run_dir / MACHINE_FILE).read_text(encoding="utf-8"))
        return _SPEC.validate_python(saved["spec"]), {int(guest): int(host) for guest, host in saved["ports"].items()}
    except (OSError, ValueError, KeyError, ValidationError):
        raise GuestExited(f"no virtual machine was started in {run_dir}", hint="`lab up` starts one") from None

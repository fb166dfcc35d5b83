"""Everything of the lab's own that is compiled, built once for all tests that look at it: that takes half a minute."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

from lab.host.assets import data_root
from lab.toolchain import build as build_module
from lab.toolchain.build import BuildResult, build_components, build_drivers
from lab.toolchain.compile import Arch
from lab.toolchain.manifest import load_component
from lab.toolchain.sign import SigningKey

#: More than both processors' builds take on a busy host.
_LOCK_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class OwnBuild:
    """The lab's own drivers and programs for one processor.

    Attributes:
        out: The folder with all of them.
        results: What `lab driver build` builds.
        flood: The driver of the bench, which has no name that users know.
        said: What the build from nothing said, with all warnings of the compiler.
    """

    out: Path
    results: tuple[BuildResult, ...]
    flood: BuildResult
    said: tuple[str, ...]


OwnBuilds = Callable[[Arch], OwnBuild]


def own_build(arch: Arch, shared: Path, key: SigningKey) -> OwnBuild:
    """Build in ``shared``; where another worker has done so, everything in there is up to date."""
    out, first = shared / arch, shared / f"{arch}.json"
    lines: list[str] = []
    with FileLock(shared / f"{arch}.lock", timeout=_LOCK_TIMEOUT_S), pytest.MonkeyPatch.context() as patch:
        patch.setattr(build_module, "signing_key", lambda: key)
        results = build_drivers([], arch, out, lines.append, project=data_root())
        bench = load_component(data_root() / "lab" / "bench" / "flood" / "driver.yaml")
        (flood,) = build_components([bench], arch, out, key, progress=lines.append)
        if not first.exists():
            first.write_text(json.dumps(lines), encoding="utf-8")
        return OwnBuild(out, tuple(results), flood, tuple(json.loads(first.read_text(encoding="utf-8"))))

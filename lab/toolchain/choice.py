"""Which compiler builds a component: GCC, or Clang where its manifest or its sources ask for that."""

from __future__ import annotations

from lab.toolchain.clang import Clang, find_clang
from lab.toolchain.compile import Compiler
from lab.toolchain.manifest import Component
from lab.toolchain.seh import seh_place


def wanted_clang(component: Component) -> str:
    """Why a component is compiled by Clang, as ``guard.c:12 uses __try``; empty when it is not."""
    manifest = component.manifest
    if manifest.compiler == "clang":
        return "the manifest has `compiler: clang`"
    if manifest.compiler == "gcc":
        return ""
    place = seh_place(component.folder, manifest.sources, manifest.include)
    return str(place) if place else ""


def choose_clang(component: Component, compiler: Compiler) -> tuple[Clang | None, str]:
    """The Clang that compiles a component, and the reason; None where GCC compiles it.

    Raises:
        ConfigError: It is for x86, where Clang's `__try` catches no fault.
        HostToolError: It needs Clang, and no usable one is installed.
    """
    why = wanted_clang(component)
    if not why:
        return None, ""
    if compiler.arch != "x64":
        raise component.wrong(
            f"{why}, which the lab compiles for x64 only: for x86, Clang's code catches no exceptions",
            *(["compiler"] if component.manifest.compiler == "clang" else []),
            hint="write `arches: [x64]` into the manifest, or build it with the WDK and name the finished .sys as `image`",
        )
    return find_clang(f"{component.name}: {why}"), why

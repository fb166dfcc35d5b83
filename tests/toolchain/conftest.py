"""Helpers: a signing key made once, tiny driver folders, and tiny images linked on purpose in a wrong way."""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.host.process import run
from lab.toolchain.compile import Compiler, compile_component, find_compiler
from lab.toolchain.manifest import load_component
from lab.toolchain.sign import SigningKey, signing_key
from tests.toolchain.own_build import OwnBuilds, own_build

TINY_DRIVER = """#include <ntddk.h>
NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
    UNREFERENCED_PARAMETER(driver);
    UNREFERENCED_PARAMETER(path);
    DbgPrint("tiny");
    return STATUS_SUCCESS;
}
"""

DriverFolder = Callable[..., Path]
Link = Callable[..., Path]


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of this run have in common."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "toolchain"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def key(shared: Path) -> SigningKey:
    return signing_key(shared / "signing")


@pytest.fixture(scope="session")
def own(shared: Path, key: SigningKey) -> OwnBuilds:
    """The lab's own drivers and programs, by processor: no test changes what is in there."""
    return functools.cache(lambda arch: own_build(arch, shared, key))


@pytest.fixture(scope="session")
def built_clients(own: OwnBuilds) -> Callable[[Path], Path]:
    """Make a folder of builds in which the lab's own drivers and programs are up to date: drvprobe takes twelve seconds."""
    return lambda folder: Path(shutil.copytree(own("x64").out, folder))


@pytest.fixture(scope="session")
def compiler() -> Compiler:
    return find_compiler("x64")


@pytest.fixture(scope="session")
def tiny_image(tmp_path_factory: pytest.TempPathFactory, compiler: Compiler) -> bytes:
    """A sound, unsigned driver of a few hundred bytes of code, with the string ``tiny`` in it."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "tiny.c").write_text(TINY_DRIVER, encoding="utf-8")
    (folder / "driver.yaml").write_text("name: tiny\nimage: tiny.sys\nsources: [tiny.c]\n", encoding="utf-8")
    compile_component(load_component(folder / "driver.yaml"), compiler, folder / "tiny.sys")
    return (folder / "tiny.sys").read_bytes()


@pytest.fixture
def unsigned(tiny_image: bytes, tmp_path: Path) -> Path:
    """:func:`tiny_image` as a file of the test's own."""
    image = tmp_path / "unsigned.sys"
    image.write_bytes(tiny_image)
    return image


@pytest.fixture
def driver_folder(tmp_path: Path) -> DriverFolder:
    """Make a folder with a manifest and a source; keyword arguments override the manifest's lines, None drops one."""

    def make(name: str = "tiny", *, source: str | None = TINY_DRIVER, **overrides: str | None) -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        keys: dict[str, str | None] = {"name": name, "image": f"{name}.sys", "sources": f"[{name}.c]", **overrides}
        if source is None:
            keys["sources"] = overrides.get("sources")
        else:
            (folder / f"{name}.c").write_text(source, encoding="utf-8")
        lines = [f"{key}: {value}\n" for key, value in keys.items() if value is not None]
        (folder / "driver.yaml").write_text("".join(lines), encoding="utf-8")
        return folder

    return make


@pytest.fixture
def link(tmp_path: Path, compiler: Compiler) -> Link:
    """Link a C source with flags of the test's choice, into a file of the test's choice."""

    def make(
        *flags: str,
        source: str = TINY_DRIVER,
        name: str = "broken.sys",
        entry: str = "DriverEntry",
        subsystem: str = "native",
        libraries: tuple[str, ...] = ("-lntoskrnl",),
    ) -> Path:
        code, target = tmp_path / "broken.c", tmp_path / name
        code.write_text(source, encoding="utf-8")
        run(
            [
                *(compiler.program, "-ffreestanding", "-fno-stack-protector", "-D_WIN32_WINNT=0x0600", "-nostdlib", "-s"),
                *("-isystem", str(compiler.kernel_headers), f"-Wl,--entry,{entry}", f"-Wl,--subsystem,{subsystem}:5.2"),
                *("-Wl,--dynamicbase", *flags, str(code), "-o", str(target), *libraries),
            ],
            60,
        )
        return target

    return make

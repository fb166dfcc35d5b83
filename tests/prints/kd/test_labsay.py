"""The program that prints markers in a guest: built as for an image, and its own code run on this host."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pefile
import pytest

from lab.host.process import find_program
from lab.toolchain.build import build_components
from lab.toolchain.compile import ARCHES, Arch
from lab.toolchain.manifest import load_component

FOLDER = Path(__file__).resolve().parents[3] / "vm-images" / "windows-common" / "labsay"

#: The functions of Windows that the program calls.
_WINDOWS_H = r"""
#include <stdio.h>
#include <stdlib.h>
#define ERROR_INVALID_PARAMETER 87
#define FALSE 0
typedef int BOOL;
typedef unsigned UINT;
static const char *GetCommandLineA(void) { return getenv("COMMAND_LINE"); }
static void OutputDebugStringA(const char *text) { fputs(text, stdout); }
"""


@pytest.mark.parametrize("arch", ARCHES)
def test_it_imports_what_nt52_has(arch: Arch, tmp_path: Path) -> None:
    build_components([load_component(FOLDER / "driver.yaml")], arch, tmp_path, None)
    with pefile.PE(str(tmp_path / "labsay.exe")) as image:
        names = {entry.name.decode() for library in image.DIRECTORY_ENTRY_IMPORT for entry in library.imports}
        assert names == {"ExitProcess", "GetCommandLineA", "OutputDebugStringA"}
        version = (image.OPTIONAL_HEADER.MajorSubsystemVersion, image.OPTIONAL_HEADER.MinorSubsystemVersion)
        assert version <= (5, 2)


@pytest.fixture(scope="module")
def labsay(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = find_program("cc") or find_program("gcc")
    if not compiler:
        pytest.skip("no C compiler for this machine itself")
    folder = tmp_path_factory.mktemp("labsay")
    (folder / "windows.h").write_text(_WINDOWS_H)
    program = folder / "labsay"
    subprocess.run([compiler, "-I", str(folder), "-o", str(program), str(FOLDER / "labsay.c")], check=True, timeout=120)
    return program


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (r"C:\lab\bin\labsay.exe lab:mark:gw0-1-7", "lab:mark:gw0-1-7\n"),
        (r'"C:\Program Files\labsay.exe"   "two words"', "two words\n"),
        ("labsay " + "x" * 510, "x" * 510 + "\n"),
    ],
)
def test_it_prints_its_arguments_as_one_text(labsay: Path, line: str, said: str) -> None:
    done = subprocess.run([labsay], env={"COMMAND_LINE": line}, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, said)


@pytest.mark.parametrize("line", ["labsay.exe", "labsay.exe  ", "labsay.exe " + "x" * 511])
def test_nothing_and_too_much_are_refused(labsay: Path, line: str) -> None:
    done = subprocess.run([labsay], env={"COMMAND_LINE": line}, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (87, "")

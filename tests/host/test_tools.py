from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from lab.errors import HostToolError
from lab.host.assets import data_root
from lab.host.process import Finished, Runner
from lab.host.tools import TOOLS, Tool, inspect, install_command, needed, parse_version, require_tools

BY_NAME = {tool.name: tool for tool in TOOLS}


def says(text: str, *, stderr: str = "", code: int = 0) -> Runner:
    def runner(argv: Sequence[str], timeout: float) -> Finished:
        return Finished(tuple(argv), code, text, stderr, 0.0)

    return runner


@pytest.mark.parametrize(
    ("name", "text", "version"),
    [
        ("qemu-system-x86_64", "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)", "7.2.22"),
        ("qemu-img", "qemu-img version 8.2.2 (Debian 1:8.2.2+ds-0ubuntu1.4)", "8.2.2"),
        ("mmdebstrap", "mmdebstrap 1.3.5", "1.3.5"),
        ("mke2fs", "mke2fs 1.47.0 (5-Feb-2023)", "1.47.0"),
        ("x86_64-w64-mingw32-gcc", "x86_64-w64-mingw32-gcc (GCC) 12-win32\nCopyright (C) 2022", "12-win32"),
        ("i686-w64-mingw32-gcc", "i686-w64-mingw32-gcc (GCC) 13.2.0", "13.2.0"),
        ("osslsigncode", "osslsigncode 2.9, using:\n\tOpenSSL 3.0.17", "2.9"),
    ],
)
def test_versions_are_read_from_the_output_of_tools(name: str, text: str, version: str) -> None:
    for runner in (says(text), says("", stderr=text)):
        state = inspect(BY_NAME[name], runner, path=f"/usr/bin/{name}")
        assert (state.version, state.problem, state.ok, state.hint) == (version, "", True, "")


def test_an_old_tool_is_not_accepted() -> None:
    state = inspect(BY_NAME["osslsigncode"], says("osslsigncode 2.1, using:"), path="/usr/bin/osslsigncode")
    assert (state.ok, state.problem) == (False, "older than 2.5")
    assert state.hint.endswith("apt-get install -y osslsigncode")


def test_missing_silent_and_hanging_tools() -> None:
    tool = BY_NAME["mmdebstrap"]
    assert inspect(tool, path="").problem == "not installed"
    assert inspect(tool, says("usage", code=2), path="/x").problem == "did not report its version (exit code 2)"

    def hang(argv: Sequence[str], timeout: float) -> Finished:
        raise HostToolError(argv, None, message="did not end within 20 s")

    assert inspect(tool, hang, path="/x").problem == "did not end within 20 s"


def test_a_tool_without_a_version_needs_only_to_be_there() -> None:
    def fail(argv: Sequence[str], timeout: float) -> Finished:
        raise AssertionError(f"not to be run: {argv}")

    state = inspect(BY_NAME["newuidmap"], fail, path="/usr/bin/newuidmap")
    assert (state.ok, state.version) == (True, "")


def test_root_needs_no_user_namespaces() -> None:
    assert BY_NAME["newuidmap"] in needed(root=False)
    assert BY_NAME["newuidmap"] not in needed(root=True)


def test_one_command_installs_everything() -> None:
    tools = [Tool("b", "run guests", "pkg-b"), Tool("a", "run guests", "pkg-a"), Tool("b2", "run guests", "pkg-b")]
    assert install_command(tools, root=True) == "apt-get install -y pkg-a pkg-b"
    assert install_command(tools, root=False) == "sudo apt-get install -y pkg-a pkg-b"
    assert install_command([]) == ""


def test_the_set_up_script_installs_what_is_required() -> None:
    """`ci/packages.txt` and the doctor agree."""
    listed = (data_root() / "ci" / "packages.txt").read_text().split()
    assert {tool.package for tool in TOOLS if tool.required} <= set(listed)


@pytest.mark.parametrize(("older", "newer"), [("2.9", "2.10"), ("7.2", "7.2.1"), ("9-win32", "12-win32")])
def test_versions_compare_by_number(older: str, newer: str) -> None:
    assert parse_version(older) < parse_version(newer)


def test_a_real_tool_of_this_host() -> None:
    state = inspect(Tool("sh", "run guests", "dash", arguments=("-c", "echo 1.2"), minimum="1.2"))
    assert (state.ok, state.version, Path(state.path).name) == (True, "1.2", "sh")


def test_all_missing_tools_are_reported_at_once_with_the_command() -> None:
    """Missing tools were reported one by one, one with each run."""
    lacking = {"qemu-img", "mmdebstrap", "x86_64-w64-mingw32-gcc"}
    with pytest.raises(HostToolError, match=r"lacks qemu-img, x86_64-w64-mingw32-gcc\n") as caught:
        require_tools(["run guests", "build drivers"], lambda name: "" if name in lacking else f"/bin/{name}")
    assert "lab setup" in caught.value.hint
    assert "gcc-mingw-w64-x86-64 qemu-utils" in caught.value.hint
    require_tools(["run guests"], lambda name: f"/bin/{name}")

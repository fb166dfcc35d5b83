"""Packages of the host: the list, the missing ones, and the commands that install them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from lab.errors import ConfigError, HostToolError
from lab.host import packages
from lab.host.process import Finished


def test_the_list_and_a_users_own(tmp_path: Path) -> None:
    more = tmp_path / "more.txt"
    more.write_text("# ours\nclang   # for coverage\n\nqemu-utils\n", encoding="utf-8")
    names = packages.needed_packages([more])
    assert {"qemu-system-x86", "gcc-mingw-w64-x86-64", "clang"} <= set(names)
    assert names.count("qemu-utils") == 1


def test_a_line_that_is_not_a_package_name_is_reported_with_its_place(tmp_path: Path) -> None:
    more = tmp_path / "more.txt"
    more.write_text("clang\n--force-yes\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"'--force-yes' is not a package name") as caught:
        packages.needed_packages([more])
    assert (caught.value.file, caught.value.line) == (str(more), 2)


def test_packages_that_dpkg_has_not_installed_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "find_program", lambda _name: "/usr/bin/dpkg-query")

    def dpkg(argv: Sequence[str], _timeout: float) -> Finished:
        said = "mount installed\nuidmap config-files\nqemu-utils installed\nqemu-utils installed\n"
        return Finished(tuple(argv), 1, said, "dpkg-query: no packages found matching osslsigncode", 0.1)

    wanted = ("mount", "uidmap", "osslsigncode", "qemu-utils")
    assert packages.missing_packages(wanted, dpkg) == ("uidmap", "osslsigncode")
    assert packages.missing_packages((), dpkg) == ()


def test_users_become_root_by_sudo_and_apt_waits_for_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "find_program", lambda name: f"/usr/bin/{name}")
    update, install = packages.install_commands(["mount"], root=False)
    assert (update[0], update[-1]) == ("sudo", "update")
    assert install[-4:] == ("install", "-y", "--no-install-recommends", "mount")
    assert "DPkg::Lock::Timeout=300" in install
    assert packages.install_commands(["mount"], root=True)[0][0] == "env"


@pytest.mark.parametrize(("lacking", "said"), [("apt-get", "has no apt"), ("sudo", "no sudo")])
def test_without_apt_or_sudo_the_packages_are_named(lacking: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "find_program", lambda name: "" if name == lacking else f"/usr/bin/{name}")
    with pytest.raises(HostToolError, match=said) as caught:
        packages.install_commands(["mount", "uidmap"], root=False)
    assert "mount uidmap" in caught.value.hint


def test_the_output_of_apt_is_kept_and_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    told = "echo 'E: Clearsigned file is not valid, got NOSPLIT'; exit 100"
    monkeypatch.setattr(packages, "install_commands", lambda _names: (("sh", "-c", told, "x"),))
    with pytest.raises(HostToolError, match="NOSPLIT") as caught:
        packages.install_packages(["mount"])
    log = Path(re.findall(r"see (\S+)", caught.value.message)[0].rstrip(";"))
    assert "NOSPLIT" in log.read_text(encoding="utf-8")
    log.unlink()

"""Files at places of their own, registry values, and the order of loading, as the pool has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from lab.errors import TransportError, WrongBinary
from lab.guest.protocol import CommandResult
from lab.plugin.markers import Wishes, with_needs
from lab.pool.moreofdriver import import_registry, place_files
from lab.pool.payload import Payload
from lab.pool.template import _facts
from lab.toolchain.files import sha256_of
from lab.toolchain.select import DriverPackage, PlacedFile
from tests.pool.test_payload import package


class Recording:
    """A transport that ends each command with one code."""

    name = "recording"

    def __init__(self, code: int = 0) -> None:
        self.code = code
        self.commands: list[str | Sequence[str]] = []

    def run(self, command: str | Sequence[str], *, timeout: float, stdin: bytes = b"", shell: bool = True) -> CommandResult:
        assert shell == isinstance(command, str)
        self.commands.append(command)
        return CommandResult(command=str(command), exit_code=self.code, stdout=b"denied\r\n", stderr=b"", duration_s=0)

    def put(self, source: Path, target: str, *, timeout: float = 300) -> None:
        raise AssertionError("everything came with the payload")

    def get(self, source: str, target: Path, *, timeout: float = 300) -> None:
        raise AssertionError

    def close(self) -> None:
        pass


def bringing(folder: Path, name: str, **files: str) -> DriverPackage:
    """A driver with files: keyword → place in the guest, empty for beside it."""
    placed = []
    for key, to in files.items():
        path = folder / f"{key}.bin"
        path.write_bytes(key.encode())
        placed.append(PlacedFile(path=path, sha256=sha256_of(path), to=to))
    registry = folder / f"{name}.reg"
    registry.write_bytes(b"values")
    return replace(package(folder, name), files=tuple(placed), registry=registry)


def test_all_goes_with_one_payload_and_is_hashed_where_it_belongs(tmp_path: Path) -> None:
    payload = Payload.of([bringing(tmp_path, "one", curve="", limits="C:\\etc\\limits.txt")])
    staged = {file.name for file in payload.stage(tmp_path / "stage").iterdir()}
    assert staged == {"one.sys", "one.reg", "curve.bin", "limits.bin"}
    assert set(payload.sums()) == {*staged, "C:\\etc\\limits.txt"}
    (tmp_path / "curve.bin").write_bytes(b"changed")
    with pytest.raises(WrongBinary, match=r"curve\.bin has SHA-256"):
        payload.stage(tmp_path / "again")


def test_files_are_placed_by_one_command_and_values_imported(tmp_path: Path) -> None:
    transport = Recording()
    place_files(transport, Payload.of([bringing(tmp_path, "one", curve="", limits="C:\\etc\\limits.txt")]))
    import_registry(transport, "C:\\lab\\run\\one.reg")
    assert transport.commands == [
        '(if not exist "C:\\etc\\" md "C:\\etc") && copy /y "C:\\lab\\run\\limits.bin" "C:\\etc\\limits.txt"',
        ["C:\\windows\\system32\\reg.exe", "import", "C:\\lab\\run\\one.reg"],
    ]
    place_files(transport, Payload.of([package(tmp_path, "plain")]))
    assert len(transport.commands) == 2, "nothing to place, nothing to run"


def test_a_refusal_is_the_labs_trouble_with_the_guests_words(tmp_path: Path) -> None:
    with pytest.raises(TransportError, match=r"one\.reg cannot be imported: the guest answered 5: denied"):
        import_registry(Recording(5), "C:\\lab\\run\\one.reg")
    with pytest.raises(TransportError, match="where the manifest wants them"):
        place_files(Recording(1), Payload.of([bringing(tmp_path, "one", limits="C:\\etc\\limits.txt")]))


def test_a_changed_file_value_need_or_place_changes_the_template(tmp_path: Path) -> None:
    one = bringing(tmp_path, "one", curve="")
    seen = {_facts(one), _facts(replace(one, needs=("two",))), _facts(replace(one, inf="one.inf"))}
    seen.add(_facts(replace(one, files=(replace(one.files[0], to="C:\\x"),))))
    seen.add(_facts(replace(one, files=(replace(one.files[0], sha256="0"),))))
    assert one.registry
    one.registry.write_bytes(b"other values")
    seen.add(_facts(one))
    assert len(seen) == 6


def test_a_test_gets_what_its_drivers_need(tmp_path: Path) -> None:
    packages = [package(tmp_path, name) for name in ("app", "bus", "log")]
    needs = {"app": ("bus",), "bus": ("log",), "log": ()}
    payload = Payload.of([replace(one, needs=needs[one.name]) for one in packages])
    assert payload.load_order(["app"]) == ("log", "bus", "app")
    wishes = with_needs(Wishes(drivers=("app",)), payload)
    assert (wishes.drivers, wishes.brought, wishes.needs) == (("app", "log", "bus"), ("log", "bus"), ())
    assert with_needs(Wishes(), payload) == Wishes()
    assert with_needs(Wishes(drivers=("other",)), payload) == Wishes(drivers=("other",))
    packaged = Payload.of([replace(packages[2], inf="log.inf")])
    assert with_needs(Wishes(drivers=("log",), needs=("dbgprint",)), packaged).needs == ("dbgprint", "pnp")

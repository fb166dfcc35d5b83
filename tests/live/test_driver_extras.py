"""Files with paths of their own, registry values, and the order of loading."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from lab.errors import ConfigError, GuestRefuses, WrongBinary
from lab.guest.protocol import CommandResult
from lab.live.driver_extras import import_registry, place_files
from lab.live.payload import Payload
from lab.plugin.markers import Wishes, with_needs
from lab.snapshot.template import _facts
from lab.toolchain.files import sha256_of
from lab.toolchain.package import DriverPackage, PlacedFile, Spot
from tests.live.test_payload import package


class Recording:
    """A transport that ends each command with one code, or only commands that contain a text."""

    name = "recording"

    def __init__(self, code: int = 0, on: str = "") -> None:
        self.code = code
        self.on = on
        self.commands: list[str | Sequence[str]] = []

    def run(self, command: str | Sequence[str], *, timeout: float, stdin: bytes = b"", shell: bool = True) -> CommandResult:
        assert shell == isinstance(command, str)
        self.commands.append(command)
        code = self.code if self.on in str(command) else 0
        return CommandResult(command=str(command), exit_code=code, stdout=b"denied\r\n", stderr=b"", duration_s=0)

    def put(self, source: Path, target: str, *, timeout: float = 300) -> None:
        raise AssertionError("everything came with the payload")

    def get(self, source: str, target: Path, *, timeout: float = 300) -> None:
        raise AssertionError

    def close(self) -> None:
        pass


def bringing(folder: Path, name: str, **files: str) -> DriverPackage:
    """A driver with files: keyword → place in the guest, empty for beside it."""
    placed = []
    folder.mkdir(exist_ok=True)
    for key, to in files.items():
        path = folder / f"{key}.bin"
        path.write_bytes(key.encode())
        placed.append(PlacedFile(path=path, sha256=sha256_of(path), to=to))
    registry = folder / f"{name}.reg"
    registry.write_bytes(b"values")
    return replace(package(folder, name), files=tuple(placed), registry=registry)


def test_all_files_go_with_one_payload_and_are_hashed_at_their_place(tmp_path: Path) -> None:
    payload = Payload.of([bringing(tmp_path, "one", curve="", limits="C:\\etc\\limits.txt")])
    staged = {file.name for file in payload.stage(tmp_path / "stage").iterdir()}
    assert staged == {"one.sys", "one.reg", "curve.bin", "limits.bin"}
    assert set(payload.sums()) == {*staged, "C:\\etc\\limits.txt"}
    (tmp_path / "curve.bin").write_bytes(b"changed")
    with pytest.raises(WrongBinary, match=r"curve\.bin has SHA-256"):
        payload.stage(tmp_path / "again")


def test_files_are_placed_by_one_command_and_values_imported(tmp_path: Path) -> None:
    transport = Recording()
    one = bringing(tmp_path, "one", curve="", limits="C:\\etc\\limits.txt")
    place_files(transport, Payload.of([one]))
    import_registry(transport, one)
    assert transport.commands == [
        '(if not exist "C:\\etc\\" md "C:\\etc") && copy /y "C:\\lab\\run\\limits.bin" "C:\\etc\\limits.txt"',
        ["C:\\windows\\system32\\reg.exe", "import", "C:\\lab\\run\\one.reg"],
    ]
    place_files(transport, Payload.of([package(tmp_path, "plain")]))
    import_registry(transport, package(tmp_path, "plain"))
    assert len(transport.commands) == 2, "nothing to place, nothing to run"


def test_a_refusal_is_reported_with_the_guests_words_and_the_manifests_line(tmp_path: Path) -> None:
    one = bringing(tmp_path, "one", limits="C:\\etc\\limits.txt", table="Q:\\etc\\table.txt")
    one = replace(one, registry_spot=Spot(file="driver.yaml", key="registry", line=7))
    spots = [Spot(file="driver.yaml", key=f"files.{number}.to", line=4 + number) for number in range(2)]
    files = tuple(replace(file, spot=spot) for file, spot in zip(one.files, spots, strict=True))
    with pytest.raises(GuestRefuses, match=r"one\.reg cannot be imported: it answered 5: denied") as caught:
        import_registry(Recording(5), one)
    assert (caught.value.file, caught.value.key, caught.value.line) == ("driver.yaml", "registry", 7)
    with pytest.raises(GuestRefuses, match=r"does not accept Q:\\etc\\table\.txt: it answered 1: denied") as caught:
        place_files(Recording(1, "Q:"), Payload.of([replace(one, files=files)]))
    assert (caught.value.key, caught.value.line) == ("files.1.to", 5)


def test_many_files_are_placed_by_commands_of_accepted_length(tmp_path: Path) -> None:
    """Sixty made one line of 13,676 characters, and cmd takes 8191."""
    names = [f"configuration_table_number_{number:02}" for number in range(60)]
    one = bringing(tmp_path, "one", **{name: f"C:\\Windows\\System32\\drivers\\{name}.bin" for name in names})
    place_files(transport := Recording(), Payload.of([one]))
    assert 2 < len(transport.commands) < 6
    assert max(map(len, transport.commands)) < 6100
    copied = [part for command in transport.commands for part in str(command).split(" && ") if part.startswith("copy")]
    assert [part.rpartition("\\")[2].removesuffix('.bin"') for part in copied] == names


def test_two_files_for_one_place_are_refused_with_file_and_line(tmp_path: Path) -> None:
    """The last one won, and its sum with it."""
    spot = Spot(file="driver.yaml", key="files.0.to", line=5)
    one, two = (bringing(tmp_path / name, name, table=f"C:\\{name[:1]}\\T.bin") for name in ("one", "two"))
    same = replace(two, files=(replace(two.files[0], to="c:\\O\\t.bin", spot=spot),))
    assert [file.to for file in Payload.of([one, same]).placed] == ["c:\\O\\t.bin"], "copies of one file"
    named = replace(same.files[0], path=tmp_path / "other.bin")
    with pytest.raises(ConfigError, match=r"c:\\O\\t\.bin in the guest is also the place of another file") as caught:
        Payload.of([one, replace(same, files=(replace(named, sha256="0" * 64),))])
    assert (caught.value.file, caught.value.key, caught.value.line) == ("driver.yaml", "files.0.to", 5)
    with pytest.raises(ConfigError, match=r"also the place of another file: .*one\.sys"):
        Payload.of([one, replace(same, files=(replace(named, to="C:\\lab\\run\\ONE.sys"),))])


def test_copies_of_one_file_in_another_case_are_staged_once(tmp_path: Path) -> None:
    one, two = (bringing(tmp_path / name, name, table="") for name in ("one", "two"))
    upper = tmp_path / "TABLE.bin"
    upper.write_bytes(b"table")
    two = replace(two, files=(replace(two.files[0], path=upper),))
    staged = Payload.of([one, two]).stage(tmp_path / "stage")
    assert sorted(file.name for file in staged.iterdir()) == ["one.reg", "one.sys", "table.bin", "two.reg", "two.sys"]


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

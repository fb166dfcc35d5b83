"""What belongs to a driver: needed drivers in their order, clients of its own, files, and a package."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import ConfigError
from lab.live.payload import Payload
from lab.toolchain.build import build_drivers
from lab.toolchain.known import known_components
from lab.toolchain.manifest import load_component
from lab.toolchain.product import load_order
from lab.toolchain.select import DriverPackage, resolve_drivers
from lab.toolchain.sign import SigningKey
from tests.toolchain.conftest import TINY_DRIVER

if TYPE_CHECKING:
    from tests.toolchain.conftest import DriverFolder

_CLIENT = "int main(void) { return 0; }\n"


def resolved(*paths: Path, key: SigningKey, tmp_path: Path) -> dict[str, DriverPackage]:
    found = resolve_drivers(paths, into=tmp_path / "run" / "drivers", out=tmp_path / "out", project=tmp_path, key=key)
    return {package.name: package for package in found}


def refused(folder: Path) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load_component(folder / "driver.yaml")
    return caught.value


def test_the_order_of_loading() -> None:
    needs = {"app": ("bus", "log"), "bus": ("log",), "log": ()}
    assert load_order(["app"], needs) == ("log", "bus", "app")
    assert load_order(["log", "app"], needs) == ("log", "bus", "app")
    with pytest.raises(ValueError, match=r"^b → c → b$"):
        load_order(["a"], {"a": ("b",), "b": ("c",), "c": ("b",)})


@given(st.lists(st.sets(st.integers(0, 7)), min_size=8, max_size=8), st.lists(st.integers(0, 7), max_size=4))
def test_each_driver_comes_once_after_those_that_it_needs(below: list[set[int]], wanted: list[int]) -> None:
    """Any graph without cycles: a driver needs only those with lower numbers."""
    needs = {str(name): tuple(str(need) for need in sorted(some) if need < name) for name, some in enumerate(below)}
    order = load_order([str(name) for name in wanted], needs)
    assert len(order) == len(set(order))
    assert set(map(str, wanted)) <= set(order)
    for place, name in enumerate(order):
        assert set(needs[name]) <= set(order[:place])


def test_needed_drivers_come_into_the_run_by_path_by_name_and_from_the_same_folder(
    driver_folder: DriverFolder, key: SigningKey, tmp_path: Path
) -> None:
    app = driver_folder("app", needs="[../bus, log]")
    driver_folder("bus", needs="[clock]")
    for name in ("log", "clock"):
        place = app if name == "log" else tmp_path / "bus"
        (place / f"{name}.c").write_text(TINY_DRIVER, encoding="utf-8")
        (place / f"{name}.driver.yaml").write_text(f"name: {name}\nimage: {name}.sys\nsources: [{name}.c]\n", encoding="utf-8")
    packages = resolved(app / "driver.yaml", key=key, tmp_path=tmp_path)
    assert {name: package.needs for name, package in packages.items()} == {
        "app": ("bus", "log"),
        "bus": ("clock",),
        "clock": (),
        "log": (),
    }


def test_the_folder_of_a_product_is_all_of_its_drivers(driver_folder: DriverFolder, key: SigningKey, tmp_path: Path) -> None:
    for name in ("bus", "app"):
        driver_folder(f"product/{name}", source=None, sources=f"[{name}.c]", image=f"{name}.sys")
    for name in ("bus", "app"):
        (tmp_path / "product" / name / f"{name}.c").write_text(TINY_DRIVER, encoding="utf-8")
        manifest = tmp_path / "product" / name / "driver.yaml"
        manifest.write_text(manifest.read_text(encoding="utf-8").replace(f"product/{name}", name), encoding="utf-8")
    (tmp_path / "product" / "docs").mkdir()
    assert set(resolved(tmp_path / "product", key=key, tmp_path=tmp_path)) == {"app", "bus"}


def test_a_missing_needed_driver_and_a_cycle_are_reported_with_file_and_line(
    driver_folder: DriverFolder, key: SigningKey, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="there is no driver nowhere") as caught:
        resolved(driver_folder("one", needs="[nowhere]"), key=key, tmp_path=tmp_path)
    assert (caught.value.key, caught.value.line) == ("needs.0", 4)
    with pytest.raises(ConfigError, match=r"there is no .*/gone") as caught:
        resolved(driver_folder("two", needs="[../gone]"), key=key, tmp_path=tmp_path)
    assert (caught.value.key, caught.value.line) == ("needs.0", 4)
    driver_folder("left", needs="[../right]")
    with pytest.raises(ConfigError, match="need each other, so none can be loaded first: left → right → left") as caught:
        resolved(driver_folder("right", needs="[../left]").parent / "left", key=key, tmp_path=tmp_path)
    assert (caught.value.key, caught.value.line) == ("needs", 4)


def test_clients_of_a_driver(
    driver_folder: DriverFolder, key: SigningKey, tmp_path: Path, built_clients: Callable[[Path], Path]
) -> None:
    built_clients(tmp_path / "out")
    clients = """
  - drvprobe
  - name: inside
    sources: [../app/inside.c]
    defines: [ANSWER=0]
  - ../app/outside.driver.yaml"""
    folder = driver_folder(clients=clients)
    app = tmp_path / "app"
    app.mkdir()
    (app / "inside.c").write_text(_CLIENT.replace("0;", "ANSWER;"), encoding="utf-8")
    (app / "outside.c").write_text(_CLIENT, encoding="utf-8")
    (app / "outside.driver.yaml").write_text(
        "name: outside\nkind: program\nimage: outside.exe\nsources: [outside.c]\n", encoding="utf-8"
    )
    package = resolved(folder, key=key, tmp_path=tmp_path)["tiny"]
    assert {name: path.name for name, path in package.clients.items()} == {
        "drvprobe": "drvprobe.exe",
        "inside": "inside.exe",
        "outside": "outside.exe",
    }
    assert all(path.is_relative_to(tmp_path / "run") for path in package.clients.values())
    built = build_drivers([f"{folder}/"], out=tmp_path / "built", project=tmp_path)
    assert [result.path.name for result in built] == ["tiny.sys", "inside.exe"]


def test_a_client_of_the_drivers_own_folder_comes_before_the_projects(
    driver_folder: DriverFolder, key: SigningKey, tmp_path: Path
) -> None:
    """With a driver of another project, the program of this one was taken that happens to have the same name."""
    folder = driver_folder(clients="[tool]")
    places = {"here": folder, "project": tmp_path / "app", "chosen": tmp_path / "own"}
    for said, place in places.items():
        place.mkdir(exist_ok=True)
        (place / "tool.c").write_text(f'const char said[] = "{said} it is"; {_CLIENT}', encoding="utf-8")
        (place / "tool.driver.yaml").write_text(
            "name: tool\nkind: program\nimage: tool.exe\nsources: [tool.c]\n", encoding="utf-8"
        )
    project = tmp_path / "app"
    assert "tool" in known_components(project)

    def content(name: str, *paths: Path) -> bytes:
        packages = resolve_drivers(paths, into=tmp_path / name, out=tmp_path / "out" / name, project=project, key=key)
        return packages[0].clients["tool"].read_bytes()

    assert b"here it is" in content("one", folder / "driver.yaml")
    assert b"chosen it is" in content("two", folder / "driver.yaml", tmp_path / "own" / "tool.driver.yaml")


@pytest.mark.parametrize(
    ("client", "line", "words"),
    [
        ("{name: x, sources: []}", 4, "at least 1 item"),
        ("{name: x, sources: [x.c]}", 4, "there is no file"),
        ("{name: x, sorces: [x.c]}", 4, "no such key"),
        ("{sources: [tiny.c]}", 4, "name is missing"),
        ("7", 4, "must be a valid string"),
    ],
)
def test_wrong_clients_are_reported_with_their_line(driver_folder: DriverFolder, client: str, line: int, words: str) -> None:
    error = refused(driver_folder(clients=f"[drvprobe, {client}]"))
    assert error.line == line
    assert words in error.message


def test_files_and_values_are_the_runs_own_copies(driver_folder: DriverFolder, key: SigningKey, tmp_path: Path) -> None:
    folder = driver_folder(
        files=r"[data/one.bin, {path: ../two.bin, to: 'C:\x\renamed.bin'}]", registry="{Level: 1}", service="Svc"
    )
    (folder / "data").mkdir()
    (folder / "data" / "one.bin").write_bytes(b"one")
    (tmp_path / "two.bin").write_bytes(b"two")
    package = resolved(folder, key=key, tmp_path=tmp_path)["tiny"]
    assert [(file.path.read_bytes(), file.to) for file in package.files] == [(b"one", ""), (b"two", "C:\\x\\renamed.bin")]
    assert package.registry
    assert package.registry.name == "Svc.reg"
    assert all(path.is_relative_to(tmp_path / "run") for path in (package.registry, *(file.path for file in package.files)))


def test_files_of_one_name_go_to_places_of_their_own(driver_folder: DriverFolder, key: SigningKey, tmp_path: Path) -> None:
    """Both copies had one name, and the lab reported a wrong binary in the guest."""
    folder = driver_folder(files=r"[{path: x/t.bin, to: 'C:\x\t.bin'}, {path: y/t.bin, to: 'C:\y\t.bin'}, t.bin]")
    for place in ("x", "y", "."):
        (folder / place).mkdir(exist_ok=True)
        (folder / place / "t.bin").write_bytes(place.encode())
    package = resolved(folder, key=key, tmp_path=tmp_path)["tiny"]
    assert [(file.path.read_bytes(), file.to) for file in package.files] == [
        (b"x", "C:\\x\\t.bin"),
        (b"y", "C:\\y\\t.bin"),
        (b".", ""),
    ]
    assert [(file.spot.key, file.spot.line) for file in package.files] == [("files.0.to", 4), ("files.1.to", 4), ("files.2", 4)]
    assert len(list(Payload.of([package]).stage(tmp_path / "stage").iterdir())) == 4
    assert package.files[2].path.name == "t.bin"


@pytest.mark.parametrize(
    ("keys", "key", "words"),
    [
        (
            {"files": r"[{path: tiny.c, to: 'C:\x'}, {path: driver.yaml, to: 'c:\X'}]"},
            "files.1",
            "have the same place in the guest",
        ),
        ({"files": "[tiny.c, Tiny.c]"}, "files.1", "have the same place in the guest"),
        ({"files": "[tiny.sys]"}, "files.0", "have the same place in the guest"),
        ({"files": "['a&b.bin']"}, "files.0", "cannot be a file name in the guest"),
        ({"files": "['100%.bin']"}, "files.0", "cannot be a file name in the guest"),
        ({"files": r"[{path: tiny.c, to: 'C:\x!\y'}]"}, "files.0.to", "full Windows path"),
        ({"files": r"[{path: tiny.c, to: 'C:\x\y. '}]"}, "files.0.to", "full Windows path"),
        ({"files": "[gone.bin]"}, "files.0", "there is no file"),
        ({"files": "[{path: tiny.c, to: relative.bin}]"}, "files.0.to", "full Windows path"),
        ({"files": r"[{path: tiny.c, to: 'C:\x\..\y'}]"}, "files.0.to", "full Windows path"),
        ({"files": "[{to: 'C:\\x'}]"}, "files.0", "path is missing"),
        ({"files": r"['data\x.bin']"}, "files.0", "write data/x.bin"),
        ({"inf": "tiny.inf"}, "inf", "catalogue of the package holds its hash"),
        ({"inf": "tiny.txt"}, "inf", "must end in .inf"),
        ({"arguments": "[a, b]"}, "arguments", "StartService to no driver"),
        ({"kind": "program", "image": "t.exe", "needs": "[x]"}, "needs", "this is a program"),
    ],
)
def test_wrong_keys_are_reported(driver_folder: DriverFolder, keys: dict[str, str], key: str, words: str) -> None:
    folder = driver_folder(**keys)
    for name in ("Tiny.c", "tiny.sys"):
        (folder / name).touch()
    error = refused(folder)
    assert error.key == key
    assert error.line == 4 + list(keys).index(key.partition(".")[0]) - ("image" in keys)
    assert words in error.message

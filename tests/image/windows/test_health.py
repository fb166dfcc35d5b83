"""`lab image doctor`: its findings about images that are complete, broken, old, and about to expire."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock
from typer.testing import CliRunner

from lab.cli.main import app
from lab.errors import HostToolError
from lab.host.qemumachines import MachineType
from lab.image import health
from lab.image.store import images_dir, is_complete
from lab.image.windows import files
from lab.image.windows.image_record import load_record
from tests.image.windows.conftest import NOW, MakeImage


def examine(cache: Path, **options: bool) -> health.ImageHealth:
    (found,) = health.examine_all(cache=cache, now=NOW, **options)
    return found


@pytest.fixture(autouse=True)
def _qemu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The QEMU of the host has the machine type of the images."""
    known = (MachineType(name="pc-q35-9.0", alias="q35"),)
    monkeypatch.setattr("lab.image.windows.examine.ask_machines", lambda _qemu: known)


def texts(image: health.ImageHealth, level: str) -> str:
    return "\n".join(finding.text for finding in image.findings if finding.level == level)


def test_a_sound_image_is_reported_as_sound(cache: Path, make_image: MakeImage) -> None:
    make_image()
    image = examine(cache, verify=True)
    assert image.level == "ok"
    told = texts(image, "ok")
    assert "complete" in told
    assert "made by the current recipe" in told
    assert "ends on 2030-09-09, in 100 days" in told
    assert "test signing in force: TESTSIGNING (acceptance boot of 2030-06-01)" in told
    assert "disk.qcow2 is unchanged since the build" in told
    assert "machine type pc-q35-9.0 of April 2024, 6.2 years old; QEMU 12.0 and later warn of it" in told


@pytest.mark.parametrize(
    ("days", "level", "said"),
    [
        (14, "ok", "in 14 days"),
        (13, "warning", "in 13 days"),
        (0, "broken", "ended on 2030-06-01"),
        (-5, "broken", "ended on 2030-05-27"),
    ],
)
def test_the_end_of_the_licence_is_reported_two_weeks_before(
    cache: Path, make_image: MakeImage, days: int, level: str, said: str
) -> None:
    make_image(evaluation_expires=NOW + datetime.timedelta(days=days))
    image = examine(cache)
    assert image.level == level
    assert said in texts(image, level)


def test_the_end_of_a_certificate_is_reported_two_weeks_before(cache: Path, make_image: MakeImage) -> None:
    folder = make_image()
    record = load_record(folder)
    soon = record.certificates[0].model_copy(update={"expires": NOW + datetime.timedelta(days=3)})
    make_image(key="k2", certificates=(soon,))
    first, second = health.examine_all(cache=cache, now=NOW)
    assert (first.level, second.level) == ("ok", "warning")
    assert "certificate lab.cer ends on 2030-06-04, in 3 days" in texts(second, "warning")


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def write(name: str, text: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).write_text(text)

    return change


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (remove("manifest.json"), "manifest.json cannot be read"),
        (write("manifest.json", "{}"), "manifest.json cannot be read"),
        (remove(files.DISK), "there is no disk.qcow2"),
        (remove(files.FIRMWARE_VARS), "there is no vars.qcow2"),
        (remove(files.RECORD), "there is no image.json"),
        (write(files.RECORD, "[]"), "image.json cannot be read"),
        (remove(files.KD_DISK), "there is no disk-kd.qcow2"),
        (write("credentials.json", "{}"), "no credentials.json that can be read"),
    ],
)
def test_missing_files_are_named(cache: Path, make_image: MakeImage, damage: Callable[[Path], None], said: str) -> None:
    damage(make_image())
    image = examine(cache)
    assert image.level == "broken"
    assert said in texts(image, "broken")
    assert all(finding.hint for finding in image.findings if finding.level == "broken")


def test_a_changed_disk_is_found_when_it_is_asked_for(cache: Path, make_image: MakeImage) -> None:
    write(files.DISK, "changed")(make_image())
    assert examine(cache).level == "ok"
    assert "disk.qcow2 was changed" in texts(examine(cache, verify=True), "broken")


def test_an_older_recipe_is_a_warning(cache: Path, make_image: MakeImage) -> None:
    make_image(checkout_key="of before")
    assert "made by an older recipe" in texts(examine(cache), "warning")


def test_a_check_that_did_not_hold_is_a_warning(cache: Path, make_image: MakeImage) -> None:
    acceptance = load_record(make_image()).acceptance
    check = acceptance.checks[0].model_copy(update={"name": "licence", "ok": False, "value": "status 5", "wanted": "1"})
    make_image(key="k2", acceptance=acceptance.model_copy(update={"checks": (check,)}))
    _first, second = health.examine_all(cache=cache, now=NOW)
    assert "licence: status 5" in texts(second, "warning")


def test_a_machine_type_that_this_host_does_not_have_cannot_be_used(
    cache: Path, make_image: MakeImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_image()
    monkeypatch.setattr("lab.image.windows.examine.ask_machines", lambda _qemu: ())
    assert "this host's QEMU has no machine type pc-q35-9.0" in texts(examine(cache), "broken")


def test_without_qemu_the_age_of_the_machine_type_is_not_known(
    cache: Path, make_image: MakeImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(_qemu: str) -> None:
        raise HostToolError(["qemu-system-x86_64"], None, message="qemu-system-x86_64: there is no such program on this host")

    make_image()
    monkeypatch.setattr("lab.image.windows.examine.ask_machines", missing)
    assert "the age of its machine type is not known: qemu-system-x86_64" in texts(examine(cache), "warning")


def test_work_folders_are_no_images(cache: Path) -> None:
    busy = images_dir(cache) / ".windows-10-k.12345678.tmp"
    busy.mkdir()
    with FileLock(busy / "build.lock"):
        assert health.examine_all(cache=cache, now=NOW) == []


def test_the_command_says_it_and_ends_with_1_only_for_what_cannot_be_used(cache: Path, make_image: MakeImage) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["image", "doctor", "--cache", str(cache), *arguments])
        return result.exit_code, result.stdout

    assert run() == (0, f"no images in {images_dir(cache)}\n")
    far = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=5, hours=1)
    folder = make_image(evaluation_expires=far)
    code, text = run()
    assert code == 0
    assert "warning" in text
    assert "in 5 days" in text
    make_image(key="k2", evaluation_expires=NOW - datetime.timedelta(days=10000))
    code, text = run("--json")
    assert code == 1
    document = json.loads(text)
    assert document["ok"] is False
    assert [image["level"] for image in document["images"]] == ["warning", "broken"]
    assert document["images"][0]["path"] == str(folder)


@pytest.mark.parametrize("name", ["credentials.json", files.RECORD, files.FIRMWARE_CODE, files.FIRMWARE_VARS, files.KD_DISK])
def test_an_image_that_lacks_a_file_is_built_again(make_image: MakeImage, name: str) -> None:
    folder = make_image()
    assert is_complete(folder)
    remove(name)(folder)
    assert not is_complete(folder)


@pytest.mark.parametrize(("checkout_key", "force"), [(None, True), ("of before", False)])
def test_the_hint_is_a_build_that_really_builds(
    cache: Path, make_image: MakeImage, checkout_key: str | None, force: bool
) -> None:
    changes = {"evaluation_expires": NOW} | ({"checkout_key": checkout_key} if checkout_key else {})
    write(files.DISK, "changed")(make_image(**changes))
    hints = [finding.hint for finding in examine(cache, verify=True).findings if finding.level == "broken"]
    assert len(hints) == 2
    assert all(("--iso PATH --force" in hint) is force for hint in hints)


def test_leftovers_of_an_interrupted_build_are_reported_with_their_size(cache: Path) -> None:
    base = images_dir(cache)
    left, busy = base / ".windows-11-k.00000001.tmp", base / ".windows-11-k.00000002.tmp"
    for folder in (left, busy):
        folder.mkdir()
        (folder / files.DISK).write_bytes(b"x" * 3_000_000)
    with FileLock(busy / "build.lock"):
        image = examine(cache)
    assert (image.path, image.level) == (left, "warning")
    assert "leftover of an interrupted build, 3 MB" in texts(image, "warning")
    assert f"rm -r {left}" in image.findings[0].hint

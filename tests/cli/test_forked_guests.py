"""Which guests are forked, by image and way of their prints, as `lab doctor` shows it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from lab.cli import doctor
from lab.cli.forked_guests import ForkedGuest, forked_guests
from lab.image.manifest import DebugBoot, ImageManifest, PrintPort, usual_offers
from lab.image.store import StoredImage
from lab.live.print_wiring import booted_as, can_resume
from tests.cli.test_doctor import found
from tests.simulated import manifest

MACHINE = {"machine": "q35", "memory_mb": 256, "disk": "disk.qcow2"}
FREE = manifest(machine=MACHINE, prints=PrintPort(source="wine", mark_port=5999))


def windows(source: str, **machine: object) -> ImageManifest:
    changes = {"machine": {**MACHINE, **machine}, "prints": PrintPort(source=source), "name": "windows-10", "kind": "windows"}
    debug = DebugBoot(prints=PrintPort(source="kd", serial=1))
    return manifest(**changes, debug=debug, transports=usual_offers("winrm"))


def ways(*manifests: ImageManifest, no_snapshots: str = "") -> list[ForkedGuest]:
    images = [StoredImage(Path("/images") / one.name, one, 0) for one in manifests]
    return forked_guests(images, "kvm", no_snapshots=no_snapshots)


def test_the_free_guest_is_forked() -> None:
    (way,) = ways(FREE)
    assert (way.image, way.prints, way.words) == ("simulated", "prints on a serial port", "forked from a template")


@pytest.mark.parametrize("source", ["relay", "none"])
def test_each_way_of_a_windows_guests_prints_has_its_own_line(source: str) -> None:
    """What is forked is asked of the print channels, so the list follows them."""
    image = windows(source)
    plain, debugged = ways(image)
    assert {plain.prints, debugged.prints} & {"the kernel debugger's port"} == {debugged.prints}
    for way, booted in ((plain, image), (debugged, booted_as(image, "kd"))):
        assert bool(way.why_booted) == (not can_resume(booted))
        assert way.words == ("forked from a template" if can_resume(booted) else f"each is booted: {way.why_booted}")


def test_an_obstacle_in_the_images_own_vm_is_named() -> None:
    (plain, _debugged) = ways(windows("none", cpu_kvm="host,+invtsc"))
    assert plain.words.startswith("each is booted: CPU flag invtsc forbids snapshots")
    assert plain.as_json()["forked"] is False


def test_a_qemu_without_snapshots_boots_all(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [way.why_booted for way in ways(FREE, no_snapshots="it is too old")] == ["it is too old"]


def test_an_image_whose_kind_is_not_installed_has_a_line(caplog: pytest.LogCaptureFixture) -> None:
    (way,) = ways(manifest(machine=MACHINE, prints=PrintPort(source="flute")))
    assert (way.prints, way.why_booted) == ("flute", "image simulated: there is no print channel 'flute'")


def run(monkeypatch: pytest.MonkeyPatch, images: list[StoredImage], *options: str) -> str:
    app = typer.Typer()
    doctor.register(app)
    app.callback()(lambda: None)
    monkeypatch.setattr(doctor, "survey", lambda *, reprobe: found())
    monkeypatch.setattr(doctor, "list_images", lambda: images)
    return CliRunner().invoke(app, ["doctor", *options]).output


def test_doctor_shows_the_newest_build_of_each_image(monkeypatch: pytest.MonkeyPatch) -> None:
    images = [StoredImage(Path("/images/new"), FREE, 0), StoredImage(Path("/images/old"), FREE, 0)]
    text = run(monkeypatch, images)
    assert text.count("forked from a template") == 1
    document = json.loads(run(monkeypatch, images, "--json"))
    assert document["guests"] == [
        {"image": "simulated", "prints": "prints on a serial port", "forked": True, "why_booted": None}
    ]


def test_doctor_without_an_image_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Guests: no image is built yet" in run(monkeypatch, [])
    assert json.loads(run(monkeypatch, [], "--json"))["guests"] == []

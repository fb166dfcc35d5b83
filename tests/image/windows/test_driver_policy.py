"""The policy for cross-signed drivers: asked at acceptance, and reported when it changed."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from lab.host.assets import data_root
from lab.image.windows.driver_policy import policy_findings
from lab.image.windows.facts import gather
from lab.image.windows.image_record import AcceptanceRecord, load_record
from lab.image.windows.recipe import load_recipe
from tests.image.windows.conftest import NOW, MakeImage
from tests.image.windows.guest_double import GuestDouble


def acceptance(state: str) -> AcceptanceRecord:
    return AcceptanceRecord(when=NOW, boot_s=1, driver_policy=state)


def said(folder: Path) -> list[tuple[str, str]]:
    return [(finding.level, finding.text) for finding in policy_findings(folder, load_record(folder))]


@pytest.mark.parametrize("state", ["none", "evaluation", "enforced", "unknown"])
def test_the_state_is_taken_from_the_guest(state: str) -> None:
    guest = GuestDouble()
    guest.asked["driver_policy"] = state
    facts = gather(guest, load_recipe(data_root() / "vm-images" / "windows-11"))
    assert facts.driver_policy == state
    # It decides nothing about an image: test-signed drivers are none of the policy's.
    assert facts.failed == ()


def test_a_guest_that_was_not_asked_says_nothing() -> None:
    guest = GuestDouble()
    del guest.asked["driver_policy"]
    assert gather(guest, load_recipe(data_root() / "vm-images" / "windows-11")).driver_policy == ""


@pytest.mark.parametrize(
    ("state", "level", "text"),
    [
        ("none", "ok", "policy for cross-signed drivers: none (this Windows does not have it)"),
        ("evaluation", "warning", "policy for cross-signed drivers: evaluation (cross-signed drivers load, and each load"),
        ("enforced", "warning", "policy for cross-signed drivers: enforced (cross-signed drivers are blocked"),
        ("unknown", "warning", "policy for cross-signed drivers: Windows did not say"),
    ],
)
def test_the_state_is_reported(make_image: MakeImage, state: str, level: str, text: str) -> None:
    ((found, shown),) = said(make_image(acceptance=acceptance(state)))
    assert found == level
    assert shown.startswith(text)


def test_an_image_of_before_says_nothing(make_image: MakeImage) -> None:
    assert said(make_image()) == []


def test_a_change_since_the_image_before_is_a_warning(make_image: MakeImage) -> None:
    day = datetime.timedelta(days=1)
    make_image("k1", acceptance=acceptance("none"), built=NOW - 9 * day)
    before = make_image("k2", acceptance=acceptance("evaluation"), built=NOW - day)
    last = make_image("k3", acceptance=acceptance("enforced"), built=NOW)
    assert [text for _level, text in said(last)][1:] == [
        "the policy for cross-signed drivers changed: evaluation in the image of 2030-05-31, enforced in this one"
    ]
    assert len(said(before)) == 2
    same = make_image("k4", acceptance=acceptance("enforced"), built=NOW + day)
    assert len(said(same)) == 1
    (last / "image.json").write_text("{}", encoding="utf-8")
    assert "evaluation in the image of 2030-05-31" in said(same)[1][1]

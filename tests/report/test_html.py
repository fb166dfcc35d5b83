"""The page: what it must show, that it needs no other file, and that no text from a guest becomes markup."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from lab.report.html import render_html, write_html
from lab.report.model import EvidenceFile, EvidenceStep, Fault, GuestEntry, RunReport, TestEntry, kind_entry
from tests.report.invented import print_at

HOSTILE = "</pre><script>alert(1)</script>\"'&<img src=x onerror=alert(2)>\x1b[31m\u202egpj\x00"

#: Elements without an end tag.
VOID = {"meta", "link", "br", "input", "img", "hr"}


class Page(HTMLParser):
    """Parses a page: elements, attributes, text; and checks that elements close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    def values(self, name: str) -> list[str]:
        return [value for _, attribute, value in self.attributes if attribute == name]


@pytest.fixture(scope="module")
def page(run: RunReport) -> Page:
    return Page(render_html(run, exit_meaning="the driver took a guest down"))


def test_elements_close_in_order(page: Page) -> None:
    assert page.open == []


def test_the_head_says_what_happened_and_on_which_guest(page: Page) -> None:
    text = page.text
    assert "2 crashes, 3 product failures, 1 lab failure" in text
    assert "free guest: Wine 10.0 on Debian 13" in text
    assert "This guest is not Windows" in text
    assert "exit code 3 : the driver took a guest down" in text
    for count in ("46 passed", "7 skipped", "1 known"):
        assert count in text


def test_a_real_windows_is_not_called_free(run: RunReport) -> None:
    image = run.image.model_copy(update={"kind": kind_entry("windows"), "guest": "Windows Server 2022"})
    text = Page(render_html(run.model_copy(update={"image": image, "guest": "Windows Server 2022"}))).text
    assert "A real Windows guest." in text
    assert "not Windows" not in text


def test_nothing_is_loaded_from_elsewhere(page: Page) -> None:
    assert not {"link", "img", "iframe", "object", "embed", "base", "form"} & set(page.tags)
    assert page.values("src") == []
    assert all(target.startswith("#t") for target in page.values("href"))
    assert not any(name.startswith("on") for _, name, _ in page.attributes)


def test_no_style_loads_anything(run: RunReport) -> None:
    text = render_html(run)
    assert "@import" not in text
    assert "url(" not in text
    assert "http" not in text.replace("http-equiv", "")


def test_every_link_and_every_id_fits(page: Page, run: RunReport) -> None:
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert {target[1:] for target in page.values("href")} <= set(ids)
    assert sum(bool(re.fullmatch(r"t\d+", name)) for name in ids) == len(run.tests)


def test_each_red_test_stands_with_reason_prints_and_details(page: Page, run: RunReport) -> None:
    text = page.text
    for test in run.tests:
        if test.verdict in ("crash", "product", "infra"):
            assert re.sub(r"\s+", " ", test.reason) in text
    assert "当前DPC Irp: 0x8f21a010" in text
    assert "At index 2 diff: 'hi, lyshark c' != 'hi, lyshark C'" in text
    assert "0xC0000005" in text


def test_a_red_test_has_its_signature(run: RunReport) -> None:
    signature = "product AssertionError: assert a < b"
    tests = [t.model_copy(update={"signature": signature}) if t.verdict == "product" else t for t in run.tests]
    page = Page(render_html(run.model_copy(update={"tests": tests})))
    assert "".join(page.words).count(signature) == run.totals["product"]


def test_red_tests_come_before_green_ones_and_crashes_first(run: RunReport) -> None:
    text = render_html(run)
    order = [text.index(f'<section class="card bug {verdict}"') for verdict in ("crash", "product", "infra")] + [
        text.index("<h2>All tests</h2>")
    ]
    assert order == sorted(order)


def test_skipped_tests_are_grouped_by_what_is_missing(page: Page) -> None:
    text = page.text
    assert re.search(r"capability direct_io 3 ", text)
    assert re.search(r"capability driver_verifier 2 ", text)


def test_the_pictures_are_there(page: Page) -> None:
    labels = page.values("aria-label")
    assert "Workers, guests and tests over time" in labels
    assert "When the kernel prints came, in guest time" in labels
    assert "1.214 s" in page.text


def test_a_retried_test_shows_its_first_attempt(page: Page) -> None:
    assert "2 attempts" in page.text
    assert "the guest did not answer within 30 s" in page.text


def test_guests_drivers_and_hashes(page: Page) -> None:
    text = page.text
    for words in ("gw0-1", "exited: killed by signal 9", "9b" * 32, "x64", "3f9c2a77d0b1e8c4", "7.2.19"):
        assert words in text


def hostile_run(run: RunReport) -> RunReport:
    """A run in which everything that came from outside tries to be markup."""
    tests = [
        TestEntry(
            nodeid=f"suites/{HOSTILE}.py::test[{HOSTILE}]",
            verdict=verdict,
            reason=HOSTILE,
            duration_s=1.0,
            started=run.tests[0].started,
            worker="gw0",
            guest_id=HOSTILE,
            missing_capability=HOSTILE if verdict == "skipped" else None,
            drivers=[HOSTILE],
            fault=Fault(code=HOSTILE, parameters=[HOSTILE], text=HOSTILE, driver=HOSTILE),
            details=HOSTILE,
            prints=[print_at(0, 1.0, HOSTILE), print_at(1, 3.0, HOSTILE + "\n")],
        )
        for verdict in ("crash", "product", "infra", "known", "skipped", "passed")
    ]
    guest = GuestEntry(
        guest_id=HOSTILE,
        worker=HOSTILE,
        started=run.tests[0].started,
        boot_s=1.0,
        ended=HOSTILE,
        gaps=[HOSTILE],
        unattributed=[print_at(5, 1.0, HOSTILE)],
        boot_prints=[print_at(4, 1.0, HOSTILE)],
    )
    image = run.image.model_copy(
        update={"name": HOSTILE, "key": HOSTILE, "capabilities": [HOSTILE], "versions": {HOSTILE: HOSTILE}}
    )
    driver = run.drivers[0].model_copy(update={"name": HOSTILE, "path": HOSTILE, "arch": HOSTILE})
    return run.model_copy(
        update={
            "tests": tests,
            "guests": [guest],
            "guest": HOSTILE,
            "image": image,
            "drivers": [driver],
            "command": ["lab", HOSTILE],
            "qemu": HOSTILE,
            "totals": {"crash": 1, "product": 1, "infra": 1, "known": 1, "skipped": 1, "passed": 1},
        }
    )


def test_hostile_text_stays_text(run: RunReport) -> None:
    text = render_html(hostile_run(run), exit_meaning=HOSTILE)
    page = Page(text)
    assert page.open == []
    assert page.tags.count("script") == 1
    assert "img" not in page.tags
    assert not any(name.startswith("on") for _, name, _ in page.attributes)
    assert all(re.fullmatch(r"#t\d+", target) for target in page.values("href"))
    assert "<script>alert(1)</script>" in page.text
    assert "\\x1b[31m\\u202egpj\\x00" in page.text


def test_evidence_is_linked_and_its_steps_are_shown(run: RunReport) -> None:
    red = next(test for test in run.tests if test.verdict == "crash")
    files = [
        EvidenceFile(kind="screenshot", path="evidence/a b/crash.png", note="2000 bytes"),
        EvidenceFile(kind="dump", path="evidence/a b/memory.dmp", note="win-dmp"),
        EvidenceFile(kind="console", path="javascript:alert(1)//<x>"),
    ]
    steps = [
        EvidenceStep(name="nmi", seconds=5.0, ok=True, detail="sent; the guest showed no reaction within 5 s"),
        EvidenceStep(name="dump", seconds=0.0, ok=False, skipped=True, detail="left out: memory dumps are off"),
    ]
    changes = {"evidence": files, "evidence_steps": steps, "hang": "hard", "nodeid": "evidence"}
    page = Page(render_html(run.model_copy(update={"tests": [red.model_copy(update=changes)]})))
    assert page.open == []
    links = page.values("href")
    assert links.count("evidence/a%20b/crash.png") == 2
    assert "evidence/a%20b/memory.dmp" in links
    assert not any(link.startswith("javascript:") for link in links)
    assert page.values("src") == ["evidence/a%20b/crash.png"]
    for words in ("no reaction within 5 s", "left out: memory dumps are off", "did not react to the debugger either"):
        assert words in page.text


def test_a_flood_of_prints_is_cut_and_said_so(run: RunReport) -> None:
    flood = [test for test in run.tests if len(test.prints) == 240]
    assert flood
    text = Page(render_html(run)).text
    assert "… and 40 more in run.json." in text


def test_texts_of_megabytes_are_cut_and_said_so(run: RunReport) -> None:
    long = "x" * 5_000_000
    red = next(test for test in run.tests if test.verdict == "product" and test.prints)
    prints = [red.prints[0].model_copy(update={"text": long})]
    tests = [red.model_copy(update={"details": long, "prints": prints})]
    text = render_html(run.model_copy(update={"tests": tests, "totals": {"product": 1}}))
    assert len(text) < 1_000_000
    assert text.count("characters more in run.json") >= 2


def test_a_run_without_tests_is_a_page_too(run: RunReport) -> None:
    empty = run.model_copy(update={"tests": [], "guests": [], "totals": {}, "drivers": [], "exit_code": 2, "prints": 0})
    page = Page(render_html(empty))
    assert page.open == []
    assert "No test was run" in page.text
    assert "No guest was started." in page.text


@pytest.mark.parametrize(("count", "words"), [(1, "The only test passed"), (2, "All 2 tests passed")])
def test_a_green_run_says_so(run: RunReport, count: int, words: str) -> None:
    tests = [test for test in run.tests if test.verdict == "passed"][:count]
    green = run.model_copy(update={"tests": tests, "totals": {"passed": count}, "exit_code": 0})
    page = Page(render_html(green))
    assert words in page.text
    assert "Failed tests" not in page.text


def test_a_driver_that_was_never_loaded_has_no_timeline(run: RunReport) -> None:
    tests = [run.tests[0].model_copy(update={"worker": ""})]
    page = Page(render_html(run.model_copy(update={"tests": tests, "guests": []})))
    assert "Workers, guests and tests over time" not in page.values("aria-label")


def test_the_page_is_written_whole(tmp_path: Path, run: RunReport) -> None:
    path = write_html(tmp_path, run)
    assert path.name == "report.html"
    assert [item.name for item in tmp_path.iterdir()] == ["report.html"]
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_a_run_of_forks_reports_waiting_for_forks_instead_of_boots(run: RunReport) -> None:
    forks = [
        guest.model_copy(update={"boot_s": None, "copy_s": None, "template": "k", "fork_s": 0.2, "wait_s": 0.3})
        for guest in run.guests
    ]
    times = {"fork": 0.2, "wait for a fork": 0.3, "load": 0.5}
    text = Page(render_html(run.model_copy(update={"guests": forks, "times": times}), exit_meaning="")).text
    assert "waiting for a fork, 0.3 s on average" in text
    assert "waited for, as a fork, 0.3 s" in text
    assert "booting" not in text
    assert "copying drivers in" not in text
    booted = Page(render_html(run, exit_meaning="")).text
    assert "booting," in booted
    assert "waiting for a fork" not in booted

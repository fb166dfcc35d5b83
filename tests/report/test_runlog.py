"""The run's log: whole lines with time, process, level and logger, nothing secret, and no change for other handlers."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lab.report.runlog import LOG_FILE, RunLog, for_others


def _lines(out: Path) -> list[str]:
    return (out / LOG_FILE).read_text(encoding="utf-8").splitlines()


def test_a_line_says_time_process_level_and_logger(tmp_path: Path) -> None:
    with RunLog(tmp_path, "gw1"):
        logging.getLogger("lab.snapshot.forks").info("%s wakes", "gw1-2")
    [line] = _lines(tmp_path)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z gw1 INFO lab\.snapshot\.forks: gw1-2 wakes", line)


def test_each_line_of_a_traceback_says_it_too(tmp_path: Path) -> None:
    with RunLog(tmp_path, "master"):
        try:
            raise ValueError("two\nlines")
        except ValueError:
            logging.getLogger("lab.x").exception("no fork")
    lines = _lines(tmp_path)
    assert lines[0].endswith("ERROR lab.x: no fork")
    assert lines[-1].endswith("lines")
    assert all(" master ERROR lab.x: " in line for line in lines)


@pytest.mark.parametrize(("level", "wanted"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_the_level_is_the_least_one(tmp_path: Path, level: str, wanted: int) -> None:
    with RunLog(tmp_path, "lab", level=level):
        logger = logging.getLogger("lab.some")
        for say in (logger.debug, logger.info, logger.warning, logger.error):
            say("x")
    assert len(_lines(tmp_path)) == wanted


def test_secrets_are_masked_in_every_form(tmp_path: Path) -> None:
    key = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\nBBBB\n-----END OPENSSH PRIVATE KEY-----"
    with RunLog(tmp_path, "lab") as log:
        log.mask("wachtwoord-7", "")
        logger = logging.getLogger("lab.guest")
        logger.info("login with wachtwoord-7, d2FjaHR3b29yZC03 and %r", {"p": "wachtwoord-7"})
        logger.info("key %s end", key)
        logger.info("by http://me:mine@proxy:3128/ and Authorization: Basic abc")
    text = (tmp_path / LOG_FILE).read_text(encoding="utf-8")
    for secret in ("wachtwoord-7", "d2FjaHR3b29yZC03", "AAAA", "BBBB", "mine", "Basic"):
        assert secret not in text
    assert "http://***@proxy:3128/" in text
    assert "key *** end" in text


def test_two_processes_append_to_one_file(tmp_path: Path) -> None:
    with RunLog(tmp_path, "lab"):
        logging.getLogger("lab").info("first")
    with RunLog(tmp_path, "gw0"):
        logging.getLogger("lab").info("second")
    assert [line.split()[1] for line in _lines(tmp_path)] == ["lab", "gw0"]


def test_nothing_is_made_before_the_folder_is_there(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with RunLog(out, "master"):
        logging.getLogger("lab").info("early")
        assert not out.exists()
        out.mkdir()
        logging.getLogger("lab").info("late")
    assert [line.rpartition(" ")[2] for line in _lines(out)] == ["early", "late"]


def test_a_session_without_a_folder_leaves_none(tmp_path: Path) -> None:
    with RunLog(tmp_path / "out", "master"):
        logging.getLogger("lab").info("nobody reads this")
    assert not (tmp_path / "out").exists()


def test_if_a_folder_is_not_writable_the_next_one_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / LOG_FILE).mkdir()  # no file can be opened there
    monkeypatch.setattr("lab.report.runlog.other_folders", lambda _out: [tmp_path / "other"])
    with RunLog(out, "lab"):
        logging.getLogger("lab").warning("still here")
    assert _lines(tmp_path / "other")[0].endswith("still here")


def test_other_handlers_get_what_they_got_before(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.NOTSET, "lab")  # a worker of this very session may have a log of its own
    caplog.handler.addFilter(for_others)
    with RunLog(tmp_path, "lab", level="debug") as log:
        logging.getLogger("lab.x").info("for the log alone")
        logging.getLogger("lab.x").warning("for all")
        with caplog.at_level(logging.INFO):
            logging.getLogger("lab.x").info("asked for")
    caplog.handler.removeFilter(for_others)
    logging.getLogger("lab.x").info("afterwards")
    assert [record.message for record in caplog.records] == ["for all", "asked for"]
    assert log not in logging.getLogger("lab").handlers


def test_a_command_shows_warnings_as_before(tmp_path: Path) -> None:
    script = (
        "import logging, pathlib\nfrom lab.report.runlog import RunLog\n"
        f"with RunLog(pathlib.Path({str(tmp_path)!r}), 'lab'):\n"
        "    logging.getLogger('lab.x').info('quiet')\n    logging.getLogger('lab.x').warning('loud')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == "loud\n"
    assert [line.rpartition(" ")[2] for line in _lines(tmp_path)] == ["quiet", "loud"]


def test_a_line_that_cannot_be_formatted_is_reported(tmp_path: Path) -> None:
    with RunLog(tmp_path, "lab") as log:
        log.handle(logging.makeLogRecord({"name": "lab.x", "levelno": 20, "msg": "%d guests", "args": ("no number",)}))
    [line] = _lines(tmp_path)
    assert "cannot be written: '%d guests'" in line


def test_libraries_are_logged_from_level_warning(tmp_path: Path) -> None:
    with RunLog(tmp_path, "lab", level="debug"):
        logging.getLogger("paramiko.transport").info("chatter")
        logging.getLogger("paramiko.transport").warning("the banner is odd")
    [line] = _lines(tmp_path)
    assert line.endswith("paramiko.transport: the banner is odd")

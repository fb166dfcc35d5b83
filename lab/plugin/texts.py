"""Makes text of reports fit for every output: half characters and control bytes become escapes, endless text is cut.

Output of a guest or a test may contain anything. execnet cannot send half a character and ends the worker; pytest's JUnit
writer ends the session; a terminal obeys control sequences; readers of JUnit files reject a file with ten million characters in
one text (libxml2's limit).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

#: Characters that stay of one text.
_MOST = 200_000
#: Surrogates are Python's placeholders for undecodable bytes; XML has no U+FFFE and U+FFFF.
_HALF = re.compile("[\ud800-\udfff]")
_ODD = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")

Clean = Callable[[str], str]


def sendable(text: str) -> str:
    """The text with half characters as escapes, and nothing else changed."""
    return _HALF.sub(_escape, text) if _HALF.search(text) else text


def showable(text: str) -> str:
    """The text with unprintable characters as escapes, cut in its middle if it is too long."""
    if len(text) > _MOST:
        half = _MOST // 2
        text = f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"
    if not _ODD.search(text):
        return text
    return _ODD.sub(_escape, text.replace("\r\n", "\n"))


def cleaned(value: Any, clean: Clean) -> Any:
    """A value of plain containers with all its text cleaned; other objects are left as they are."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {cleaned(key, clean): cleaned(one, clean) for key, one in value.items()}
    if isinstance(value, list):
        return [cleaned(one, clean) for one in value]
    if isinstance(value, tuple) and type(value) is tuple:
        return tuple(cleaned(one, clean) for one in value)
    return value


def clean_report(config: pytest.Config, report: pytest.TestReport | pytest.CollectReport) -> None:
    """Make a report fit for every output; in a worker its id stays, which pytest-xdist compares with the test's."""
    nodeid = report.nodeid
    data = config.hook.pytest_report_to_serializable(config=config, report=report)
    changed = cleaned(data, showable)
    if changed == data:
        return
    again = config.hook.pytest_report_from_serializable(config=config, data=changed)
    report.__dict__.update(again.__dict__)
    report.nodeid = nodeid if hasattr(config, "workerinput") else sendable(nodeid)


class SafeSender:
    """Makes all data that a worker of pytest-xdist sends to its controller fit for execnet.

    Ids of files with odd names, warnings and errors of the collection are not part of reports of tests.
    """

    @staticmethod
    def pytest_plugin_registered(plugin: object, manager: pytest.PytestPluginManager) -> None:
        """pytest-xdist's worker registers itself, with the method that sends everything."""
        send = getattr(plugin, "sendevent", None)
        if not callable(send) or not hasattr(plugin, "channel"):
            return

        def sendevent(name: str, **values: object) -> None:
            send(name, **cleaned(values, sendable))

        plugin.sendevent = sendevent  # type: ignore[attr-defined]
        del manager


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"

"""Says what pytest makes of the words of a command line: ``-p lab.plugin.words``, for ``lab run``.

Only pytest's own parser, with the plugins and conftest files of that very run, knows whether the 60 of ``--timeout 60`` is a
value or a suite.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from pathlib import Path

import pytest

from lab.config.words import QUESTION, Words, write_answer

#: Options of pytest and xdist with which no test is run: the names of their values.
_SHOWS = ("help", "version", "collectonly", "showfixtures", "show_fixtures_per_test", "markers", "cacheshow", "setupplan")


class Asked:
    """Answers as soon as pytest has read its command line, and ends pytest there.

    Args:
        parser: pytest's own; it gets to know the options of all plugins.
    """

    def __init__(self, parser: pytest.Parser) -> None:
        self._parser = parser

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_cmdline_main(self, config: pytest.Config) -> Generator[None, object, object]:
        """Ahead of every other plugin's."""
        question = json.loads(os.environ[QUESTION])
        words = self._parser.parse_known_args(question["words"])
        option = config.option
        answer = Words(
            # With --help, pytest's parser stops at that word.
            suites=tuple(getattr(words, "file_or_dir", ())),
            packages=bool(getattr(option, "pyargs", False)),
            shows=any(bool(getattr(option, name, None)) for name in _SHOWS),
            terminal=bool(getattr(option, "usepdb", False) or getattr(option, "trace", False)),
        )
        write_answer(Path(question["answer"]), answer)
        raise SystemExit(0)
        yield


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Register the plugin that keeps the parser."""
    pluginmanager.register(Asked(parser), "lab-words")

"""How pytest reads the arguments of a command line, and how much work that is: ``-p lab.plugin.words``, for ``lab run``.

Only pytest's own parser, with the plugins and conftest files of that very run, knows whether the 60 of ``--timeout 60`` is a
value or a suite; and only its collection, how many tests there are.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import pytest

from lab.config.words import QUESTION, Words, write_answer
from lab.plugin.units import surely_enough, unit_of

#: Options of pytest and xdist with which no test is run: the names of their values.
_SHOWS = ("help", "version", "collectonly", "showfixtures", "show_fixtures_per_test", "markers", "cacheshow", "setupplan")


class Asked:
    """Writes the answer when pytest has read its command line, and again after the collection; then pytest ends.

    Args:
        parser: pytest's own, with the options of all plugins.
    """

    def __init__(self, parser: pytest.Parser) -> None:
        self._parser = parser
        self._question = json.loads(os.environ[QUESTION])
        self._words = Words()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_cmdline_main(self, config: pytest.Config) -> Generator[None, object, object]:
        """Before every other plugin's."""
        words = self._parser.parse_known_args(self._question["words"])
        option = config.option
        self._words = Words(
            # With --help, pytest's parser stops at that word.
            suites=tuple(getattr(words, "file_or_dir", ())),
            packages=bool(getattr(option, "pyargs", False)),
            shows=any(bool(getattr(option, name, None)) for name in _SHOWS),
            terminal=bool(getattr(option, "usepdb", False) or getattr(option, "trace", False)),
        )
        self._answer()
        known = self._words.shows or self._words.terminal or getattr(option, "dist", "no") != "no"
        if known or not self._question["unit"] or surely_enough(config, self._question["workers"]):
            raise SystemExit(0)
        # From here on, pytest behaves as with these options: no worker is started, no result file written.
        option.collectonly, option.numprocesses, option.xmlpath = True, 0, None
        return (yield)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """All tests are known, those that were left out are gone."""
        units = {unit_of(item.nodeid, self._question["unit"]) for item in session.items}
        self._words = replace(self._words, units=len(units))
        self._answer()

    def _answer(self) -> None:
        write_answer(Path(self._question["answer"]), self._words)


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Register the plugin that keeps the parser."""
    pluginmanager.register(Asked(parser), "lab-words")

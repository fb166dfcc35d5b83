#!/usr/bin/env bash
# What a logger with `propagate = False` says is kept away from the root logger's handlers: that is what the word means. pytest's
# capture is such a handler, and up to 9.0 its "Captured log call" had nothing of such loggers. Since 9.1 its handlers are added
# to every logger that does not propagate when a test's phase begins. INFO lines that a program writes to a file of its own then
# stand in the report of every failed test, whatever level pytest and the root logger have, and warnings that the program itself
# hands on to the root logger stand there twice.
#
# Seen with pytest 9.0.3, 9.1.1 and 9.2.0 (Debian 12, Python 3.11), the same test and no option:
#     pytest 9.0.3: hidden
#     pytest 9.1.1: shown
#     pytest 9.2.0: shown
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/test_quiet.py" <<'TEST'
import logging


def test_a():
    logger = logging.getLogger("quiet")
    logging.getLogger("quiet.part").info("for the file alone")
    assert False


_LOGGER = logging.getLogger("quiet")
_LOGGER.setLevel(logging.INFO)
_LOGGER.propagate = False
_LOGGER.addHandler(logging.NullHandler())
TEST
shows() { # of a version of pytest: whether the line is in its report
    python3 -m venv "$folder/$1"
    "$folder/$1/bin/pip" install --quiet --disable-pip-version-check "pytest==$1"
    "$folder/$1/bin/python" -m pytest -q -p no:cacheprovider "$folder/test_quiet.py" >"$folder/$1.txt" || true
    grep -q "1 failed" "$folder/$1.txt" || { cat "$folder/$1.txt"; exit 1; }
    if grep -q "for the file alone$" "$folder/$1.txt"; then echo shown; else echo hidden; fi
}
before=$(shows 9.0.3)
after=$(shows 9.1.1)
newest=$(shows 9.2.0)
printf 'pytest 9.0.3: %s\npytest 9.1.1: %s\npytest 9.2.0: %s\n' "$before" "$after" "$newest"
[ "$before" = hidden ] && [ "$after" = shown ] && [ "$newest" = shown ]

#!/usr/bin/env bash
# Compiles the lab and the tests, and rewrites the assertions of tests and plugins, before the tests run.
#
# Where the environment forbids Python to write bytecode, as images of containers often do, each of the many processes that the
# tests start would do both anew. Existing bytecode is still read.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
unset PYTHONDONTWRITEBYTECODE
.venv/bin/python -m compileall -q lab tests
said=$(.venv/bin/python -m pytest tests --collect-only -q 2>&1) || { tail -n 40 <<<"$said"; exit 1; }

#!/usr/bin/env bash
# Set-up, then every test: checks, the lab's own tests (with end-to-end ones in a real guest), and the suites.
# ci/lanes.py has the parts, and runs those with and those without a guest side by side.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash ci/setup.sh --tests --no-image
exec .venv/bin/python ci/lanes.py

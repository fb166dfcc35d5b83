#!/usr/bin/env bash
# Makes ci/requirements.lock anew from ci/requirements.in, and the peer's: every package with its hashes, for all supported Pythons.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
python3 -m venv "$tools"
"$tools/bin/pip" install --quiet --disable-pip-version-check uv
for name in requirements requirements-peer; do
    "$tools/bin/uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
        ${1:+--upgrade-package "$1"} "ci/$name.in" -o "ci/$name.lock"
done

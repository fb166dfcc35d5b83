#!/usr/bin/env bash
# labgrid, which `lab bench` compares the lab with, in a Python environment of its own: .venv-peer. Needs ci/setup.sh before.
# labgrid has a pytest plugin, which must not be in the lab's environment. The script may run again; nothing else uses its environment.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

stop() { printf 'ci/peer.sh: %s\n' "$*" >&2; exit 10; }

[ $# -eq 0 ] || { printf 'ci/peer.sh: takes no arguments\n' >&2; exit 2; }
command -v ssh >/dev/null || stop "labgrid runs ssh, which is not there: apt-get install openssh-client"
python=${PYTHON:-python3}
key=$( { "$python" --version; command -v "$python"; pwd -P; cat ci/requirements-peer.lock; } | sha256sum | cut -d' ' -f1)
if [ "$(cat .venv-peer/lab-key 2>/dev/null || true)" != "$key" ]; then
    # Only a folder that this script has made is cleared, as in ci/setup.sh.
    { [ ! -e .venv-peer ] && [ ! -L .venv-peer ]; } || [ -f .venv-peer/lab-key ] ||
        stop ".venv-peer is there and was not made by this script, so it is left as it is: move it away, then run this again"
    printf '== making .venv-peer from ci/requirements-peer.lock\n' >&2
    "$python" -m venv --clear .venv-peer
    printf 'unfinished\n' >.venv-peer/lab-key
    .venv-peer/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r ci/requirements-peer.lock
    printf '%s\n' "$key" >.venv-peer/lab-key
fi
printf '%s\n' "labgrid $(.venv-peer/bin/python -c 'import importlib.metadata as m; print(m.version("labgrid"))') is in .venv-peer" >&2

#!/usr/bin/env bash
# The main job as the gate of a pipeline: `ci/gate.sh BRANCH`. On main, a good run becomes the baseline. On every other branch, the
# run is compared with it, and fails if something is worse. The pipeline keeps the folder of the baselines between its jobs.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[ $# -eq 1 ] || { printf 'ci/gate.sh: needs the name of the branch, and no other argument\n' >&2; exit 2; }
bash "$here/setup.sh"
cd "$here/.."
if [ "$1" = main ]; then
    .venv/bin/lab run && .venv/bin/lab baseline save main --replace
else
    code=0
    .venv/bin/lab baseline show main || code=$?
    case $code in
        0) .venv/bin/lab run --baseline main ;;
        5) .venv/bin/lab run ;; # no baseline yet
        *) exit "$code" ;; # there is one, and it cannot be read
    esac
fi

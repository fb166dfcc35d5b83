#!/usr/bin/env bash
# The main job on a host that may have nothing installed: set-up, then `lab run` on the free guest.
# Arguments go to `lab run`; results are in out/<time>/ and under the link out/latest.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bash "$here/ci/setup.sh"
cd "$here"
exec .venv/bin/lab run "$@"

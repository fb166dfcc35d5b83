#!/usr/bin/env bash
# Installs everything that a run needs on this host: packages, virtual environment, drivers, guest image.
# The script may run again, which takes a second. `--tests` adds what the lab's own tests need. `--no-image` leaves out the guest
# image, for `lab setup --no-packages` to build later.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '\n== %s\n' "$*" >&2; }
stop() { printf 'ci/setup.sh: %s\n' "$*" >&2; exit 10; }

also=()
image=yes
for argument in "$@"; do
    case "$argument" in
        --tests) also+=(--also ci/packages-test.txt) ;;
        --no-image) image=no ;;
        *) printf 'ci/setup.sh: unknown argument %s (only --tests, --no-image)\n' "$argument" >&2; exit 2 ;;
    esac
done

# --- what the virtual environment itself needs; `lab setup` below installs the rest -----------------------------------
missing=()
for package in python3-venv ca-certificates; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
    command -v apt-get >/dev/null || stop "needs apt (Debian 12 or later, Ubuntu 24.04 or later), or by hand: ${missing[*]}"
    as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || stop "not root and no sudo; as root: apt-get install ${missing[*]}"
        as_root=(sudo)
    fi
    say "installing ${missing[*]}"
    log=$(mktemp)
    apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300)
    { "${apt[@]}" update && "${apt[@]}" install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 </dev/null || {
        tail -n 30 "$log" >&2
        stop "apt-get failed; the whole log is $log"
    }
    rm -f "$log"
fi

# --- virtual environment from the lock file -----------------------------------------------------------------------
python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    stop "needs Python 3.11 or later; '$python' is $("$python" --version 2>&1 || echo missing). Name another one: PYTHON=python3.12 bash ci/run.sh"
key=$( { "$python" --version; command -v "$python"; pwd -P; cat ci/requirements.lock pyproject.toml; } | sha256sum | cut -d' ' -f1)
if [ "$(cat .venv/lab-key 2>/dev/null || true)" != "$key" ]; then
    # Only a folder that this script has made is cleared, as its lab-key shows. That is written before pip runs, so that an
    # interrupted set-up continues the next time.
    { [ ! -e .venv ] && [ ! -L .venv ]; } || [ -f .venv/lab-key ] ||
        stop ".venv is there and was not made by this script, so it is left as it is: move it away, then run this again"
    say "making .venv from ci/requirements.lock"
    "$python" -m venv --clear .venv
    printf 'unfinished\n' >.venv/lab-key
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r ci/requirements.lock
    # The build backend is in the lock too, so nothing unpinned is downloaded here.
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
    printf '%s\n' "$key" >.venv/lab-key
fi

# --- packages, drivers and image ----------------------------------------------------------------------------------
say "packages"
.venv/bin/lab setup --yes --no-image "${also[@]}"
say "drivers"
.venv/bin/lab driver build
[ "$image" = yes ] || exit 0
say "guest image"
.venv/bin/lab setup --no-packages

#!/usr/bin/env bash
# A suite that cannot be imported ends a pytest session before its first test, with exit code 2. Under pytest-xdist the same
# session, with the same options, runs every other test all the same, and ends with 1: whoever tells "nothing ran" from
# "some failed" by the exit code, or trusts that an error of collection stops a run, is right on one side only.
#
# Seen with pytest 9.0.2, pytest-xdist 3.8.0 (Debian 12, Python 3.11):
#     without workers: exit code 2, 1 error
#     with one worker: exit code 1, 1 passed, 1 error
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install pytest==9.0.2 pytest-xdist==3.8.0
mkdir "$work/suite"
printf 'def test_fine(): pass\n' > "$work/suite/test_fine.py"
printf 'import no_such_module\n' > "$work/suite/test_broken.py"
cd "$work/suite"

code_of() {
    local code=0
    "$work/venv/bin/python" -m pytest -q -p no:cacheprovider "$@" > "$work/said" 2>&1 || code=$?
    echo "$code"
}

alone=$(code_of)
last_alone=$(tail -n 1 "$work/said")
spread=$(code_of -n 1)
last_spread=$(tail -n 1 "$work/said")
echo "without workers: exit code $alone, $last_alone"
echo "with one worker: exit code $spread, $last_spread"
[ "$alone" = 2 ] && [[ $last_alone != *passed* ]] && [ "$spread" = 1 ] && [[ $last_spread == *"1 passed, 1 error"* ]]

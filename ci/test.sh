#!/usr/bin/env bash
# Set-up, then every test: checks, the lab's own tests (with end-to-end ones in a real guest), and the suites.
# Continues after a failed part, so that one run shows all failures; exits with the first failure's code.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash ci/setup.sh --tests || exit $?

result=0
summary=()
part() {
    local name=$1 begin=$SECONDS code=0
    shift
    printf '\n==== %s\n' "$name"
    "$@" || code=$?
    summary+=("$(printf '%-28s %4ss  %s' "$name" $((SECONDS - begin)) "$([ $code -eq 0 ] && echo ok || echo "exit $code")")")
    if [ $code -ne 0 ] && [ $result -eq 0 ]; then result=$code; fi
}

# Where the environment forbids Python to write bytecode, as images of containers often do, each of the many processes that the
# tests start would compile the lab and rewrite pytest's plugins anew. Existing bytecode is still read.
bytecode() {
    local said
    env -u PYTHONDONTWRITEBYTECODE .venv/bin/python -m compileall -q lab tests || return
    said=$(env -u PYTHONDONTWRITEBYTECODE .venv/bin/python -m pytest tests --collect-only -q 2>&1) && return
    tail -n 40 <<<"$said"
    return 1
}

part "bytecode" bytecode
part "checks" bash ci/check.sh
part "tests without a guest" .venv/bin/python -m pytest tests -m "not e2e" -n 2 -q
part "tests in a guest" .venv/bin/python -m pytest tests -m e2e -q --durations=10
part "suites on the free guest" .venv/bin/lab run

printf '\n==== summary\n'
printf '%s\n' "${summary[@]}"
exit $result

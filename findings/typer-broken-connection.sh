#!/usr/bin/env bash
# typer 0.29.2 (with its vendored click): a BrokenPipeError of any socket inside a command ends the program with 1 and without a word.
#
# One would think that only a closed standard output is meant, and that with standalone_mode=False, which hands all exceptions to
# the caller, nothing ends the program. But every OSError with EPIPE is taken for the output's, in both modes: a server that hangs
# up in the middle of a command looks like the command's own exit code 1, no exception reaches the caller, and nothing is printed.
# Seen: exit code 1 and nothing said, in both modes; another error (ECONNRESET) is raised, as it should be.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check typer==0.29.2
cat >"$folder/app.py" <<'PY'
import socket
import sys

import typer

app = typer.Typer()


@app.command()
def talk(reset: bool = False) -> None:
    here, there = socket.socketpair()
    there.close()  # the server hangs up
    if reset:
        raise ConnectionResetError(104, "Connection reset by peer")
    here.sendall(b"hello")


try:
    app(standalone_mode=sys.argv.pop(1) == "True")
except OSError as error:
    print("raised:", error)
    raise SystemExit(0)
PY
bad=0
for mode in True False; do
    code=0
    said=$("$folder/venv/bin/python" "$folder/app.py" $mode 2>&1) || code=$?
    echo "standalone_mode=$mode: exit code $code, said: '$said'"
    [ "$code" = 1 ] && [ -z "$said" ] || bad=1
done
said=$("$folder/venv/bin/python" "$folder/app.py" False --reset 2>&1) || true
echo "another error: $said"
[ "$said" = "raised: [Errno 104] Connection reset by peer" ] || bad=1
exit $bad

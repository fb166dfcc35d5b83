#!/usr/bin/env bash
# gc.freeze() moves all objects to a "permanent generation" that collections skip; servers and test runners call it before they
# fork. gc.get_referrers() walks the same generations and skips it, too, although nothing is collected there: a function that
# refers to its own code object, and that lives and is called, is not found. So a debugger, a leak finder or any other code that
# looks for "the function of this frame" finds nothing in a process that has frozen what it imported, and no error says why.
# gc.unfreeze() brings the answer back. The documentation of both functions does not mention the other one.
#
# Seen with CPython 3.8.18, 3.11.7, 3.12.1 and 3.13.0:
#     before freeze: True, frozen: False, after unfreeze: True
# Debian 12's python3 (3.11.2) answers the same.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/frozen.py" <<'PYTHON'
import gc
import sys


def function():
    return sys._getframe().f_code


def found():
    return any(one is function for one in gc.get_referrers(function()))


before = found()
gc.freeze()
frozen = found()
gc.unfreeze()
after = found()
print(f"before freeze: {before}, frozen: {frozen}, after unfreeze: {after}")
sys.exit((before, frozen, after) != (True, False, True))
PYTHON
python3 --version
python3 "$folder/frozen.py"

"""Run a command with pypsrp's WinRS, and print the result as one JSON object, in the form of the Go client."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from pypsrp.shell import Process, SignalCode, WinRS
from pypsrp.wsman import WSMan

#: How much of a stream the result carries as text; the whole of it is given by length and hash.
SHOWN = 2000


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run the command and describe how it went."""
    connection = WSMan(
        arguments.host,
        port=arguments.port,
        ssl=arguments.https,
        username=arguments.user,
        password=arguments.password_file.read_text(encoding="utf-8").rstrip("\r\n"),
        auth=arguments.auth,
        cert_validation=False,
        no_proxy=True,
        connection_timeout=60,
        read_timeout=120,
        operation_timeout=60,
    )
    with connection, WinRS(connection) as shell:
        process = Process(shell, arguments.command, no_shell=arguments.no_shell)
        process.begin_invoke()
        if arguments.stdin:
            data = arguments.stdin.read_bytes()
            # Output is fetched in between: a filter stops reading its input when its output is not read.
            for start in range(0, len(data), 65536):
                process.send(data[start : start + 65536], end=start + 65536 >= len(data))
                if arguments.filter and start + 65536 < len(data):
                    process.poll_invoke()
        process.end_invoke()
        process.signal(SignalCode.TERMINATE)
    return {
        "exit_code": process.rc,
        "stdout": process.stdout[:SHOWN].decode("utf-8", "replace"),
        "stderr": process.stderr[:SHOWN].decode("utf-8", "replace"),
        "stdout_bytes": len(process.stdout),
        "stdout_sha256": hashlib.sha256(process.stdout).hexdigest(),
    }


def main() -> int:
    """Read the arguments, run, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--https", action="store_true", help="TLS, the certificate is not checked")
    parser.add_argument("--auth", default="negotiate", choices=["negotiate", "ntlm", "basic"])
    parser.add_argument("--user", required=True)
    parser.add_argument("--password-file", type=Path, required=True)
    parser.add_argument("--command", required=True)
    parser.add_argument("--no-shell", action="store_true", help="the program itself, without cmd")
    parser.add_argument("--stdin", type=Path, help="file whose bytes are the command's input")
    parser.add_argument("--filter", action="store_true", help="the command writes while it reads")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # requests warns about the unchecked certificate at every request
    began = time.monotonic()
    try:
        result = {**run(arguments), "error": ""}
    except Exception as error:
        result = {"error": f"{type(error).__name__}: {error}"}
    result["seconds"] = round(time.monotonic() - began, 3)
    sys.stdout.write(json.dumps(result) + "\n")
    return 1 if result["error"] else 0


if __name__ == "__main__":
    sys.exit(main())

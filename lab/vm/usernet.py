"""Which loopback ports the kernel chose: read from the human monitor's ``info usernet``."""

from __future__ import annotations

import re

#: TCP[HOST_FORWARD]  13       127.0.0.1 38683       10.0.2.15  5985     0     0
_FORWARD = re.compile(r"^\s*TCP\[HOST_FORWARD\]\s+\d+\s+(?P<host>\S+)\s+(?P<host_port>\d+)\s+\S+\s+(?P<port>\d+)\b")


def parse_forwards(text: str) -> dict[int, int]:
    """Guest TCP port to the port of 127.0.0.1 that is forwarded to it; other lines are skipped."""
    matches = (_FORWARD.match(line) for line in text.splitlines())
    return {int(match["port"]): int(match["host_port"]) for match in matches if match}

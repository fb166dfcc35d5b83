"""Run the service: ``python3 -m labwinrm --config FILE``."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from pathlib import Path

from labwinrm.config import ConfigError, load_config
from labwinrm.processes import StartError
from labwinrm.server import start


def main(argv: list[str]) -> int:
    """Run until SIGTERM or SIGINT; returns the exit code."""
    if len(argv) != 2 or argv[0] != "--config":
        sys.stderr.write("usage: python3 -m labwinrm --config FILE\n")
        return 2
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        config = load_config(Path(argv[1]))
        logging.basicConfig(
            filename=config.log_file, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
        )
        server = start(config)
    except ConfigError as error:
        sys.stderr.write(f"labwinrm: {error}\n")
        return 2
    except StartError as error:
        sys.stderr.write(f"labwinrm: {error}\n")
        return 1
    logging.getLogger("labwinrm").info("labwinrm: ready, HTTP %s, HTTPS %s", server.port, server.tls_port)
    stop.wait()
    server.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

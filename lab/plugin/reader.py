"""The ``reader`` fixture's value: works on the driver's device, plainly or by a script."""

from __future__ import annotations

from lab.guest.probe import ProbeResult, ProbeScript, Reader, run_probe
from lab.guest.protocol import Transport


class DeviceReader(Reader):
    r"""A reader that also runs scripts.

    Args:
        transport: How to reach the guest.
        probe: Windows path of ``drvprobe.exe``.
        link: The driver's first link, for example ``\\.\LySharkSync``.
        timeout: Seconds for one script, if it has no time limit of its own.
    """

    def __init__(self, transport: Transport, probe: str, link: str, *, timeout: float = 60.0) -> None:
        super().__init__(self.run, link)
        self._transport = transport
        self._probe = probe
        self._timeout = timeout
        self.link = link

    def run(self, script: ProbeScript | str, *, timeout: float | None = None, fresh: bool = False) -> ProbeResult:
        """Run a drvprobe script; ``{link}`` in it stands for the driver's first link.

        Where it can, one process in the guest runs one script after the other. At the end of each, all handles are closed.

        Args:
            script: Operations as text, or a :class:`lab.guest.probescript.ProbeScript`.
            timeout: Seconds until the process is ended and ``GuestHung`` raised; by default `client_timeout`, a minute.
            fresh: In a process of its own, for a driver that looks at the process. A script with ``exit`` or ``$NAME`` has one
                in any case.

        Raises:
            ConfigError: The script is wrong, with line, column and what to try. Nothing was sent.
        """
        __tracebackhide__ = True
        return run_probe(self._transport, self._probe, script, timeout=timeout or self._timeout, link=self.link, fresh=fresh)

    def script(self) -> ProbeScript:
        """An empty script, to be extended and passed to :meth:`run`; its ``open("h")`` opens the driver's first link."""
        return ProbeScript()

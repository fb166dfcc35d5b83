"""The ``reader`` fixture's value: reads from the driver's device, plainly or by a script."""

from __future__ import annotations

from lab.guest.probe import ProbeResult, ProbeScript, Reader, run_probe
from lab.guest.protocol import Transport


class DeviceReader(Reader):
    r"""A reader that also runs scripts.

    Args:
        transport: How to reach the guest.
        probe: Windows path of ``drvprobe.exe``.
        link: The driver's first link, for example ``\\.\LySharkSync``.
        timeout: Seconds for one guest process.
    """

    def __init__(self, transport: Transport, probe: str, link: str, *, timeout: float = 60.0) -> None:
        super().__init__(self.run, link)
        self._transport = transport
        self._probe = probe
        self._timeout = timeout
        self.link = link

    def run(self, script: ProbeScript | str, *, timeout: float | None = None) -> ProbeResult:
        """Run a drvprobe script in one guest process; ``{link}`` in a text stands for the driver's first link.

        Args:
            script: Operations, see :class:`lab.guest.probescript.ProbeScript`.
            timeout: Seconds for the process; a minute by default.
        """
        text = script.replace("{link}", self.link) if isinstance(script, str) else script
        return run_probe(self._transport, self._probe, text, timeout=timeout or self._timeout)

    def script(self) -> ProbeScript:
        """An empty script, to be filled and given to :meth:`run`; the device's name is :attr:`link`."""
        return ProbeScript()

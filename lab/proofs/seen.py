"""What proofs find out together: the acceptance boot's questions, asked once of a guest that is up, and one crash of a VM."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lab.errors import GuestError, TransportError
from lab.guest.protocol import Transport
from lab.host.passed import passed_over
from lab.image.windows.facts import Facts, gather, query
from lab.proofs.statement import Bench, Outcome, decided, not_reached
from lab.proofs.ways import Decided, powershell

_LOG = logging.getLogger(__name__)
_COMMAND_S = 300.0
#: A dump of some gigabytes is written before the restart.
_CRASH_S = 900.0
_PAGE_FILE = "Get-CimInstance Win32_PageFileUsage | ForEach-Object { $_.Name, $_.AllocatedBaseSize }"
_DUMPS = (r"C:\Windows\MEMORY.DMP", r"C:\Windows\Minidump\*.dmp")


@dataclass(frozen=True, slots=True, kw_only=True)
class CrashSeen:
    """What was seen of a bugcheck that an NMI made.

    Attributes:
        panic: What QEMU's event ``GUEST_PANICKED`` says; None: there was none.
        restarted: The guest restarted by itself.
        dumps: The dump files that it has then, as ``dir`` lists them; empty: none.
        page_file: Its page file, in the words of WMI.
    """

    panic: Mapping[str, Any] | None
    restarted: bool
    dumps: str
    page_file: str

    @property
    def text(self) -> str:
        """For people."""
        panic = f"GUEST_PANICKED {dict(self.panic)}" if self.panic is not None else "no GUEST_PANICKED"
        again = "restarted" if self.restarted else "no restart"
        return f"{panic}; {again}; dumps: {self.dumps or 'none'}; page file: {self.page_file}"


def facts_now(bench: Bench) -> Facts:
    """The facts of :func:`lab.image.windows.facts.gather`, of a guest that is up now."""
    thumbprints = tuple(certificate.sha1 for certificate in bench.record.certificates)
    return gather(bench.guest(), bench.recipe, thumbprints=thumbprints)


def asked_now(bench: Bench) -> Mapping[str, Any]:
    """The answers of the acceptance script, of a guest that is up now."""
    return bench.once(_ask)


def _ask(bench: Bench) -> Mapping[str, Any]:
    return query(bench.guest())


def checked(*names: str, by_hand: str) -> Decided:
    """A proof by checks of the acceptance boot, made again in a guest that is up.

    Args:
        names: Beginnings of the checks' names: all checks that begin so must hold.
        by_hand: See :class:`lab.proofs.statement.Proof`.
    """

    def decide(bench: Bench) -> Outcome:
        found = [check for check in bench.once(facts_now).checks if check.name.startswith(names)]
        if not found:
            return not_reached("the image's recipe leaves this out")
        wrong = [check for check in found if not check.ok]
        told = "; ".join(f"{check.name}: {check.value or 'nothing'}, wanted {check.wanted}" for check in wrong or found)
        return decided(not wrong, told)

    return Decided(decide=decide, by_hand=by_hand, needs="guest")


def crash_seen(bench: Bench) -> CrashSeen:
    """Make a bugcheck in a VM of its own by an NMI, and look at what is left of it after the restart."""
    own = bench.own_machine()
    page_file = _page_file(own.transport)
    monitor = own.machine.qmp
    before = monitor.event_count
    monitor.execute("inject-nmi")
    restarted = True
    try:
        monitor.wait_event("RESET", timeout=_CRASH_S, after=before)
    except TransportError as error:
        _LOG.info("no restart after the NMI: %s", error.message)
        restarted = False
    panic = next((event.data for event in monitor.events(after=before) if event.name == "GUEST_PANICKED"), None)
    dumps = ""
    if restarted:
        with passed_over(_LOG, "the guest after its bugcheck", GuestError):
            dumps = _dumps(own.wait_ready())
    return CrashSeen(panic=panic, restarted=restarted, dumps=dumps, page_file=page_file)


def _page_file(transport: Transport) -> str:
    return " ".join(transport.run(powershell(_PAGE_FILE), timeout=_COMMAND_S).text.split())


def _dumps(transport: Transport) -> str:
    found = []
    for path in _DUMPS:
        result = transport.run(f"dir /b /a {path}", timeout=_COMMAND_S)
        found += result.text.split() if result.exit_code == 0 else []
    return ", ".join(found)

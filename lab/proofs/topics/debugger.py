"""Statements about the boot entry with the kernel debugger, and the debugger's port."""

from __future__ import annotations

from lab.proofs.seen import checked
from lab.proofs.statement import Bench, Outcome, Statement, decided, not_reached
from lab.proofs.ways import EXAMPLE, Decided, InGuest, SuitesPass, answer, in_guest

_FILTER = r'reg query "HKLM\SYSTEM\CurrentControlSet\Control\Session Manager\Debug Print Filter"'
_START_OPTIONS = r"reg query HKLM\SYSTEM\CurrentControlSet\Control /v SystemStartOptions"
_ENTRY = r"type C:\lab\kd-entry.txt"
_COMMAND_S = 120.0


def _entry(bench: Bench) -> Outcome:
    settings = bench.guest().run("bcdedit.exe /dbgsettings", timeout=_COMMAND_S)
    wanted = bench.record.acceptance.kd_entry
    if not wanted:
        return not_reached("the recipe has no stage kd")
    return decided(settings.exit_code == 0 and "serial" in settings.text.lower(), f"entry {wanted}; {answer(settings)}")


def _alone(bench: Bench) -> Outcome:
    if bench.manifest.debug is None:
        return not_reached("the image has no boot with the kernel debugger")
    result = bench.own_machine(debugger_entry=True).transport.run(_START_OPTIONS, timeout=_COMMAND_S)
    return decided("DEBUG" in result.text.upper().split(), answer(result))


STATEMENTS = (
    Statement(
        id="print-filter-is-set",
        text="the print filter is set for all components",
        proof=checked("Debug Print Filter", by_hand=in_guest(_FILTER)),
    ),
    Statement(
        id="print-filter-lets-prints-pass",
        text="the print filter lets `DbgPrint` pass",
        proof=SuitesPass(suites=("suites/sync",), debugger=True, before=f"{in_guest(_FILTER)}, then "),
    ),
    Statement(
        id="debugger-entry-is-made",
        text="`bcdedit /copy` prints the new identifier, and `/dbgsettings` takes `/noumex`",
        proof=Decided(decide=_entry, by_hand=f"{in_guest(_ENTRY)} and {in_guest('bcdedit /dbgsettings')}", needs="guest"),
    ),
    Statement(
        id="debugger-entry-starts",
        text="changing the default entry on the overlay makes it start with the debugger",
        proof=InGuest(command=_START_OPTIONS, says=r"\bDEBUG\b", seen="`DEBUG`", debugger=True),
    ),
    Statement(
        id="debugger-answers",
        text="the debugger on COM2 answers the host",
        proof=SuitesPass(suites=("suites/async",), debugger=True),
    ),
    Statement(
        id="debugger-entry-without-debugger",
        text="with the debugger entry and no debugger at the port, the boot continues after some seconds",
        proof=Decided(
            decide=_alone,
            by_hand=f"`time lab up --guest {EXAMPLE}` of an image with the other disk, without the collector",
            needs="vm",
        ),
    ),
)

"""Statements about drivers: signatures, packages, prints by the print relay, and the suites as a whole."""

from __future__ import annotations

import tempfile
from pathlib import Path

from lab.host.assets import data_root
from lab.proofs.seen import checked
from lab.proofs.statement import Bench, Outcome, Statement, decided
from lab.proofs.ways import EXAMPLE, Ask, Decided, SuitesPass, answer, in_guest
from lab.toolchain.build import build_components
from lab.toolchain.manifest import load_component

_COMMAND_S = 120.0
#: ERROR_INVALID_IMAGE_HASH.
_REFUSED = 577
_SERVICE = "LabUnsigned"
_PNPUTIL = r"pnputil /add-driver C:\lab\x.inf /install"


def _unsigned(bench: Bench) -> Outcome:
    """Load a driver without a signature, under a service of its own, which is deleted again."""
    target = rf"C:\lab\proofs\{_SERVICE}.sys"
    transport = bench.guest()
    with tempfile.TemporaryDirectory(prefix="lab-proofs-") as folder:
        (built,) = build_components([load_component(data_root() / "driver/sync/driver.yaml")], "x64", Path(folder), None)
        transport.put(built.path, target)
    created = transport.run(f"sc.exe create {_SERVICE} type= kernel binPath= {target}", timeout=_COMMAND_S)
    try:
        started = transport.run(f"sc.exe start {_SERVICE}", timeout=_COMMAND_S)
    finally:
        transport.run(f"sc.exe delete {_SERVICE}", timeout=_COMMAND_S)
    return decided(created.exit_code == 0 and started.exit_code == _REFUSED, answer(started))


STATEMENTS = (
    Statement(
        id="signed-driver-loads",
        text="a driver with the lab's signature loads",
        proof=SuitesPass(suites=("suites/lifecycle",)),
    ),
    Statement(
        id="unsigned-driver-is-refused",
        text="an unsigned driver is refused with 577",
        proof=Decided(
            decide=_unsigned,
            by_hand=f"`lab driver build --unsigned`, then `lab run --guest {EXAMPLE} --driver build/x64/sync.sys suites/sync`",
            needs="guest",
        ),
    ),
    Statement(
        id="package-installs-silently",
        text="with the certificates in both stores, a package installs without a question",
        proof=Ask(
            question="Did the package install without a question?",
            by_hand=f"{in_guest(_PNPUTIL)} with a package of yours",
        ),
    ),
    Statement(
        id="inf-of-a-manifest",
        text="`inf:` of a manifest: pnputil ends with 0 or 259, prints `oemN.inf`, and a primitive driver (`DefaultInstall`) "
        "has its service then",
        proof=Ask(
            question="Did the run load the driver by its INF?",
            by_hand=f"`lab run --guest {EXAMPLE} --driver DIR` with a package of yours",
        ),
    ),
    Statement(
        id="print-relay-runs",
        text="the print relay loads at boot, signed by the lab's certificate",
        proof=checked("the print relay runs", by_hand=f"{in_guest('sc query LabRelay')}: state 4"),
    ),
    Statement(
        id="prints-by-the-relay",
        text="prints arrive by the print relay",
        proof=SuitesPass(suites=("suites/sync",)),
    ),
    Statement(
        id="capabilities",
        text="the recipes list the right capabilities",
        proof=SuitesPass(),
    ),
)

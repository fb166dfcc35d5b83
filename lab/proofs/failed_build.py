"""The record of an image that could not be built: the first thing that a real Windows shows."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence

import lab
from lab.errors import LabError
from lab.image.windows.install_host import InstallError, InstallStalled, StageFailed
from lab.image.windows.recipe import windows_recipe
from lab.proofs.bench import host_system
from lab.proofs.record import ProofRecord, Row, Subject
from lab.proofs.statement import Statement
from lab.vm.spec import Accelerator

#: What a failure of the installation refutes; another one refutes nothing by itself.
_REFUTED: Mapping[type[InstallError], str] = {InstallStalled: "setup-asks-nothing", StageFailed: "stages-run"}


def failed_build(
    error: LabError,
    name: str,
    catalogue: Sequence[Statement],
    *,
    accelerator: Accelerator,
    qemu: str,
    now: datetime.datetime,
) -> ProofRecord:
    """The record: one statement is refuted, if the error names what Windows did, and the others are not reached.

    Args:
        error: Why the build failed.
        name: The recipe's name.
        catalogue: All statements.
        accelerator: What it was built with.
        qemu: Version of QEMU.
        now: The present time.
    """
    recipe = windows_recipe(name)
    refuted = next((name for kind, name in _REFUTED.items() if isinstance(error, kind)), "")
    when = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    first = error.message.partition("\n")[0]
    rows = tuple(
        Row(
            id=one.id,
            text=one.text,
            state="refuted" if one.id == refuted else "not reached",
            said=error.message if one.id == refuted else f"the image could not be built: {first}",
            when=when,
            accelerator=accelerator,
            qemu=qemu,
            lab=lab.__version__,
        )
        for one in catalogue
    )
    subject = Subject(
        image=recipe.name,
        key="",
        guest=recipe.title,
        language=recipe.locale,
        firmware=recipe.machine.firmware,
        accelerator=accelerator,
        qemu=qemu,
        host=host_system(),
        lab=lab.__version__,
    )
    return ProofRecord(started=when, subject=subject, rows=rows)

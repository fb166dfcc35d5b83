"""What JUnit readers get of a test beside its outcome: properties, and the evidence as attachments."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from pathlib import Path

from lab.report.model import TestEntry

#: The property that names a file of evidence, relative to the run's folder; one property for each.
EVIDENCE_PROPERTY = "lab_evidence"


def user_properties(entry: TestEntry, *, guest: str, image_key: str, hashes: Mapping[str, str]) -> list[tuple[str, str]]:
    """Properties of one test for ``report.user_properties``, from where pytest writes them into any family of JUnit XML.

    The fixture ``record_property`` would do the same with a warning (it is not made for the family xunit2), and properties of
    a whole suite do not come through with workers.

    Args:
        entry: The finished test.
        guest: The one-line description of the guest.
        image_key: Key of its image.
        hashes: Driver name -> SHA-256 of its image; those of the test's own drivers are taken.
    """
    found = {
        "lab_verdict": entry.verdict,
        "lab_reason": entry.reason,
        "lab_guest": guest,
        "lab_image_key": image_key,
        "lab_guest_id": entry.guest_id or "",
        "lab_worker": entry.worker,
        "lab_fault": entry.fault.code if entry.fault else "",
    }
    found |= {f"lab_driver_sha256_{name}": hashes[name] for name in entry.drivers if name in hashes}
    evidence = [(EVIDENCE_PROPERTY, file.path) for file in entry.evidence if not file.path.endswith("/")]
    return [*((name, value) for name, value in found.items() if value), *evidence]


def attach_evidence(junit: Path, out: Path, *, base: Path | None = None) -> int:
    """Name each test's evidence in its ``system-out``, as lines ``[[ATTACHMENT|path]]``, which Jenkins, GitLab and Azure read.

    pytest writes its file without such lines (unless all captured output is to be in it), so they are put in behind it, by the
    properties of :func:`user_properties`. May be called again: a file has its lines once.

    Args:
        junit: The file that pytest wrote.
        out: Folder of the run.
        base: Folder that the paths are relative to, as GitLab wants them (its project's folder); None for absolute paths.

    Returns:
        How many lines were added.
    """
    tree = ElementTree.parse(junit)
    added = 0
    for case in tree.iter("testcase"):
        names = [
            node.get("value", "")
            for node in case.iter("property")
            if node.get("name") == EVIDENCE_PROPERTY and node.get("value")
        ]
        if not names:
            continue
        output = case.find("system-out")
        if output is None:
            output = ElementTree.SubElement(case, "system-out")
        there = (output.text or "").splitlines()
        files = [(out / name).absolute() for name in names]
        lines = [f"[[ATTACHMENT|{os.path.relpath(file, base) if base else file}]]" for file in files]
        new = [line for line in lines if line not in there]
        if new:
            output.text = "\n".join([*there, *new]) + "\n"
            added += len(new)
    if added:
        part = junit.with_name(junit.name + ".part")
        tree.write(part, encoding="utf-8", xml_declaration=True)
        part.replace(junit)
    return added

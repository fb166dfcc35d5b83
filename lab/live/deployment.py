"""The result of a deployment: how the run's files got into a guest, and how long that took."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """How long it took, in host seconds, and how the files got in.

    Attributes:
        copy_s: Until all files were there.
        create_s: Until all services were.
        copied_by: ``media``, ``winrm`` or ``sftp``; empty when the guest had all files already.
        copy_note: Why it was not the way that was asked for.
        sums: File name → SHA-256, as the guest reported after the copy.
    """

    copy_s: float
    create_s: float
    copied_by: str = ""
    copy_note: str = ""
    sums: Mapping[str, str] = field(default_factory=dict)

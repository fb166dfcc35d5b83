"""Statements about which drivers Windows trusts: Secure Boot, and its policy for cross-signed drivers."""

from __future__ import annotations

from lab.proofs.seen import checked
from lab.proofs.statement import Statement
from lab.proofs.ways import in_guest

_STATE = r"reg query HKLM\SYSTEM\CurrentControlSet\Control\SecureBoot\State"

STATEMENTS = (
    Statement(
        id="no-secure-boot",
        text="Secure Boot is off, so that its certificates of 2011, which ended in 2026, do not matter",
        proof=checked("secure boot", by_hand=f"{in_guest(_STATE)}: `UEFISecureBootEnabled` is 0, or there is no such key"),
    ),
)

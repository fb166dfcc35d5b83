"""Statements about which drivers Windows trusts: Secure Boot, and its policy for cross-signed drivers."""

from __future__ import annotations

from lab.proofs.seen import asked_now, checked
from lab.proofs.statement import Bench, Outcome, Statement, decided, not_reached
from lab.proofs.ways import EXAMPLE, Decided, SuitesPass, in_guest

_STATE = r"reg query HKLM\SYSTEM\CurrentControlSet\Control\SecureBoot\State"
_POLICIES = "CiTool -lp -json"


def _reported(bench: Bench) -> Outcome:
    """Only these have the tool that says it, and the policy."""
    state = str(asked_now(bench).get("driver_policy", ""))
    return decided(state in ("none", "evaluation", "enforced"), state or "the acceptance script did not say")


def _stays(bench: Bench) -> Outcome:
    before, now = bench.record.acceptance.driver_policy, str(asked_now(bench).get("driver_policy", ""))
    if not before:
        return not_reached("the acceptance boot did not ask: build the image again")
    return decided(now == before, f"{before} at the acceptance boot, {now} now")


def _loads_under_it(bench: Bench) -> Outcome:
    state = bench.record.acceptance.driver_policy
    if state != "enforced":
        return not_reached(f"the policy is not enforced in this image, but: {state or 'not known'}")
    return SuitesPass(suites=("suites/lifecycle",)).prove(bench)


STATEMENTS = (
    Statement(
        id="no-secure-boot",
        text="Secure Boot is off, so that its certificates of 2011, which ended in 2026, do not matter",
        proof=checked("secure boot", by_hand=f"{in_guest(_STATE)}: `UEFISecureBootEnabled` is 0, or there is no such key"),
    ),
    Statement(
        id="driver-policy-is-reported",
        text="CiTool says whether the policy for cross-signed drivers is in evaluation mode or enforced",
        proof=Decided(
            decide=_reported,
            by_hand=f"{in_guest(_POLICIES)}: `IsEnforced` of 784c4414-… (evaluation) and of 8f9cb695-… (enforced)",
            needs="guest",
        ),
        windows=("11", "server-2025"),
    ),
    Statement(
        id="driver-policy-stays",
        text="the policy for cross-signed drivers stays in guests what it was at the acceptance boot",
        proof=Decided(
            decide=_stays,
            by_hand=f"{in_guest(_POLICIES)}, compared with `acceptance.driver_policy` in `image.json`",
            needs="guest",
        ),
    ),
    Statement(
        id="test-signed-under-the-driver-policy",
        text="a driver with a test signature loads while the policy for cross-signed drivers is enforced",
        proof=Decided(
            decide=_loads_under_it,
            by_hand=f"`lab image doctor` says `enforced`, and `lab run --guest {EXAMPLE} suites/lifecycle` ends with 0",
            needs="run",
        ),
        windows=("11", "server-2025"),
    ),
)

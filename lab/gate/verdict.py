"""From the facts of one execution of a test to its verdict: a pure function, so that every rule can be tested.

The rules, in the order in which they are asked (the first that holds decides):

0. The first fault of the window is the call of something that the guest's stand-in for a kernel does not have, or the guest
   reported that it does not load a driver because a module is missing, or ``GuestLacks`` was raised: ``skipped``, because of
   that. All later failures are consequences.
1. The guest reported a fault in the test's window, or ended itself there (a panic, a reset, a power-off that was not
   asked for), or ``GuestCrashed`` was raised: ``crash``, even if every assertion passed. A fault with the code that the test
   expects does not count.
2. The test was skipped: ``skipped``, with the missing capability or the reason.
3. Prints of the window are missing (a gap, or ``EvidenceLost``): ``infra``, even if the test failed otherwise. A driver is
   accused on complete evidence only; the reason names the failure, too. (The same holds for a test: its error may come from the
   missing prints.)
4. The virtual machine ended, neither by a fault nor by its guest: ``infra``. What passed before cannot be checked to the end.
5. A phase failed: its exception decides, the first failed phase before later ones (a dead connection during teardown is
   the consequence of the test more often than its cause). Of several exceptions at once, the one with the gravest verdict
   decides:

   - an assertion (``assert``, ``pytest.fail()``, ``DID NOT RAISE``, a print that does not come), or a driver that the service
     manager refused: ``product``; but an assertion of a test that uses neither a fixture nor a marker of the lab: ``test``;
   - a command of the suite that failed in the guest: ``product``; one of the lab's own: ``infra``;
   - a lab error about a mistake of the suite (``SuiteError``; ``ConfigError`` below the suite's code), an error of pytest about
     markers and fixtures: ``test``;
   - any other lab error: ``infra``;
   - any other exception, in any phase: ``test``, or ``infra`` for a bug of the lab or a host that has no room left; see
     :mod:`lab.gate.blame`. One that was raised on purpose *from* a lab error or an assertion is judged as that one.

   If all failures of the driver are about time, and the guest waited for a processor of the host for a tenth of the test or
   longer, or for half of it where a deadline was missed (``GuestHung``, ``PrintsMissing``, the service manager's 1053; see
   :mod:`lab.gate.starvation`): ``infra``, and the test is run again in a fresh guest that has the host alone, once. The same
   rules judge the second run: it passes, or it is ``infra`` with the figures if its guest starved as well, or it is
   ``product``. If it is unknown how long the guest waited, nothing is excused; nor are intervals of a guest with a virtual
   clock, which no host can make late.

   If all failures of the driver are assertions, and the suite's code slept on the host (``time.sleep``) while the guest had a
   virtual clock: ``test``. The guest's time does not pass then, so the test may have looked too early. So is it if all of them
   are about time, and the suite reads a clock of the host beside each: a guest's seconds are not the host's then.

   If Driver Verifier failed allocations on purpose, and a sound driver may have refused all that failed for want of memory (an
   assertion, a command of the suite, a start that ended with 1450; see :mod:`lab.gate.shortage`): ``skipped``. The test could
   not be checked. It is not ``product``: the driver may have done what is right. It is neither ``infra`` nor ``test``: the lab
   and the test work as they should. It is not ``passed``, so that a driver of which no test came to its end was not checked. A
   run without these checks judges the assertions. Crashes, hangs and leaks accuse the driver as ever. So it is for rule 7.
6. The test passed although it is marked ``xfail(strict=True)``: ``test``, because its mark is out of date.
7. The test expected a fault and none occurred: ``product``.
8. The test was expected to fail (``xfail``) and did: ``known``. That excuses only the driver, and errors that its answers cause
   in the test's code: ``crash``, ``infra``, and a mistake that no answer of a driver can cause (a name that does not exist, a
   module that cannot be imported, a fixture used wrongly) count as a failed phase in the rules above.
9. Otherwise: ``passed``.

A red verdict of the driver (``product``, ``crash``) that the lab file lists becomes ``known``; ``test`` and ``infra`` never do.

``GuestHung`` has two meanings. If the guest still answers another command, the hang belongs to what the test started: a
driver that never completes a read hangs its client and nothing else, so it is ``product``. If the guest answers nothing, or was
not asked, a hang looks the same as a starved host or a dead network: ``infra``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from lab.config import KnownIssue
from lab.crash.faults import FaultWords, title
from lab.errors import (
    CommandFailed,
    ConfigError,
    EvidenceLost,
    GuestCrashed,
    GuestHung,
    GuestLacks,
    LabError,
    ServiceError,
    SuiteError,
    TimingFailed,
)
from lab.gate.blame import blame, cause_of, is_of_the_suite, judges_the_driver, never_the_driver
from lab.gate.facts import Facts, PhaseFact
from lab.gate.known_issues import matches_signature
from lab.gate.reasons import leaves, one_line, say_error
from lab.gate.shortage import ON_PURPOSE, may_be_a_refusal
from lab.gate.signature import error_signature, fault_signature, text_signature
from lab.gate.starvation import excused_from, starved_words
from lab.guest.lacks import in_words

Verdict = Literal["passed", "product", "crash", "test", "infra", "known", "skipped"]

#: Red first: the order in which reports list tests, and in which verdicts take precedence.
SEVERITY: tuple[Verdict, ...] = ("crash", "product", "test", "infra", "known", "skipped", "passed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A verdict, and in one line why; the line is empty only for ``passed``.

    Attributes:
        verdict: The verdict.
        reason: Why.
        signature: The failure of a red test, see :mod:`lab.gate.signature`; also that of a known issue, else empty. It
            follows from the other two, so that it is not compared.
        again: The test is to be run again in a fresh guest: it failed because of time, and its guest was starved.
    """

    verdict: Verdict
    reason: str = ""
    signature: str = field(default="", compare=False)
    again: bool = False


def decide(facts: Facts) -> Decision:
    """Give the verdict of one execution of a test; see the module's text for the rules."""
    decision = _decide(facts)
    return excused(replace(decision, signature=_signature(decision, facts)), facts.known)


def excused(decision: Decision, known: Sequence[KnownIssue]) -> Decision:
    """The decision, or ``known`` instead, if an entry of the lab file names this failure.

    Args:
        decision: With its signature.
        known: The entries in force that name the test.
    """
    same = (issue for issue in known if issue.verdict == decision.verdict)
    entry = next((issue for issue in same if matches_signature(issue, decision.signature)), None)
    if entry is not None:
        return Decision(
            verdict="known",
            reason=one_line(f"known until {entry.until.isoformat()}: {entry.reason} (it is: {decision.reason})"),
            signature=decision.signature,
        )
    return decision


def _signature(decision: Decision, facts: Facts) -> str:
    """What a red test failed of; empty for the other verdicts."""
    if decision.verdict not in ("crash", "product", "test", "infra"):
        return ""
    if decision.verdict == "crash":
        fault = next((fault for fault in facts.faults if not _is_expected(fault.code, facts)), None)
        if fault is None:
            return text_signature("crash", facts.crash_sign or decision.reason)
        words = FaultWords.of(fault.code, fault.parameters)
        return fault_signature(
            f"0x{fault.code:08X}",
            name=words.name,
            rule=words.rule,
            text=fault.text,
            place=facts.fault_place,
            driver=facts.accused,
        )
    for phase in facts.phases:
        for error in leaves(phase.error) if _failed(phase, facts) else ():
            if _class_verdict(cause_of(error), phase, facts) == decision.verdict:
                return error_signature(decision.verdict, cause_of(error), raised=error, when=phase.when)
    return text_signature(decision.verdict, decision.reason)


def _decide(facts: Facts) -> Decision:
    failed = [phase for phase in facts.phases if _failed(phase, facts)]
    first = failed[0] if failed else None
    lacks = _lacks(facts)
    if lacks:
        return Decision(verdict="skipped", reason=one_line(f"needs {lacks}: {in_words(lacks)}"))
    crash = _crash(facts, failed)
    if crash is not None:
        return crash
    if first is None and any(phase.outcome == "skipped" for phase in facts.phases) and facts.xfail_reason is None:
        need = facts.missing_capability
        return Decision(verdict="skipped", reason=one_line(f"needs {need}" if need else facts.skip_reason or "skipped"))
    lost = _lost_evidence(facts, failed)
    if lost:
        also = f"; the test failed too: {_say(first)}" if first is not None and not _is(first, EvidenceLost) else ""
        return Decision(verdict="infra", reason=one_line(f"prints are missing: {lost}{also}"))
    if not facts.guest_alive:
        said = f": {_say(first)}" if first is not None else ""
        return Decision(verdict="infra", reason=one_line(f"the virtual machine ended during the test{said}"))
    if first is not None:
        excuse = _slept(failed, facts) or _by_host_clock(failed, facts) or _refused(failed, facts) or _starved(failed, facts)
        return excuse or Decision(verdict=_verdict_of(first, facts), reason=one_line(_explain(first, facts)))
    if facts.expected_fault is not None and not facts.faults:
        missed = f"the expected fault 0x{facts.expected_fault:08X} did not happen"
        if facts.fails_allocations:
            return Decision(verdict="skipped", reason=f"{ON_PURPOSE}: {missed}")
        return Decision(verdict="product", reason=missed)
    if facts.xfail_reason is not None:
        return Decision(verdict="known", reason=one_line(f"expected to fail: {facts.xfail_reason or 'no reason given'}"))
    return Decision(verdict="passed")


def _failed(phase: PhaseFact, facts: Facts) -> bool:
    """Whether a phase counts as failed: not by the provoked fault, but by failures that no ``xfail`` excuses."""
    errors = list(leaves(phase.error))
    provoked = bool(errors) and all(isinstance(error, GuestCrashed) and _is_expected(error.code, facts) for error in errors)
    if phase.outcome == "failed":
        return not provoked
    if phase.outcome == "passed" or facts.xfail_reason is None or not errors or provoked:
        return False
    if any(isinstance(error, GuestCrashed) or never_the_driver(error) for error in errors):
        return True
    return _verdict_of(phase, facts) == "infra"


def _is_expected(code: int, facts: Facts) -> bool:
    """Whether a fault is the one that the test provokes; one from before the test is not."""
    return code == facts.expected_fault and facts.behind is None


def _lacks(facts: Facts) -> str:
    """Rule 0: what the driver called and the guest does not have, or an empty string."""
    first = next((fault for fault in facts.faults if not _is_expected(fault.code, facts)), None)
    if first is not None:
        return first.lacks
    if facts.lacks:
        return facts.lacks
    errors = (error for phase in facts.phases for error in leaves(phase.error))
    return next((error.lacks for error in errors if isinstance(error, GuestLacks)), "")


def _crash(facts: Facts, failed: Sequence[PhaseFact]) -> Decision | None:
    """Rule 1: a fault in the window, or the exception that reports one."""
    for fault in facts.faults:
        if not _is_expected(fault.code, facts):
            early = f"before this test did anything, after {facts.behind}: " if facts.behind is not None else ""
            words = FaultWords.of(fault.code, fault.parameters, pool_tags=facts.pool_tags)
            # The text of a bugcheck only repeats its numbers.
            said = words.hint if words.is_bugcheck and words.hint else fault.text
            return Decision(verdict="crash", reason=one_line(f"{early}{title(fault.code, fault.parameters)}: {said}"))
    if facts.crash_sign:
        return Decision(verdict="crash", reason=one_line(facts.crash_sign))
    for phase in failed:
        for error in leaves(phase.error):
            if isinstance(error, GuestCrashed) and not _is_expected(error.code, facts):
                return Decision(verdict="crash", reason=one_line(error.message))
    return None


def _lost_evidence(facts: Facts, failed: Sequence[PhaseFact]) -> str:
    """Rule 3: what is missing, or an empty string."""
    if facts.gaps:
        more = f" (and {len(facts.gaps) - 1} more)" if len(facts.gaps) > 1 else ""
        return facts.gaps[0].reason + more
    for phase in failed:
        for error in leaves(phase.error):
            if isinstance(error, EvidenceLost):
                return error.message
    return ""


def _verdict_of(phase: PhaseFact, facts: Facts) -> Verdict:
    """Rule 5: the class of the exception decides; of several at once, the gravest."""
    found = {_class_verdict(cause_of(error), phase, facts) for error in leaves(phase.error)}
    # Without any exception, pytest's text decides: that a strict xfail passed, in the call.
    return next((verdict for verdict in SEVERITY if verdict in found), "test" if phase.when == "call" else "infra")


def _class_verdict(error: BaseException, phase: PhaseFact, facts: Facts) -> Verdict:
    if isinstance(error, ServiceError):
        return "product"
    if isinstance(error, GuestHung):
        return "product" if facts.guest_answers else "infra"
    if isinstance(error, CommandFailed):
        # A test that does not catch it expects the command to work; in the lab's own fixtures it is the lab's error.
        return "product" if phase.when == "call" or is_of_the_suite(error) else "infra"
    if isinstance(error, ConfigError):
        return "test" if isinstance(error, SuiteError) or is_of_the_suite(error) else "infra"
    if isinstance(error, LabError):
        return "infra"
    if judges_the_driver(error):
        # Also in a fixture: an assertion there judges the driver.
        return "product" if facts.uses_lab else "test"
    return "test" if blame(error) == "test" else "infra"


def _slept(failed: Sequence[PhaseFact], facts: Facts) -> Decision | None:
    """The last part of rule 5: what the test waited for on the host could not happen in its guest."""
    first = failed[0]
    if not facts.host_sleep or _verdict_of(first, facts) != "product":
        return None
    if not all(judges_the_driver(error) for phase in failed for error in _accusers(phase, facts)):
        return None
    words = f"{facts.host_sleep} let no time pass in the guest, whose clock is virtual (use guest.sleep)"
    return Decision(verdict="test", reason=one_line(f"{words}; the test then failed: {_explain(first, facts)}"))


def _by_host_clock(failed: Sequence[PhaseFact], facts: Facts) -> Decision | None:
    """Rule 5, too: the times that a test compared were the host's, and the guest's clock is virtual."""
    accusers = [error for phase in failed for error in _accusers(phase, facts)]
    clocks = [error.host_clock for error in accusers if isinstance(error, TimingFailed)]
    if facts.clock != "virtual" or _verdict_of(failed[0], facts) != "product" or len(clocks) < len(accusers) or not all(clocks):
        return None
    words = f"{clocks[0]} tells the host's time, not that of a guest with a virtual clock (or use lab_clock('real'))"
    return Decision(verdict="test", reason=one_line(f"{words}; the test then failed: {_explain(failed[0], facts)}"))


def _refused(failed: Sequence[PhaseFact], facts: Facts) -> Decision | None:
    """Rule 5, too: Driver Verifier failed allocations on purpose, and all failures may be sound answers to that."""
    if not facts.fails_allocations or _verdict_of(failed[0], facts) != "product":
        return None
    if not all(may_be_a_refusal(error) for phase in failed for error in _accusers(phase, facts)):
        return None
    return Decision(verdict="skipped", reason=one_line(f"{ON_PURPOSE}; the test then failed: {_explain(failed[0], facts)}"))


def _accusers(phase: PhaseFact, facts: Facts) -> list[BaseException]:
    """The exceptions of a phase that are held against a driver."""
    return [error for error in map(cause_of, leaves(phase.error)) if _class_verdict(error, phase, facts) == "product"]


def _starved(failed: Sequence[PhaseFact], facts: Facts) -> Decision | None:
    """Rule 5, too: the first failure is about time alone, and its guest was starved."""
    first = failed[0]
    if facts.processor is None or _verdict_of(first, facts) != "product":
        return None
    shares: list[float] = []
    for phase in failed:
        accusers = _accusers(phase, facts)
        for share in (excused_from(error, facts.clock) for error in accusers):
            if share is None:
                return Decision(verdict="product", reason=one_line(_explain(phase, facts)))
            shares.append(share)
    if facts.processor.share < max(shares):
        return None
    again = facts.can_repeat and not facts.repeated
    words = starved_words(facts.processor, repeated=facts.repeated, again=again)
    return Decision(verdict="infra", reason=one_line(f"{words}: {_explain(first, facts)}"), again=again)


def _explain(phase: PhaseFact, facts: Facts) -> str:
    text = _say(phase)
    if _is(phase, GuestHung):
        if facts.guest_answers:
            return f"{text} (the guest answers other commands, so the driver or the client hangs)"
        return f"{text} (the guest answers nothing else either)" if facts.guest_answers is False else text
    return text if phase.when == "call" else f"in {phase.when}: {text}"


def _say(phase: PhaseFact | None) -> str:
    if phase is None:
        return ""
    if phase.error is None:
        return phase.text or f"{phase.when} failed"
    return say_error(phase.error, phase.text)


def _is(phase: PhaseFact, kind: type[BaseException]) -> bool:
    return any(isinstance(error, kind) for error in leaves(phase.error))

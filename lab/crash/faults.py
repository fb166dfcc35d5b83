"""A fault that the guest reported, in words: a bugcheck of a Windows kernel, or an exception of the free guest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from lab.crash.codes import bugcheck_hint, bugcheck_name, bugcheck_rule, exception_hint, exception_name, plain_code
from lab.crash.rules import is_left_at_unload

#: How many parameters a bugcheck has; a fault of the free guest has the faulting address alone.
_PARAMETERS = 4
#: An access violation whose instruction is at address 0.
_CALLED_NULL = (0xC0000005, 0)
_NULL_CALL = (
    "a null function pointer was called; if MmGetSystemRoutineAddress returned it, the driver did not check the result: the "
    "free guest's kernel has fewer routines than that of Windows"
)


@dataclass(frozen=True, slots=True)
class FaultWords:
    """What a fault's code means.

    Attributes:
        is_bugcheck: It stopped the whole guest; otherwise the process that hosts the driver.
        name: The code's symbol; empty when unknown.
        hint: One line for the driver's author; empty when there is nothing to say.
        rule: The rule that was broken, such as ``rule 0x62``, for a bugcheck whose parameters say it; else empty.
    """

    is_bugcheck: bool
    name: str
    hint: str
    rule: str = ""

    @classmethod
    def of(cls, code: int, parameters: Sequence[int], *, pool_tags: Sequence[str] = ()) -> Self:
        """The words for a code and its parameters. Bugchecks and exceptions share numbers, so the parameters tell which.

        Args:
            code: The fault.
            parameters: Its parameters.
            pool_tags: With which the accused driver allocates, for a bugcheck about what it did not free.
        """
        if len(parameters) == _PARAMETERS:
            hint = bugcheck_hint(code, parameters)
            if pool_tags and is_left_at_unload(plain_code(code), parameters):
                hint += f"; the driver's code allocates with the pool tags {', '.join(pool_tags)}"
            return cls(True, bugcheck_name(code), hint, bugcheck_rule(code, parameters))
        return cls(False, exception_name(code), _NULL_CALL if (code, *parameters) == _CALLED_NULL else exception_hint(code))


def title(code: int, parameters: Sequence[int]) -> str:
    """A fault in a few words: ``bugcheck 0x000000D1 DRIVER_… (…)``, or ``driver fault 0xC0000005 STATUS_… (…)``.

    A code of 0 means that the crash reported none.
    """
    words = FaultWords.of(code, parameters)
    values = ", ".join(f"0x{value:x}" for value in parameters)
    kind = "bugcheck" if words.is_bugcheck else "driver fault"
    return f"{kind} 0x{code:08X}" + (f" {words.name}" if words.name else "") + (f" ({values})" if values else "")

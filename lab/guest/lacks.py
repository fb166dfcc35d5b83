"""Names for parts that a driver needs and a guest's kernel lacks. They work like capabilities: the driver's tests are skipped.

``function:ntoskrnl.exe!MmGetVirtualForPhysical``, ``data:ntoskrnl.exe!MmUserProbeAddress``, ``module:wdfldr.sys``,
``instruction:privileged``. Only a stand-in for Windows lacks such parts, so this is never a failure of the driver.
"""

from __future__ import annotations

#: The modules that are the kernel itself.
_KERNEL = frozenset({"ntoskrnl.exe", "hal.dll", "ntdll.dll"})
_FUNCTION = "function:"
_DATA = "data:"
_MODULE = "module:"
#: Privileged instructions: port input and output, cli, hlt, rdmsr.
PRIVILEGED = "instruction:privileged"


def function_name(module: str, name: str) -> str:
    """Name a function of a module as a capability."""
    return f"{_FUNCTION}{module.lower()}!{name}"


def data_name(module: str, name: str) -> str:
    """Name a variable that a module exports as a capability."""
    return f"{_DATA}{module.lower()}!{name}"


def module_name(module: str) -> str:
    """Name a module as a capability."""
    return f"{_MODULE}{module.lower()}"


def module_of(lacks: str) -> str:
    """The module of such a name, in lower case."""
    return lacks.partition(":")[2].partition("!")[0]


def in_words(lacks: str) -> str:
    """Say what is missing: ``this guest's kernel has no MmGetVirtualForPhysical``."""
    if lacks == PRIVILEGED:
        return "this guest runs drivers without a kernel's privilege (port input and output, cli, hlt, rdmsr)"
    kind, _, rest = lacks.partition(":")
    module, _, name = rest.partition("!")
    if not name:
        return f"this guest has no module {module}"
    what = f"variable {name}" if f"{kind}:" == _DATA else name
    return f"this guest's kernel has no {what}" if module in _KERNEL else f"this guest's {module} has no {what}"

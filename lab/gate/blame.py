"""Decides whose mistake an exception is that neither accuses the driver nor is an error of the lab's own: test, lab or host.

An exception of the test's own code proves nothing about the driver. One that comes out of the lab is the lab's fault only if
the lab was called correctly. The traceback decides: its frames are those of the suite (everything that is neither the lab nor
an installed package), of the lab, and of libraries.

- The innermost frame of suite and lab is the suite's: the test's mistake, also if a library raised the exception.
- It is the lab's, and the suite called the lab with an argument that is not of the documented type: the test's mistake. (An
  argument that does not exist is refused by Python before the lab has a frame, so that is the rule above.)
- It is the lab's otherwise: a bug of the lab.
- There is no frame of either, for example when pytest cannot find a fixture: the test's mistake.

An error that the host has no room, memory, files or processes left is always the host's.
"""

from __future__ import annotations

import errno
import gc
import inspect
import logging
import sysconfig
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pydantic

import lab
from lab.errors import GuestHung, LabError, SuiteError

Blame = Literal["test", "lab", "host"]

_LOG = logging.getLogger(__name__)

#: A frame has the path by which its file was imported, which differs in an installation with symbolic links.
_LAB = tuple(dict.fromkeys(f"{path.parent}/" for path in (Path(lab.__file__), Path(lab.__file__).resolve())))
#: It only passes exceptions on; its hook wrapper is in every traceback of a teardown.
_PASSES_ON = tuple(f"{folder}plugin/hooks.py" for folder in _LAB)
_LIBRARIES = tuple({str(Path(path)) for key, path in sysconfig.get_paths().items() if key.endswith(("stdlib", "lib"))})
#: Debian's system Python installs into a folder that its sysconfig does not name.
_PACKAGES = ("site-packages", "dist-packages")
_PYTEST_TIMEOUT = "pytest_timeout.py"

_NO_ROOM = frozenset(
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EMFILE", "ENFILE", "ENOMEM", "EROFS", "EIO", "ENOBUFS", "ENOLCK")
    if hasattr(errno, name)
)
#: Exceptions that no answer of a driver can cause.
_NEVER_THE_DRIVER = (NameError, ImportError, SyntaxError, SuiteError)


def blame(error: BaseException) -> Blame:
    """Say whose mistake an exception is; see the module's text for the rules."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in _NO_ROOM):
        return "host"
    if _is_of_pytest(error, "UsageError"):
        return "test"
    frames = list(_frames(error))
    suite = max((number for number, frame in enumerate(frames) if kind_of(frame) == "suite"), default=-1)
    ours = [frame for frame in frames[suite + 1 :] if kind_of(frame) == "lab"]
    if not ours:
        return "test"
    return "test" if suite >= 0 and wrong_argument(ours[0]) else "lab"


def is_of_the_suite(error: BaseException) -> bool:
    """Whether the suite's own code is in the traceback of an error: that of a test, or of a fixture of the suite."""
    return any(kind_of(frame) == "suite" for frame in _frames(error))


def place(error: BaseException) -> str:
    """File and line of the suite where an error came out, as ``test_it.py:12``; empty when the traceback has none."""
    found = ""
    trace = error.__traceback__
    while trace is not None:
        if kind_of(trace.tb_frame) == "suite":
            found = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return found


def judges_the_driver(error: BaseException) -> bool:
    """Whether an exception is an assertion about the driver: ``assert``, ``pytest.fail()``, ``DID NOT RAISE``, a print.

    pytest itself calls ``pytest.fail()`` for a fixture that is used wrongly, and pytest-timeout calls it to end a test. A bare
    ``assert`` may be one of the lab itself, or of a library that the lab has called.
    """
    if isinstance(error, AssertionError):
        return type(error) is not AssertionError or _innermost(error) != "lab"
    if not _is_of_pytest(error, "Failed"):
        return False
    caller = _caller_of_fail(error)
    if Path(caller).name == _PYTEST_TIMEOUT:
        return False
    return "_pytest" not in Path(caller).parts or str(error).startswith("DID NOT")


def never_the_driver(error: BaseException) -> bool:
    """Whether an exception is a mistake that no answer of a driver can cause, so that no ``xfail`` excuses it."""
    return isinstance(error, _NEVER_THE_DRIVER) or _is_of_pytest(error, "UsageError", "FixtureLookupError")


def hang_of(error: BaseException | None) -> GuestHung | None:
    """The hang, if pytest-timeout ended a test that waited for its guest; None for everything else."""
    if error is None or not _is_of_pytest(error, "Failed") or Path(_caller_of_fail(error)).name != _PYTEST_TIMEOUT:
        return None
    if _innermost(error) != "lab":
        return None
    return GuestHung(
        f"the test still waited for its guest: {error}", hint="use a longer timeout, or find out why the driver does not answer"
    )


def kind_of(frame: types.FrameType) -> Literal["suite", "lab", "library"]:
    """Whose code a frame runs."""
    name = frame.f_code.co_filename
    if name.startswith(_LAB):
        return "library" if name in _PASSES_ON else "lab"
    if name.startswith("<"):
        return "library"  # generated code, such as a dataclass's methods, belongs to its caller
    if any(part in _PACKAGES for part in Path(name).parts) or name.startswith(tuple(f"{path}/" for path in _LIBRARIES)):
        return "library"
    return "suite"


def wrong_argument(frame: types.FrameType) -> str:
    """The first parameter of a function of the lab whose value is not of the documented type; empty when all are."""
    function = _function_of(frame.f_code)
    if function is None:
        return ""
    try:
        hints = typing.get_type_hints(function)
        parameters = inspect.signature(function).parameters
    except Exception as error:  # evaluating annotations may run any code
        _LOG.debug("the parameters of %s cannot be checked: %r", function.__qualname__, error)
        return ""
    for name, parameter in parameters.items():
        if name not in hints or name not in frame.f_locals:
            continue
        value = frame.f_locals[name]
        values = value if parameter.kind is parameter.VAR_POSITIONAL else [value]
        if parameter.kind is parameter.VAR_KEYWORD:
            values = value.values()
        if not all(_is_default(one, parameter.default) or _fits(one, hints[name]) for one in values):
            return name
    return ""


def _is_default(value: object, default: object) -> bool:
    try:
        return value is default or bool(value == default)
    except Exception as error:  # an array, or a class whose comparison is broken
        _LOG.debug("a %s cannot be compared: %r", type(value).__name__, error)
        return False


def _fits(value: object, hint: Any) -> bool:
    """Whether a value is of a type; also true if that cannot be checked, because this explanation must not end the run."""
    try:
        adapter = pydantic.TypeAdapter[object](hint, config=pydantic.ConfigDict(arbitrary_types_allowed=True))
        adapter.validate_python(value, strict=True)
    except pydantic.ValidationError:
        return False
    except pydantic.errors.PydanticUserError:
        return _is_a(value, hint) if isinstance(hint, type) else True  # a model or a dataclass: it takes no configuration
    except Exception as error:  # SchemaError: a Protocol that cannot be checked at run time
        _LOG.debug("whether a value is a %s cannot be decided: %r", hint, error)
    return True


def _is_a(value: object, kind: type) -> bool:
    try:
        return isinstance(value, kind)
    except TypeError as error:
        _LOG.debug("whether a value is a %s cannot be decided: %r", kind, error)
        return True


def _function_of(code: types.CodeType) -> types.FunctionType | None:
    """The function of a frame's code; also a local function, which has no importable name."""
    found = _referring(code)
    if found is None and gc.get_freeze_count():
        # gc.get_referrers passes over frozen objects: in a forked pytest, all that `lab run` had imported (`gc.freeze`).
        gc.unfreeze()
        found = _referring(code)
        gc.freeze()
    return found


def _referring(code: types.CodeType) -> types.FunctionType | None:
    return next((found for found in gc.get_referrers(code) if isinstance(found, types.FunctionType)), None)


def _frames(error: BaseException) -> Iterator[types.FrameType]:
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame
        trace = trace.tb_next


def _innermost(error: BaseException) -> str:
    """The owner of the innermost frame that is not a library's; empty when all frames are those of libraries."""
    return next((kind for frame in reversed(list(_frames(error))) if (kind := kind_of(frame)) != "library"), "")


def _caller_of_fail(error: BaseException) -> str:
    """The file that called ``pytest.fail()``."""
    files = [frame.f_code.co_filename for frame in _frames(error)]
    callers = [name for name in files if Path(name).name != "outcomes.py"]
    return callers[-1] if callers else ""


def _is_of_pytest(error: BaseException, *names: str) -> bool:
    """Whether an exception is one of pytest's own of such a name; pytest need not be imported."""
    kind = type(error)
    return kind.__name__ in names and kind.__module__.partition(".")[0] in ("_pytest", "pytest", "builtins")


def cause_of(error: BaseException) -> BaseException:
    """The lab's error, or the assertion, that an exception was raised from on purpose (``raise … from …``); else itself.

    An error of the lab decides itself: its class was chosen on purpose, such as ``WrongBinary`` from ``CommandFailed``. A
    suite's assertion that was raised from one does not: its cause was, for example, a guest that did not answer.
    """
    if isinstance(error, LabError):
        return error
    cause = error.__cause__
    while cause is not None:
        if isinstance(cause, LabError | AssertionError):
            return cause
        cause = cause.__cause__
    return error

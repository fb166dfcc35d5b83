"""The signature of a red test: what it failed of, without anything that differs from run to run.

Two red results of a test are the same failure if their signatures are equal. A signature has

- the verdict,
- for a fault or a bugcheck: its code, the rule that Driver Verifier says was broken, and the function of the driver if symbols
  name it, else the driver;
- for an exception: its class and the statement of the suite that it came out of, as it is written there and without its line
  number; a code that the exception or the asserted expression names;
- otherwise, the reason as :func:`stable` leaves it.

It has no address, time, process id, counter or random name. So it is also without the values that an assertion compared: they
are what a race changes from run to run.
"""

from __future__ import annotations

import ast
import linecache
import re
from collections.abc import Iterator

from lab.crash.signs import NO_CODE
from lab.errors import CommandFailed, LabError
from lab.gate.blame import kind_of

_LONGEST_STATEMENT = 160
_LONGEST_TEXT = 200

#: What stands for a number or an address, and for a time.
_ANY, _ANY_TIME = "#", "<time>"
_VARIES = re.compile(
    r"""
    (?P<time>\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?Z?)?|(?<!\d)\d\d?:\d\d:\d\d(?:\.\d+)?)
  | (?P<hex>0[xX][0-9a-fA-F]+)
  | (?P<guest>\b(?:gw\d+|master)-\d+\b|\bgw\d+\b)
  | (?P<folder>(?<![\w.])/(?:[^\s/'"(),:;]+/)+)
  | (?P<bare>(?<![A-Za-z0-9_])(?=[a-fA-F]*\d)(?=\d*[a-fA-F])[0-9a-fA-F]{8,}(?![A-Za-z0-9_]))
  | (?P<number>(?<![A-Za-z0-9_])-?[0-9][0-9_]*(?:[.,][0-9]+)*(?:[eE][+-]?[0-9]+)?)
    """,
    re.VERBOSE,
)
#: Attributes that hold a code, as pytest explains an assertion: ``+  where 5 = Read(…).error``.
_NAMED_CODE = re.compile(r"where (-?\d+) = .*\.(error|status|code|exit_code|last_error|ntstatus)$", re.MULTILINE)
_FUNCTION = re.compile(r"^[^ ]+ \((?P<first>.*?)(?:, [^,]+:\d+)?(?:, in .*)?\)$")


def stable(text: str) -> str:
    """A text without what differs from run to run.

    Numbers, addresses, times, ids of guests, and the folders of paths are replaced. An NTSTATUS stays, and is written in
    hexadecimal. The result is its own stable text.
    """
    while (found := " ".join(_VARIES.sub(_replacement, text).split())) != text:
        text = found  # what is left may have come together to a number
    return text


def _replacement(found: re.Match[str]) -> str:
    kind, word = str(found.lastgroup), found[0]
    if kind == "time":
        return _ANY_TIME
    if kind == "guest":
        return "guest"
    if kind == "folder":
        return ""
    return _status(word, kind) or _ANY


def _status(word: str, kind: str) -> str:
    """An NTSTATUS as 0x%08X; empty for any other number.

    Only warnings and errors without a facility count: 0x80000001 to 0x8000FFFF and 0xC0000001 to 0xC000FFFF. No address of a
    64-bit guest is among them, and a 32-bit kernel keeps the boot loader's memory there.
    """
    if kind == "number":
        if not re.fullmatch(r"-?\d{9,10}", word):
            return ""
        value = int(word)
    else:
        value = int(word, 16)
    value = value + (1 << 32) if -(1 << 31) <= value < 0 else value
    return f"0x{value:08X}" if value >> 16 in (0x8000, 0xC000) and value & 0xFFFF else ""


def fault_signature(
    code: str, *, name: str = "", rule: str = "", text: str = "", place: str = "", driver: str | None = None
) -> str:
    """The signature of a crash.

    Args:
        code: Of the fault or bugcheck, ``0x%08X``; that of :data:`lab.crash.signs.NO_CODE` counts as none.
        name: The code's symbol.
        rule: For a bugcheck of Driver Verifier and its like: the broken rule, such as ``rule 0x62``.
        text: What was reported; it counts where there is no code.
        place: Where the address lies, as :func:`lab.toolchain.address.locate` says it.
        driver: The driver that is accused.
    """
    what = stable(text) if code == NO_CODE else " ".join(filter(None, (code, name, rule)))
    where = function_of(place) or place.partition("+")[0] or driver or ""
    return _cut(f"crash {what}" + (f" in {where}" if where else ""))


def function_of(place: str) -> str:
    """The function of a place such as ``sync.sys+0x1050 (DispatchRead, sync.c:66)``; empty if it names none."""
    found = _FUNCTION.match(place)
    return found["first"] if found else ""


def error_signature(verdict: str, error: BaseException, *, raised: BaseException | None = None, when: str = "call") -> str:
    """The signature of a failure by an exception.

    Args:
        verdict: The verdict.
        error: The exception that speaks.
        raised: The one that was raised from it, if any: its traceback has the test's statement.
        when: The phase that failed.
    """
    phase = "" if when == "call" else f" in {when}"
    said = error.message if isinstance(error, LabError) else str(error)
    what = statement_of(raised or error) or stable(said.strip().partition("\n")[0])
    codes = "".join(f" [{code}]" for code in dict.fromkeys(_codes(error, said)))
    room = _LONGEST_TEXT - len(codes)
    return _cut(f"{verdict}{phase} {type(error).__name__}: {what}", room) + codes


def text_signature(verdict: str, reason: str) -> str:
    """The signature of a red test of which only the reason is known."""
    return _cut(f"{verdict}: {stable(reason)}")


def statement_of(error: BaseException) -> str:
    """The innermost statement of the suite that an exception came out of, in one line; empty if there is none.

    Of a statement with a body, such as ``with``, it is the first line. Python's own formatter writes it, so that neither the
    line's place in the file nor its layout counts.
    """
    file, line = "", 0
    trace = error.__traceback__
    while trace is not None:
        if kind_of(trace.tb_frame) == "suite":
            file, line = trace.tb_frame.f_code.co_filename, trace.tb_lineno
        trace = trace.tb_next
    if not file:
        return ""
    lines = linecache.getlines(file)
    try:
        tree = ast.parse("".join(lines))
    except (SyntaxError, ValueError):
        tree = ast.Module([], [])
    found = _innermost(tree, line)
    text = _written(found) if found is not None else lines[line - 1] if 0 < line <= len(lines) else ""
    line_text = " ".join(text.split())
    return line_text if len(line_text) <= _LONGEST_STATEMENT else line_text[: _LONGEST_STATEMENT - 1] + "…"


def _innermost(tree: ast.Module, line: int) -> ast.stmt | None:
    holding = [node for node in ast.walk(tree) if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or 0)]
    return max(holding, key=lambda node: (node.lineno, -(node.end_lineno or 0)), default=None)


def _written(statement: ast.stmt) -> str:
    if isinstance(statement, ast.Assert):
        # The message often has the values.
        statement = ast.Assert(statement.test, None)
    return ast.unparse(ast.fix_missing_locations(statement)).partition("\n")[0]


def _codes(error: BaseException, said: str) -> Iterator[str]:
    """Codes that tell failures of one statement apart."""
    if isinstance(error, CommandFailed):
        yield f"error {_status(str(error.exit_code), 'number') or error.exit_code}"
        return
    if isinstance(error, LabError):
        return
    first = said.strip().partition("\n")[0]
    for match in _VARIES.finditer(first):
        if match.lastgroup in ("hex", "bare", "number") and (status := _status(match[0], match.lastgroup)):
            yield status
    for value, name in _NAMED_CODE.findall(said):
        yield _status(value, "number") or f"{name} {value}"


def _cut(text: str, room: int = _LONGEST_TEXT) -> str:
    return text if len(text) <= room else text[: room - 1] + "…"

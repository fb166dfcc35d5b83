r"""Windows command lines: makes one string of an argument list, and protects that string from ``cmd.exe``.

Windows has no argument lists. A program gets one string and splits it itself, nearly always by the rules of
``CommandLineToArgvW`` and the Microsoft C runtime:

* white space separates arguments, except between double quotes;
* ``2n`` backslashes before a double quote are ``n`` backslashes, and the quote begins or ends a quoted part;
* ``2n+1`` backslashes before a double quote are ``n`` backslashes and a literal quote;
* other backslashes are literal;
* for the program's own name, none of this holds: quotes toggle, backslashes are ordinary.

``cmd.exe`` first applies rules of its own, see :func:`for_cmd`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from lab.errors import ConfigError

_PLAIN = re.compile(r"[^\s\"]+")
_CMD_SPECIAL = re.compile(r"([()%!^\"<>&|])")
_CMD_SPECIAL_PROGRAM = re.compile(r"[\s()!^<>&|;,=]")


def _no_line_ends(text: str) -> None:
    if any(c in text for c in "\0\r\n"):
        raise ConfigError(f"a guest command cannot contain line ends or NUL: {text!r}", hint="pass such data by standard input")


def quote_argument(argument: str) -> str:
    r"""Quote one argument so that the guest program sees exactly ``argument``.

    >>> print(quote_argument('plain'), quote_argument('two words'), quote_argument('C:\\two words\\'))
    plain "two words" "C:\two words\\"
    """
    if _PLAIN.fullmatch(argument):
        return argument
    # Backslashes are doubled only before a quote: a literal one, or the closing one.
    doubled = re.sub(r'(\\*)"', r'\1\1\\"', argument)
    doubled = re.sub(r"(\\+)\Z", r"\1\1", doubled)
    return f'"{doubled}"'


def quote_program(program: str) -> str:
    """Quote the first word of a command line, for which backslashes are never special.

    Raises:
        ConfigError: The name is empty or contains a double quote, which no program name can.
    """
    if not program or '"' in program:
        raise ConfigError(f"not a program name: {program!r}")
    return program if _PLAIN.fullmatch(program) else f'"{program}"'


def join_arguments(arguments: Sequence[str]) -> str:
    """Make the command line that a guest program splits into ``arguments``; the first one is the program.

    Raises:
        ConfigError: The list is empty, or an argument contains NUL or a line end.
    """
    if not arguments:
        raise ConfigError("an empty argument list is no command")
    for argument in arguments:
        _no_line_ends(argument)
    return " ".join([quote_program(arguments[0]), *map(quote_argument, arguments[1:])])


def split_program(line: str) -> tuple[str, str]:
    """Split a command line into the program's name (unquoted) and the rest as it stands.

    Raises:
        ConfigError: There is no program in it.
    """
    line = line.strip()
    _no_line_ends(line)
    found = re.match(r'"([^"]+)"?\s*|(\S+)\s*', line)
    if not found:
        raise ConfigError("an empty command line is no command")
    return found.group(1) or found.group(2), line[found.end() :]


def escape_cmd(text: str) -> str:
    """Put a caret before every character that ``cmd.exe`` would interpret, quotes included.

    With its quotes escaped, cmd never enters its own quoted mode, in which carets would be ordinary. A percent sign works
    because cmd looks for a variable whose name ends in a caret, finds none, leaves the text, and then drops the caret. That
    holds for ``cmd /c``, not in a batch file; and not for Wine 8, whose cmd expands ``^%PATH^%`` all the same. Text with
    percent signs is safe without cmd only.
    """
    return _CMD_SPECIAL.sub(r"^\1", text)


def for_cmd(arguments: Sequence[str]) -> str:
    """Make the text after ``cmd /c`` that runs ``arguments`` unchanged.

    Raises:
        ConfigError: As :func:`join_arguments`; or the program's name needs quotes for cmd and contains a percent sign, for
            which cmd has no escape between quotes.
    """
    line = join_arguments(arguments)
    program = quote_program(arguments[0])
    rest = line[len(program) :]
    if _CMD_SPECIAL_PROGRAM.search(arguments[0]):
        # cmd finds the end of the program's name itself and needs real quotes for that. Without the @ at the beginning, it
        # takes a line that begins with a quote for one that is quoted as a whole.
        if "%" in arguments[0]:
            raise ConfigError(f"cmd cannot run a program of this name: {arguments[0]!r}", hint="run it with shell=False")
        return f'@"{arguments[0]}"' + escape_cmd(rest)
    return escape_cmd(program) + escape_cmd(rest)


def command_text(command: str | Sequence[str], *, shell: bool) -> str:
    """The command line for a transport: text is taken as it is, a list is quoted for the shell or for the program.

    Raises:
        ConfigError: The command is empty or contains NUL or a line end.
    """
    if isinstance(command, str):
        _no_line_ends(command)
        if not command.strip():
            raise ConfigError("an empty command line is no command")
        return command
    return for_cmd(command) if shell else join_arguments(command)

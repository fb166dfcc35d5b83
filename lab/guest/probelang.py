"""Parses ``drvprobe.exe`` scripts on the host. An error is reported with its place before anything is sent.

``docs/drvprobe.md`` describes it. Comments are removed; ``CTL_CODE(…)`` becomes a number and ``text=`` becomes ``hex=``, as the
program in the guest reads them.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NoReturn

from lab.errors import ConfigError
from lab.guest.ioctl import parse_ctl_code

#: Bytes of one buffer; the records hold two digits for each.
MAX_BUFFER: Final = 0x100000
_MAX_WORDS: Final = 16
_MAX_NUMBER: Final = 0xFFFFFFFF
#: Separators of words; the program in the guest uses the same.
_BLANKS: Final = " \t\r"
_PLAIN: Final = re.compile(r"[^\s;#=@$\"\0][^\s;=\"\0]*")


@dataclass(frozen=True, slots=True)
class Verb:
    """One operation of the language.

    Attributes:
        words: Names of the words after it, for messages; the last ``optional`` of them may be left out.
        options: Names of ``NAME=VALUE``.
        kind: ``read``, ``write``, ``ioctl`` or ``flush`` for a transfer.
        pends: It only issues a request; ``wait`` reports the result.
    """

    words: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    optional: int = 0
    kind: str = ""
    pends: bool = False


_READ = ("times", "fill", "tag")
_WRITE = ("hex", "text", "times", "fill", "tag")
_CONTROL = ("in", "hex", "text", "out", "outhex", "times", "fill", "tag")
VERBS: Final[Mapping[str, Verb]] = MappingProxyType(
    {
        "open": Verb(("HANDLE", "PATH"), ("access", "share", "overlapped")),
        "read": Verb(("HANDLE", "LENGTH"), (*_READ, "buffer"), kind="read"),
        "aread": Verb(("HANDLE", "LENGTH"), _READ, kind="read", pends=True),
        "write": Verb(("HANDLE", "LENGTH"), _WRITE, optional=1, kind="write"),
        "awrite": Verb(("HANDLE", "LENGTH"), _WRITE, optional=1, kind="write", pends=True),
        "ioctl": Verb(("HANDLE", "CODE"), _CONTROL, kind="ioctl"),
        "aioctl": Verb(("HANDLE", "CODE"), _CONTROL, kind="ioctl", pends=True),
        "flush": Verb(("HANDLE",), ("tag",), kind="flush"),
        "aflush": Verb(("HANDLE",), ("tag",), kind="flush", pends=True),
        "wait": Verb(("TAG",), ("timeout",)),
        "cancel": Verb(("TAG or HANDLE",)),
        "sleep": Verb(("MILLISECONDS",)),
        "close": Verb(("HANDLE",)),
        "exit": Verb(("CODE",), optional=1),
        "tick": Verb(),
        "go": Verb(),
        "service": Verb(("start, stop or query", "SERVICE")),
    }
)


@dataclass(frozen=True, slots=True)
class Place:
    """A position in a script; line and column count from 1."""

    script: str
    line: int
    column: int
    length: int

    def wrong(self, message: str, hint: str = "") -> NoReturn:
        """Raise an error for this place, with the line and a mark below it."""
        text = self.script.split("\n")[self.line - 1]
        shown = text.expandtabs(1)[max(0, self.column - 60) :][:120]
        mark = " " * (self.column - 1 - max(0, self.column - 60)) + "^" * max(1, min(self.length, 60))
        where = f"drvprobe script, line {self.line}, column {self.column}"
        raise ConfigError(f"{where}: {message}\n    {shown}\n    {mark}", line=self.line, hint=hint)


@dataclass(frozen=True, slots=True)
class ScriptOperation:
    """One operation, checked by itself.

    Attributes:
        owner: ``@NAME`` or ``$NAME``: the thread or process that it is listed for; empty for the main thread.
        verb: A key of :data:`VERBS`.
        words: The words after it, without quotation marks.
        options: Names and values, in their order.
        places: Places of the verb and of each word.
    """

    owner: str
    verb: str
    words: tuple[str, ...]
    options: Mapping[str, str]
    places: tuple[Place, ...]

    def __str__(self) -> str:
        """As the program in the guest reads it."""
        parts = [self.owner] if self.owner else []
        parts += [self.verb, *map(quote_word, self.words)]
        return " ".join([*parts, *(f"{name}={quote_word(value) if value else ''}" for name, value in self.options.items())])


def quote_word(word: str) -> str:
    """Quote a word for a script, if necessary.

    Raises:
        ConfigError: No script can contain it.
    """
    if _PLAIN.fullmatch(word):
        return word
    if not word or any(character in word for character in '"\n\r\0'):
        raise ConfigError(f"not a word of a drvprobe script: {word!r}", hint="words are not empty, and have no quotation marks")
    return f'"{word}"'


def parse_script(text: str, *, link: str = "") -> tuple[ScriptOperation, ...]:
    """Read a script, and check each operation by itself.

    Args:
        text: Operations, separated by ``;`` and line ends.
        link: Replaces ``{link}``.

    Raises:
        ConfigError: It is wrong, with line, column and what to try.
    """
    if not isinstance(text, str):
        raise TypeError(f"a drvprobe script is a text, not {type(text).__name__}")
    return tuple(_operation(words, link) for words in _operations(text))


@dataclass(frozen=True, slots=True)
class _Word:
    raw: str
    place: Place

    @property
    def text(self) -> str:
        return self.raw.replace('"', "")

    @property
    def is_option(self) -> bool:
        return "=" in self.raw and not self.raw.startswith('"')


def _operations(script: str) -> Iterator[list[_Word]]:
    """The words of each operation, without comments."""
    for number, line in enumerate(script.split("\n"), 1):
        words: list[_Word] = []
        at = 0
        while at < len(line):
            if line[at] in _BLANKS:
                at += 1
            elif line[at] == ";":
                yield from [words] if words else []
                words, at = [], at + 1
            elif line[at] == "#":
                break
            else:
                found = _word_at(line, at)
                place = Place(script, number, at + 1, len(found))
                if not found:
                    place.wrong("a quotation mark is not closed on its line", hint='"…" around a word with blanks')
                if not _sendable(found):
                    place.wrong(f"no script can hold these characters: {found!r}", hint="bytes go as hex=…")
                words.append(_Word(found, place))
                at += len(found)
        yield from [words] if words else []


def _word_at(line: str, begin: int) -> str:
    """The word that begins here; empty when its quotation mark is not closed."""
    at = begin
    while at < len(line) and line[at] not in _BLANKS and line[at] != ";":
        if line[at] == '"':
            at = line.find('"', at + 1)
            if at < 0:
                return ""
        elif line[at] == "(" and line[begin:at] == "CTL_CODE" and (close := line.find(")", at)) > 0:
            at = close
        at += 1
    return line[begin:at]


def _sendable(word: str) -> bool:
    try:
        return not {"\0", "\r"} & set(word) and word.encode() != b""
    except UnicodeEncodeError:  # a half of a pair
        return False


def _owner(words: list[_Word]) -> tuple[str, list[_Word]]:
    """The thread or process that an operation is listed for, and its other words."""
    if len(words) > _MAX_WORDS:
        words[_MAX_WORDS].place.wrong(
            f"an operation has at most {_MAX_WORDS} words", hint="; or a new line ends the one before"
        )
    owner = words[0].text
    if owner[:1] not in ("@", "$"):
        return "", words
    if len(owner) < 2 or len(words) < 2:
        words[0].place.wrong(f"{owner[0]}NAME needs a name and an operation", hint=f"{owner[0]}a read h 20")
    return ("" if owner == "@main" else owner), words[1:]


def _operation(words: list[_Word], link: str) -> ScriptOperation:
    owner, words = _owner(words)
    name, *rest = words
    verb = VERBS.get(name.text)
    if verb is None:
        name.place.wrong(f"unknown operation {name.text!r}", hint=_near(name.text, VERBS, "operations are"))
    if owner and name.text == "go":
        name.place.wrong("go belongs to the main thread", hint=f"go without {owner}")
    count = next((index for index, word in enumerate(rest) if word.is_option), len(rest))
    usage = f"{name.text} {' '.join(verb.words)}".rstrip()
    if count > len(verb.words):
        rest[len(verb.words)].place.wrong(f"one word too many after {name.text}", hint=usage)
    if count < len(verb.words) - verb.optional:
        name.place.wrong(f"{verb.words[count]} is missing after {name.text}", hint=usage)
    options: dict[str, str] = {}
    for word in rest[count:]:
        if not word.is_option:
            word.place.wrong(f"options (NAME=VALUE) come last: {word.text}", hint=usage)
        option, _, value = word.text.partition("=")
        if option not in verb.options:
            word.place.wrong(f"{name.text} has no option {option!r}", hint=_near(option, verb.options, "its options are"))
        if option in options:
            word.place.wrong(f"option {option} is given twice")
        options[option] = _option(option, value.replace("{link}", link or "{link}"), word)
    plain = [_plain(verb, index, word, link) for index, word in enumerate(rest[:count])]
    if "text" in options:
        _not_both(options, "hex", words)
        options["hex"] = options.pop("text")
    _check_sizes(name, verb, plain, options)
    places = tuple(word.place for word in words[: count + 1])
    return ScriptOperation(owner, name.text, tuple(plain), MappingProxyType(options), places)


def _plain(verb: Verb, index: int, word: _Word, link: str) -> str:
    """A word before the options, checked for its position."""
    what, text = verb.words[index], word.text
    if what == "PATH" and link:
        text = text.replace("{link}", link)
    if not text:
        word.place.wrong(f"{what} is empty")
    if what == "LENGTH":
        return str(_size(text, word))
    if what == "CODE" and verb.kind:
        try:
            return f"{parse_ctl_code(text):#x}"
        except ConfigError as error:
            word.place.wrong(error.message, hint=error.hint)
    if what in ("MILLISECONDS", "CODE"):
        return str(_number(text, word))
    if what == "start, stop or query" and text not in ("start", "stop", "query"):
        word.place.wrong(f"must be start, stop or query, not {text!r}", hint=_near(text, ("start", "stop", "query"), "it is"))
    return text


def _option(name: str, value: str, word: _Word) -> str:
    """The value of an option, as the program in the guest reads it."""
    readers: Mapping[str, Callable[[str, _Word], object]] = {
        "access": _rights, "share": _rights, "overlapped": _flag, "times": _times, "fill": _fill, "buffer": _size, "in": _size,
        "out": _size, "hex": _hex, "outhex": _hex, "text": _text, "timeout": _number,
    }  # fmt: skip
    if name == "tag":
        if not value:
            word.place.wrong("the tag is empty", hint="tag=NAME")
        return value
    return str(readers[name](value, word))


def _number(text: str, word: _Word) -> int:
    if re.fullmatch(r"0[xX][0-9a-fA-F]+|[0-9]+", text):
        number = int(text, 16 if text[1:2] in ("x", "X") else 10)
        if number <= _MAX_NUMBER:
            return number
    return word.place.wrong(f"not a number: {text!r}", hint="decimal or 0x…, at most 0xffffffff")


def _size(text: str, word: _Word) -> int:
    number = _number(text, word)
    return (
        number
        if number <= MAX_BUFFER
        else word.place.wrong(f"{number} bytes are more than {MAX_BUFFER:#x}", hint="several smaller ones")
    )


def _times(text: str, word: _Word) -> int:
    number = _number(text, word)
    return number if number else word.place.wrong("times=0 does nothing", hint="times=1 or more")


def _flag(text: str, word: _Word) -> int:
    return int(text) if text in ("0", "1") else word.place.wrong(f"must be 0 or 1, not {text!r}")


def _rights(text: str, word: _Word) -> str:
    return text if text in ("r", "w", "rw", "none") else word.place.wrong(f"must be r, w, rw or none, not {text!r}")


def _fill(text: str, word: _Word) -> str:
    if re.fullmatch(r"(0[xX])?[0-9a-fA-F]{1,2}", text):
        return f"{int(text, 16):02x}"
    return word.place.wrong(f"not a byte to fill a buffer with: {text!r}", hint="two hexadecimal digits: fill=ab")


def _hex(text: str, word: _Word) -> str:
    if re.fullmatch(r"([0-9a-fA-F]{2})*", text):
        return _bounded(text.lower(), word)
    return word.place.wrong(f"not pairs of hexadecimal digits: {text[:40]!r}", hint="hex=48690a, without blanks and 0x")


def _text(text: str, word: _Word) -> str:
    return _bounded(text.encode().hex(), word)


def _bounded(digits: str, word: _Word) -> str:
    if len(digits) > 2 * MAX_BUFFER:
        word.place.wrong(f"{len(digits) // 2} bytes are more than {MAX_BUFFER:#x}")
    return digits


def _not_both(options: Mapping[str, str], other: str, words: Iterable[_Word]) -> None:
    if other in options:
        place = next(word.place for word in words if word.is_option and word.text.startswith(f"{other}="))
        place.wrong("the same bytes twice: text= and hex=", hint="one of them")


def _check_sizes(name: _Word, verb: Verb, plain: list[str], options: Mapping[str, str]) -> None:
    """Check that the sizes of the buffers fit together."""
    if verb.kind == "read" and int(options.get("buffer", plain[1])) < int(plain[1]):
        name.place.wrong(f"the buffer of {options['buffer']} bytes is smaller than the read of {plain[1]}")
    if verb.kind == "write" and (len(plain) == 2) == ("hex" in options):
        what = "a length or bytes are missing" if len(plain) < 2 else "a length and bytes: only one of them"
        name.place.wrong(what, hint='write h 20, write h hex=0a0b or write h text="some text"')
    if verb.kind == "ioctl" and "in" in options and "hex" in options:
        name.place.wrong("in= and bytes: only one of them", hint="in=N sends N bytes of the fill")
    if verb.kind == "ioctl" and int(options.get("out", MAX_BUFFER)) < len(options.get("outhex", "")) // 2:
        name.place.wrong(f"out={options['out']} is smaller than outhex, which has {len(options['outhex']) // 2} bytes")


def _near(word: str, known: Iterable[str], otherwise: str) -> str:
    names = list(known)
    close = difflib.get_close_matches(word, names, n=2, cutoff=0.5)
    return " or ".join(close) if close else f"{otherwise} {', '.join(names) or 'none'}"

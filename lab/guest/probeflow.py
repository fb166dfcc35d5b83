"""Checks how the operations of a drvprobe script fit together: handles, tags, threads and processes."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from lab.guest.probelang import VERBS, ScriptOperation

#: A process gets its operations on its command line, which Windows limits to 32767 characters.
_MAX_PROCESS: Final = 32000


@dataclass(slots=True)
class _Names:
    """Handles and tags of one process.

    Attributes:
        opened: Name of each handle → whether it was opened with ``overlapped``.
        shut: Handles that are closed, as far as that is known.
        unsure: Handles that a thread opens or closes, at an unknown time.
        tags: Tags of pending requests.
    """

    opened: dict[str, list[bool]] = field(default_factory=dict)
    shut: set[str] = field(default_factory=set)
    unsure: set[str] = field(default_factory=set)
    tags: set[str] = field(default_factory=set)

    def note(self, operation: ScriptOperation, *, sure: bool) -> None:
        """Note an operation that is done, or will be."""
        if operation.verb in ("open", "close"):
            name = operation.words[0]
            if not sure:
                self.unsure.add(name)
            if operation.verb == "open":
                self.opened.setdefault(name, []).append(operation.options.get("overlapped") == "1")
                self.shut.discard(name)
            else:
                self.shut.add(name)
        if VERBS[operation.verb].pends and "tag" in operation.options:
            self.tags.add(operation.options["tag"])

    def check(self, operation: ScriptOperation) -> None:
        """Check that the handle and tag that an operation names exist."""
        verb, place = operation.verb, operation.places[min(1, len(operation.places) - 1)]
        name = operation.words[0] if operation.words else ""
        known = name in self.opened
        open_now = known and (name not in self.shut or name in self.unsure)
        if verb == "open" and open_now and name not in self.unsure:
            place.wrong(f"handle {name} is open already", hint=f"close {name}, or use another name")
        elif verb == "wait" and name != "all" and name not in self.tags:
            place.wrong(f"nothing was issued under the tag {name}", hint=_listed(name, self.tags, "tags so far"))
        elif verb == "cancel" and name != "all" and name not in self.tags and not open_now:
            place.wrong(
                f"{name} is neither a tag nor an open handle", hint=_listed(name, [*self.tags, *self.opened], "there is")
            )
        elif verb == "close" or VERBS[verb].kind:
            if not open_now:
                what = "was closed before" if known else "was not opened"
                place.wrong(
                    f"handle {name} {what}",
                    hint=_listed(name, self.opened.keys() - self.shut, f"open {name} {{link}}; open are"),
                )
            flags = self.opened[name]
            overlapped = any(flags) if name in self.unsure else flags[-1]
            if VERBS[verb].pends and verb != "aflush" and not overlapped:
                operation.places[0].wrong(
                    f"{verb} needs a handle that was opened with overlapped=1", hint=f"open {name} … overlapped=1"
                )


def check_flow(operations: Sequence[ScriptOperation]) -> None:
    """Check a script as a whole.

    No script that could be right is rejected: the order in which threads open and close handles is unknown.

    Raises:
        ConfigError: It is wrong, with line, column and what to try.
    """
    main, listed = _Names(), list[ScriptOperation]()
    for operation in operations:
        if operation.owner:
            listed.append(operation)
        elif operation.verb == "go":
            _go(main, listed)
            listed = []
        elif operation.verb == "exit":
            return
        else:
            main.check(operation)
            main.note(operation, sure=True)
    if listed:
        listed[0].places[0].wrong(f"what is listed for {listed[0].owner} is never started", hint="go at the end")


def _go(main: _Names, listed: Sequence[ScriptOperation]) -> None:
    """Apply the listed operations of a ``go``: threads share the names of the main thread, processes have their own."""
    threads = [operation for operation in listed if operation.owner.startswith("@")]
    for operation in threads:
        main.note(operation, sure=False)
    for operation in threads:
        main.check(operation)
    for owner in dict.fromkeys(operation.owner for operation in listed if operation.owner.startswith("$")):
        names, length = _Names(), 0
        for operation in (operation for operation in listed if operation.owner == owner):
            length += len(str(operation)) - len(owner)
            if length > _MAX_PROCESS:
                operation.places[0].wrong(
                    f"{owner} has more than {_MAX_PROCESS} characters of operations", hint="a thread (@NAME)"
                )
            if operation.verb == "exit":
                break
            names.check(operation)
            names.note(operation, sure=True)


def _listed(name: str, known: Iterable[str], what: str) -> str:
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return close[0] if close else f"{what}: {', '.join(names) or 'none'}"

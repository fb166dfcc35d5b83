"""docs/fixtures.md, made of the code: ``python -m tests.plugin.reference > docs/fixtures.md``.

Fixtures, markers, methods and records are described by their own docstrings; the examples are the tests of
``tests/e2e/parcel/suite_examples.py``, below a comment each that names what they show.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lab.guest.capability import capabilities
from lab.guest.ioctl import ctl_code
from lab.guest.probe import ProbeResult, ProbeScript, Transfer
from lab.guest.protocol import CommandResult, Transport
from lab.guest.services import ServiceControl
from lab.live.guest import LiveGuest
from lab.plugin import fixtures, markers, names
from lab.plugin.drivers import LoadedDriver
from lab.plugin.reader import DeviceReader
from lab.plugin.timing import timing
from lab.prints.fields import Fields, fields
from lab.prints.record import PrintRecord
from lab.prints.stream import PrintStream

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "tests" / "e2e" / "parcel" / "suite_examples.py"
DOCUMENT = ROOT / "docs" / "fixtures.md"

FIRST = """\
import pytest


@pytest.mark.lab_driver("parcel")  # freshly loaded for this test, and unloaded after it
def test_an_answer_and_a_print(reader, prints):
    assert reader.ioctl(0x222000, b"hello", out=64).data == b"HELLO"
    prints.skip_load()  # what DriverEntry printed
    prints.expect("parcel: control 0x00222000, in 5, out 64")
    prints.expect_none()
"""
HEAD = r"""# Fixtures, markers and records

What a test gets from the lab. Once the lab is installed, its pytest plugin is active in every session, and starts a
guest when a test asks for one.

```python
FIRST```

This page is generated from the code (`python -m tests.plugin.reference > docs/fixtures.md`). Its examples run in CI, with the
driver in [tests/e2e/parcel](../tests/e2e/parcel), whose link is `\\.\Parcel`. They begin with these lines. The types are for
mypy; a suite does not need them.

```python
IMPORTS```

Errors of the driver are numbers in the records, not exceptions. An exception means that the device
does not open, that the guest hangs or has ended, or that the test uses the lab wrongly; [runs.md](runs.md) lists the verdicts.
"""
_DRIVER = (
    " `driver` and `lab_driver` are the same; if the project or another plugin has a `driver` (pytest-selenium), the long "
    "name is the lab's."
)
_TRANSFER = "The result of a read, write, control or flush; other operations have only the attributes before `kind`."
_CLIENT = (
    " `client` and `lab_client` are the same; if the project or another plugin has a `client` (pytest-django), the long "
    "name is the lab's."
)


@dataclass(frozen=True, slots=True)
class Chapter:
    """One part of the page.

    Attributes:
        title: Its heading; the example of this name stands below it.
        text: What it is.
        owner: The class whose methods and attributes are listed; None for none.
        called: What its instances are called in the list.
        members: Of these only; empty for all.
        examples: More examples by name.
    """

    title: str
    text: str
    owner: type | None = None
    called: str = ""
    members: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()


def summary(thing: object, *, whole: bool = True) -> str:
    """The first paragraph of a docstring, or its first sentence, for Markdown."""
    paragraph = (inspect.getdoc(thing) or "").partition("\n\n")[0].replace("\n", " ")
    text = paragraph if whole else re.split(r"(?<=\.) ", paragraph)[0]
    return markdown(text)


def explained(thing: object) -> str:
    """The second paragraph of a docstring."""
    return markdown((inspect.getdoc(thing) or "").split("\n\n")[1])


def markdown(text: str) -> str:
    """Docstring markup as Markdown."""
    text = re.sub(r":\w+:`[~]?(?:[\w.]*\.)?(\w+)`", r"`\1`", text)
    return text.replace("``", "`").replace("|", r"\|").replace("\n", " ").strip()


def sections(thing: object) -> dict[str, dict[str, str]]:
    """The named parts of a docstring: ``Args`` and ``Attributes``, name by name."""
    found: dict[str, dict[str, str]] = {}
    text = (inspect.getdoc(thing) or "") + "\n"
    for title, block in re.findall(r"^(Args|Attributes):\n((?:    .*\n?|\n)+)", text, re.MULTILINE):
        entries = re.findall(r"^    \*?\*?(\w+): (.*(?:\n        .*)*)", block, re.MULTILINE)
        found[title] = {name: re.sub(r"\s+", " ", text) for name, text in entries}
    return found


def signature(function: Callable[..., object], called: str) -> str:
    """A call as it is written, without types."""
    given = [value for name, value in inspect.signature(function).parameters.items() if name != "self"]
    parameters = [value.replace(annotation=inspect.Parameter.empty) for value in given]
    return called + str(inspect.Signature(parameters))


def public(owner: type) -> Iterator[tuple[str, object]]:
    """Methods and properties that tests may use, in the order of the source, those of the base after its own."""
    seen: set[str] = set()
    for kind in owner.__mro__[:-1]:
        for name, member in vars(kind).items():
            private = name.startswith("_") and name != "__call__"
            documented = inspect.getdoc(member) if isinstance(member, property) or inspect.isfunction(member) else None
            if private or name in seen or not documented or "For the fixtures" in documented or kind.__module__ == "typing":
                continue
            seen.add(name)
            yield name, member


def rows(chapter: Chapter) -> Iterator[str]:
    """The lines of a chapter's table."""
    owner = chapter.owner
    assert owner is not None
    for kind in reversed(owner.__mro__):
        for name, text in sections(kind).get("Attributes", {}).items():
            if not chapter.members or name in chapter.members:
                yield f"| `{chapter.called}.{name}` | {markdown(text)} |"
    for name, member in public(owner):
        if chapter.members and name not in chapter.members:
            continue
        if isinstance(member, property):
            yield f"| `{chapter.called}.{name}` | {summary(member)} |"
        elif callable(member):
            call = chapter.called if name == "__call__" else f"{chapter.called}.{name}"
            arguments = [f"`{key}`: {markdown(text)}" for key, text in sections(member).get("Args", {}).items()]
            yield f"| `{signature(member, call)}` | {'<br>'.join([summary(member), *arguments])} |"


def chapters() -> list[Chapter]:
    """All parts of the page, in their order."""
    guest_members = (
        "guest_id",
        "manifest",
        "smp",
        "transport",
        "services",
        "capabilities",
        "alive",
        "answers",
        "clock",
        "sleep",
        "run_until",
        "running",
    )
    return [
        Chapter("reader", text_of("reader"), DeviceReader, "reader", examples=("reader.run", "reader.script")),
        Chapter("ProbeScript", summary(ProbeScript), ProbeScript, "script"),
        Chapter("prints", text_of("prints"), PrintStream, "prints"),
        Chapter("driver", text_of("lab_driver") + _DRIVER, LoadedDriver, "driver"),
        Chapter("drivers", text_of("drivers")),
        Chapter("client", text_of("lab_client") + _CLIENT, fixtures.Client, "client"),
        Chapter("guest", text_of("guest"), LiveGuest, "guest", guest_members),
        Chapter("lab_config", text_of("lab_config")),
    ]  # fmt: skip


def records() -> list[Chapter]:
    """The records."""
    return [
        Chapter("Transfer", _TRANSFER, Transfer, "record"),
        Chapter("ProbeResult", "The results of a script: the value of `reader.run()`.", ProbeResult, "done"),
        Chapter("PrintRecord", summary(PrintRecord), PrintRecord, "record"),
        Chapter("CommandResult", "How a client, or a command of `guest.transport`, ended.", CommandResult, "done"),
        Chapter("Transport", "The value of `guest.transport`.", Transport, "guest.transport", ("run", "put", "get")),
        Chapter("ServiceControl", "The value of `guest.services`.", ServiceControl, "guest.services", ("query", "exists")),
    ]  # fmt: skip


def text_of(fixture: str) -> str:
    """A fixture's docstring."""
    return summary(fixture_functions()[fixture])


def fixture_functions() -> dict[str, Callable[..., object]]:
    """Every fixture of the plugin by name, the short names included."""
    places = [vars(fixtures), *(vars(kind) for kind in (names._ShortDriver, names._ShortClient))]
    found: dict[str, Callable[..., object]] = {}
    for name, value in (item for place in places for item in place.items()):
        if type(value).__name__ == "FixtureFunctionDefinition" or hasattr(value, "_pytestfixturefunction"):
            found[name] = inspect.unwrap(getattr(value, "_fixture_function", value))
    return found


def examples() -> dict[str, str]:
    """The examples by what they show."""
    source = EXAMPLES.read_text(encoding="utf-8")
    parts = re.split(r"^# ([\w.]+)\n(?=@|def )", source, flags=re.MULTILINE)
    return {name: text.strip() + "\n" for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def imports() -> str:
    """The text before the examples."""
    source = EXAMPLES.read_text(encoding="utf-8").partition("import annotations\n")[2]
    return re.split(r"^# [\w.]+\n(?=@|def )", source, flags=re.MULTILINE)[0].strip() + "\n"


def marker_lines() -> Iterator[str]:
    """A line for each marker."""
    for text, meaning in markers._MARKERS.values():
        yield f"| `@pytest.mark.{text}` | {markdown(meaning)} |"


def document() -> str:
    """The whole page."""
    shown = examples()
    used: set[str] = set()

    def example(name: str) -> str:
        used.add(name)
        return f"```python\n{shown[name]}```\n"

    def chapter(one: Chapter, level: str) -> str:
        text = f"{level} `{one.title}`\n{one.text}\n"
        text += "".join("\n" + example(name) for name in (one.title, *one.examples) if name in shown)
        if one.owner is not None:
            text += "\n| | |\n|---|---|\n" + "\n".join(rows(one)) + "\n"
        return text

    parts = [HEAD.replace("FIRST", FIRST).replace("IMPORTS", imports())]
    parts += [chapter(one, "##") for one in chapters()]
    parts.append(
        "## Markers\n\n| | |\n|---|---|\n"
        + "\n".join(marker_lines())
        + "\n\n"
        + "\n".join(map(example, ("lab_cpus", "lab_clock", "lab_expect_fault")))
        + "\nA test that needs what its guest lacks is skipped, with the name as the reason. Capabilities for `lab_needs`:\n\n"
        + "| | |\n|---|---|\n"
        + "".join(f"| `{name}` | {markdown(what)} |\n" for name, what in capabilities().items())
    )
    parts.append("## Records\n" + "\n".join(chapter(one, "###") for one in records()))
    parts.append(
        f"## Functions\n\n### `{signature(ctl_code, 'ctl_code')}`\n{summary(ctl_code)}\n\n{arguments(ctl_code)}\n"
        f"### `{signature(fields, 'fields')}`\n{summary(fields)}\n\n{example('fields')}\n{arguments(fields)}"
        f"- `fields(…).where(**wanted)`: {summary(Fields.where)}\n"
        f"\n### `{signature(timing, 'timing')}`\n{summary(timing)} {explained(timing)}\n\n"
        f"{example('timing')}\n{arguments(timing)}"
    )
    assert used == set(shown), f"examples that the page does not show: {set(shown) - used}"
    return "\n".join(parts)


def arguments(function: Callable[..., object]) -> str:
    """A function's arguments as a list."""
    return "".join(f"- `{name}`: {markdown(text)}\n" for name, text in sections(function).get("Args", {}).items())


if __name__ == "__main__":
    sys.stdout.write(document())

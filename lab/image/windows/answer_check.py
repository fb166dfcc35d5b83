"""Checks an answer file before a boot: Setup ignores mistakes or stops at them, an hour later and without a message."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from xml.etree import ElementTree

from lab.errors import ImageError
from lab.image.windows.answer_table import COMPONENTS, PASSES, REQUIRED, Component, Element
from lab.image.windows.recipe import WindowsRecipeFile

_NS = "urn:schemas-microsoft-com:unattend"
_WCM = "http://schemas.microsoft.com/WMIConfig/2002/State"
_COMPONENT = {
    "processorArchitecture": "amd64",
    "publicKeyToken": "31bf3856ad364e35",
    "language": "neutral",
    "versionScope": "nonSxS",
}
_SHOWN = 10


def check_answer(answer: bytes, recipe: WindowsRecipeFile) -> None:
    """Check an answer file against the table, and against what is installed.

    No value of the file, which holds passwords, is quoted in an error.

    Raises:
        ImageError: Something is wrong; the message lists the places.
    """
    found = list(problems(answer, recipe))
    if found:
        more = f"\n    … and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise ImageError(
            f"the answer file of {recipe.name} is not valid for Windows Setup:"
            + "".join(f"\n    {problem}" for problem in found[:_SHOWN])
            + more,
            hint="vm-images/windows-common/autounattend.xml.j2 is its template",
        )


def problems(answer: bytes, recipe: WindowsRecipeFile) -> Iterator[str]:
    """What is wrong with an answer file, each with its place."""
    if re.search(rb"(?<!\r)\n", answer):
        yield "lines do not end with CR LF"
    try:
        root = ElementTree.fromstring(answer.decode("utf-8"))
    except (UnicodeDecodeError, ElementTree.ParseError) as error:
        place = getattr(error, "position", None)
        yield "is not well-formed XML in UTF-8" + (f": line {place[0]}, column {place[1]}" if place else "")
        return
    if root.tag != f"{{{_NS}}}unattend":
        yield f"begins with {_name(root)}, not with unattend of its namespace"
        return
    yield from _passes(root, recipe)
    yield from _partitions(root, recipe)


def _passes(root: ElementTree.Element, recipe: WindowsRecipeFile) -> Iterator[str]:
    names = [settings.get("pass", "") for settings in root]
    unknown = [name for name in names if name not in PASSES]
    if unknown:
        yield f"there is no pass {unknown[0]!r}"
    yield from _order(names, PASSES, "the passes")
    seen: set[tuple[str, str]] = set()
    for settings in root:
        where = settings.get("pass", "")
        if settings.tag != f"{{{_NS}}}settings":
            yield f"{_name(settings)} is where only settings are allowed"
        for component in settings:
            name = component.get("name", "")
            if (where, name) in seen:
                yield f"{where}/{name} is there twice"
            seen.add((where, name))
            yield from _component(component, where, name, recipe)
    for where, name in REQUIRED:
        if (where, name) not in seen:
            yield f"{where}/{name} is missing, so Setup would ask"


def _component(node: ElementTree.Element, where: str, name: str, recipe: WindowsRecipeFile) -> Iterator[str]:
    place = f"{where}/{name}"
    for key, value in _COMPONENT.items():
        if node.get(key) != value:
            yield f"{place}: {key} must be {value}"
    known = [item for item in COMPONENTS if item.name == name]
    if not known:
        yield f"{place}: the table has no such component"
        return
    fitting = [item for item in known if where in item.passes]
    if not fitting:
        yield f"{place}: this component has no settings in this pass"
        return
    table: Component = fitting[0]
    if table.only and (table.only == "server") != recipe.is_server:
        yield f"{place}: this Windows does not have this component"
    yield from _children(node, table.children, place)


def _children(node: ElementTree.Element, table: Sequence[Element], place: str) -> Iterator[str]:
    names = [_name(child) for child in node]
    by_name = {element.name: element for element in table}
    yield from _order([name for name in names if name in by_name], list(by_name), place)
    for element in table:
        count = names.count(element.name)
        if element.required and not count:
            yield f"{place}: {element.name} is missing"
        if count > 1 and not element.many:
            yield f"{place}: {element.name} is there {count} times"
    orders = [child.findtext(f"{{{_NS}}}Order") for child in node]
    if any(orders) and orders != [str(number) for number in range(1, len(orders) + 1)]:
        yield f"{place}: the values of Order are not 1, 2, …"
    for child in node:
        name = _name(child)
        inside = f"{place}/{name}"
        if name not in by_name or child.tag != f"{{{_NS}}}{name}":
            yield f"{place}: {name} is unknown here"
            continue
        element = by_name[name]
        if element.many and child.get(f"{{{_WCM}}}action") != "add":
            yield f'{inside}: a list item needs wcm:action="add"'
        if element.text is None:
            yield from _children(child, element.children, inside)
        elif len(child) or not re.fullmatch(element.text, child.text or ""):
            yield f"{inside}: its value is not allowed"


def _order(names: Sequence[str], wanted: Sequence[str], place: str) -> Iterator[str]:
    """The names must come in the order of ``wanted``."""
    numbers = [wanted.index(name) for name in names if name in wanted]
    for before, after in pairwise(numbers):
        if after < before:
            yield f"{place}: {wanted[after]} must come before {wanted[before]}"
            return


def _partitions(root: ElementTree.Element, recipe: WindowsRecipeFile) -> Iterator[str]:
    """The partition style fits the firmware, and Windows goes to the last partition, on a file system of its own."""
    disk = root.find(f".//{{{_NS}}}Disk")
    if disk is None:
        return
    types = [_text(item, "Type") for item in disk.iter(f"{{{_NS}}}CreatePartition")]
    extended = [_text(item, "Extend") == "true" for item in disk.iter(f"{{{_NS}}}CreatePartition")]
    wanted = ["EFI", "MSR", "Primary"] if recipe.machine.firmware == "uefi" else ["Primary", "Primary"]
    if types != wanted:
        yield f"the partitions for {recipe.machine.firmware} firmware must be {', '.join(wanted)}, not {', '.join(types)}"
    if extended.count(True) != 1 or not extended[-1]:
        yield "the last partition, and no other one, must take the rest of the disk"
    changes = {_text(item, "PartitionID"): item for item in disk.iter(f"{{{_NS}}}ModifyPartition")}
    active = [number for number, item in changes.items() if _text(item, "Active") == "true"]
    if active != (["1"] if recipe.machine.firmware == "bios" else []):
        yield "with a BIOS the first partition must be active; with UEFI no partition may be active"
    target = root.find(f".//{{{_NS}}}InstallTo")
    number = "" if target is None else _text(target, "PartitionID")
    if number != str(len(types)) or number not in changes or _text(changes[number], "Format") != "NTFS":
        yield "Windows must go to the last partition, formatted as NTFS"
    elif target is not None and _text(target, "DiskID") != _text(disk, "DiskID"):
        yield "Windows must go to the disk that is partitioned"


def _text(node: ElementTree.Element, name: str) -> str:
    return node.findtext(f"{{{_NS}}}{name}") or ""


def _name(node: ElementTree.Element) -> str:
    return str(node.tag).rpartition("}")[2]

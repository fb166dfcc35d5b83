"""What belongs to a driver beside its own file: the drivers that it needs, and the programs that exercise it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.toolchain.manifest import MANIFEST_NAME, Component, load_component, load_folder, manifests_in


@dataclass(frozen=True, slots=True)
class Client:
    """One client of a driver.

    Attributes:
        name: What tests call it.
        program: What it is built from; None for a finished file without a manifest.
        file: That file.
    """

    name: str
    program: Component | None = None
    file: Path | None = None


def needed_by(
    component: Component, chosen: Mapping[str, Component], known: Mapping[str, Component], *, present: Collection[str] = ()
) -> dict[str, Component | None]:
    """The drivers that a driver needs, in its manifest's order.

    A name is looked up among the drivers of this run, then of the same folder, then of the project. A path leads from the
    manifest's folder to a manifest, or to a folder with one.

    Args:
        component: The driver.
        chosen: The drivers of this run.
        known: Those of the project.
        present: Names of drivers that the run has finished already, whatever their manifests are.

    Returns:
        Name → the driver; None for one of ``present``.

    Raises:
        ConfigError: One does not exist, is not a driver, or is ambiguous; with file and line.
    """
    found: dict[str, Component | None] = {}
    for number, name in enumerate(component.manifest.needs):
        key = ("needs", number)
        if name in present:
            found[name] = None
            continue
        if _is_path(name):
            drivers = [part for part in _at(component, name, key) if part.manifest.kind == "driver"]
            drivers = [part for part in drivers if part.file.name == MANIFEST_NAME] or drivers
            if len(drivers) != 1:
                names = ", ".join(part.name for part in drivers) or "none"
                said = f"{name} has several drivers ({names})" if drivers else f"{name} has no driver"
                raise component.wrong(said, *key, hint=f"name the manifest of one: {name.rstrip('/')}/NAME.{MANIFEST_NAME}")
            need: Component | None = chosen.get(drivers[0].name, drivers[0])
        else:
            need = chosen.get(name) or _beside(component).get(name) or known.get(name)
        if need is None or need.manifest.kind != "driver":
            there = sorted(
                part.name for part in (*_beside(component).values(), *known.values()) if part.manifest.kind == "driver"
            )
            raise component.wrong(
                f"there is no driver {name}",
                *key,
                hint=f"one of {', '.join(dict.fromkeys(there))}, or the path of a {MANIFEST_NAME}, such as ../{name}",
            )
        found[need.name] = None if need.name in present else need
    return found


def load_order(names: Sequence[str], needs: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Some drivers and all that they need, each after those that it needs.

    Args:
        names: The drivers.
        needs: Driver → what it needs.

    Raises:
        ValueError: One needs itself; the message is the cycle: ``a → b → a``.
    """
    order: dict[str, None] = {}

    def add(name: str, above: tuple[str, ...]) -> None:
        if name in above:
            raise ValueError(" → ".join((*above[above.index(name) :], name)))
        if name in order:
            return
        for need in needs.get(name, ()):
            add(need, (*above, name))
        order[name] = None

    for name in names:
        add(name, ())
    return tuple(order)


def clients_of(
    component: Component, programs: Mapping[str, Component], *, chosen: Mapping[str, Component] | None = None
) -> Iterator[Client]:
    """The clients of a driver, in its manifest's order.

    A name is looked up among the programs that the user has chosen, then of the same folder, then of the project.

    Args:
        component: The driver.
        programs: Programs that are known by name.
        chosen: Those that the user named; they come first.

    Raises:
        ConfigError: One does not exist, or is not a program; with file and line.
    """
    described = iter(component.programs)
    for number, client in enumerate(component.manifest.clients):
        key = ("clients", number)
        if isinstance(client, dict):
            program = next(described)
            yield Client(program.name, program)
            continue
        # The program of another project does not count, even with the same name; see needed_by.
        of_name = (group.get(client) for group in (chosen or {}, _beside(component), programs))
        known = next((part for part in of_name if part is not None and part.manifest.kind == "program"), None)
        if known is not None:
            yield Client(known.name, known)
            continue
        path = component.folder / client
        if path.is_file() and path.suffix.lower() == ".exe":
            yield Client(path.stem, file=path)
            continue
        there = _at(component, client, key) if _is_path(client) else []
        found = [part for part in there if part.manifest.kind == "program"]
        if there and not found:
            names = ", ".join(part.name for part in there)
            raise component.wrong(
                f"{client} describes a driver ({names}), and a client is a program",
                *key,
                hint="`kind: program` in that manifest makes it one; drivers that must be loaded first belong to `needs`",
            )
        if not found:
            raise component.wrong(
                f"{client} is neither a known program nor a file relative to the manifest",
                *key,
                hint="write a name from `lab driver list` or the path of an .exe or of a program's manifest,"
                " or describe the program here: {name: …, sources: [….c]}",
            )
        yield from (Client(part.name, part) for part in found)


def _is_path(name: str) -> bool:
    return "/" in name or name.endswith(MANIFEST_NAME) or name in (".", "..")


def _beside(component: Component) -> dict[str, Component]:
    """The components of the same folder, by name."""
    others = [file for file in manifests_in(component.folder) if file.resolve() != component.file.resolve()]
    return {part.name: part for part in map(load_component, others)}


def _at(component: Component, name: str, key: tuple[str | int, ...]) -> list[Component]:
    """The components at a path."""
    path = component.folder / name
    if path.is_dir() and manifests_in(path):
        return load_folder(path)
    if path.is_file() and path.name.endswith(MANIFEST_NAME):
        return [load_component(path)]
    if path.is_dir():
        raise component.wrong(f"there is no {MANIFEST_NAME} in {path}", *key, hint="docs/drivers.md says how to write one")
    raise component.wrong(f"there is no {path}", *key, hint=f"paths count from {component.folder}; they have slashes")


def refuse_rings(components: Mapping[str, Component], needs: Mapping[str, Sequence[str]]) -> None:
    """Refuse drivers that need each other.

    Raises:
        ConfigError: With the file and the line of one of them.
    """
    for name, component in components.items():
        try:
            load_order([name], needs)
        except ValueError as ring:
            raise component.wrong(
                f"these drivers need each other, so none can be loaded first: {ring}", "needs", hint="remove one of the `needs`"
            ) from None

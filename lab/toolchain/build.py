"""From names to finished files: compile, check, sign, verify, and skip what has not changed."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from lab.config.project import user_project
from lab.errors import ConfigError, LabError
from lab.toolchain import pe
from lab.toolchain.choice import choose_clang
from lab.toolchain.clang import Clang
from lab.toolchain.compile import Arch, Compiler, compile_component, find_compiler, recipe_hash
from lab.toolchain.files import replace_with, sha256_of
from lab.toolchain.inputs import FileHashes, Inputs, unchanged
from lab.toolchain.instrument import notes_file, why_not_measured
from lab.toolchain.known import find_components
from lab.toolchain.manifest import Component, Kind
from lab.toolchain.places import build_place, refuse_clashes, refuse_foreign, relative_to_builds, symbol_file
from lab.toolchain.sign import SCHEME, SigningKey, require_tool, sign, signing_key, verify
from lab.toolchain.stamp import Stamp, read_stamp, stamp_file, write_stamp

_LOG = logging.getLogger(__name__)
_LOCK_TIMEOUT_S = 600.0
#: A driver may have hundreds of warnings.
_WARNINGS_SHOWN = 20

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildResult:
    """A finished file.

    Attributes:
        name: The component's name.
        kind: Driver or program.
        path: The file.
        sha256: Of the file, lower-case hexadecimal.
        signed: Whether it carries the lab's signature; programs never do.
        rebuilt: False when it was up to date.
        compiler: What compiled it, the first line of its ``--version``.
        notes: If it counts its lines: the compiler's notes, see :func:`lab.toolchain.instrument.read_notes`.
    """

    name: str
    kind: Kind
    path: Path
    sha256: str
    signed: bool
    rebuilt: bool
    compiler: str = ""
    notes: Path | None = None


def build_drivers(
    names: Sequence[str] = (),
    arch: Arch = "x64",
    out: Path | None = None,
    progress: Progress | None = None,
    *,
    signed: bool = True,
    defines: Sequence[str] = (),
    project: Path | None = None,
    measured: bool = False,
) -> list[BuildResult]:
    """Build components by name or path.

    Args:
        names: Names of components, or paths of manifests or folders with one. Empty: all of the user's project.
        arch: What to build for.
        out: Folder of the finished files, flat; None: see :func:`lab.toolchain.places.build_place`.
        progress: Called with one line for each component.
        signed: Sign drivers with the lab's key.
        defines: Preprocessor definitions for all of them.
        project: The user's project; None finds it from the current folder.
        measured: Build drivers that count their lines, into the subfolder ``coverage`` of that folder; see docs/coverage.md.

    Raises:
        ConfigError: An unknown name, a wrong manifest, a source that does not compile, an image that fails the checks, or a
            file in ``out`` that the lab did not build and would replace.
        HostToolError: Compiler or osslsigncode are missing or failed.
    """
    home = project or user_project()
    components = find_components(names, home)
    if not names:
        components = [component for component in components if arch in component.manifest.arches]
    key = signing_key() if signed and any(component.manifest.kind == "driver" for component in components) else None
    # With the clients that their manifests describe.
    components = [part for component in components for part in (component, *component.programs)]
    places = {part.identity: out or build_place(part, arch, home, measured=measured) for part in components}
    built: dict[tuple[Path, str], BuildResult] = {}
    for place in dict.fromkeys(places.values()):
        todo = [component for component in components if places[component.identity] == place]
        made = build_components(todo, arch, place, key, progress=progress, defines=defines, measured=measured)
        built |= {component.identity: result for component, result in zip(todo, made, strict=True)}
    return [built[component.identity] for component in components]


def build_components(
    components: Sequence[Component],
    arch: Arch,
    out: Path,
    key: SigningKey | None,
    *,
    progress: Progress | None = None,
    warn: Progress | None = None,
    defines: Sequence[str] = (),
    take: Callable[[BuildResult], BuildResult] = lambda result: result,
    measured: bool = False,
) -> list[BuildResult]:
    """:func:`build_drivers` for loaded manifests; drivers are signed when ``key`` is not None.

    ``take`` is called with each result while no other process builds into ``out``, and may copy it. ``warn`` gets the
    compiler's warnings, which go to ``progress`` where it is None: a display of progress may leave lines out. ``measured``
    drivers count their lines, where that is possible.
    """
    for component in components:
        if arch not in component.manifest.arches:
            raise ConfigError(
                f"{component.name} is for {' and '.join(component.manifest.arches)}, not for {arch}",
                file=str(component.file),
                key="arches",
            )
        if component.prebuilt:
            raise ConfigError(
                f"{component.name} is a finished file, so there is nothing to build",
                file=str(component.file),
                key="image",
                hint="`lab driver check` examines it; to have it built, name C files under `sources`",
            )
    if key:
        require_tool()
    out.mkdir(parents=True, exist_ok=True)
    compiler = find_compiler(arch)
    try:
        with FileLock(out / ".lock", timeout=_LOCK_TIMEOUT_S):
            refuse_clashes(components)
            for component in components:
                refuse_foreign(component, out)
            hashes = FileHashes()
            say = progress or _quiet
            job = _Way(compiler, out, key, say, warn or say, defines, hashes, measured)
            return [take(_build(part, job)) for part in components]
    except Timeout:
        raise LabError(
            f"waited {_LOCK_TIMEOUT_S:.0f} s for another build into {out}", hint="find the lab command that hangs"
        ) from None


@dataclass(frozen=True, slots=True)
class _Way:
    """What the builds of one call have in common."""

    compiler: Compiler
    out: Path
    key: SigningKey | None
    progress: Progress
    warn: Progress
    defines: Sequence[str]
    hashes: FileHashes
    measured: bool


def _build(component: Component, way: _Way) -> BuildResult:
    compiler, out, progress = way.compiler, way.out, way.progress
    kind = component.manifest.kind
    signer = way.key if kind == "driver" else None
    target = out / component.image_name
    stamp = _stamp(out, component)
    clang, why = choose_clang(component, compiler)
    measured = way.measured and not why_not_measured(component, clang)
    signature = f"{SCHEME} {signer.fingerprint()}" if signer else "unsigned"
    recipe = f"{recipe_hash(component, compiler, way.defines, clang=clang, measured=measured)} {signature}"
    by = clang.version if clang else compiler.version

    symbols = symbol_file(target)
    said = read_stamp(target)
    fresh = (
        said is not None
        and said.recipe == recipe
        and unchanged(said.inputs, component.folder, way.hashes, component.manifest.include)
    )
    notes = notes_file(target)
    rebuilt = not fresh or not said or said.sha256 != _hash_of(target) or (kind == "driver" and not symbols.exists())
    rebuilt = rebuilt or (measured and not notes.exists())
    if rebuilt:
        told = f" by {clang.version}: {why}" if clang else ""
        progress(f"{component.name}: building {target.name} for {compiler.arch}{told}")
        with _made(component, way, clang, signer, measured=measured) as (image, made_symbols, inputs):
            # The stamp comes first: a build that is interrupted here leaves a wrong stamp, and so builds again. The other
            # way round order would leave a file that looks like one that the lab did not build.
            stamp.parent.mkdir(exist_ok=True)
            with replace_with(stamp) as temporary:
                write_stamp(temporary, Stamp(relative_to_builds(component, out), recipe, inputs, sha256_of(image), by))
            if kind == "driver":
                symbols.parent.mkdir(exist_ok=True)
                with replace_with(symbols) as temporary:
                    made_symbols.replace(temporary)
            if measured:
                with replace_with(notes) as temporary:
                    made_symbols.with_suffix(".notes.zip").replace(temporary)
            with replace_with(target) as temporary:
                image.replace(temporary)
    else:
        progress(f"{component.name}: {target.name} is up to date")
    return BuildResult(
        name=component.name,
        kind=kind,
        path=target,
        sha256=sha256_of(target),
        signed=signer is not None,
        rebuilt=rebuilt,
        compiler=by,
        notes=notes if measured else None,
    )


def _stamp(out: Path, component: Component) -> Path:
    return stamp_file(out / component.image_name)


@contextlib.contextmanager
def _made(
    component: Component, way: _Way, clang: Clang | None, signer: SigningKey | None, *, measured: bool
) -> Iterator[tuple[Path, Path, Inputs]]:
    """Compile, check, sign and verify in a scratch folder beside the final place.

    Returns the result, its symbols and its inputs.
    """
    with tempfile.TemporaryDirectory(prefix=".building-", dir=way.out) as folder:
        image = Path(folder) / component.image_name
        made_symbols = image.with_suffix(".dbg")
        made = compile_component(component, way.compiler, image, defines=way.defines, clang=clang, measured=measured)
        for line in _shortened(made.warnings):
            _LOG.info("%s: %s", component.name, line)  # `warn` shows it
            way.warn(f"{component.name}: {line}")
        _check(component, image, way.compiler.arch)
        if signer:
            finished = Path(folder) / "signed" / component.image_name
            finished.parent.mkdir()
            sign(image, finished, component.name, signer)
            verify(finished, signer)
            # Signing rewrites the checksum: check the file that the guest will get.
            _check(component, finished, way.compiler.arch)
            image = finished
        yield image, made_symbols, made.inputs


def _check(component: Component, image: Path, arch: Arch) -> None:
    """Check an image as Windows does.

    The message names the manifest, because the image is in a scratch folder that is removed.
    """
    libraries = bool(component.manifest.libraries)
    try:
        pe.check(image, component.manifest.kind, arch, others=libraries)
    except ConfigError as error:
        said = f"{component.image_name} {error.message.removeprefix(f'{image}: ')}"
        imports = "which the kernel does not have" in said
        hint = "drivers import from kernel modules only: name their libraries (ksecdd, ndis, …), not those of programs"
        raise component.wrong(
            said, "libraries" if libraries else "sources", hint=hint if imports and libraries else error.hint
        ) from None


def _shortened(warnings: Sequence[str]) -> list[str]:
    more = len(warnings) - _WARNINGS_SHOWN
    return [*warnings[:_WARNINGS_SHOWN], *([f"… and {more} more warnings"] if more > 0 else [])]


def _hash_of(file: Path) -> str:
    """SHA-256 of a file; empty where there is none."""
    try:
        return sha256_of(file)
    except OSError:
        return ""


def _quiet(line: str) -> None:
    """Progress that shows nothing."""

"""Facts about a driver from its own files: sources, project files of Visual Studio, INF files."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

SUFFIXES = (".c", ".cpp", ".cxx", ".cc")
_COMMENTS = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
#: A definition: a prototype ends in a semicolon, and `DRIVER_INITIALIZE DriverEntry;` has no parentheses.
_ENTRY = re.compile(r"\bDriverEntry\s*\([^;{}]*\)[^;{}()]*\{")
_MAIN = re.compile(r"\b(?:w?main|w?WinMain|mainCRTStartup)\s*\([^;{}]*\)\s*\{")
_LINK = re.compile(r'"\\\\(?:DosDevices|\?\?|GLOBAL\?\?)\\\\(?:Global\\\\)?([A-Za-z0-9_.$ -]+)"')
_UNLOAD = re.compile(r"\bDriverUnload\s*=")
#: Headers of frameworks that only a Windows guest has, and what they are called.
FRAMEWORKS = {
    "wdf.h": "KMDF",
    "ndis.h": "NDIS",
    "fltkernel.h": "minifilter",
    "storport.h": "StorPort",
    "netadaptercx.h": "KMDF",
}
_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*[<"]([^>"]+)[>"]', re.MULTILINE)
_QUOTED = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"', re.MULTILINE)
_MSBUILD = "{http://schemas.microsoft.com/developer/msbuild/2003}"
_CONFIGURATIONS = frozenset({"_DEBUG", "NDEBUG"})
#: Of the list that a new project of Visual Studio has; GCC links these.
_USUAL = frozenset({"kernel32", "user32", "gdi32", "advapi32", "shell32"})
_SERVICE = re.compile(r"^[ \t]*AddService[ \t]*=[ \t]*\"?([^,\";\s%]+)", re.MULTILINE | re.IGNORECASE)
_BINARY = re.compile(r"^[ \t]*ServiceBinary[ \t]*=[ \t]*.*?([^\\/%\s\"]+\.sys)", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SourceFacts:
    r"""Facts from one source file.

    Attributes:
        entry: It defines DriverEntry.
        program: It defines main() or the like: not part of a driver.
        links: Names that programs open, ``\\.\NAME``, in their order.
        unload: It sets an unload routine.
        frameworks: Those of :data:`FRAMEWORKS` that it uses.
        headers: What it includes in quotes, with slashes.
    """

    entry: bool
    program: bool
    links: tuple[str, ...]
    unload: bool
    frameworks: tuple[str, ...]
    headers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Project:
    """Facts from a project file of Visual Studio; paths have slashes and are relative to its folder.

    Attributes:
        target: Name of the image without its suffix; empty when it is the name of the project file.
        sources: What is compiled.
        include: Folders of headers that are named without a variable.
        defines: Preprocessor definitions, in all configurations; each name once.
        program: It makes a program (``ConfigurationType`` Application).
        libraries: Of a program: what it is linked to beside the usual, without ``.lib``.
    """

    target: str
    sources: tuple[str, ...]
    include: tuple[str, ...]
    defines: tuple[str, ...]
    program: bool = False
    libraries: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Inf:
    """Facts from an INF file.

    Attributes:
        service: Name of the service that it adds; empty when it adds none.
        image: File name of the driver's image; empty when it names none.
    """

    service: str
    image: str


def read_any(path: Path) -> str:
    """The text of a file as editors of Windows save it; invalid bytes are replaced. Empty when unreadable."""
    try:
        data = path.read_bytes()
    except OSError:
        return ""
    for mark, encoding in ((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"), (codecs.BOM_UTF8, "utf-8-sig")):
        if data.startswith(mark):
            return data.decode(encoding, errors="replace")
    return data.decode("utf-8", errors="replace")


def source_facts(text: str) -> SourceFacts:
    """Facts about a driver from a source or a header."""
    # A link may follow // in a string: comments are removed only where code is searched.
    code = _COMMENTS.sub(" ", text)
    names = dict.fromkeys(match[1].strip() for match in _LINK.finditer(text))
    headers = {PurePosixPath(name.replace("\\", "/")).name.lower() for name in _INCLUDE.findall(code)}
    return SourceFacts(
        entry=bool(_ENTRY.search(code)),
        program=bool(_MAIN.search(code)),
        links=tuple(f"\\\\.\\{name}" for name in names),
        unload=bool(_UNLOAD.search(code)),
        headers=tuple(dict.fromkeys(name.replace("\\", "/") for name in _QUOTED.findall(code))),
        frameworks=tuple(dict.fromkeys(word for header, word in FRAMEWORKS.items() if header in headers)),
    )


def project_facts(text: str) -> Project | None:
    """Facts from a ``.vcxproj``; None if it is not such a file."""
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError:
        return None

    def texts(name: str) -> Iterable[str]:
        return ((node.text or "").strip() for node in root.iter(_MSBUILD + name))

    sources = [node.get("Include", "") for node in root.iter(f"{_MSBUILD}ClCompile")]
    include = [part for value in texts("AdditionalIncludeDirectories") for part in value.split(";")]
    defines = [part.strip() for value in texts("PreprocessorDefinitions") for part in value.split(";")]
    target = next((value for value in texts("TargetName") if value and "$" not in value), "")
    return Project(
        target=target,
        sources=_plain(value for value in sources if value.lower().endswith(SUFFIXES)),
        include=_plain(include),
        defines=_by_name(word for word in defines if word and not re.search(r"[%$()\s]", word)),
        program="Application" in texts("ConfigurationType"),
        libraries=_libraries(part for value in texts("AdditionalDependencies") for part in value.split(";")),
    )


def _by_name(defines: Iterable[str]) -> tuple[str, ...]:
    """Each name once, with its first value: configurations differ in values, and the compiler takes one.

    Definitions that distinguish configurations are left out if both are present.
    """
    named: dict[str, str] = {}
    for define in defines:
        named.setdefault(define.partition("=")[0], define)
    if named.keys() >= _CONFIGURATIONS:
        named = {name: define for name, define in named.items() if name not in _CONFIGURATIONS}
    return tuple(named.values())


def _libraries(names: Iterable[str]) -> tuple[str, ...]:
    """Import libraries by name, without those that mingw-w64 links to a program by itself."""
    plain = (match[1].lower() for name in names if (match := re.fullmatch(r"\s*([A-Za-z0-9_-]+)\.lib\s*", name)))
    return tuple(dict.fromkeys(name for name in plain if name not in _USUAL))


def inf_facts(text: str) -> Inf:
    """Facts from an INF file."""
    service, image = _SERVICE.search(text), _BINARY.search(text)
    return Inf(service[1] if service else "", image[1] if image else "")


def _plain(paths: Iterable[str]) -> tuple[str, ...]:
    """Paths without a variable, with slashes, each once."""
    found = (path.strip().replace("\\", "/").rstrip("/") for path in paths)
    return tuple(dict.fromkeys(path for path in found if path and not re.search(r"[%$*]", path) and path[0] != "/"))

"""The first files of a driver test: lab file, manifest, suite, pipeline, as texts for a repository."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lab.config.project import DEFAULT_FILE
from lab.errors import ConfigError
from lab.host.assets import data_root
from lab.scaffold.found import FoundDriver, FoundProgram
from lab.scaffold.look import Sight
from lab.scaffold.names import identifier
from lab.toolchain.manifest import MANIFEST_NAME

#: Texts that YAML reads as texts without quotes, and the words that need quotes.
_PLAIN = re.compile(r"(\.\./)*[A-Za-z][A-Za-z0-9_./-]*|\.\.|[A-Za-z_][A-Za-z0-9_]*=[A-Za-z0-9_]*")
_WORDS = frozenset({"yes", "no", "on", "off", "true", "false", "null", "y", "n"})
_BY = "Written by `lab init`; change it as you like."
#: CI → its template of ci/pipelines/own, where it goes, and where it goes if that file exists.
_PIPELINES = {
    "github": ("github.yml", ".github/workflows/driver-lab.yml", ""),
    "gitlab": ("gitlab.yml", ".gitlab-ci.yml", ".gitlab/driver-lab.yml"),
    "azure": ("azure.yml", "azure-pipelines.yml", ".azure-pipelines/driver-lab.yml"),
    "jenkins": ("Jenkinsfile", "Jenkinsfile", "Jenkinsfile.driver-lab"),
}


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file that would be written.

    Attributes:
        path: Where.
        text: What.
    """

    path: Path
    text: str


def compose(sight: Sight) -> tuple[NewFile, ...]:
    """The files for a repository. Some of them may exist already; see :func:`missing`.

    Args:
        sight: The repository; with one driver at least.

    Raises:
        ConfigError: Two existing manifests have the same name, so a suite could not name one of them.
    """
    _check_names(sight)
    manifests = {driver: manifest_of(driver) for driver in sight.drivers}
    files = [NewFile(sight.root / DEFAULT_FILE, _lab_file(sight.root, manifests.values()))]
    files += [NewFile(path, _manifest(driver)) for driver, path in manifests.items()]
    files += [NewFile(sight.root / "suites" / f"test_{identifier(one.name)}.py", _suite(one)) for one in sight.drivers]
    return (*files, *_pipeline(sight))


def _check_names(sight: Sight) -> None:
    named: dict[str, FoundDriver] = {}
    for driver in sight.drivers:
        other = named.setdefault(identifier(driver.name), driver)
        if other is not driver:
            places = " and ".join(os.path.relpath(one.origin, sight.root) for one in (other, driver))
            raise ConfigError(
                f"{places} have the same name ({driver.name}), so their tests would be in the same file",
                hint="give one of them another `name`",
            )


def missing(files: Iterable[NewFile]) -> tuple[NewFile, ...]:
    """The files that do not exist yet: nothing is overwritten, not even a dangling link."""
    return tuple(file for file in files if not os.path.lexists(file.path))


def manifest_of(driver: FoundDriver) -> Path:
    """Where a driver's manifest is, or belongs."""
    return driver.manifest or driver.folder / (MANIFEST_NAME if driver.alone else f"{driver.name}.{MANIFEST_NAME}")


def _lab_file(root: Path, manifests: Iterable[Path]) -> str:
    paths = ", ".join(_yaml(os.path.relpath(path, root)) for path in manifests)
    return (
        f"# The driver test lab's settings: which drivers, which suites, which guest. {_BY}\n"
        f"drivers: [{paths}]\n"
        "suites: [suites]\n"
        "image: wine              # the free guest; a Windows one is built from your own ISO: lab image build --help\n"
    )


def _manifest(driver: FoundDriver) -> str:
    """A driver.yaml; keys whose values are unknown are comments."""
    lines = [f"# How the lab builds, loads and uses this driver. {_BY}", f"name: {_yaml(driver.name)}"]
    lines.append(f"image: {_yaml(driver.image)}" + ("" if driver.sources else "    # a finished file, which is only read"))
    for key in ("sources", "include", "defines"):
        values = getattr(driver, key)
        if values:
            lines.append(f"{key}: [{', '.join(map(_yaml, values))}]")
    lines.append(f"service: {_yaml(driver.service or driver.name)}")
    if driver.links:
        lines.append(f"links: [{', '.join(map(_yaml, driver.links))}]")
    else:
        lines.append("# links: ['\\\\.\\YourDevice']    # how programs open its device; none was found in the sources")
    if driver.clients:
        lines.append("clients:\n  - drvprobe    # runs scripts of device operations")
        lines += [f"  - {_client(program, driver.folder)}    # of {program.origin.name}" for program in driver.clients]
    else:
        lines.append("clients: [drvprobe]      # runs scripts of device operations; programs of your own by name or path")
    return "\n".join(lines) + "\n"


def _client(program: FoundProgram, folder: Path) -> str:
    """A client that the manifest describes itself."""
    keys = program.keys(folder)
    texts = (
        f"{key}: {_yaml(value) if isinstance(value, str) else '[' + ', '.join(map(_yaml, value)) + ']'}"
        for key, value in keys.items()
    )
    return "{" + ", ".join(texts) + "}"


def _suite(driver: FoundDriver) -> str:
    tests = [_LOADS, _OPENS if driver.links else _REFUSES_A_SECOND_START, _LOADS_AGAIN if driver.unload else _HAS_A_SERVICE]
    names = sorted({"ServiceState": "lab.guest.services", "ServiceError": "lab.errors"}.items(), key=lambda item: item[1])
    body = "\n\n".join(tests)
    imports = "".join(f"from {module} import {name}\n" for name, module in names if name in body)
    return (
        f'"""First tests of {driver.name}. {_BY}"""\n\n'
        f"import pytest\n\n{imports}\n"
        f'pytestmark = pytest.mark.lab_driver("{driver.name}"{"" if driver.unload else ", reload=False"})\n\n\n{body}'
    )


_LOADS = """def test_it_loads(driver):
    assert driver.state() == ServiceState.RUNNING
"""
_OPENS = """def test_its_device_can_be_opened_and_closed(reader):
    done = reader.run("open h {link}; close h")
    assert done.errors == [0, 0]
"""
_REFUSES_A_SECOND_START = """def test_a_second_start_is_refused(driver):
    with pytest.raises(ServiceError) as refused:
        driver.start()
    assert refused.value.exit_code == 1056  # ERROR_SERVICE_ALREADY_RUNNING
"""
_LOADS_AGAIN = """def test_it_unloads_and_loads_again(driver):
    driver.stop()
    driver.wait_unloaded()
    driver.start()
    assert driver.state() == ServiceState.RUNNING
"""
_HAS_A_SERVICE = """def test_the_guest_works_after_its_load(driver, guest):
    # It has no unload routine, so it stays loaded until its guest ends.
    assert guest.transport.run("ver").exit_code == 0
    assert driver.state() == ServiceState.RUNNING
"""


def _pipeline(sight: Sight) -> list[NewFile]:
    if not sight.ci:
        return []
    template, place, other = _PIPELINES[sight.ci]
    text = (data_root() / "ci" / "pipelines" / "own" / template).read_text(encoding="utf-8")
    taken = other and os.path.lexists(sight.root / place)
    return [NewFile(sight.root / (other if taken else place), text)]


def _yaml(text: str) -> str:
    """A text as an item of a YAML list."""
    safe = _PLAIN.fullmatch(text) and text.lower() not in _WORDS
    return text if safe else "'" + text.replace("'", "''") + "'"

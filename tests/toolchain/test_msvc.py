"""The Visual Studio files say the same as the manifests; only a Windows host can build them."""

from __future__ import annotations

import os
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from lab.host.assets import data_root
from lab.toolchain.known import known_components
from lab.toolchain.manifest import Component

_NAMESPACE = "{http://schemas.microsoft.com/developer/msbuild/2003}"
_PROJECTS = ("sync", "async", "sync_reader", "async_reader", "drvprobe", "relay", "relaymark")


def read(component: Component) -> ElementTree.Element:
    return ElementTree.parse(component.folder / f"{component.name}.vcxproj").getroot()


def files(project: ElementTree.Element, tag: str) -> set[str]:
    """Files that a project names, from its folder, with the manifests' separators."""
    return {node.get("Include", "").replace("\\", "/") for node in project.iter(_NAMESPACE + tag) if node.get("Include")}


def texts(project: ElementTree.Element, tag: str) -> set[str]:
    return {node.text or "" for node in project.iter(_NAMESPACE + tag)}


@pytest.mark.parametrize("name", _PROJECTS)
def test_a_project_compiles_what_the_manifest_names(name: str) -> None:
    component = known_components()[name]
    project = read(component)
    assert files(project, "ClCompile") == set(component.manifest.sources)
    assert texts(project, "TargetName") == {Path(component.image_name).stem}
    configurations = {node.get("Include") for node in project.iter(_NAMESPACE + "ProjectConfiguration")}
    assert configurations == {f"{kind}|{platform}" for kind in ("Debug", "Release") for platform in ("x64", "Win32")}
    assert any("/utf-8" in text for text in texts(project, "AdditionalOptions"))
    assert texts(project, "TreatWarningAsError") == {"true"}


@pytest.mark.parametrize("name", ["drvprobe", "sync_reader", "async_reader", "relay", "relaymark"])
def test_a_project_shows_the_headers_that_its_sources_include(name: str) -> None:
    component = known_components()[name]
    shown = files(read(component), "ClInclude")
    sources = [component.folder / source for source in (*component.manifest.sources, *shown)]
    included = {
        os.path.relpath(path.parent / header, component.folder)
        for path in sources
        for header in re.findall(r'^#include "([^"]+)"', path.read_text("utf-8"), re.MULTILINE)
    }
    assert shown == included


@pytest.mark.parametrize("name", ["sync", "async", "relay"])
def test_a_driver_project_makes_a_wdm_driver(name: str) -> None:
    project = read(known_components()[name])
    assert texts(project, "DriverType") == {"WDM"}
    assert texts(project, "ConfigurationType") == {"Driver"}
    assert texts(project, "PlatformToolset") == {"WindowsKernelModeDriver10.0"}
    assert texts(project, "SignMode") == {"Off"}


@pytest.mark.parametrize("name", ["sync", "async", "relay"])
def test_the_kit_that_a_project_imports_is_the_one_that_is_restored(name: str) -> None:
    folder = known_components()[name].folder
    packages = ElementTree.parse(folder / "packages.config").getroot()
    wanted = {f"{node.get('id')}.{node.get('version')}" for node in packages.iter("package")}
    imported = {node.get("Project", "") for node in read(known_components()[name]).iter(_NAMESPACE + "Import")}
    assert {path.split("\\")[2] for path in imported if path.startswith("..\\packages\\")} == wanted


def test_the_solution_has_every_project_under_its_own_identity() -> None:
    text = (data_root() / "driver" / "driver.sln").read_text("utf-8-sig")
    found = re.findall(r'^Project\("[^"]+"\) = "([^"]+)", "([^"]+)", "([^"]+)"', text, re.MULTILINE)
    assert {name for name, _, _ in found} == set(_PROJECTS)
    for name, path, identity in found:
        file = data_root() / "driver" / path.replace("\\", "/")
        assert file == known_components()[name].folder / f"{name}.vcxproj"
        assert texts(read(known_components()[name]), "ProjectGuid") == {identity}
        assert f"{identity}.Release|x64.Build.0 = Release|x64" in text
    assert len({identity for _, _, identity in found}) == len(_PROJECTS)

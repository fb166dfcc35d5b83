"""Facts about a driver from its sources, project files and INF files."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.scaffold.sources import inf_facts, project_facts, read_any, source_facts

_ENTRY = "NTSTATUS DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)\n{\n    return 0;\n}\n"


@pytest.mark.parametrize(
    "text",
    [
        _ENTRY,
        'extern "C" NTSTATUS\nDriverEntry(\n    _In_ PDRIVER_OBJECT DriverObject,\n    _In_ PUNICODE_STRING Path\n    )\n{',
        "NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT d, PUNICODE_STRING p) /* the start */ {",
    ],
)
def test_an_entry_is_a_definition(text: str) -> None:
    assert source_facts(text).entry


@pytest.mark.parametrize(
    "text",
    [
        "DRIVER_INITIALIZE DriverEntry;",
        "NTSTATUS DriverEntry(PDRIVER_OBJECT, PUNICODE_STRING);",
        "// DriverEntry(driver, path) {",
        "/* NTSTATUS DriverEntry(PDRIVER_OBJECT d) { */ int other(void) { return 0; }",
        "MyDriverEntry(int a) {",
        "status = DriverEntry(driver, path);",
    ],
)
def test_a_prototype_a_call_and_a_comment_are_not_an_entry(text: str) -> None:
    assert not source_facts(text).entry


def test_the_links_of_a_driver_in_every_spelling() -> None:
    text = r"""
    #define LINK L"\\DosDevices\\Kettle"
    RtlInitUnicodeString(&link, L"\\??\\Kettle");
    RtlInitUnicodeString(&link, L"\\DosDevices\\Global\\KettleLog");
    #define DEVICE L"\\Device\\Kettle0"
    """
    assert source_facts(text).links == (r"\\.\Kettle", r"\\.\KettleLog")


def test_programs_frameworks_and_unload() -> None:
    assert source_facts("int wmain(int argc, wchar_t **argv) {").program
    assert source_facts('#include <ntddk.h>\n#include "WDF.h"\n').frameworks == ("KMDF",)
    assert source_facts("#  include <fltKernel.h>").frameworks == ("minifilter",)
    assert source_facts("// #include <ndis.h>").frameworks == ()
    assert source_facts("driver->DriverUnload = Unload;").unload
    assert not source_facts("if (driver->DriverUnload) {}").unload


def test_a_project_of_visual_studio() -> None:
    project = project_facts(
        """<?xml version="1.0"?>
        <Project xmlns="http://schemas.microsoft.com/developer/msbuild/2003">
          <PropertyGroup><ConfigurationType>Driver</ConfigurationType><DriverType>WDM</DriverType>
            <TargetName>$(ProjectName)</TargetName><TargetName>kettle64</TargetName></PropertyGroup>
          <ItemDefinitionGroup><ClCompile>
            <AdditionalIncludeDirectories>..\\inc;$(DDK_INC_PATH);%(AdditionalIncludeDirectories)</AdditionalIncludeDirectories>
            <PreprocessorDefinitions>KETTLE=1;POOL_NX_OPTIN=1;%(PreprocessorDefinitions)</PreprocessorDefinitions>
          </ClCompile></ItemDefinitionGroup>
          <ItemGroup><ClCompile Include="src\\entry.c" /><ClCompile Include="src\\heat.c" />
            <ClCompile Include="x.asm" /></ItemGroup>
        </Project>"""
    )
    assert project is not None
    assert (project.target, project.sources) == ("kettle64", ("src/entry.c", "src/heat.c"))
    assert (project.include, project.defines) == (("../inc",), ("KETTLE=1", "POOL_NX_OPTIN=1"))
    assert project_facts("<Project") is None


def test_a_definition_is_written_once() -> None:
    """Configurations repeat them, with values of their own: the compiler took the last one and warned."""
    project = project_facts(
        """<Project xmlns="http://schemas.microsoft.com/developer/msbuild/2003"><ItemDefinitionGroup><ClCompile>
        <PreprocessorDefinitions Condition="a">POOL_NX_OPTIN=1;_DEBUG;LEVEL=3</PreprocessorDefinitions>
        <PreprocessorDefinitions Condition="b">POOL_NX_OPTIN;NDEBUG;LEVEL=1;POOL_NX_OPTIN=1</PreprocessorDefinitions>
        </ClCompile></ItemDefinitionGroup></Project>"""
    )
    assert project is not None
    assert project.defines == ("POOL_NX_OPTIN=1", "LEVEL=3")
    assert not project.program


def test_an_inf_file() -> None:
    text = """
    [DefaultInstall.NTamd64.Services]
    AddService = KettleSvc, 0x2, Kettle.Service ; comment
    [Kettle.Service]
    ServiceBinary = %13%\\kettle.sys
    """
    inf = inf_facts(text)
    assert (inf.service, inf.image) == ("KettleSvc", "kettle.sys")
    assert inf_facts("[Version]") == inf_facts("")


@given(st.text())
def test_any_text_is_read_without_an_error(text: str) -> None:
    facts = source_facts(text)
    assert all(link.startswith("\\\\.\\") for link in facts.links)
    inf_facts(text)


def test_files_as_editors_of_windows_save_them(tmp_path: Path) -> None:
    file = tmp_path / "a.inf"
    file.write_bytes("AddService = Kettle".encode("utf-16"))
    assert inf_facts(read_any(file)).service == "Kettle"
    file.write_bytes(b"\xef\xbb\xbfAddService = Kettle\xe9")
    assert inf_facts(read_any(file)).service.startswith("Kettle")
    assert read_any(tmp_path / "none") == ""

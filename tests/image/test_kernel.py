"""The exports of a stand-in for a kernel, read from libraries with the same code as Wine's."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from lab.image.kernel import ImportGaps, import_gaps, kernel_facts
from lab.image.manifest import KernelFacts, KernelModule

STUB = r"""
__asm__(".text\n.globl {name}\n{name}:\n sub $0x28,%rsp\n lea .Lmodule{name}(%rip),%rcx\n lea .Lname{name}(%rip),%rdx\n"
        " call Unimplemented\n nop\n .Lmodule{name}: .asciz \"{module}\"\n .Lname{name}: .asciz \"{said}\"\n");
"""
OTHER = "int Real(void) { return 1; }\nvoid Unimplemented(void) {}\n"
OTHER += STUB.format(name="Gone", module="other.dll", said="Gone")
KERNEL = (
    "int Works(void) { return 1; }\nvoid Unimplemented(void) {}\nint Variable = 7;\n"
    + STUB.format(name="Declared", module="kernel.exe", said="Declared")
    + STUB.format(name="LooksLikeIt", module="kernel.exe", said="AnotherText")
    + STUB.format(name="Given", module="kernel.exe", said="Given")
    + '__asm__(".globl JumpsOn\\nJumpsOn: jmp *__imp_Real(%rip)\\n");'
    + '__asm__(".globl JumpsNowhere\\nJumpsNowhere: jmp *__imp_Gone(%rip)\\n");'
)


def build(folder: Path, name: str, source: str, exports: str, *libraries: str) -> Path:
    (folder / "a.c").write_text(source)
    (folder / "a.def").write_text(f"LIBRARY {name}\nEXPORTS\n{exports}")
    made = folder / name
    command = ["x86_64-w64-mingw32-gcc", "-shared", "-nostdlib", "-Wl,--entry,0", "-o", str(made)]
    command += [str(folder / "a.c"), str(folder / "a.def"), f"-Wl,--out-implib,{folder / name}.a", *libraries]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return made


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> KernelFacts:
    folder = tmp_path_factory.mktemp("kernel")
    other = build(folder, "other.dll", OTHER, "Real\nGone\n")
    names = "Works\nDeclared\nLooksLikeIt\nGiven\nJumpsOn\nJumpsNowhere\nSent=other.Real\nSentNowhere=other.Gone\n"
    kernel = build(folder, "kernel.exe", KERNEL, names + "SentAway=strange.Thing\nVariable DATA\n", str(folder / "other.dll.a"))
    archive = folder / "modules.tar"
    with tarfile.open(archive, "w") as tar:
        for file in (other, kernel):
            tar.add(file, file.name)
        listing = b"NTDLL.dll\nkernel.exe\nmsvcrt.dll"
        member = tarfile.TarInfo("others.txt")
        member.size = len(listing)
        tar.addfile(member, io.BytesIO(listing))
    return kernel_facts(archive, given={"kernel.exe": ("Given",)})


def test_a_stub_is_recognized_by_its_code_and_through_other_libraries(facts: KernelFacts) -> None:
    assert facts.modules["other.dll"] == KernelModule(functions=("Real",), stubs=("Gone",))
    kernel = facts.modules["kernel.exe"]
    assert kernel.stubs == ("Declared", "JumpsNowhere", "SentNowhere")
    assert kernel.functions == ("Given", "JumpsOn", "LooksLikeIt", "Sent", "SentAway", "Variable", "Works")
    assert facts.others == ("msvcrt.dll", "ntdll.dll")


KNOWN = KernelFacts(
    modules={
        "ntoskrnl.exe": KernelModule(functions=("DbgPrint", "NtBuildNumber"), stubs=("MmGetVirtualForPhysical", "SeExports")),
        "ndis.sys": KernelModule(functions=("NdisFree",)),
    },
    others=("msvcrt.dll",),
)


def test_existing_imports_are_no_gap() -> None:
    imports = {"NTOSKRNL.EXE": ("DbgPrint", "NtBuildNumber", "#7"), "ndis.sys": ("NdisFree",), "msvcrt.dll": ("puts",)}
    assert import_gaps(imports, KNOWN) == ImportGaps()
    assert import_gaps({"wdfldr.sys": ("WdfVersionBind",)}, None) == ImportGaps(), "a true Windows lacks nothing"


def test_only_a_call_of_a_missing_function_fails_whether_it_is_declared_or_not() -> None:
    imports = {"ntoskrnl.exe": ("MmGetVirtualForPhysical", "ExNewFunction"), "ndis.sys": ("NdisNew",)}
    assert import_gaps(imports, KNOWN) == ImportGaps(
        calls=(
            "function:ntoskrnl.exe!MmGetVirtualForPhysical",
            "function:ntoskrnl.exe!ExNewFunction",
            "function:ndis.sys!NdisNew",
        )
    )


def test_without_a_module_or_with_a_variable_that_is_code_a_driver_is_not_even_loaded() -> None:
    imports = {"wdfldr.sys": ("WdfVersionBind",), "ntoskrnl.exe": ("SeExports", "MmUserProbeAddress"), "api-ms-x-l1": ("A",)}
    assert import_gaps(imports, KNOWN) == ImportGaps(
        hopeless=("module:wdfldr.sys", "data:ntoskrnl.exe!SeExports", "data:ntoskrnl.exe!MmUserProbeAddress")
    )


def test_imports_from_a_driver_of_the_run_are_no_gap() -> None:
    assert import_gaps({"Helper.sys": ("Anything",)}, KNOWN, own=["helper.sys"]) == ImportGaps()
    assert import_gaps({"ndis.sys": ("Mine",)}, KNOWN, own=["NDIS.sys"]) == ImportGaps(), "the user brings one of this name"

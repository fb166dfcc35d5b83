"""`lab init`: what it finds in a repository, and the files that it shows and writes."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from lab.cli.init import register
from lab.config import load_settings
from lab.errors import ConfigError
from lab.host.assets import data_root
from lab.scaffold.compose import compose
from lab.scaffold.look import look
from lab.toolchain.build import build_components
from lab.toolchain.manifest import load_component
from lab.toolchain.select import resolve_drivers

_HEAD = "#include <ntddk.h>\n"
_ENTRY = """
NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
    UNREFERENCED_PARAMETER(path);
    driver->DriverUnload = Unload;
    return Heat();
}
"""
_UNLOAD = "static VOID NTAPI Unload(PDRIVER_OBJECT driver) { UNREFERENCED_PARAMETER(driver); }\n"


def put(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A driver of two sources with a header elsewhere, a program beside it, an INF file, and a CI."""
    put(tmp_path / "inc" / "kettle.h", '#define KETTLE_LINK L"\\\\DosDevices\\\\Kettle"\nNTSTATUS Heat(void);\n')
    put(tmp_path / "drv" / "driver.c", f'{_HEAD}#include "../inc/kettle.h"\n{_UNLOAD}{_ENTRY}')
    put(tmp_path / "drv" / "heat.c", f"{_HEAD}NTSTATUS Heat(void) {{ return STATUS_SUCCESS; }}\n")
    put(tmp_path / "drv" / "tool.c", "int main(void) { return 0; }\n")
    put(tmp_path / "drv" / "kettle.inf", "[S]\nAddService = KettleSvc,2,I\n[I]\nServiceBinary=%12%\\drv.sys\n")
    put(tmp_path / ".gitlab-ci.yml", "stages: [build]\n")
    put(tmp_path / "node_modules" / "x" / "entry.c", _HEAD + _ENTRY)
    return tmp_path


def lab_init(*arguments: str, answer: str = "") -> Result:
    app = typer.Typer()
    register(app)
    app.callback()(lambda: None)
    return CliRunner().invoke(app, ["init", *arguments], input=answer)


def test_a_driver_by_its_sources(repository: Path) -> None:
    (driver,) = look(repository).drivers
    assert (driver.name, driver.image, driver.folder) == ("drv", "drv.sys", repository / "drv")
    assert driver.sources == ("driver.c", "heat.c")
    assert (driver.service, driver.links) == ("KettleSvc", (r"\\.\Kettle",))


def test_the_written_files_are_read_and_build(repository: Path, tmp_path: Path) -> None:
    done = lab_init(str(repository), "--yes")
    assert done.exit_code == 0, done.output
    settings = load_settings({}, environ={}, cwd=repository)
    assert settings.values.drivers == (str(repository / "drv" / "driver.yaml"),)
    assert settings.values.suites == (str(repository / "suites"),)
    component = load_component(repository / "drv" / "driver.yaml")
    assert (component.service, component.manifest.links) == ("KettleSvc", ("\\\\.\\Kettle",))
    build_components([component], "x64", tmp_path / "built", None)
    suite = ast.parse((repository / "suites" / "test_drv.py").read_text(encoding="utf-8"))
    tests = [node.name for node in suite.body if isinstance(node, ast.FunctionDef)]
    assert len(tests) == 3
    assert all(name.startswith("test_") for name in tests)


def test_files_are_shown_before_they_are_written_and_none_is_overwritten(repository: Path) -> None:
    mine = put(repository / "lab.yaml", "workers: 1\n")
    before = {path: path.read_bytes() for path in repository.rglob("*") if path.is_file()}
    shown = lab_init(str(repository))
    assert "nothing was written" in shown.output
    assert "def test_it_loads(driver):" in shown.output
    assert {path: path.read_bytes() for path in repository.rglob("*") if path.is_file()} == before
    done = lab_init(str(repository), "--yes")
    assert "lab.yaml exists and stays as it is" in done.output
    assert "lab.yaml does not name drv/driver.yaml" in done.output
    assert mine.read_text(encoding="utf-8") == "workers: 1\n"
    assert all(path.read_bytes() == data for path, data in before.items())
    assert "there is nothing to write" in lab_init(str(repository), "--yes").output


def test_the_pipeline_fits_the_ci_and_keeps_existing_files(repository: Path) -> None:
    def pipelines() -> list[str]:
        files = compose(look(repository))
        return [str(file.path.relative_to(repository)) for file in files if "pip install driver-test-lab" in file.text]

    assert pipelines() == [".gitlab/driver-lab.yml"]
    (repository / ".github").mkdir()
    assert pipelines() == [".github/workflows/driver-lab.yml"]
    shutil.rmtree(repository / ".github")
    (repository / ".gitlab-ci.yml").unlink()
    assert pipelines() == []
    put(repository / ".git" / "config", '[remote "origin"]\n\turl = git@gitlab.example.org:me/kettle.git\n')
    assert pipelines() == [".gitlab-ci.yml"]


def test_a_project_file_says_what_belongs_to_the_driver(repository: Path) -> None:
    put(
        repository / "vs" / "Kettle Driver.vcxproj",
        '<Project xmlns="http://schemas.microsoft.com/developer/msbuild/2003"><ItemDefinitionGroup><ClCompile>'
        "<AdditionalIncludeDirectories>..\\inc</AdditionalIncludeDirectories>"
        "<PreprocessorDefinitions>LIMIT=4</PreprocessorDefinitions></ClCompile></ItemDefinitionGroup><ItemGroup>"
        '<ClCompile Include="..\\drv\\driver.c" /><ClCompile Include="..\\drv\\heat.c" /></ItemGroup></Project>',
    )
    (driver,) = look(repository).drivers
    assert (driver.name, driver.sources, driver.include) == ("Kettle-Driver", ("driver.c", "heat.c"), ("../inc",))
    assert driver.defines == ("LIMIT=4",)
    lab_init(str(repository), "--yes")
    assert load_component(repository / "drv" / "driver.yaml").manifest.include == ("../inc",)


_PROGRAM = (
    '<Project xmlns="http://schemas.microsoft.com/developer/msbuild/2003"><PropertyGroup>'
    "<ConfigurationType>Application</ConfigurationType></PropertyGroup><ItemDefinitionGroup><ClCompile>"
    "<AdditionalIncludeDirectories>..\\inc;$(X)</AdditionalIncludeDirectories>"
    "<PreprocessorDefinitions>LIMIT=7;_CONSOLE</PreprocessorDefinitions></ClCompile><Link><AdditionalDependencies>"
    "kernel32.lib;setupapi.lib;%(AdditionalDependencies)</AdditionalDependencies></Link></ItemDefinitionGroup>"
    '<ItemGroup><ClCompile Include="SOURCE" /></ItemGroup></Project>'
)


def test_programs_of_project_files_are_clients(repository: Path, tmp_path: Path) -> None:
    """They were skipped, and every user wrote them by hand."""
    put(repository / "app" / "kettlectl.vcxproj", _PROGRAM.replace("SOURCE", "main.c"))
    put(repository / "app" / "main.c", "#include <windows.h>\n#include <kettle.h>\nint main(void) { return LIMIT - 7; }\n")
    put(repository / "gui" / "gui.vcxproj", _PROGRAM.replace("SOURCE", "gui.cpp"))
    put(repository / "gui" / "gui.cpp", "#include <afxwin.h>\nint main() { return 0; }\n")
    put(repository / "svc" / "svc.vcxproj", _PROGRAM.replace("SOURCE", "svc.c"))
    put(repository / "svc" / "svc.c", "int wmain(void) { return 0; }\n")
    put(repository / "inc" / "kettle.h", '#define KETTLE_LINK L"\\\\DosDevices\\\\Kettle"\nint Heat(void);\n')
    put(repository / "drv" / "heat.c", f"{_HEAD}int Heat(void) {{ return 0; }}\n")
    done = lab_init(str(repository), "--yes")
    assert done.exit_code == 0, done.output
    assert "programs for it: kettlectl" in done.output
    assert "gui.vcxproj: left out; a program, but not a client: it includes afxwin" in done.output
    assert "svc.vcxproj: left out; a program, but not a client: it has no main()" in done.output
    component = load_component(repository / "drv" / "driver.yaml")
    (program,) = component.programs
    assert component.manifest.clients[0] == "drvprobe"
    assert (program.name, program.manifest.sources, program.manifest.include) == ("kettlectl", ("../app/main.c",), ("../inc",))
    assert (program.manifest.defines, program.manifest.libraries) == (("LIMIT=7", "_CONSOLE"), ("setupapi",))
    (built,) = build_components([program], "x64", tmp_path / "built", None)
    assert built.path.name == "kettlectl.exe"
    again = lab_init(str(repository))
    assert "kettlectl" not in again.output.partition("there is nothing to write")[0], "its manifest describes it"


def test_a_program_with_the_name_of_its_driver_gets_another_name(repository: Path) -> None:
    """It was built in the driver's place, and the run ended with `is not a driver`."""
    put(repository / "app" / "heat.vcxproj", _PROGRAM.replace("SOURCE", "main.c"))
    put(repository / "app" / "main.c", "int main(void) { return 0; }\n")
    put(repository / "drv" / "heat.c", f"{_HEAD}int Heat(void) {{ return 0; }}\n")
    name = look(repository).drivers[0].name
    (repository / "app" / "heat.vcxproj").rename(repository / "app" / f"{name}.vcxproj")
    done = lab_init(str(repository), "--yes")
    assert f"programs for it: {name}-client" in done.output
    component = load_component(repository / "drv" / "driver.yaml")
    assert (component.name, [program.name for program in component.programs]) == (name, [f"{name}-client"])
    assert f"{name}-client" not in lab_init(str(repository)).output.partition("there is nothing to write")[0]


def test_a_program_that_a_manifest_does_not_name_is_reported(repository: Path) -> None:
    put(repository / "app" / "kettlectl.vcxproj", _PROGRAM.replace("SOURCE", "main.c"))
    put(repository / "app" / "main.c", "int main(void) { return 0; }\n")
    put(repository / "drv" / "driver.yaml", "name: drv\nimage: drv.sys\nsources: [driver.c, heat.c]\n")
    assert "programs that its manifest does not name: kettlectl; write them there" in lab_init(str(repository)).output


def test_two_drivers_of_one_folder_have_a_manifest_each(tmp_path: Path) -> None:
    for name in ("one", "two"):
        put(tmp_path / f"{name}.c", f"{_HEAD}NTSTATUS Heat(void);\n{_UNLOAD}{_ENTRY}")
    files = {file.path.name for file in compose(look(tmp_path))}
    assert files == {"lab.yaml", "one.driver.yaml", "two.driver.yaml", "test_one.py", "test_two.py"}


def test_sources_that_the_compiler_cannot_build_need_a_finished_file(tmp_path: Path, repository: Path) -> None:
    put(repository / "drv" / "driver.c", f"{_HEAD}#include <wdf.h>\n{_UNLOAD}{_ENTRY}")
    sight = look(repository)
    assert (sight.drivers, list(sight.unbuildable.values())) == ((), [("KMDF",)])
    done = lab_init(str(repository))
    assert "build it with the WDK" in done.output
    assert isinstance(done.exception, ConfigError)
    built = put(repository / "drv" / "x64" / "Release" / "drv.sys", "MZ")
    (driver,) = look(repository).drivers
    assert (driver.image, driver.sources, driver.kinds) == (built.relative_to(repository / "drv").as_posix(), (), ("KMDF",))
    assert "needs a Windows guest" in lab_init(str(repository)).output


def test_a_finished_driver_alone(tmp_path: Path) -> None:
    component = load_component(data_root() / "driver" / "selftest" / "driver.yaml")
    build_components([component], "x64", tmp_path / "dist", None)
    (tmp_path / "dist" / "broken.sys").write_bytes(b"MZ")
    (driver,) = look(tmp_path).drivers
    assert (driver.name, driver.image, driver.sources) == ("selftest", "selftest.sys", ())
    lab_init(str(tmp_path), "--yes")
    assert load_component(tmp_path / "dist" / "driver.yaml").prebuilt == tmp_path / "dist" / "selftest.sys"


@pytest.mark.parametrize("text", ["", "int main(void) { return 0; }"])
def test_without_a_driver_it_says_what_it_searched_for(tmp_path: Path, text: str) -> None:
    put(tmp_path / "main.c", text)
    error = lab_init(str(tmp_path)).exception
    assert isinstance(error, ConfigError)
    assert "DriverEntry" in error.message


def _driver_in(folder: Path, name: str) -> Path:
    return put(folder / name, f"{_HEAD}{_UNLOAD}{_ENTRY.replace('Heat()', 'STATUS_SUCCESS')}")


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["v1/kettle.c", "v2/kettle.c"], {"kettle-v1", "kettle-v2"}),
        (["a/x/kettle.c", "b/x/kettle.c", "pan.c"], {"kettle-x", "kettle-b-x", "pan"}),
        (["drv/tea-pot.c", "drv/tea_pot.c"], {"tea-pot", "tea_pot-2"}),
        (["v1/Kettle.c", "v2/kettle.c"], {"Kettle-v1", "kettle-v2"}),
        (["kettle.c", "new/kettle.c"], {"kettle", "kettle-new"}),
    ],
)
def test_drivers_of_one_name_get_different_names_and_build(files: list[str], names: set[str], tmp_path: Path) -> None:
    for name in files:
        _driver_in(tmp_path / Path(name).parent, Path(name).name)
    assert {driver.name for driver in look(tmp_path).drivers} == names
    written = lab_init(str(tmp_path), "--yes")
    assert written.exit_code == 0, written.output
    settings = load_settings({}, config=tmp_path / "lab.yaml", environ={})
    paths = [Path(one) for one in settings.values.drivers]
    packages = resolve_drivers(paths, into=tmp_path / "c", arch="x64", project=tmp_path)
    assert {package.name for package in packages} == names
    assert len({package.image.name.lower() for package in packages}) == len({one.service for one in packages}) == len(names)
    suites = {file.name: file.read_text(encoding="utf-8") for file in (tmp_path / "suites").iterdir()}
    assert len(suites) == len(names)
    for name in names:
        assert any(f'lab_driver("{name}")' in text for text in suites.values())
    # It finds the files that it wrote: there is nothing to write.
    again = lab_init(str(tmp_path), "--yes")
    assert again.exit_code == 0, again.output
    assert "there is nothing to write" in again.output


def test_projects_of_one_target_get_the_names_of_their_folders(tmp_path: Path) -> None:
    for folder in ("sys", "startio"):
        _driver_in(tmp_path / "cancel" / folder, "cancel.c")
        put(tmp_path / "cancel" / folder / "cancel.inf", "[S]\nAddService = Cancel,2,I\n[I]\nServiceBinary=%12%\\cancel.sys\n")
    drivers = look(tmp_path).drivers
    assert {driver.name for driver in drivers} == {"cancel-sys", "cancel-startio"}
    # With one service name, each would replace the other's service.
    assert {driver.service for driver in drivers} == {""}


def test_finished_drivers_of_one_folder_have_a_manifest_each(tmp_path: Path) -> None:
    component = load_component(data_root() / "driver" / "selftest" / "driver.yaml")
    build_components([component], "x64", tmp_path / "elsewhere", None)
    repository = tmp_path / "repository"
    repository.mkdir()
    for name in ("kettle.sys", "pan.sys"):
        shutil.copy(tmp_path / "elsewhere" / "selftest.sys", repository / name)
    files = [file.path.relative_to(repository).as_posix() for file in compose(look(repository))]
    assert len(files) == len(set(files))
    assert {"kettle.driver.yaml", "pan.driver.yaml"} <= set(files)


def test_manifests_of_one_name_are_reported_before_anything_is_written(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        _driver_in(tmp_path / folder, "kettle.c")
        put(tmp_path / folder / "driver.yaml", "name: kettle\nimage: kettle.sys\nsources: [kettle.c]\n")
    refused = lab_init(str(tmp_path), "--yes")
    assert isinstance(refused.exception, ConfigError)
    assert "a/driver.yaml and b/driver.yaml have the same name (kettle)" in refused.exception.message
    assert not (tmp_path / "lab.yaml").exists()

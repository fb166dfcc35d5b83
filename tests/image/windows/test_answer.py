"""Answer files as they are rendered, for each Windows and firmware, and what the check before a boot notices."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from lab.errors import ImageError
from lab.host.assets import data_root
from lab.image.windows.answer import AnswerValues, render_answer
from lab.image.windows.answer_check import check_answer, problems
from lab.image.windows.answer_table import COMPONENTS, PASSES, Element
from lab.image.windows.recipe import WindowsRecipeFile, load_recipe, windows_names

NS = "{urn:schemas-microsoft-com:unattend}"
PASSWORD = "Secret-Word-42"


def recipe_of(name: str, firmware: str = "uefi") -> WindowsRecipeFile:
    values = load_recipe(data_root() / "vm-images" / name).model_dump()
    values["machine"]["firmware"] = firmware
    return WindowsRecipeFile.model_validate(values)


CASES = [(name, "uefi") for name in windows_names()] + [(name, "bios") for name in ("windows-server-2022", "windows-10")]


def values(**changes: object) -> AnswerValues:
    return AnswerValues.model_validate({"image_index": 3, "password": SecretStr(PASSWORD), **changes})


def test_every_windows_is_covered() -> None:
    assert {name for name, _firmware in CASES} == {
        "windows-10",
        "windows-11",
        "windows-server-2022",
        "windows-server-2025",
    }


@pytest.mark.parametrize(("name", "firmware"), CASES)
def test_the_rendered_file_agrees_with_the_reference(name: str, firmware: str) -> None:
    recipe = recipe_of(name, firmware)
    answer = render_answer(recipe, values())
    assert list(problems(answer, recipe)) == []
    check_answer(answer, recipe)
    root = ElementTree.fromstring(answer)
    assert [settings.get("pass") for settings in root] == ["windowsPE", "offlineServicing", "specialize", "oobeSystem"]
    parts = [item.text for item in root.iter(f"{NS}Type")]
    assert parts == (["EFI", "MSR", "Primary"] if firmware == "uefi" else ["Primary", "Primary"])
    assert root.findtext(f".//{NS}InstallTo/{NS}PartitionID") == ("3" if firmware == "uefi" else "2")
    assert root.findtext(f".//{NS}MetaData/{NS}Value") == "3"
    assert root.find(f".//{NS}ProductKey/{NS}Key") is None
    assert root.find(f".//{NS}ProductKey") is not None
    components = {item.get("name", "") for item in root.iter(f"{NS}component")}
    assert ("Microsoft-Windows-SystemRestore-Main" in components) != recipe.is_server
    # Evaluation media must be activated.
    assert "Microsoft-Windows-Security-SPP-UX" not in components


def test_windows_11_alone_switches_its_checks_off() -> None:
    texts = {name: render_answer(recipe_of(name), values()).decode() for name in windows_names()}
    for check in ("BypassTPMCheck", "BypassSecureBootCheck", "BypassRAMCheck"):
        assert [name for name, text in texts.items() if check in text] == ["windows-11"]
    assert [name for name, text in texts.items() if "BypassNRO" in text] == ["windows-10", "windows-11"]


def test_the_first_logon_finds_the_cd_whatever_its_letter() -> None:
    root = ElementTree.fromstring(render_answer(recipe_of("windows-10"), values()))
    (command,) = [item.text or "" for item in root.iter(f"{NS}CommandLine")]
    assert r"if exist %d:\lab\start.cmd call %d:\lab\start.cmd" in command
    assert "(C D E F " in command


def test_a_product_key_of_the_user_is_used() -> None:
    key = "ABCDE-12345-FGHIJ-67890-KLMNO"
    recipe = recipe_of("windows-server-2022")
    answer = render_answer(recipe, values(product_key=SecretStr(key)))
    check_answer(answer, recipe)
    assert ElementTree.fromstring(answer).findtext(f".//{NS}ProductKey/{NS}Key") == key
    with pytest.raises(ValidationError) as caught:
        values(product_key=SecretStr("ABCDE"))
    assert "ABCDE" not in str(caught.value)


@settings(deadline=None)
@given(st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), min_size=4, max_size=40))
def test_any_password_survives_the_xml(text: str) -> None:
    password = f"Aa1{text}"
    try:
        given_values = values(password=SecretStr(password))
    except ValidationError:
        return  # too short, or it contains the account's name
    recipe = recipe_of("windows-10")
    answer = render_answer(recipe, given_values)
    assert list(problems(answer, recipe)) == []
    root = ElementTree.fromstring(answer)
    secrets = [root.findtext(f".//{NS}{name}/{NS}Value") for name in ("AdministratorPassword", "AutoLogon/" + f"{NS}Password")]
    assert secrets == [password, password]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("</unattend>", "", "not well-formed XML"),
        ("\r\n", "\n", "lines do not end"),
        ('pass="specialize"', 'pass="special"', "no pass 'special'"),
        ('pass="offlineServicing"', 'pass="oobeSystem"', "must come before"),
        ("Microsoft-Windows-LUA-Settings", "Microsoft-Windows-Shell-Setup", "no settings in this pass"),
        ("Microsoft-Windows-LUA-Settings", "Microsoft-Windows-Nonsense", "no such component"),
        ('processorArchitecture="amd64"', 'processorArchitecture="x86"', "must be amd64"),
        ("<AcceptEula>true</AcceptEula>", "", "AcceptEula is missing"),
        ("<AcceptEula>true</AcceptEula>", "<AcceptEula>yes</AcceptEula>", "AcceptEula: its value is not allowed"),
        ("<TimeZone>UTC</TimeZone>", "<TimeZon>UTC</TimeZon>", "TimeZon is unknown here"),
        ("<Order>2</Order>", "<Order>4</Order>", "not 1, 2"),
        ('<MetaData wcm:action="add">', "<MetaData>", 'needs wcm:action="add"'),
        ("<Type>EFI</Type>", "<Type>Primary</Type>", "must be EFI, MSR, Primary"),
        ("<Extend>true</Extend>", "<Size>9000</Size>", "take the rest of the disk"),
        (
            "<PartitionID>3</PartitionID>\r\n          </InstallTo>",
            "<PartitionID>2</PartitionID></InstallTo>",
            "last partition",
        ),
        ("<Letter>C</Letter>", "<Active>true</Active>", "must come before"),
        ("<ComputerName>LAB</ComputerName>", "<ComputerName>LAB DRIVER HOST</ComputerName>", "not allowed"),
    ],
)
def test_the_check_before_the_boot_notices(old: str, new: str, said: str) -> None:
    recipe = recipe_of("windows-server-2022")
    text = render_answer(recipe, values()).decode()
    assert old in text
    with pytest.raises(ImageError) as caught:
        check_answer(text.replace(old, new).encode(), recipe)
    assert said in caught.value.message
    assert PASSWORD not in caught.value.message


def test_elements_that_swap_their_places_are_noticed() -> None:
    recipe = recipe_of("windows-server-2022")
    root = ElementTree.fromstring(render_answer(recipe, values()))
    image = root.find(f".//{NS}OSImage")
    assert image is not None
    image[:] = [image[1], image[0], image[2]]
    data = ElementTree.tostring(root, encoding="utf-8").replace(b"\n", b"\r\n")
    assert any("InstallFrom must come before InstallTo" in problem for problem in problems(data, recipe))


def test_a_client_s_component_is_not_for_a_server() -> None:
    client = render_answer(recipe_of("windows-10"), values())
    found = list(problems(client, recipe_of("windows-server-2022")))
    assert any("SystemRestore-Main: this Windows does not have" in problem for problem in found)


def test_a_component_that_setup_would_ask_without_is_missed() -> None:
    recipe = recipe_of("windows-10")
    root = ElementTree.fromstring(render_answer(recipe, values()))
    settings = root[0]
    settings.remove(settings[0])
    data = ElementTree.tostring(root, encoding="utf-8").replace(b"\n", b"\r\n")
    found = list(problems(data, recipe))
    assert found == ["windowsPE/Microsoft-Windows-International-Core-WinPE is missing, so Setup would ask"]


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_break_the_check(data: bytes) -> None:
    assert list(problems(data, recipe_of("windows-10")))


def test_the_table_is_sound() -> None:
    """Names are unique among siblings, leaves have a text, trees have children, passes exist."""

    def look(elements: tuple[Element, ...], place: str) -> None:
        names = [element.name for element in elements]
        assert len(names) == len(set(names)), place
        for element in elements:
            assert (element.text is None) == bool(element.children), f"{place}/{element.name}"
            look(element.children, f"{place}/{element.name}")

    for component in COMPONENTS:
        assert set(component.passes) <= set(PASSES)
        look(component.children, component.name)

"""The payload CD read back, and its scripts checked by a PowerShell grammar."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pycdlib
import pytest
import tree_sitter
import tree_sitter_powershell
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.errors import ConfigError, ImageError
from lab.host.assets import data_root
from lab.image.windows.facts import QUERY_SCRIPT
from lab.image.windows.inputs import with_ssh
from lab.image.windows.payload import (
    LABEL,
    Content,
    PayloadParts,
    SshPayload,
    certificate_der,
    check_msi,
    payload_files,
    quoted,
    render_scripts,
    write_payload,
)
from lab.image.windows.recipe import STAGES, WindowsRecipeFile, load_recipe, windows_names
from lab.toolchain.sign import signing_key

#: What the scripts use of Windows PowerShell 5.1 and of the modules that every Windows has.
CMDLETS = {
    *(
        "Add-Content",
        "Add-MpPreference",
        "ConvertFrom-Json",
        "ConvertTo-Json",
        "Copy-Item",
        "Enable-PSRemoting",
        "ForEach-Object",
    ),
    *("Get-ChildItem", "Get-CimInstance", "Get-Content", "Get-Date", "Get-FileHash", "Get-Item", "Get-ItemProperty"),
    *("Get-NetConnectionProfile", "Get-NetFirewallRule", "Get-NetIPAddress", "Get-Service", "Get-WindowsFeature", "Join-Path"),
    *("New-Item", "New-NetFirewallRule", "New-Object", "Out-Null", "Out-String", "Remove-Item", "Remove-ItemProperty"),
    *("Restart-Computer", "Restart-Service", "Select-Object", "Set-Item", "Set-LocalUser", "Set-MpPreference"),
    *("Set-NetConnectionProfile", "Set-Service", "Set-StrictMode", "Start-Service", "Start-Sleep", "Start-Transcript"),
    *("Stop-Service", "Stop-Transcript", "Test-Path", "Uninstall-WindowsFeature", "Where-Object", "Write-Host"),
}
PARSER = tree_sitter.Parser(tree_sitter.Language(tree_sitter_powershell.language()))


def recipe_of(name: str) -> WindowsRecipeFile:
    return load_recipe(data_root() / "vm-images" / name)


def scripts_of(name: str) -> dict[str, bytes]:
    return render_scripts(with_ssh(recipe_of(name)), build_id="0123456789abcdef", username="labuser")


def parts(**changes: Any) -> PayloadParts:
    values: dict[str, Any] = {
        "build_id": "b",
        "username": "labuser",
        "certificates": {"lab.cer": b"0 der"},
        "tools": {"labfile.exe": b"MZ tool"},
        "drivers": {"labrelay.sys": b"MZ driver"},
    }
    return PayloadParts(**values | changes)


def read_back(iso_file: Path, *, joliet: bool = True) -> dict[str, bytes]:
    """All files of an ISO by path."""
    iso: Any = pycdlib.PyCdlib()
    iso.open(str(iso_file))
    key = "joliet_path" if joliet else "iso_path"
    found = {}
    for folder, _folders, names in iso.walk(**{key: "/"}):
        for name in names:
            data = io.BytesIO()
            place = f"{folder.rstrip('/')}/{name}"
            iso.get_file_from_iso_fp(data, **{key: place})
            found[place.removeprefix("/")] = data.getvalue()
    iso.close()
    return found


def commands(node: Any) -> Iterator[str]:
    if node.type == "command_name":
        yield node.text.decode()
    for child in node.children:
        yield from commands(child)


def errors(node: Any) -> Iterator[str]:
    if node.type == "ERROR" or node.is_missing:
        yield f"line {node.start_point[0] + 1}: {node.text.decode()[:100]}"
    for child in node.children:
        yield from errors(child)


@pytest.mark.parametrize("name", windows_names())
def test_the_cd_is_read_back_unchanged(name: str, tmp_path: Path) -> None:
    files = payload_files(recipe_of(name), b"<answer/>\r\n", parts())
    iso = write_payload(tmp_path / "payload.iso", files)
    found = read_back(iso)
    assert found == files
    assert {"autounattend.xml", "lab/start.cmd", "lab/certificates/lab.cer", "lab/bin/labfile.exe"} <= set(found)
    assert "lab/drivers/labrelay.sys" in found
    assert {name for name in found if name.startswith("lab/stages/")} == {
        f"lab/stages/{stage}.ps1" for stage in STAGES if stage != "ssh"
    }
    assert iso.stat().st_mode & 0o777 == 0o600
    opened: Any = pycdlib.PyCdlib()
    opened.open(str(iso))
    assert opened.pvd.volume_identifier.decode().strip() == LABEL
    opened.close()
    # The names of ISO 9660 are short enough for every reader, and unique.
    short = read_back(iso, joliet=False)
    assert sorted(short.values()) == sorted(found.values())


def test_openssh_comes_whole_and_only_when_it_is_asked_for(tmp_path: Path) -> None:
    msi = tmp_path / "openssh.msi"
    msi.write_bytes(bytes.fromhex("d0cf11e0a1b11ae1") + b"x" * 5000)
    ssh = SshPayload(msi=check_msi(msi), user_key="ssh-ed25519 AAAA user", host_key="-----BEGIN-----\nabc\n")
    recipe = with_ssh(recipe_of("windows-10"))
    found = read_back(write_payload(tmp_path / "p.iso", payload_files(recipe, b"", parts(ssh=ssh))))
    assert found["lab/openssh/openssh.msi"] == msi.read_bytes()
    assert found["lab/openssh/administrators_authorized_keys"] == b"ssh-ed25519 AAAA user\r\n"
    assert b"\r" not in found["lab/openssh/ssh_host_ed25519_key"]
    assert "abc" not in repr(ssh)
    assert recipe.ordered_stages[-3:] == ("ssh", "winrm", "finish")
    assert {"ssh", "sftp"} <= set(recipe.capabilities)
    for wrong in (payload_of(recipe_of("windows-10"), ssh), payload_of(recipe, None)):
        with pytest.raises(ConfigError, match="go together"):
            wrong()


def payload_of(recipe: WindowsRecipeFile, ssh: SshPayload | None) -> Any:
    return lambda: payload_files(recipe, b"", parts(ssh=ssh))


@pytest.mark.parametrize("name", windows_names())
def test_powershell_can_read_every_script(name: str) -> None:
    scripts = scripts_of(name)
    assert len([path for path in scripts if path.endswith(".ps1")]) == len(STAGES) + 2
    for path, data in scripts.items():
        data.decode("ascii")  # Windows PowerShell reads any other encoding as the code page of the system
        assert b"\n" not in data.replace(b"\r\n", b"")
        assert b"{{" not in data
        assert b"{%" not in data
        if path.endswith(".ps1"):
            assert list(errors(PARSER.parse(data).root_node)) == [], path


def test_the_grammar_notices_a_mistake() -> None:
    broken = scripts_of("windows-10")["lab/provision.ps1"].replace(b"} catch {", b"} catsch {{", 1)
    assert list(errors(PARSER.parse(broken).root_node))


@pytest.mark.parametrize("name", windows_names())
def test_every_command_is_one_of_windows_or_of_the_lab(name: str) -> None:
    scripts = scripts_of(name)
    own = set(re.findall(r"^function ([\w-]+)", scripts["lab/common.ps1"].decode(), re.MULTILINE))
    assert {"Invoke-Lab", "Set-LabValue", "Send-LabStage"} <= own
    query = (data_root() / "vm-images/windows-common" / QUERY_SCRIPT).read_bytes()
    for path, data in {**scripts, QUERY_SCRIPT: query}.items():
        if path.endswith(".ps1"):
            used = set(commands(PARSER.parse(data).root_node))
            assert used, path
            programs = {word for word in used if word.endswith(".exe")}
            # Sub-expressions in front of which no name stands are variables and script blocks.
            unknown = {word for word in used - programs if re.fullmatch(r"[A-Z]\w+-\w+", word)} - own - CMDLETS
            assert unknown == set(), path


def test_the_query_of_the_acceptance_boot_fits_into_one_command_line() -> None:
    script = (data_root() / "vm-images/windows-common" / QUERY_SCRIPT).read_text(encoding="ascii")
    assert list(errors(PARSER.parse(script.encode()).root_node)) == []
    # cmd takes 8191 characters; the script goes as UTF-16 in base64.
    assert len(script) * 2 * 4 / 3 + 100 < 8191


def test_the_stages_run_in_the_recipe_s_order_and_winrm_comes_last() -> None:
    text = scripts_of("windows-server-2022")["lab/provision.ps1"].decode()
    listed = re.search(r"\$LabStages = @\((.*)\)", text)
    assert listed
    assert listed[1] == ", ".join(f"'{stage}'" for stage in STAGES)
    assert text.rindex("'done' 'ok'") < text.rindex("shutdown.exe /s")


def test_each_decision_is_in_its_stage() -> None:
    """The settings that a guest of the lab is known by, one line each."""
    scripts = {path.removeprefix("lab/stages/"): data.decode() for path, data in scripts_of("windows-11").items()}
    expected = {
        "certificates.ps1": ["'Root', 'TrustedPublisher'", "'-addstore'"],
        "codeintegrity.ps1": ["'testsigning', 'on'", "'hypervisorlaunchtype', 'off'", "EnableVirtualizationBasedSecurity' 0"],
        "relay.ps1": ["'start=', 'boot'", "'error=', 'normal'", "'System Bus Extender'", "drivers\\labrelay.sys"],
        "debugprint.ps1": ["Debug Print Filter", "'DEFAULT', 'IHVDRIVER'"],
        "kd.ps1": ["'/copy', '{current}'", "'serial', 'debugport:2', 'baudrate:115200', '/noumex'", "'/debug', $entry, 'on'"],
        "crashdumps.ps1": ["'CrashDumpEnabled' 2", "AlwaysKeepMemoryDump' 1", "NMICrashDump' 1", "pagefile.sys 4608 4608"],
        "quiet.ps1": ["NoAutoUpdate", "ignoreallfailures", "'recoveryenabled', 'no'", "'/timeout', '0'", "HiberbootEnabled' 0"],
        "winrm.ps1": [
            "MaxTimeoutms' -Value 14400000",
            "[uint32]::MaxValue",
            "AllowUnencrypted' -Value $false",
            "-LocalPort 5985",
        ],
        "finish.ps1": ["Panther\\unattend.xml", "DefaultPassword", "TESTSIGNING", "image.json"],
    }
    for name, words in expected.items():
        for word in words:
            assert word in scripts[name], (name, word)
    # The kernel debugger's entry is another one than the default.
    assert "{default}" not in scripts["kd.ps1"]
    assert "'/default'" not in "".join(scripts.values())


def test_a_server_loses_defender_and_a_client_is_left_with_exclusions() -> None:
    server, client = (scripts_of(name)["lab/stages/quiet.ps1"] for name in ("windows-server-2022", "windows-11"))
    assert b"Uninstall-WindowsFeature" in server
    assert b"Uninstall-WindowsFeature" not in client
    assert b"Add-MpPreference" in client


@settings(deadline=None)
@given(st.text(max_size=50))
def test_a_quoted_text_is_one_string_of_powershell(text: str) -> None:
    line = quoted(text)
    assert line[0] == line[-1] == "'"
    # Two quotes stand for one; a single one would end the string.
    assert not re.search("['\u2018\u2019\u201a\u201b]", re.sub("(['\u2018\u2019\u201a\u201b])\\1", "", line[1:-1]))


def test_a_missing_script_and_a_foreign_character_are_named(tmp_path: Path) -> None:
    recipe = recipe_of("windows-10")
    with pytest.raises(ImageError, match=r"no start\.cmd\.j2"):
        render_scripts(recipe, build_id="b", username="u", folder=tmp_path)
    (tmp_path / "provision").mkdir()
    (tmp_path / "provision" / "start.cmd.j2").write_text("echo \u201equoted\u201c", encoding="utf-8")
    with pytest.raises(ImageError, match="not ASCII"):
        render_scripts(recipe, build_id="b", username="u", folder=tmp_path)


def test_certificates_are_taken_as_pem_and_as_der(tmp_path: Path) -> None:
    pem = signing_key(tmp_path / "key").certificate
    der = certificate_der(pem)
    (tmp_path / "c.der").write_bytes(der)
    assert certificate_der(tmp_path / "c.der") == der
    for encoding in ("utf-8-sig", "utf-16"):  # PowerShell's redirection writes the latter
        (tmp_path / "marked.cer").write_bytes(pem.read_text().encode(encoding))
        assert certificate_der(tmp_path / "marked.cer") == der
    (tmp_path / "no.cer").write_text("nothing")
    for name in ("no.cer", "missing.cer"):
        with pytest.raises(ConfigError) as caught:
            certificate_der(tmp_path / name)
        assert name in str(caught.value)
    with pytest.raises(ConfigError, match="is not an MSI"):
        check_msi(tmp_path / "no.cer")


@settings(deadline=None)
@given(
    st.dictionaries(st.from_regex(r"[a-z]{1,8}(/[A-Za-z0-9_ ]{1,20}){0,3}\.[a-z]{3}", fullmatch=True), st.binary(max_size=5000))
)
def test_any_tree_is_read_back(tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]) -> None:
    content: dict[str, Content] = {name: data for name, data in files.items() if not clashes(name, files)}
    iso = write_payload(tmp_path_factory.mktemp("cd") / "x.iso", content)
    assert read_back(iso) == content


def clashes(name: str, files: dict[str, bytes]) -> bool:
    """Whether another name is the same to Windows, or is a folder above it."""
    low = name.lower()
    return any(other != name and (other.lower() == low or low.startswith(other.lower() + "/")) for other in files)

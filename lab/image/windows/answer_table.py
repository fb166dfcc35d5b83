"""What may stand in an answer file, and in which order: a table made from Microsoft's Unattended Windows Setup Reference.

Only what the lab writes is in it, so that whatever is written beside it is noticed. The reference lists the passes of each
component, the children of each element, and the values and lengths of each setting; its XML samples show the order of children.
The names, passes and orders here were compared with the reference's pages of 2017.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: The passes in the order in which Setup runs them.
PASSES = ("windowsPE", "offlineServicing", "generalize", "specialize", "auditSystem", "auditUser", "oobeSystem")

_BOOLEAN = "true|false"
_FLAG = "0|1"
_LOCALE = r"[a-z]{2,3}(?:-[A-Z][a-z]{3})?-[A-Z]{2}"
_NUMBER = r"0|[1-9][0-9]*"
_NAME = r"[^\"/\\\[\]:;|=,+*?<>@]{1,20}"


@dataclass(frozen=True, slots=True)
class Element:
    """An element of a component.

    Attributes:
        name: Its name.
        children: What it may hold, in order.
        text: What its text must match as a whole; None: it has children.
        required: It must be there.
        many: An item of a list: it may be repeated, and says ``wcm:action="add"``.
    """

    name: str
    children: tuple[Element, ...] = ()
    text: str | None = None
    required: bool = False
    many: bool = False


@dataclass(frozen=True, slots=True)
class Component:
    """A component.

    Attributes:
        name: Its name.
        passes: Where the reference allows the settings that are in this table.
        children: Its settings, in order.
        only: ``server``: Windows Server has it; ``client``: only the others have it; empty: both.
    """

    name: str
    passes: tuple[str, ...]
    children: tuple[Element, ...]
    only: Literal["", "server", "client"] = ""


def _leaf(name: str, text: str, *, required: bool = False) -> Element:
    return Element(name, text=text, required=required)


def _tree(name: str, *children: Element, required: bool = False, many: bool = False) -> Element:
    return Element(name, children, None, required, many)


def _commands(max_length: int) -> Element:
    """RunSynchronous of Setup and of Deployment."""
    return _tree(
        "RunSynchronous",
        _tree(
            "RunSynchronousCommand",
            _leaf("Order", r"[1-9][0-9]{0,2}", required=True),
            _leaf("Path", rf".{{1,{max_length}}}", required=True),
            many=True,
            required=True,
        ),
    )


def _secret(name: str) -> Element:
    return _tree(name, _leaf("Value", r".{0,127}", required=True), _leaf("PlainText", _BOOLEAN, required=True))


_SHOW = _leaf("WillShowUI", "Always|OnError|Never")
_LOCALES = (
    _leaf("InputLocale", rf"{_LOCALE}|[0-9a-fA-F]{{4}}:[0-9a-fA-F]{{8}}", required=True),
    _leaf("SystemLocale", _LOCALE, required=True),
    _leaf("UILanguage", _LOCALE, required=True),
    _leaf("UserLocale", _LOCALE, required=True),
)
_DISK = _tree(
    "Disk",
    _leaf("DiskID", _NUMBER, required=True),
    _leaf("WillWipeDisk", _BOOLEAN),
    _tree(
        "CreatePartitions",
        _tree(
            "CreatePartition",
            _leaf("Order", r"[1-9][0-9]*", required=True),
            _leaf("Type", "Primary|EFI|Extended|Logical|MSR", required=True),
            _leaf("Size", r"[1-9][0-9]*"),
            _leaf("Extend", _BOOLEAN),
            many=True,
            required=True,
        ),
    ),
    _tree(
        "ModifyPartitions",
        _tree(
            "ModifyPartition",
            _leaf("Order", r"[1-9][0-9]*", required=True),
            _leaf("PartitionID", r"[1-9][0-9]*", required=True),
            _leaf("Label", r".{1,32}"),
            _leaf("Letter", "[C-Z]"),
            _leaf("Format", "NTFS|FAT32"),
            _leaf("Active", _BOOLEAN),
            many=True,
            required=True,
        ),
    ),
    many=True,
    required=True,
)

COMPONENTS: tuple[Component, ...] = (
    Component(
        "Microsoft-Windows-International-Core-WinPE",
        ("windowsPE",),
        (_tree("SetupUILanguage", _leaf("UILanguage", _LOCALE, required=True), required=True), *_LOCALES),
    ),
    Component(
        "Microsoft-Windows-Setup",
        ("windowsPE",),
        (
            _tree("DiskConfiguration", _DISK, _SHOW, required=True),
            _tree("DynamicUpdate", _leaf("Enable", _BOOLEAN, required=True), _SHOW),
            _tree(
                "ImageInstall",
                _tree(
                    "OSImage",
                    # Setup takes no image when these two stand the other way around.
                    _tree(
                        "InstallFrom",
                        _tree(
                            "MetaData",
                            _leaf("Key", "/IMAGE/(INDEX|NAME|DESCRIPTION)", required=True),
                            _leaf("Value", r".{1,256}", required=True),
                            many=True,
                            required=True,
                        ),
                        required=True,
                    ),
                    _tree(
                        "InstallTo",
                        _leaf("DiskID", _NUMBER, required=True),
                        _leaf("PartitionID", r"[1-9][0-9]*", required=True),
                        required=True,
                    ),
                    _SHOW,
                    required=True,
                ),
                required=True,
            ),
            _commands(259),
            _tree("UpgradeData", _leaf("Upgrade", _BOOLEAN)),
            _tree(
                "UserData",
                _leaf("AcceptEula", "true", required=True),
                _leaf("FullName", r".{1,63}"),
                _leaf("Organization", r".{1,63}"),
                _tree("ProductKey", _leaf("Key", r"([A-Za-z0-9]{5}-){4}[A-Za-z0-9]{5}"), _SHOW, required=True),
                required=True,
            ),
        ),
    ),
    Component("Microsoft-Windows-LUA-Settings", ("offlineServicing",), (_leaf("EnableLUA", _BOOLEAN, required=True),)),
    Component("Microsoft-Windows-Deployment", ("specialize", "auditUser"), (_commands(259),)),
    Component("Microsoft-Windows-ErrorReportingCore", ("specialize",), (_leaf("DisableWER", _FLAG, required=True),)),
    Component(
        "Microsoft-Windows-ServerManager-SvrMgrNc",
        ("specialize", "generalize"),
        (_leaf("DoNotOpenServerManagerAtLogon", _BOOLEAN, required=True),),
        "server",
    ),
    Component("Microsoft-Windows-Security-SPP-UX", ("specialize",), (_leaf("SkipAutoActivation", _BOOLEAN, required=True),)),
    Component(
        "Microsoft-Windows-Shell-Setup",
        ("specialize",),
        (
            _leaf("ComputerName", r"[A-Za-z0-9-]{1,15}", required=True),
            _leaf("TimeZone", r"[A-Za-z0-9 .()+-]{1,256}", required=True),
        ),
    ),
    Component("Microsoft-Windows-SystemRestore-Main", ("specialize",), (_leaf("DisableSR", _FLAG, required=True),), "client"),
    Component("Microsoft-Windows-International-Core", ("specialize", "oobeSystem"), _LOCALES),
    Component(
        "Microsoft-Windows-SecureStartup-FilterDriver",
        ("offlineServicing", "specialize", "oobeSystem"),
        (_leaf("PreventDeviceEncryption", _BOOLEAN, required=True),),
        "client",
    ),
    Component(
        "Microsoft-Windows-Shell-Setup",
        ("oobeSystem",),
        (
            _tree(
                "AutoLogon",
                _secret("Password"),
                _leaf("Enabled", _BOOLEAN, required=True),
                _leaf("LogonCount", _NUMBER),
                _leaf("Username", _NAME, required=True),
            ),
            _tree(
                "FirstLogonCommands",
                _tree(
                    "SynchronousCommand",
                    _leaf("CommandLine", r".{1,1024}", required=True),
                    _leaf("Description", r".{1,256}"),
                    _leaf("Order", r"[1-9][0-9]{0,2}", required=True),
                    many=True,
                    required=True,
                ),
                required=True,
            ),
            _tree(
                "OOBE",
                _leaf("HideEULAPage", _BOOLEAN, required=True),
                _leaf("HideLocalAccountScreen", _BOOLEAN),
                _leaf("HideOEMRegistrationScreen", _BOOLEAN),
                _leaf("HideOnlineAccountScreens", _BOOLEAN),
                _leaf("HideWirelessSetupInOOBE", _BOOLEAN),
                _leaf("ProtectYourPC", "[1-3]", required=True),
                # Deprecated, and in newer editions of the reference no more; Setup takes them still.
                _leaf("SkipMachineOOBE", _BOOLEAN),
                _leaf("SkipUserOOBE", _BOOLEAN),
                required=True,
            ),
            _tree(
                "UserAccounts",
                _secret("AdministratorPassword"),
                _tree(
                    "LocalAccounts",
                    _tree(
                        "LocalAccount",
                        _secret("Password"),
                        _leaf("DisplayName", r".{1,256}"),
                        _leaf("Group", r".{1,256}", required=True),
                        _leaf("Name", _NAME, required=True),
                        many=True,
                        required=True,
                    ),
                ),
                required=True,
            ),
        ),
    ),
)
#: Components without which Setup stops at a page that asks; Windows Server and the others.
REQUIRED = (
    ("windowsPE", "Microsoft-Windows-International-Core-WinPE"),
    ("windowsPE", "Microsoft-Windows-Setup"),
    ("specialize", "Microsoft-Windows-Shell-Setup"),
    ("oobeSystem", "Microsoft-Windows-International-Core"),
    ("oobeSystem", "Microsoft-Windows-Shell-Setup"),
)

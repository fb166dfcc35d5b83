r"""Driver packages: an INF, its catalogue and its files, installed and removed by ``pnputil``.

Built to the documentation of ``pnputil``, because no guest in this project's tests has Plug and Play:
https://learn.microsoft.com/windows-hardware/drivers/devtest/pnputil-command-syntax and, for the exit codes,
https://learn.microsoft.com/windows-hardware/drivers/devtest/pnputil-return-values
"""

from __future__ import annotations

import re

from lab.errors import ServiceError, TransportError
from lab.guest import win32
from lab.guest.protocol import CommandResult, Transport

PNPUTIL = r"C:\windows\system32\pnputil.exe"
_TIMEOUT_S = 180.0
#: The package is in the store, but no device of this VM needs it, or the present driver is as good.
_NO_MORE_ITEMS = 259
#: Done, but the system should restart; a system that restarts by itself ends the test's guest.
_REBOOT_REQUIRED = 3010
#: The form of a name in the driver store; it is the same in every language of Windows.
_PUBLISHED = re.compile(r"\boem\d+\.inf\b", re.IGNORECASE)


def install_package(transport: Transport, inf: str) -> str:
    r"""Add a package to the driver store, and install it for the devices that match.

    Args:
        transport: Of a guest with the capability ``pnp``.
        inf: Windows path of the INF; the files that it copies are beside it.

    Returns:
        The name under which the store has it, for example ``oem7.inf``.

    Raises:
        ServiceError: Windows refused the package; ``exit_code`` is its error.
        TransportError: Windows asks for a restart, or does not report the package's name.
    """
    result = transport.run([PNPUTIL, "/add-driver", inf, "/install"], timeout=_TIMEOUT_S, shell=False)
    if result.exit_code == _REBOOT_REQUIRED:
        raise TransportError(
            f"{inf}: Windows asks for a restart before the package is in use",
            hint="use an image that has the package already, or a driver that needs no restart",
        )
    if result.exit_code not in (0, _NO_MORE_ITEMS):
        raise _refused(f"pnputil /add-driver {inf} /install", result)
    found = _PUBLISHED.search(result.text)
    if found is None:
        raise TransportError(f"pnputil did not print the name of {inf} in the driver store: {result.text.strip()[-300:]!r}")
    return found.group().lower()


def remove_package(transport: Transport, published: str) -> None:
    """Remove a package from its devices and from the driver store.

    Args:
        transport: Of the guest.
        published: The result of :func:`install_package`.

    Raises:
        ServiceError: Windows refused.
    """
    command = [PNPUTIL, "/delete-driver", published, "/uninstall", "/force"]
    result = transport.run(command, timeout=_TIMEOUT_S, shell=False)
    if result.exit_code not in (0, _REBOOT_REQUIRED):
        raise _refused(f"pnputil /delete-driver {published}", result)


def _refused(command: str, result: CommandResult) -> ServiceError:
    return ServiceError(
        command, result.exit_code, result.text, win32.describe(result.exit_code), hint=win32.lookup(result.exit_code).hint
    )

"""The lab's own data: image recipes, the guest's programs and drivers, the self-test.

In a checkout they are the top-level folders ``driver/`` and ``vm-images/``; in an installed wheel the same folders lie in the
package, below ``lab/_data``. Both are found from the package itself; the current folder does not matter.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from lab.errors import ConfigError

#: Below the package ``lab``, in a wheel.
DATA = "_data"
#: How to have all of it.
REINSTALL = "install the lab again: pip install --force-reinstall PATH (of the wheel or a checkout)"
#: What must be there, relative to :func:`data_root`; `lab doctor` looks at it.
NEEDED = (
    "ci/packages.txt",
    "ci/pipelines/own",
    "vm-images/wine/recipe.yaml",
    "vm-images/windows-common",
    "vm-images/tools",
    "driver/clients/drvprobe.driver.yaml",
    "driver/common",
    "driver/coverage/driver.yaml",
    "driver/relay/driver.yaml",
    "driver/wine-compat/driver.yaml",
    "driver/modlist/driver.yaml",
    "driver/selftest/driver.yaml",
)


def data_root(package: Path | None = None) -> Path:
    """The folder that holds ``driver/`` and ``vm-images/``.

    Args:
        package: Folder of the package ``lab``; None: this one's.

    Raises:
        ConfigError: It is not there: the installation is not complete.
    """
    base = package or _package()
    for folder in (base / DATA, base.parent):
        if (folder / "vm-images").is_dir() and (folder / "driver").is_dir():
            return folder
    raise ConfigError(
        f"this installation of the lab lacks its data: there is neither {base / DATA} nor a checkout around {base}",
        hint=REINSTALL,
    )


def installed(package: Path | None = None) -> bool:
    """Whether the lab runs from a wheel, and not from its checkout."""
    return ((package or _package()) / DATA).is_dir()


def checkout(what: str) -> Path:
    """The lab's checkout, for what only its developers do.

    Args:
        what: That, for the message.

    Raises:
        ConfigError: The lab runs from a wheel.
    """
    if installed():
        raise ConfigError(f"{what} needs a checkout of the lab; this one was installed", hint="clone it, pip install -e .")
    return data_root()


def missing(package: Path | None = None) -> tuple[str, ...]:
    """What of :data:`NEEDED` is not there; all of it where there is no data at all."""
    try:
        root = data_root(package)
    except ConfigError:
        return NEEDED
    return tuple(name for name in NEEDED if not (root / name).exists())


def _package() -> Path:
    # A wheel is always unpacked, so that a Traversable of it is a path; compilers and QEMU need real files.
    return Path(str(files("lab")))

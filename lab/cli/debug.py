"""`lab debug`: gdb on a guest that is up, with the drivers' symbols at their addresses."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from lab.cli.given import Given, takes_settings
from lab.cli.guest import detached_guests
from lab.cli.lend import lend_port
from lab.cli.resolved import drivers_of
from lab.config import Settings
from lab.errors import CommandFailed, ConfigError, HostToolError
from lab.guest.files import parse_sums, run_labfile
from lab.guest.protocol import Transport
from lab.image.folder import read_manifest
from lab.image.registry import kind_of
from lab.lease.detached import DetachedGuest, open_detached
from lab.lease.gdbstub import gdb_stub
from lab.live.modules import PROGRAM, loaded_modules
from lab.report.outdir import COPIES, LATEST
from lab.toolchain.build import build_drivers
from lab.toolchain.select import DriverPackage, read_packages
from lab.toolchain.symbols import LoadedSymbols, find_function, loaded_symbols

_GDBS = ("gdb", "gdb-multiarch")
_ASK_S = 60.0
#: After an interrupt gdb runs its last commands.
_END_S = 30.0
_STUCK = 1


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(debug)


@takes_settings("debug", helps={"drivers": "Driver whose symbols are used: folder, driver.yaml or .sys"})
def debug(
    given: Given,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Guest; may be left out if only one is up")] = None,
    breaks: Annotated[
        list[str] | None,
        typer.Option("--break", "-b", metavar="WHERE", help="Function of a driver, or FILE.c:LINE; may be repeated"),
    ] = None,
    batch: Annotated[
        bool, typer.Option("--batch", help="Wait for the first stop, run --command and detach; no terminal")
    ] = False,
    command: Annotated[
        list[str] | None,
        typer.Option("--command", "-c", metavar="GDB", help="With --batch: command at the stop; default: bt and info args"),
    ] = None,
    timeout: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="With --batch: deadline for the first stop")] = 300.0,
) -> None:
    """Debug the drivers that are loaded in a guest, with gdb and their sources.

    Load the driver first (`lab fork --load NAME`, or `sc start` in the guest), because its address is read once. While gdb
    has stopped the guest, commands in it wait, and may reach their deadlines. When you quit gdb, the guest runs on. Symbols
    come from the last run, or from the drivers of the lab file and --driver, if they belong to exactly the loaded file.

    This is for the free guest. For a Windows guest that was booted with its kernel debugger, the command lends the debugger
    port to WinDbg or ntoseye, and no print is lost.
    """
    guest = detached_guests().find(name)
    if command and not batch:
        raise ConfigError("--command needs --batch", hint="without --batch, type the commands at gdb's prompt")
    if batch and not breaks:
        raise ConfigError(
            "--batch needs --break: otherwise there is nothing to wait for", hint="for example --break DispatchRead"
        )
    kind = kind_of(read_manifest(guest.image_dir))
    if not kind.gdb:
        if breaks or given.options["drivers"]:
            raise ConfigError(
                f"guest {guest.name} is {kind.words.title}, and the lab cannot find the addresses of its drivers for gdb",
                hint="without --break and --driver, `lab debug` lends its debugger port to WinDbg or ntoseye",
            )
        lend_port(guest)
        return
    gdb = _gdb()
    with tempfile.TemporaryDirectory(prefix="lab-debug-") as scratch:
        settings = given.load()
        symbols = _symbols(guest, settings, Path(scratch))
        places = [place for where in breaks or () for place in _places(where, symbols)]
        for one in symbols:
            typer.echo(f"driver {one.name}: symbols of {one.file}, {len(one.functions)} functions", err=True)
        with gdb_stub(guest) as address:
            script = Path(scratch) / "lab.gdb"
            script.write_text(gdb_script(symbols, address, places, batch=batch, commands=command or ()), encoding="utf-8")
            code = _run_batch(gdb, script, timeout, guest) if batch else _run_terminal(gdb, script)
    raise typer.Exit(code)


def gdb_script(
    symbols: Sequence[LoadedSymbols], address: str, places: Sequence[str], *, batch: bool, commands: Sequence[str] = ()
) -> str:
    """The commands with which gdb starts.

    Args:
        symbols: Of the loaded drivers.
        address: Of QEMU's stub.
        places: Breakpoints, in gdb's syntax.
        batch: Wait for one stop, run ``commands`` and detach.
        commands: Commands of gdb.
    """
    lines = ["set pagination off", "set confirm off", "set architecture i386:x86-64"]
    lines += [f"add-symbol-file {_quoted(one.file)} -o {one.offset:#x}" for one in symbols]
    lines += [f"target remote {address}"]
    # gdb must not read the code in memory here: the processor is in another process, where that memory is not mapped.
    lines += [f"break {place}" for place in places]
    if batch:
        lines += [
            "echo lab: the guest runs until it reaches a breakpoint\\n",
            "continue",
            *(commands or ("bt", "info args")),
            "detach",
        ]
    return "\n".join(lines) + "\n"


def _quoted(path: Path) -> str:
    text = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def _places(where: str, symbols: list[LoadedSymbols]) -> list[str]:
    """A user's place in gdb's syntax: a line as it is, a function by its addresses."""
    if ":" in where or where.startswith("*"):
        return [where]
    return [f"*{address:#x}" for address in find_function(symbols, where)]


def _gdb() -> str:
    found = next((path for name in _GDBS if (path := shutil.which(name))), None)
    if found is None:
        raise HostToolError(["gdb"], None, message="gdb is not installed", hint="apt-get install gdb (or gdb-multiarch)")
    return found


def _symbols(guest: DetachedGuest, settings: Settings, scratch: Path) -> list[LoadedSymbols]:
    """The symbols of the drivers that are loaded in a guest.

    Raises:
        ConfigError: No driver with known symbols is loaded.
    """
    arch = read_manifest(guest.image_dir).arch
    [program] = build_drivers([PROGRAM], arch)
    transport = open_detached(guest)
    try:
        modules = loaded_modules(transport, program.path)
        packages = _packages(settings, scratch, guest)
        names = {package.image.name.lower() for package in packages}
        wanted = [module for module in modules if module.file in names]
        sums = {module.path: _sum(transport, module.path, guest) for module in wanted}
    finally:
        transport.close()
    found, other = [], []
    for module in wanted:
        package = next((one for one in packages if one.sha256 == sums[module.path]), None)
        if package is not None:
            found.append(loaded_symbols(package, module.base))
        else:
            other.append(module.path)
    if found:
        for path in other:
            typer.echo(f"lab: no symbols of {path}: the guest has loaded another build of it", err=True)
        return found
    if other:
        raise ConfigError(
            f"{', '.join(other)} in guest {guest.name} is another build than those of the last run, the lab file and --driver",
            hint="load the current build (`lab run --on`, `lab put`), or give the folder of the loaded build with --driver",
        )
    loaded = ", ".join(sorted(module.file for module in modules)) or "none"
    known = ", ".join(sorted(names)) or "none"
    raise ConfigError(
        f"no driver with symbols is loaded in guest {guest.name}: loaded are {loaded}; known are {known}",
        hint=f"`lab run-in-guest {guest.name} -- sc start SERVICE` loads one; --driver PATH adds symbols of one",
    )


def _packages(settings: Settings, scratch: Path, guest: DetachedGuest) -> list[DriverPackage]:
    """Drivers with symbols: of the last run, then of the present build."""
    latest = settings.project / settings.values.out / LATEST / COPIES
    found = list(read_packages(latest) or ()) if latest.is_dir() else []
    drivers = drivers_of(settings)
    drivers.check_paths()
    if drivers.paths:
        found += drivers.take(read_manifest(guest.image_dir).arch, into=scratch / COPIES)
    return found


def _sum(transport: Transport, path: str, guest: DetachedGuest) -> str:
    tools = read_manifest(guest.image_dir).tools_dir
    try:
        return next(iter(parse_sums(run_labfile(transport, "sum", path, tools_dir=tools, timeout=_ASK_S).text).values())).sha256
    except CommandFailed:
        return ""  # its file is gone, or replaced by another build


def _run_terminal(gdb: str, script: Path) -> int:
    """Run gdb in the terminal; gdb handles Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return subprocess.run([gdb, "-q", "-x", str(script)], check=False, preexec_fn=_default_interrupt).returncode
    finally:
        signal.signal(signal.SIGINT, before)


def _default_interrupt() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _run_batch(gdb: str, script: Path, timeout: float, guest: DetachedGuest) -> int:
    """Run gdb without a terminal; at the deadline it is interrupted, prints where the guest is, and detaches."""
    process = subprocess.Popen([gdb, "-nx", "-q", "-batch", "-x", str(script)], stdin=subprocess.DEVNULL)
    try:
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            sys.stderr.write(f"lab: the guest reached no breakpoint: guest {guest.name} within {timeout:g} s\n")
            process.send_signal(signal.SIGINT)
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                sys.stderr.write("lab: gdb did not end and is killed\n")
            return _STUCK
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()

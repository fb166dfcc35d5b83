r"""A double of a guest's programs: ``labfile.exe`` as it is documented, a drvprobe that stays, and parts of Windows.

Of Windows it has ``ipconfig.exe /renew``, and a ``powershell.exe`` that understands one line: :mod:`lab.image.windows.clock`'s.
The guest's clock is off the host's by the seconds in the file ``clock`` of drive C; ``refuse`` there is the text of an error.

Started as ``python labfile_double.py PROGRAM [ARGUMENTS…]``; arguments are split as Windows splits them, paths on ``C:`` are
looked up under the folder in the variable ``FAKE_DRIVE_C``; drive D is the folder in ``FAKE_DRIVE_D``. Waiting takes no time.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import sys
import tarfile
import time
from collections.abc import Iterable
from pathlib import Path


def windows_arguments(line: str) -> list[str]:
    """Split by the rules of CommandLineToArgvW, the program's name left out."""
    arguments: list[str] = []
    current: str | None = None
    quoted = False
    at = 0
    while at < len(line):
        char = line[at]
        if char == "\\":
            end = at
            while end < len(line) and line[end] == "\\":
                end += 1
            count = end - at
            before_quote = end < len(line) and line[end] == '"'
            current = (current or "") + "\\" * (count // 2 if before_quote else count)
            at = end
            if before_quote and count % 2:
                current += '"'
                at += 1
        elif char == '"':
            quoted = not quoted
            current = current or ""
            at += 1
        elif char in " \t" and not quoted:
            if current is not None:
                arguments.append(current)
            current = None
            at += 1
        else:
            current = (current or "") + char
            at += 1
    return arguments if current is None else [*arguments, current]


def unix(path: str, drive_c: Path) -> Path:
    """The host's path of a Windows path."""
    assert path[:3].lower() in ("c:\\", "c:/"), path
    return drive_c.joinpath(*path[3:].replace("\\", "/").split("/"))


def sums(place: Path, name: str) -> bytes:
    """Sum lines of a file or folder."""
    if place.is_file():
        data = place.read_bytes()
        return f"{hashlib.sha256(data).hexdigest()}  {len(data)}  {name}\r\n".encode()
    return b"".join(sums(p, p.relative_to(place).as_posix()) for p in sorted(place.rglob("*")) if p.is_file())


def labfile(arguments: list[str], drive_c: Path, stdin: bytes) -> tuple[int, bytes, bytes]:
    """Exit code and both streams of one call."""
    if arguments[0] in ("drive", "fetch"):
        return from_medium(arguments, drive_c, Path(os.environ["FAKE_DRIVE_D"]))
    verb, path = arguments
    place = unix(path, drive_c)
    if verb == "put":
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(stdin)
        return 0, sums(place, path), b""
    if verb == "untar":
        place.mkdir(parents=True, exist_ok=True)
        with tarfile.open(fileobj=io.BytesIO(stdin), mode="r:") as tar:
            names = [m.name for m in tar.getmembers() if m.isfile()]
            tar.extractall(place, filter="data")
        return 0, b"".join(sums(place / name, name) for name in names), b""
    if not place.exists():
        return 2, b"", f"labfile: cannot open: {path}: Win32 error 2\r\n".encode()
    if verb == "sum":
        return 0, sums(place, path), b""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        if place.is_file():
            tar.add(place, arcname=place.name)
        else:
            for inner in sorted(place.rglob("*")):
                tar.add(inner, arcname=inner.relative_to(place).as_posix(), recursive=False)
    return 0, stream.getvalue(), b""


def from_medium(arguments: list[str], drive_c: Path, drive_d: Path) -> tuple[int, bytes, bytes]:
    """The commands ``drive`` and ``fetch``."""
    verb, seconds, marker, *rest = arguments
    assert seconds.isdigit()
    if not (drive_d / marker).exists():
        return 21, b"", f"labfile: no drive has it: {marker}: Win32 error 21\r\n".encode()
    if verb == "drive":
        return 0, b"D:\\\r\n", b""
    (target,) = rest
    place = unix(target, drive_c)
    names = sorted(p.relative_to(drive_d).as_posix() for p in drive_d.rglob("*") if p.is_file() and p.name != marker)
    for name in names:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes((drive_d / name).read_bytes())
    return 0, b"".join(sums(place / name, name) for name in names), b""


def write_now(data: bytes) -> None:
    os.write(1, data)


def do_operation(text: str, number: int) -> None:
    """Do one, and write its line."""
    verb, _, rest = text.partition(" ")
    if verb == "exit":
        os._exit(int(rest))
    if verb == "hang":
        write_now(b"so far\n")
        time.sleep(600)
    if verb == "warn":
        sys.stderr.write(rest)
        sys.stderr.flush()
    said = rest if verb == "say" else str(os.getpid())
    line = {"seq": number, "op": verb, "thread": "main", "error": 0, "start_us": 1, "end_us": 2, "said": said}
    write_now(json.dumps(line).encode() + b"\n")


def serve() -> int:
    """What ``drvprobe.exe --serve`` does, with operations of its own, until the input's end.

    A script ``last`` is the last one that is read, ``deaf`` ends the process without a word."""
    while header := sys.stdin.buffer.readline():
        _, token, size = header.decode().split()
        script = sys.stdin.buffer.read(int(size)).decode()
        if script == "deaf":
            os._exit(9)
        write_now(f"begin {token}\n".encode())
        for number, text in enumerate(script.split("\n"), 1):
            do_operation(text, number)
        write_now(f"end {token}\n".encode())
        if script == "last":
            return 5
    return 0


def powershell(lines: Iterable[bytes], drive_c: Path) -> int:
    """What PowerShell does with the line that sets the clock; an empty line does nothing."""
    offset, log = drive_c / "clock", drive_c / "powershell.log"
    for line in lines:
        text = line.decode().strip()
        with log.open("a") as stream:
            stream.write(f"{os.getpid()} {text[:12]}\n" if text else "")
        if text == "exit":
            return 0
        if greeting := re.fullmatch(r"'(lab-clock \w+ ok 0 0)'", text):
            write_now(greeting[1].encode() + b"\r\n")
        if not (asked := re.search(r"DateTime\]::new\((\d+), .*'(lab-clock \w+) ok", text)):
            continue
        was = time.time() + float(offset.read_text())
        if (drive_c / "refuse").exists():
            write_now(f"{asked[2]} failed {(drive_c / 'refuse').read_text()}\r\n".encode())
            continue
        if not (drive_c / "deaf").exists():
            offset.write_text(str(int(asked[1]) / 1e7 - 62_135_596_800 - time.time()))
        now = time.time() + float(offset.read_text())
        ticks = [round((moment + 62_135_596_800) * 1e7) for moment in (was, now)]
        write_now(f"{asked[2]} ok {ticks[0]} {ticks[1]}\r\n".encode())
    return 0


def windows(program: str, arguments: list[str], drive_c: Path) -> int:
    """Run a program of Windows."""
    if program.endswith("ipconfig.exe"):
        with (drive_c / "network.log").open("a") as stream:
            stream.write(f"{' '.join(arguments)}\n")
        return 0
    if arguments[-2] == "-EncodedCommand":
        return powershell([base64.b64decode(arguments[-1]).decode("utf-16-le").encode()], drive_c)
    assert arguments[-2:] == ["-Command", "-"], arguments
    return powershell(sys.stdin.buffer, drive_c)


def main() -> int:
    """Run one program."""
    program, line = sys.argv[1], " ".join(sys.argv[2:])
    if program.lower().startswith(r"c:\windows\system32"):
        return windows(program.lower(), windows_arguments(line), Path(os.environ["FAKE_DRIVE_C"]))
    if line == "--serve":
        return serve()
    if program.lower() != r"c:\lab\bin\labfile.exe":
        return 2
    code, out, err = labfile(windows_arguments(line), Path(os.environ["FAKE_DRIVE_C"]), sys.stdin.buffer.read())
    sys.stdout.buffer.write(out)
    sys.stderr.buffer.write(err)
    return code


if __name__ == "__main__":
    raise SystemExit(main())

"""``drvprobe.exe`` as a model: its script language and its lines, see ``docs/drvprobe.md``."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from lab.guest.probescript import split_operations
from tests.kdguest.drivers import NOT_SUPPORTED, Irp, now_us
from tests.kdguest.system import INVALID_HANDLE, Handle, System

_IO_PENDING = 997
_WAIT_TIMEOUT = 258
_NOT_FOUND = 1168


class _Exit(Exception):
    pass


@dataclass(slots=True, eq=False)
class _Pended:
    irp: Irp
    handle: str
    tag: str | None
    fill: int
    start_us: int
    collected: bool = False


@dataclass(slots=True, eq=False)
class _Process:
    """Handles and tags of one process; its threads share them."""

    handles: dict[str, Handle | None] = field(default_factory=dict)
    pended: list[_Pended] = field(default_factory=list)

    def end(self, system: System) -> None:
        for handle in self.handles.values():
            if handle is not None:
                system.close(handle)


class Probe:
    """One run of a script.

    Args:
        system: The guest.
    """

    def __init__(self, system: System) -> None:
        self._system = system
        self._lines: list[dict[str, Any]] = []
        self._lock = threading.Lock()

    def run(self, script: str) -> tuple[int, bytes]:
        """Exit code and output."""
        main = _Process()
        code = 0
        listed: dict[str, list[str]] = {}
        try:
            for text in split_operations(script):
                if text[0] in "@$":
                    who, _, operation = text.partition(" ")
                    listed.setdefault(who, []).append(operation)
                elif text == "go":
                    self._go(main, listed)
                    listed = {}
                else:
                    self._do(main, "main", text)
        except _Exit as leave:
            code = int(str(leave) or 0)
        finally:
            main.end(self._system)
        return code, "".join(json.dumps(line) + "\n" for line in self._lines).encode()

    def _go(self, main: _Process, listed: dict[str, list[str]]) -> None:
        barrier = threading.Barrier(len(listed))
        errors: list[BaseException] = []

        def work(who: str, operations: list[str]) -> None:
            process = main if who[0] == "@" else _Process()
            try:
                barrier.wait(10)
                for text in operations:
                    self._do(process, who[1:], text)
            except _Exit:
                pass
            except BaseException as error:
                errors.append(error)
            finally:
                if process is not main:
                    process.end(self._system)
                    self._tell("ended", who[1:], now_us())

        threads = [threading.Thread(target=work, args=item, daemon=True) for item in listed.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]
        self._tell("go", "main", now_us())

    def _tell(self, op: str, thread: str, start: int, *, end: int | None = None, error: int = 0, **more: Any) -> None:
        kind = {"aread": "read", "wait": "read"}.get(op, op if op in ("read", "write", "ioctl") else None)
        line = {
            "op": op,
            "thread": thread,
            "kind": kind,
            "error": error,
            "start_us": start,
            "end_us": now_us() if end is None else end,
        }
        with self._lock:
            self._lines.append({"seq": len(self._lines) + 1, **line, **more})

    def _do(self, process: _Process, thread: str, text: str) -> None:
        verb, *rest = text.split()
        words = [word for word in rest if "=" not in word]
        options = dict(word.split("=", 1) for word in rest if "=" in word)
        getattr(self, f"_{verb}")(process, thread, words, options)

    def _open(self, process: _Process, thread: str, words: list[str], options: dict[str, str]) -> None:
        start = now_us()
        found = self._system.open(words[1], options.get("access", "r"), options.get("overlapped") == "1")
        process.handles[words[0]] = found if isinstance(found, Handle) else None
        self._tell("open", thread, start, error=found if isinstance(found, int) else 0, handle=words[0])

    def _close(self, process: _Process, thread: str, words: list[str], _options: dict[str, str]) -> None:
        start = now_us()
        handle = process.handles.pop(words[0])
        if handle is not None:
            self._system.close(handle)
        self._tell("close", thread, start, error=0 if handle else INVALID_HANDLE, handle=words[0])

    def _read(self, process: _Process, thread: str, words: list[str], options: dict[str, str]) -> None:
        length, fill = int(words[1], 0), int(options.get("fill", "cc"), 16)
        for _ in range(int(options.get("times", 1))):
            start = now_us()
            irp = self._begin_read(process, words[0], length)
            if isinstance(irp, Irp):
                self._system.wait(irp, 60)
            self._tell_read("read", thread, start, words[0], options.get("tag"), length, irp, fill)

    def _aread(self, process: _Process, thread: str, words: list[str], options: dict[str, str]) -> None:
        length, fill, tag = int(words[1], 0), int(options.get("fill", "cc"), 16), options.get("tag")
        for _ in range(int(options.get("times", 1))):
            start = now_us()
            irp = self._begin_read(process, words[0], length)
            error = irp if isinstance(irp, int) else _IO_PENDING
            if isinstance(irp, Irp):
                process.pended.append(_Pended(irp, words[0], tag, fill, start))
            self._tell("aread", thread, start, error=error, handle=words[0], tag=tag, asked=length)

    def _begin_read(self, process: _Process, name: str, length: int) -> Irp | int:
        handle = process.handles[name]
        return INVALID_HANDLE if handle is None else self._system.read(handle, length)

    def _wait(self, process: _Process, thread: str, words: list[str], options: dict[str, str]) -> None:
        deadline = time.monotonic() + int(options.get("timeout", 60000)) / 1000
        for pended in list(process.pended):
            if pended.collected or words[0] not in ("all", pended.tag):
                continue
            if self._system.wait(pended.irp, max(0.0, deadline - time.monotonic())):
                pended.collected = True
                irp = pended.irp
                self._tell_read("wait", thread, pended.start_us, pended.handle, pended.tag, irp.length, irp, pended.fill)
            else:
                about: dict[str, Any] = {"handle": pended.handle, "tag": pended.tag, "asked": pended.irp.length}
                self._tell("wait", thread, pended.start_us, error=_WAIT_TIMEOUT, **about)

    def _tell_read(
        self, op: str, thread: str, start: int, handle: str, tag: str | None, asked: int, irp: Irp | int, fill: int
    ) -> None:
        about: dict[str, Any] = {"handle": handle, "tag": tag, "asked": asked}
        if isinstance(irp, int):
            self._tell(op, thread, start, error=irp, returned=0, data="", text="", tail_intact=True, **about)
            return
        # Bytes that the driver did not write are unchanged: the client's own pages.
        data = irp.data.ljust(irp.returned, bytes((fill,)))
        text = data.split(b"\0")[0].decode("utf-8", "replace")
        about |= {"returned": irp.returned, "data": data.hex(), "text": text, "tail_intact": True}
        self._tell(op, thread, start, end=irp.end_us, error=irp.error, **about)

    def _cancel(self, process: _Process, thread: str, words: list[str], _options: dict[str, str]) -> None:
        start = now_us()
        wanted = [p for p in process.pended if not p.collected and words[0] in ("all", p.tag, p.handle)]
        handles = {name: handle for name, handle in process.handles.items() if handle is not None}
        accepted = [handles[p.handle].driver.cancel(p.irp) for p in wanted if p.handle in handles]
        error = 0 if any(accepted) else _NOT_FOUND
        self._tell("cancel", thread, start, error=error, asked=len(wanted), returned=sum(accepted))

    def _write(self, process: _Process, thread: str, words: list[str], options: dict[str, str]) -> None:
        error = INVALID_HANDLE if process.handles[words[0]] is None else NOT_SUPPORTED
        self._tell("write", thread, now_us(), error=error, handle=words[0], tag=options.get("tag"), asked=int(words[1]))

    def _ioctl(self, process: _Process, thread: str, words: list[str], options: dict[str, str]) -> None:
        start, handle = now_us(), process.handles[words[0]]
        error = INVALID_HANDLE if handle is None else handle.driver.control(int(words[1], 0))
        self._tell("ioctl", thread, start, error=error, handle=words[0], tag=options.get("tag"))

    def _sleep(self, _process: _Process, thread: str, words: list[str], _options: dict[str, str]) -> None:
        start = now_us()
        threading.Event().wait(int(words[0]) / 1000)
        self._tell("sleep", thread, start)

    def _tick(self, _process: _Process, thread: str, _words: list[str], _options: dict[str, str]) -> None:
        self._tell("tick", thread, now_us())

    def _service(self, _process: _Process, thread: str, words: list[str], _options: dict[str, str]) -> None:
        start = now_us()
        action, name = words
        error = self._system.start(name) if action == "start" else self._system.stop(name) if action == "stop" else 0
        self._tell("service", thread, start, error=error, returned=self._system.state_number(name))

    def _exit(self, _process: _Process, _thread: str, words: list[str], _options: dict[str, str]) -> None:
        raise _Exit(words[0] if words else "0")


def sync_reader(system: System) -> bytes:
    """The published sync client."""
    handle = system.open(r"\\.\LySharkSync", "r", False)
    if isinstance(handle, int):
        return b""
    lines = []
    for _ in range(5):
        irp = system.read(handle, 20)
        assert isinstance(irp, Irp)
        lines.append(f"读入数据: {irp.data.split(bytes(1))[0].decode()} -> 读取长度: {irp.returned} \r\n")
    system.close(handle)
    return "".join(lines).replace(" \r\n", "\r\n").encode()


def async_reader(system: System) -> bytes:
    """The published async client."""
    handle = system.open(r"\\.\LySharkAsync", "r", True)
    if isinstance(handle, int):
        return b""
    irps = [system.read(handle, 13) for _ in "ABC"]
    lines = []
    for letter, irp in zip("ABC", irps, strict=True):
        assert isinstance(irp, Irp)
        system.wait(irp, 60)
        lines.append(f"缓存LyShark {letter}: {irp.data.decode()}\r\n")
    system.close(handle)
    return "".join(lines).encode()

"""A VM whose monitor does what a test says, and a clock that only the test moves."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from lab.vm.qmp import CommandRefused, QmpEvent
from tests.machines import MachineDouble, MonitorDouble

#: What QEMU leaves of a format: the file's bytes, and the result of DUMP_COMPLETED; an error for a refused command.
Written = tuple[bytes, Mapping[str, Any]] | CommandRefused


def done(size: int) -> Mapping[str, Any]:
    return {"result": {"status": "completed", "total": size, "completed": size}}


def failed(reason: str) -> Mapping[str, Any]:
    return {"result": {"status": "failed", "total": 4096, "completed": 0}, "error": reason}


class FakeClock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class FakeMonitor(MonitorDouble):
    def __init__(self, dumps: Mapping[str, Written]) -> None:
        super().__init__()
        self.dumps = dumps
        self.commands: list[str] = []
        self.timeouts: list[float] = []
        self.answers: dict[str, Callable[[], object]] = {}
        #: Events that an NMI causes.
        self.after_nmi: tuple[tuple[str, Mapping[str, Any]], ...] = ()
        self.silent = False
        self.memory = 4096
        #: Answers to query-status; the last one stays.
        self.statuses = ["running"]
        #: Lines that an NMI adds to the console.
        self.said_after_nmi: list[str] = []
        self.console: list[str] = ["Linux boots", "login:"]

    def execute(self, command: str, arguments: Mapping[str, Any] | None = None, *, timeout: float = 10.0) -> Any:
        if command == "query-memory-size-summary":
            return {"base-memory": self.memory}
        if command == "query-status":
            return {"status": self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]}
        self.commands.append(command if not arguments else f"{command} {arguments.get('format')}")
        if command in self.answers:
            return self.answers[command]()
        if command == "inject-nmi":
            self.console += self.said_after_nmi
            for name, data in self.after_nmi:
                self.happen(name, data)
        elif command == "dump-guest-memory":
            assert arguments is not None
            written = self.dumps[arguments["format"]]
            if isinstance(written, CommandRefused):
                raise written
            assert arguments["detach"] is True
            Path(arguments["protocol"].removeprefix("file:")).write_bytes(written[0])
            if not self.silent:
                self.happen("DUMP_COMPLETED", written[1])
        return {}

    def wait_event(
        self,
        names: str | Collection[str],
        *,
        timeout: float,
        after: int = 0,
        where: Callable[[QmpEvent], bool] = lambda _event: True,
    ) -> QmpEvent:
        self.timeouts.append(timeout)
        return super().wait_event(names, timeout=timeout, after=after, where=where)


class FakeMachine(MachineDouble):
    def __init__(self, dumps: Mapping[str, Written] | None = None) -> None:
        super().__init__()
        self.monitor = FakeMonitor(dumps if dumps is not None else {"win-dmp": (b"PAGEDU64" + bytes(8184), done(8192))})
        self.immortal = False
        self.picture: Callable[[Path], Path] = self._picture

    @property
    def qmp(self) -> FakeMonitor:
        return self.monitor

    @staticmethod
    def _picture(target: Path) -> Path:
        target.write_bytes(b"\x89PNG")
        return target

    def screendump(self, target: Path, *, timeout: float = 10.0) -> Path:
        return self.picture(target)

    def console_tail(self, lines: int = 20) -> str:
        return "\n".join(self.qmp.console[-lines:])

    def kill(self) -> None:
        self.alive = self.immortal

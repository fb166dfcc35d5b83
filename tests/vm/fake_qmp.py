"""A monitor that records its commands, and answers with events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lab.errors import TransportError
from lab.vm.qmp import QmpEvent


class FakeQmp:
    """A double of :class:`lab.vm.qmp.Qmp`.

    Attributes:
        sent: Commands with their arguments.
        seen: Events so far.
        during: The event during each command; a closed tray by default.
        refuse: Raised by each command.
    """

    def __init__(self) -> None:
        self.sent: list[tuple[str, Mapping[str, Any]]] = []
        self.seen: list[QmpEvent] = []
        self.during: list[tuple[str, dict[str, Any]]] = [("DEVICE_TRAY_MOVED", {"id": "cd0", "tray-open": False})]
        self.refuse: Exception | None = None

    @property
    def event_count(self) -> int:
        return len(self.seen)

    def happen(self, name: str, data: dict[str, Any]) -> None:
        self.seen.append(QmpEvent(index=len(self.seen) + 1, name=name, data=data, qemu_time=0.0, host_time=0.0))

    def execute(self, command: str, arguments: Mapping[str, Any] | None = None, *, timeout: float = 10.0) -> Any:
        if self.refuse:
            raise self.refuse
        self.sent.append((command, arguments or {}))
        for name, data in self.during:
            self.happen(name, data)
        return {}

    def wait_event(
        self, names: str, *, timeout: float, after: int = 0, where: Callable[[QmpEvent], bool] = lambda _event: True
    ) -> QmpEvent:
        for event in self.seen:
            if event.index > after and event.name == names and where(event):
                return event
        raise TransportError(f"no {names} event within {timeout:g} s")

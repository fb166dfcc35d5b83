"""The rest of the model: services, handles, and the programs that a transport can run."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.kdguest.drivers import AsyncDriver, Driver, Irp, SyncDriver
from tests.kdguest.kernel import Kernel, Memory
from tests.kdguest.target import KernelStopped

FILE_NOT_FOUND = 2
ACCESS_DENIED = 5
INVALID_HANDLE = 6
DOES_NOT_EXIST = 1060
ALREADY_RUNNING = 1056
NOT_ACTIVE = 1062
CANNOT_ACCEPT = 1061

_MODELS: dict[str, type[Driver]] = {"sync.sys": SyncDriver, "async.sys": AsyncDriver}
_LINKS = {r"\\.\LySharkSync": "sync.sys", r"\\.\LySharkAsync": "async.sys"}
_STATES = {"STOPPED": 1, "STOP_PENDING": 3, "RUNNING": 4}


@dataclass(slots=True)
class Service:
    """A driver service and, when it is loaded, its driver."""

    path: str
    base: int
    driver: Driver | None = None
    handles: int = 0
    stopping: bool = False

    @property
    def image(self) -> str:
        return self.path.rsplit("\\", 1)[-1]

    @property
    def state(self) -> str:
        return "STOPPED" if self.driver is None else "STOP_PENDING" if self.stopping else "RUNNING"


@dataclass(slots=True, eq=False)
class Handle:
    """An open device."""

    service: Service
    driver: Driver
    access: str
    overlapped: bool
    open: bool = True


@dataclass(slots=True)
class System:
    """An operating system with a service manager, and nothing else.

    With a memory, its services are in the guest: a fork has them, and the drivers that were loaded are loaded there. They have
    not done anything yet: a template's drivers were not used.
    """

    kernel: Kernel
    services: dict[str, Service] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)
    memory: Memory | None = None

    def __post_init__(self) -> None:
        text = self.memory.fetch() if self.memory is not None else ""
        for name, (path, base, loaded) in json.loads(text or "{}").items():
            self.services[name] = service = Service(path, base)
            if loaded:
                service.driver = _MODELS[service.image](self.kernel)

    def _save(self) -> None:
        if self.memory is not None:
            services = {name: (one.path, one.base, one.driver is not None) for name, one in self.services.items()}
            self.memory.store(json.dumps(services))

    def create(self, name: str, path: str) -> int:
        with self.lock:
            self.services[name] = Service(path, 0xFFFFFFFF_F7A00000 + 0x10000 * len(self.services))
            self._save()
        return 0

    def start(self, name: str) -> int:
        with self.lock:
            service = self.services.get(name)
            if service is None:
                return DOES_NOT_EXIST
            if service.driver is not None:
                return ALREADY_RUNNING
            self.kernel.load(rf"\??\{service.path}", service.base, 0x6000)
            service.driver = _MODELS[service.image](self.kernel)
            self._save()
        return 0

    def stop(self, name: str) -> int:
        with self.lock:
            service = self.services.get(name)
            if service is None:
                return DOES_NOT_EXIST
            if service.driver is None:
                return NOT_ACTIVE
            if service.stopping:
                return CANNOT_ACCEPT
            service.stopping = True
            self._unload_unused(service)
        return 0

    def state(self, name: str) -> str | None:
        service = self.services.get(name)
        return None if service is None else service.state

    def state_number(self, name: str) -> int:
        return _STATES[self.state(name) or "STOPPED"]

    def open(self, link: str, access: str, overlapped: bool) -> Handle | int:
        """A handle, or the error."""
        with self.lock:
            for service in self.services.values():
                if service.image == _LINKS.get(link) and service.driver is not None and not service.stopping:
                    service.handles += 1
                    return Handle(service, service.driver, access, overlapped)
        return FILE_NOT_FOUND

    def close(self, handle: Handle) -> None:
        with self.lock:
            if not handle.open:
                return
            handle.open = False
            handle.driver.cleanup(handle)
            handle.service.handles -= 1
            self._unload_unused(handle.service)

    def read(self, handle: Handle, length: int) -> Irp | int:
        """A read under way, or the error."""
        if not handle.open:
            return INVALID_HANDLE
        if "r" not in handle.access:
            return ACCESS_DENIED
        return handle.driver.read(length, handle)

    def wait(self, irp: Irp, timeout: float) -> bool:
        """Wait for a read's end, as long as the kernel runs."""
        return self._until(irp.done.is_set, irp.done.wait, timeout)

    def _until(self, done: Callable[[], bool], wait: Callable[[float], bool], timeout: float) -> bool:
        step = 0.2
        while not done():
            if self.kernel.stopped:
                raise KernelStopped
            if timeout <= 0:
                return False
            wait(min(step, timeout))
            timeout -= step
        return True

    def _unload_unused(self, service: Service) -> None:
        if service.stopping and service.handles == 0 and service.driver is not None:
            service.driver.unload()
            service.driver = None
            service.stopping = False
            self._save()
            self.kernel.unload(rf"\??\{service.path}", service.base, 0x6000)

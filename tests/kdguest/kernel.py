"""What the model's drivers need of a kernel: whether its prints go through a debugger port or through the print relay."""

from __future__ import annotations

from typing import Protocol


class Kernel(Protocol):
    """A kernel that prints. Its methods raise ``KernelStopped`` once nothing runs any more."""

    @property
    def stopped(self) -> bool:
        """Whether nothing runs any more."""

    def print(self, raw: bytes, cpu: int = 0) -> None:
        """One DbgPrint call."""

    def load(self, path: str, base: int, size: int) -> None:
        """Report that an image was loaded."""

    def unload(self, path: str, base: int, size: int) -> None:
        """Report that an image was unloaded."""

    def breakpoint(self) -> int:
        """Stop at an int3 until the host continues; returns how far it moved the instruction pointer."""

    def bugcheck(self, code: int, *parameters: int) -> None:
        """End: nothing runs any more."""

    def give_up(self) -> None:
        """Lose prints, as the transport of this kernel can."""


class Memory(Protocol):
    """The memory of a guest, which is part of its snapshots."""

    def store(self, text: str) -> None:
        """Keep a text."""

    def fetch(self) -> str:
        """The text of the last :meth:`store`; empty if there was none."""

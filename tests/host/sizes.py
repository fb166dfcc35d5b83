"""A kind for the tests of lab.host.plugins: units of length."""

from __future__ import annotations

from typing import Protocol


class Size(Protocol):
    unit: str

    def metres(self) -> float: ...


class Metre:
    unit = "m"

    def metres(self) -> float:
        return 1.0


METRE = Metre()

"""The time, from outside (design decision 8)."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Tells the time: seconds since the epoch, UTC."""

    def __call__(self) -> float: ...

"""When to try again."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Retry:
    """Waits that grow: ``quick`` of them from ``base`` seconds on, doubling; then ``slowest`` each.

    ``chance`` gives numbers from 0 to 1; waits are spread by a quarter, so that
    many knocks that failed together do not come back together.
    """

    base: float = 1.0
    quick: int = 5
    slowest: float = 300.0
    chance: Callable[[], float] = random.random

    def wait(self, attempts: int) -> float:
        """Seconds to wait after so many tries that had no usable answer (0: after the first)."""
        wait = self.base * 2.0**attempts if attempts < self.quick else self.slowest
        return min(wait, self.slowest) * (0.75 + 0.5 * self.chance())

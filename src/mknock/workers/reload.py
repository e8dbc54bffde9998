"""Notices that the description of the doors has changed, and takes it over if it is right."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from mknock.domain.doors import Door
from mknock.services.doors import Doors
from mknock.telemetry import get_logger

log = get_logger(__name__)

Stamp = tuple[int, int, int] | None
"""When a file was changed, its size, and which file it is; None for none."""


@dataclass(frozen=True, slots=True)
class Described:
    """One reading of the description: the doors, or what is wrong with it; and the files it was read from."""

    doors: tuple[Door, ...]
    sources: tuple[Path, ...]
    problems: tuple[str, ...] = ()


class Reload:
    """Looks at the files every now and then; what was described wrongly changes nothing.

    ``on_change`` is called with the doors that there are now. While something is
    wrong it is read at every look, since what is missing may be
    in a file that is not there yet.
    """

    def __init__(
        self,
        doors: Doors,
        read: Callable[[], Described],
        sources: tuple[Path, ...],
        *,
        on_change: Callable[[tuple[Door, ...]], Awaitable[None]],
    ) -> None:
        self._doors = doors
        self._read = read
        self._sources = sources
        self._seen = _stamps(sources)
        self._on_change = on_change
        self._asked = False
        self.problem = ""
        """What is wrong with the description, in sentences for the owner; "" when nothing is."""

    def ask(self) -> None:
        """Read anew at the next look, whatever the files look like."""
        self._asked = True

    async def tick(self, _: float) -> int:
        """Look whether something has changed; return whether there are other doors now."""
        stamps = _stamps(self._sources)
        if stamps == self._seen and not self._asked and not self.problem:
            return 0
        self._asked = False
        described = self._read()
        self._seen = stamps if described.sources == self._sources else _stamps(described.sources)
        self._sources = described.sources
        return int(await self._take_over(described))

    async def _take_over(self, described: Described) -> bool:
        before, self.problem = self.problem, " ".join(described.problems)
        if self.problem:
            if self.problem != before:
                log.error("the doors stay as they were: their description is wrong", why=self.problem)
            return False
        if described.doors == self._doors.as_described:
            return False
        self._doors.describe(described.doors)
        log.info("there are other doors", doors=[door.slug for door in described.doors])
        await self._on_change(described.doors)
        return True


def _stamps(sources: tuple[Path, ...]) -> tuple[Stamp, ...]:
    return tuple(map(_stamp, sources))


def _stamp(path: Path) -> Stamp:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino

"""The doors of this installation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from mknock.domain.doors import Door
from mknock.domain.knocks import Knock


class Doors:
    """Finds a door by its slug, or by default the first."""

    def __init__(self, *doors: Door) -> None:
        self._doors = {door.slug: door for door in doors}
        self._first = doors[0].slug

    @property
    def first(self) -> Door:
        return self._doors[self._first]

    def get(self, slug: str) -> Door | None:
        return self._doors.get(slug)

    def of(self, knock: Knock) -> Door:
        """The door a knock came by; the first if that one is gone."""
        return self._doors.get(knock.door) or self.first

    def __iter__(self) -> Iterator[Door]:
        return iter(tuple(self._doors.values()))

    def learn_server(self, server: str) -> None:
        """People who type only their name live on the bot's own server, unless the owner named another."""
        for slug, door in self._doors.items():
            if door.reading.default_server is None:
                self._doors[slug] = replace(door, reading=replace(door.reading, default_server=server))

"""The doors of this installation, as they are described and as they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from mknock.domain.doors import Door, Latecomers, Policy
from mknock.domain.knocks import Knock


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a door leads whose room was replaced. ``described`` is the room that the owner gave it."""

    described: str
    now: str
    """The room that it leads to."""
    past: tuple[str, ...] = ()
    """The rooms that it led to before."""
    replaced: bool = False
    """The room of now was replaced too, by one that Knock may not follow to."""
    since: float = 0.0
    settled: bool = False
    """Every knock of the rooms before was brought along."""


class Doors:
    """Finds a door by its slug, or by default the first.

    What is learned of doors (the homeserver's name, where a replaced room went)
    stays when they are described anew.
    """

    def __init__(self, *doors: Door) -> None:
        self._server = ""
        self._standings: Mapping[str, Standing] = {}
        self.describe(doors)

    @property
    def first(self) -> Door:
        return self._first

    def get(self, slug: str) -> Door | None:
        return self._doors.get(slug)

    def of(self, knock: Knock) -> Door:
        """The door a knock came by. One that is gone leads nowhere new: it has the knock's own room, and is quiet."""
        return self._doors.get(knock.door) or Door(
            knock.door,
            knock.room_id,
            policy=Policy.CLOSED,
            latecomers=Latecomers(reminders=(), lifetime=self._first.latecomers.lifetime),
        )

    @property
    def rooms(self) -> list[str]:
        """The rooms that Knock acts or writes in: those of the doors, and those of their moderators."""
        rooms = (room for door in self for room in (door.room_id, door.moderators_room) if room)
        return list(dict.fromkeys(rooms))

    @property
    def as_described(self) -> tuple[Door, ...]:
        """The doors as their owner describes them, with the rooms that they gave them."""
        return tuple(self._described.values())

    def __iter__(self) -> Iterator[Door]:
        return iter(tuple(self._doors.values()))

    def __len__(self) -> int:
        return len(self._doors)

    def describe(self, doors: Iterable[Door]) -> None:
        """Take these doors, of which there is one at least, instead of those there were."""
        self._described = {door.slug: door for door in doors}
        self._settle()

    def learn_server(self, server: str) -> None:
        """People who type only their name live on the bot's own server, unless the owner named another."""
        if server != self._server:
            self._server = server
            self._settle()

    def learn_standings(self, standings: Mapping[str, Standing]) -> None:
        """Replaced rooms: where each of these doors leads, by slug."""
        if standings != self._standings:
            self._standings = dict(standings)
            self._settle()

    def _settle(self) -> None:
        self._doors = {slug: self._as_it_is(door) for slug, door in self._described.items()}
        self._first = next(iter(self._doors.values()))

    def _as_it_is(self, door: Door) -> Door:
        if door.reading.default_server is None and self._server:
            door = replace(door, reading=replace(door.reading, default_server=self._server))
        standing = self._standings.get(door.slug)
        if standing is None or standing.described != door.room_id:
            return door
        return replace(door, room_id=standing.now, replaced=standing.replaced)

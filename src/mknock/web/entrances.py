"""The addresses below which a visitor finds a door's form: the door's own, or that of an invite link.

A link's page tells whether the link is still good for something, and that is
all: what became of whoever came by it changes nothing on it (promise 6).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Protocol
from urllib.parse import quote

from starlette.requests import Request

from mknock.domain.doors import Door, Page
from mknock.domain.links import InviteLink, hash_of
from mknock.ports import Clock
from mknock.services.doors import Doors
from mknock.web.answers import language_of


@dataclass(frozen=True, slots=True)
class Entrance:
    """Where a visitor stands. The door has a page here, if need be the plainest one."""

    door: Door
    page: Page
    path: str
    """Its address below that of Knock."""
    link: InviteLink | None = None
    is_open: bool = True
    """Whether one can knock here."""

    @property
    def last(self) -> str:
        """The last part of the address, from which relative addresses go on."""
        return self.path.rpartition("/")[2]

    @property
    def token_hash(self) -> str:
        return self.link.token_hash if self.link else ""


class Finds(Protocol):
    """Finds the entrance that a request is about; None if there is none."""

    async def __call__(self, request: Request, /) -> Entrance | None: ...


@dataclass(frozen=True, slots=True)
class Entrances:
    """``link`` finds an invite link by the hash of its token."""

    doors: Doors
    link: Callable[[str], Awaitable[InviteLink | None]]
    clock: Clock

    async def own(self, request: Request) -> Entrance | None:
        """The entrance of a door with a page of its own."""
        door = self.doors.get(request.path_params["slug"])
        if door is None or door.page is None:
            return None
        return Entrance(door, door.page, f"d/{door.slug}")

    async def by_link(self, request: Request) -> Entrance | None:
        """The entrance of an invite link, be it open or not."""
        token = request.path_params["token"]
        token_hash = hash_of(token)
        link = await self.link(token_hash) if token_hash else None
        door = self.doors.get(link.door) if link else None
        if link is None or door is None:
            return None
        page = door.page or Page(language_of(request)["page"]["untitled"])
        return Entrance(replace(door, page=page), page, f"i/{quote(token)}", link, link.is_open(self.clock()))

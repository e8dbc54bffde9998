"""Invite links: made and revoked by moderators."""

from __future__ import annotations

import unicodedata
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from mknock.domain.chance import new_id
from mknock.domain.errors import InvalidLink, NotFound
from mknock.domain.links import (
    LONGEST_GREETING,
    LONGEST_LABEL,
    MOST_USES,
    InviteLink,
    LinkStatistics,
    hash_of,
    new_token,
    token_in,
)
from mknock.ports import Clock, Entry, Store
from mknock.services.doors import Doors

SHORTEST = 60.0
"""Seconds that a link has to be good for at least: a shorter life is a slip of the keyboard."""
LONGEST = 10 * 365 * 86400.0
USUAL_LIFE = 7 * 86400.0
"""Seconds that a link lasts if nobody says otherwise: one that was forgotten should not stay open."""
PAGE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a moderator wants of a new link. ``door`` "" is the first one; ``lasts`` is in seconds."""

    door: str = ""
    label: str = ""
    greeting: str = ""
    uses: int | None = 1
    lasts: float | None = USUAL_LIFE
    skips_review: bool = False


@dataclass(frozen=True, slots=True)
class MadeLink:
    """A new link, with the token that is shown now and never again."""

    link: InviteLink
    token: str

    @property
    def path(self) -> str:
        """Its address below that of Knock."""
        return f"/i/{self.token}"


class LinkMaker:
    """Makes invite links, tells what became of them, and revokes them."""

    def __init__(self, store: Store, doors: Doors, clock: Clock) -> None:
        self._store = store
        self._doors = doors
        self._clock = clock

    async def make(self, wish: Wish, *, actor: str) -> MadeLink:
        """Make a link. Its token is in what is returned, and nowhere else.

        Raises:
            InvalidLink: what is wished cannot be done; the text says why.
            NotFound: there is no such door.
        """
        now, token = self._clock(), new_token()
        link = InviteLink(
            id=new_id(now),
            token_hash=hash_of(token),
            door=self._door(wish.door),
            label=_line(wish.label),
            author=actor,
            created_at=now,
            expires_at=None if wish.lasts is None else now + _life(wish.lasts),
            uses=_uses(wish.uses),
            skips_review=wish.skips_review,
            greeting=_greeting(wish.greeting),
        )
        await self._store.add_link(link, Entry(at=now, actor=actor, action="make link"))
        return MadeLink(link, token)

    async def revoke(self, which: str, *, actor: str, reason: str = "") -> InviteLink:
        """Revoke a link, named by its id, its address, or its token.

        Raises:
            NotFound: there is no such link.
        """
        named = await self._store.link(hash_of(token_in(which)))
        entry = Entry(at=self._clock(), actor=actor, action="revoke link", reason=reason)
        link = await self._store.revoke_link(named.id if named else which.strip().upper(), entry)
        if link is None:
            raise NotFound(
                "There is no such invite link: give its id, as mknock links list shows it, or its address."
            )
        return link

    async def links(self) -> AsyncIterator[InviteLink]:
        """All links, oldest first."""
        page = await self._store.links(limit=PAGE)
        while page:
            for link in page:
                yield link
            page = await self._store.links(after=page[-1].id, limit=PAGE)

    async def statistics(self) -> Mapping[str, LinkStatistics]:
        """What became of the knocks that came by a link, by the link's id."""
        return await self._store.link_statistics()

    def _door(self, slug: str) -> str:
        door = self._doors.get(slug) if slug else self._doors.first
        if door is None:
            there = ", ".join(each.slug for each in self._doors)
            raise NotFound(f"There is no door {slug[:64]!r}; there are: {there}.")
        return door.slug


def _line(text: str) -> str:
    """A moderator's own words, on one line."""
    line = " ".join("".join(c if unicodedata.category(c)[0] != "C" else " " for c in text).split())
    if len(line) > LONGEST_LABEL:
        raise InvalidLink(f"The label is longer than {LONGEST_LABEL} characters.")
    return line


def _greeting(text: str) -> str:
    if len(text) > LONGEST_GREETING:
        raise InvalidLink(f"The greeting is longer than {LONGEST_GREETING} characters.")
    return text.strip()


def _uses(uses: int | None) -> int | None:
    if uses is not None and not 1 <= uses <= MOST_USES:
        raise InvalidLink(f"A link is good for 1 to {MOST_USES} knocks, or for any number of them.")
    return uses


def _life(lasts: float) -> float:
    if not SHORTEST <= lasts <= LONGEST:
        raise InvalidLink("A link lasts for a minute at least and for ten years at most, or without end.")
    return lasts

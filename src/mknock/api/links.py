"""The endpoints for invite links, behind the API key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr

from mknock.api.access import AdminKey
from mknock.api.guard import guarded
from mknock.api.reference import problems
from mknock.api.shapes import Count
from mknock.domain.knocks import KnockState
from mknock.domain.links import (
    LONGEST_GREETING,
    LONGEST_LABEL,
    MOST_USES,
    InviteLink,
    LinkStatistics,
    LinkStatus,
)
from mknock.services.link_making import LONGEST, SHORTEST, USUAL_LIFE, LinkMaker, Wish

ACTOR = "api"


class NewLink(BaseModel):
    """What the link is to be."""

    model_config = ConfigDict(extra="forbid")

    door: Annotated[StrictStr, Field(max_length=64)] = Field(
        "", description="The slug of the door; absent: the first."
    )
    label: Annotated[StrictStr, Field(max_length=LONGEST_LABEL)] = Field(
        "", description="Whom or what it is for; moderators alone see it.", examples=["Tara, from the fair"]
    )
    greeting: Annotated[StrictStr, Field(max_length=LONGEST_GREETING)] = Field(
        "", description="Markdown above the door's own text."
    )
    uses: Annotated[StrictInt, Field(ge=1, le=MOST_USES)] | None = Field(
        1, description="How many knocks it is good for; null for any number."
    )
    expires_in: Annotated[float, Field(ge=SHORTEST, le=LONGEST)] | None = Field(
        USUAL_LIFE, description="Seconds after which it ends; null for never."
    )
    skip_review: StrictBool = Field(
        False, description="Let in without a moderator whoever passes the checks, at a closed door too."
    )

    @property
    def wish(self) -> Wish:
        return Wish(
            door=self.door,
            label=self.label,
            greeting=self.greeting,
            uses=self.uses,
            lasts=self.expires_in,
            skips_review=self.skip_review,
        )


class NamedLink(BaseModel):
    """Which link is meant."""

    model_config = ConfigDict(extra="forbid")

    link: Annotated[StrictStr, Field(max_length=2000)] = Field(
        description="Its id or its address.", examples=["01JD3Y1V2H8Z0000000000000"]
    )


class LinkShape(BaseModel):
    """An invite link, without its token."""

    id: str
    door: str = Field(description="The slug of the door that it leads to.")
    label: str = Field(description="Whom or what it is for.")
    author: str = Field(description="Who made it.")
    status: LinkStatus
    uses: int | None = Field(description="How many knocks it is good for; null for any number.")
    used: int = Field(description="How many of them were used.")
    skip_review: bool = Field(description="Whether nobody who comes by it waits for a moderator.")
    greeting: str
    created_at: float
    expires_at: float | None = Field(description="When it ends; null for never.")
    revoked_at: float | None = Field(description="When it was revoked; null if it was not.")
    knocks: dict[KnockState, int] = Field(
        description="How many knocks that came by it are in which state now."
    )

    @classmethod
    def of(cls, link: InviteLink, now: float, statistics: LinkStatistics | None = None) -> LinkShape:
        return cls(
            id=link.id,
            door=link.door,
            label=link.label,
            author=link.author,
            status=link.status(now),
            uses=link.uses,
            used=link.used,
            skip_review=link.skips_review,
            greeting=link.greeting,
            created_at=link.created_at,
            expires_at=link.expires_at,
            revoked_at=link.revoked_at,
            knocks=dict(statistics.knocks) if statistics else {},
        )


class Links(BaseModel):
    """Invite links, oldest first."""

    links: list[LinkShape]
    count: Count


class MadeLinkShape(BaseModel):
    """A new link with its address, which is shown this once."""

    link: LinkShape
    path: str = Field(description="Its address below that of Knock. A secret: whoever has it can knock.")
    url: str | None = Field(description="Its whole address; null if PUBLIC_URL is not set.")


def links_router(maker: LinkMaker, key: AdminKey, clock: Callable[[], float], public_url: str) -> APIRouter:
    """Build the router; every endpoint in it asks for the API key first."""
    router = APIRouter(route_class=guarded(key.check), tags=["admin"], responses=problems(401, 503))

    @router.get("/links")
    async def links() -> Links:
        """All invite links, with what became of whoever came by them."""
        statistics, now = await maker.statistics(), clock()
        listed = [LinkShape.of(link, now, statistics.get(link.id)) async for link in maker.links()]
        return Links(links=listed, count=len(listed))

    @router.post("/links", responses=problems(404, 413, 422))
    async def make_link(new: NewLink) -> MadeLinkShape:
        """Make an invite link. Its address is in the answer, and nowhere else from then on."""
        made = await maker.make(new.wish, actor=ACTOR)
        url = f"{public_url}{made.path}" if public_url else None
        return MadeLinkShape(link=LinkShape.of(made.link, clock()), path=made.path, url=url)

    @router.delete("/links", responses=problems(404, 413, 422))
    async def revoke_link(named: NamedLink) -> LinkShape:
        """Let nobody knock by a link any more. Who has knocked by it already is not touched."""
        return LinkShape.of(await maker.revoke(named.link, actor=ACTOR), clock())

    return router

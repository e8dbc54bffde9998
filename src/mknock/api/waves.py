"""The endpoints for raids and their waves, behind the API key."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictStr

from mknock.api.access import AdminKey
from mknock.api.guard import guarded
from mknock.api.reference import problems
from mknock.api.shapes import Count, Knocks, KnockShape, ReasonText
from mknock.domain.raids import Cause, Raid
from mknock.services.waves import Decided, Preview, Waves

ACTOR = "api"
LONGEST = 365 * 86400.0

_Door = Annotated[StrictStr, Field(max_length=64, description="The door's slug.", examples=["main"])]
_Wave = Annotated[
    StrictStr,
    Field(
        max_length=64,
        description="The raid's id, as listed; or a door's slug, for its newest.",
        examples=["main"],
    ),
]
_InQuery = Annotated[
    str,
    Query(
        max_length=64,
        description="The raid's id, as listed; or a door's slug, for its newest.",
        examples=["main"],
    ),
]


class RaidBeginning(BaseModel):
    """At which door everybody is to be held."""

    model_config = ConfigDict(extra="forbid")

    door: _Door
    seconds: Annotated[float, Field(gt=0, le=LONGEST)] | None = Field(
        None, description="How long; absent: until somebody ends it."
    )


class RaidEnding(BaseModel):
    """At which door nobody is to be held for a raid any longer."""

    model_config = ConfigDict(extra="forbid")

    door: _Door
    quiet: Annotated[float, Field(gt=0, le=LONGEST)] | None = Field(
        None, description="Seconds in which none begins by itself; absent: the door's calm."
    )


class WaveChoice(BaseModel):
    """Which wave is meant, and who of it is left alone."""

    model_config = ConfigDict(extra="forbid")

    wave: _Wave
    spare: Annotated[list[StrictStr], Field(max_length=5000)] = Field(
        default_factory=list, description="Ids of knocks that go on waiting."
    )
    reason: ReasonText | None = None


class WaveRefusal(WaveChoice):
    """Which wave to refuse."""

    block: StrictBool = Field(False, description="Put everybody on the block-list as well.")


class RaidShape(BaseModel):
    """A raid, and by its id the wave of those who were held in it."""

    id: str
    door: str = Field(description="The door's slug.")
    cause: Cause
    detail: str = Field(description="The first sign of it, in words.")
    on: bool = Field(description="Whether everybody at the door is held for it now.")
    started_at: float
    started_by: str = Field(description="knock itself, or who began it.")
    ends_at: float | None = Field(
        description="When it ends unless there are new signs; null: when somebody ends it."
    )
    ended_at: float | None
    ended_by: str = Field(description="knock itself, or who ended it.")

    @classmethod
    def of(cls, raid: Raid, now: float) -> RaidShape:
        return cls(
            id=raid.id,
            door=raid.door,
            cause=raid.cause,
            detail=raid.detail,
            on=raid.is_on(now),
            started_at=raid.started_at,
            started_by=raid.started_by,
            ends_at=raid.ends_at,
            ended_at=raid.ended_at,
            ended_by=raid.ended_by,
        )


class RaidsShape(BaseModel):
    """Raids, newest first; at most 100."""

    raids: list[RaidShape]
    count: Count


class WaveShape(BaseModel):
    """What a wave is like."""

    raid: RaidShape
    held: int = Field(description="How many still wait.")
    states: dict[str, int] = Field(
        description="How many were held in all, by the state that they are in now."
    )
    reasons: dict[str, int] = Field(
        description="What those who wait do so for. With the wave only who waits for the raid is approved."
    )
    people: list[str] = Field(description="The first ten who wait.")
    likenesses: dict[str, int] = Field(description="What most names have in common, and how many.")
    servers: dict[str, int] = Field(description="Where most come from, and how many.")
    signals: dict[str, int] = Field(description="Risk signals, and how many have them.")

    @classmethod
    def of(cls, preview: Preview, now: float) -> WaveShape:
        return cls(
            raid=RaidShape.of(preview.raid, now),
            held=preview.held,
            states={state.value: count for state, count in preview.states.items()},
            reasons={reason.value: count for reason, count in preview.reasons.items()},
            people=list(preview.people),
            likenesses=dict(preview.likenesses),
            servers=dict(preview.servers),
            signals=dict(preview.signals),
        )


class WaveDecided(BaseModel):
    """What became of a wave."""

    wave: str = Field(description="The raid's id.")
    decided: int = Field(description="How many knocks were decided.")
    left: int = Field(description="How many still wait: spared, or waiting for something else as well.")

    @classmethod
    def of(cls, done: Decided) -> WaveDecided:
        return cls(wave=done.raid.id, decided=done.decided, left=done.left)


def waves_router(waves: Waves, key: AdminKey) -> APIRouter:
    """Build the router; every endpoint in it asks for the API key first."""
    router = APIRouter(route_class=guarded(key.check), tags=["admin"], responses=problems(401, 503))
    _add_raids(router, waves)
    _add_waves(router, waves)
    return router


def _add_raids(router: APIRouter, waves: Waves) -> None:
    @router.get("/raids")
    async def raids() -> RaidsShape:
        """The newest raids, those that are on among them."""
        shapes = [RaidShape.of(raid, waves.now()) for raid in await waves.raids()]
        return RaidsShape(raids=shapes, count=len(shapes))

    @router.post("/start_raid", responses=problems(404, 413, 422))
    async def start_raid(beginning: RaidBeginning) -> RaidShape:
        """Hold everybody who knocks at a door from now on."""
        raid = await waves.start(beginning.door, actor=ACTOR, lasting=beginning.seconds)
        return RaidShape.of(raid, waves.now())

    @router.post("/end_raid", responses=problems(404, 413, 422))
    async def end_raid(ending: RaidEnding) -> RaidShape:
        """End the raid at a door. Who is held still waits for a decision."""
        return RaidShape.of(await waves.end(ending.door, actor=ACTOR, quiet=ending.quiet), waves.now())


def _add_waves(router: APIRouter, waves: Waves) -> None:
    @router.get("/wave", responses=problems(404, 422))
    async def wave(wave: _InQuery) -> WaveShape:
        """What a wave is like, to be looked at before it is decided."""
        return WaveShape.of(await waves.preview(wave), waves.now())

    @router.get("/held_in_wave", responses=problems(404, 422))
    async def held_in_wave(wave: _InQuery) -> Knocks:
        """The knocks of a wave that still wait, oldest first."""
        knocks = [KnockShape.of(knock) for knock in await waves.held(wave)]
        return Knocks(knocks=knocks, count=len(knocks))

    @router.post("/approve_wave", responses=problems(404, 413, 422))
    async def approve_wave(choice: WaveChoice) -> WaveDecided:
        """Admit everybody of a wave who waits for the raid alone; the invites go out at their pace."""
        return WaveDecided.of(
            await waves.approve(choice.wave, actor=ACTOR, reason=choice.reason or "", spare=choice.spare)
        )

    @router.post("/refuse_wave", responses=problems(404, 413, 422))
    async def refuse_wave(choice: WaveRefusal) -> WaveDecided:
        """Refuse everybody of a wave. They are told nothing."""
        return WaveDecided.of(
            await waves.refuse(
                choice.wave,
                actor=ACTOR,
                reason=choice.reason or "",
                block=choice.block,
                spare=choice.spare,
            )
        )

"""The shapes of the admin endpoints' requests and answers; docs and OpenAPI are made from them."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StrictStr

from mknock.domain.knocks import Knock, KnockState
from mknock.domain.rules import Rule

_Reason = Annotated[
    StrictStr, Field(max_length=1000, description="Why, for moderators; the person never sees it.")
]
_UserID = Annotated[StrictStr, Field(max_length=2000, description="A Matrix ID, such as @alice:example.org.")]


class Person(BaseModel):
    """Whom to act on, and why."""

    model_config = ConfigDict(extra="forbid")

    user_id: _UserID
    reason: _Reason | None = None


class HeldChoice(BaseModel):
    """Which held knock is meant: by its id, or by the person."""

    model_config = ConfigDict(extra="forbid")

    knock_id: Annotated[StrictStr, Field(max_length=64)] | None = None
    user_id: _UserID | None = None
    reason: _Reason | None = None


class Status(BaseModel):
    status: str


class Acted(BaseModel):
    """What was done. ``removal`` says what happened to the person's membership of the room."""

    status: str
    user_id: str
    removal: str
    message: str


class RuleShape(BaseModel):
    user_id: str
    reason: str
    source: str
    author: str
    at: float = Field(description="Seconds since the epoch, UTC.")

    @classmethod
    def of(cls, rule: Rule) -> RuleShape:
        return cls(
            user_id=rule.entity, reason=rule.reason, source=rule.source, author=rule.author, at=rule.at
        )


class Blocklist(BaseModel):
    blocklist: list[RuleShape]
    count: int


class AnswerShape(BaseModel):
    label: str
    value: str


class KnockShape(BaseModel):
    """A knock as moderators see it. Times are seconds since the epoch, UTC."""

    id: str
    door: str
    user_id: str
    state: KnockState
    reason: str
    detail: str
    platform: str
    answers: list[AnswerShape]
    created_at: float
    updated_at: float
    invited_at: float | None
    repeats: int

    @classmethod
    def of(cls, knock: Knock) -> KnockShape:
        return cls(
            id=knock.id,
            door=knock.door,
            user_id=knock.user_id,
            state=knock.state,
            reason=knock.reason.value,
            detail=knock.detail,
            platform=knock.platform,
            answers=[AnswerShape(label=answer.label, value=answer.value) for answer in knock.answers],
            created_at=knock.created_at,
            updated_at=knock.updated_at,
            invited_at=knock.invited_at,
            repeats=knock.repeats,
        )


class Knocks(BaseModel):
    knocks: list[KnockShape]
    count: int


class PendingInvites(BaseModel):
    pending_invites: list[KnockShape]
    count: int


class MemberShape(BaseModel):
    user_id: str
    display_name: str | None


class Members(BaseModel):
    members: list[MemberShape]
    count: int

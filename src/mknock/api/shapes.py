"""The shapes of requests and answers; docs and OpenAPI are made from them.

Times are seconds since the epoch, UTC.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictStr

from mknock.domain.knocks import Knock, KnockState, Reason
from mknock.domain.rules import Rule
from mknock.services.moderation import Removal
from mknock.services.rule_book import steps_in

ReasonText = Annotated[
    StrictStr,
    Field(
        max_length=1000,
        description="Why, for moderators; the person never sees it.",
        examples=["Spam in another room."],
    ),
]
_UserID = Annotated[
    StrictStr,
    Field(max_length=2000, description="The person's Matrix ID.", examples=["@alice:example.org"]),
]
_KnockID = Annotated[
    StrictStr,
    Field(max_length=64, description="The knock's id, as listed.", examples=["01JZX4T8M2V7Q9R3C5B6N8KDWE"]),
]
ActedStatus = Literal["blocked", "already_blocked", "unblocked", "rescinded", "rescinding"]
Count = Annotated[int, Field(description="How many there are.")]


class Person(BaseModel):
    """Whom to act on, and why."""

    model_config = ConfigDict(extra="forbid")

    user_id: _UserID
    reason: ReasonText | None = None


class HeldChoice(BaseModel):
    """Which held knock is meant: by its id or, without one, by the person."""

    model_config = ConfigDict(extra="forbid")

    knock_id: _KnockID | None = None
    user_id: _UserID | None = None
    reason: ReasonText | None = None


class Approval(HeldChoice):
    """Which held knock to admit."""

    allow: StrictBool = Field(
        False, description="Let the person in from now on, whatever the block-list says."
    )


class Refusal(HeldChoice):
    """Which held knock to refuse."""

    block: StrictBool = Field(False, description="Put the person on the block-list as well.")


class Problem(BaseModel):
    """What went wrong."""

    error: str = Field(description="One sentence.", examples=["@alice:example.org is not on the block-list"])


class Status(BaseModel):
    """That Knock runs, and nothing else."""

    status: Literal["running"]


class Readiness(BaseModel):
    """Whether Knock can do its work right now."""

    status: Literal["ready", "not_ready"]
    not_ready: list[Literal["homeserver", "store"]] = Field(
        default_factory=list, description="What stands in the way; absent when nothing does."
    )
    limited: list[
        Literal["blocklist", "doors", "invites", "joins", "lists", "notices", "publishing", "room", "welcome"]
    ] = Field(
        default_factory=list,
        description="What works in part only, though Knock is ready; `mknock doctor` says why. Absent: nothing.",
    )


class Received(BaseModel):
    """What became of a form. The last three are there only for ``Prefer: wait=N`` with a valid secret."""

    status: Literal["received", "not_understood", "nothing_to_do"]
    message: str = Field(description="A sentence for the person who filled in the form.")
    knock_id: str | None = Field(None, description="The id of the knock.")
    outcome: KnockState | None = Field(None, description="The knock's state when the time was over.")
    reason: str | None = Field(None, description="Why it is in that state.")


class Acted(BaseModel):
    """What was done."""

    status: ActedStatus
    user_id: str = Field(description="The Matrix ID as Knock read it.")
    removal: Removal | None = Field(
        description="What happened to the person's membership of the room; null when nothing was asked of it."
    )
    message: str = Field(description="The same in a sentence.")


class RuleShape(BaseModel):
    """A rule of the block-list."""

    user_id: str = Field(
        description="The Matrix ID, pattern or server as it was written; case does not count."
    )
    reason: str = Field(description="Why, for moderators.")
    source: str = Field(description="Where the rule came from: api, cli, file or import.")
    author: str = Field(description="Who made it.")
    at: float = Field(description="When it was made.")

    @classmethod
    def of(cls, rule: Rule) -> RuleShape:
        return cls(
            user_id=rule.entity, reason=rule.reason, source=rule.source, author=rule.author, at=rule.at
        )


class Blocklist(BaseModel):
    """The block-list, oldest rule first."""

    blocklist: list[RuleShape]
    count: Count


class AnswerShape(BaseModel):
    """One answered question of the form."""

    label: str
    value: str


class KnockShape(BaseModel):
    """A knock as moderators see it."""

    id: str
    door: str = Field(description="The door's slug.")
    user_id: str = Field(description="Who knocks.")
    state: KnockState
    reason: str = Field(description="Why it is in that state, in one word of the glossary.")
    detail: str = Field(description="More about that, in words.")
    rule: str = Field(description="The block-list's entry that decided, if one did.")
    steps: list[str] = Field(
        description="How the name is like that entry, step by step; empty if it is the same."
    )
    wave: str = Field(
        description="The raid in which it was held, with the rest of the wave; empty if in none."
    )
    signals: list[str] = Field(
        description="Risk signals that were seen, each its name and what it was; whatever came of them."
    )
    link: str = Field(description="The id of the invite link by which it came; empty for none.")
    platform: str = Field(description="What delivered the form; matrix: a knock in the room itself.")
    proven: bool = Field(description="Whether the person has acted from this very account.")
    answers: list[AnswerShape]
    created_at: float
    updated_at: float
    invited_at: float | None
    repeats: int = Field(description="How often the same person asked again.")

    @classmethod
    def of(cls, knock: Knock) -> KnockShape:
        return cls(
            id=knock.id,
            door=knock.door,
            user_id=knock.user_id,
            state=knock.state,
            reason=knock.reason.value,
            detail=knock.detail,
            rule=knock.rule,
            steps=steps_in(knock.detail) if knock.reason is Reason.LOOK_ALIKE else [],
            wave=knock.raid,
            signals=list(knock.signals),
            platform=knock.platform,
            link=knock.link,
            proven=knock.proven,
            answers=[AnswerShape(label=answer.label, value=answer.value) for answer in knock.answers],
            created_at=knock.created_at,
            updated_at=knock.updated_at,
            invited_at=knock.invited_at,
            repeats=knock.repeats,
        )


class Knocks(BaseModel):
    """Held knocks, oldest first."""

    knocks: list[KnockShape]
    count: Count


class PendingInvites(BaseModel):
    """Knocks on their way to an invite, and open invites, oldest first."""

    pending_invites: list[KnockShape]
    count: Count


class MemberShape(BaseModel):
    """Somebody in the room."""

    user_id: str
    display_name: str | None


class Members(BaseModel):
    """Everybody in the room."""

    members: list[MemberShape]
    count: Count

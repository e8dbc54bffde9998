"""The endpoints for the block-list's rules of every kind, behind the API key."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictStr

from mknock.api.access import AdminKey
from mknock.api.guard import guarded
from mknock.api.reference import problems
from mknock.api.shapes import Count, ReasonText
from mknock.domain.rules import Rule, RuleKind
from mknock.matching import Action, Finding, Kind, Match, Verdict
from mknock.services.rule_book import STRICT
from mknock.services.rule_making import RuleMaker

ACTOR = "api"
LONGEST = 10 * 365 * 86400.0

Entity = Annotated[
    StrictStr,
    Field(
        max_length=2000,
        description="A Matrix ID, a pattern with * and ?, or a server.",
        examples=["@mallory:evil.example", "*spam*:*", "*.evil.example"],
    ),
]


class NewRule(BaseModel):
    """What to block or to allow."""

    model_config = ConfigDict(extra="forbid")

    entity: Entity
    reason: ReasonText | None = None
    expires_in: Annotated[float, Field(gt=0, le=LONGEST)] | None = Field(
        None, description="Seconds after which the rule no longer counts; absent: never."
    )
    allow: StrictBool = Field(False, description="Let in instead of keeping out.")
    force: StrictBool = Field(False, description="Make the rule even if it hits many.")


class NamedRule(BaseModel):
    """Which rule is meant."""

    model_config = ConfigDict(extra="forbid")

    entity: Entity
    allow: StrictBool = Field(False, description="The rule that lets in, instead of the one that keeps out.")


class ListedRule(BaseModel):
    """A rule of any kind."""

    entity: str = Field(description="What it names, as it was written.")
    kind: RuleKind
    allow: bool = Field(description="Whether it lets in instead of keeping out.")
    reason: str = Field(description="Why, for moderators.")
    source: str = Field(
        description="Where it came from: api, cli, file, import, or list: and the list's name."
    )
    author: str = Field(description="Who made it.")
    at: float = Field(description="When it was made.")
    expires_at: float | None = Field(description="When it ends; null for never.")

    @classmethod
    def of(cls, rule: Rule) -> ListedRule:
        return cls(
            entity=rule.entity,
            kind=rule.kind,
            allow=rule.allow,
            reason=rule.reason,
            source=rule.source,
            author=rule.author,
            at=rule.at,
            expires_at=rule.expires,
        )


class ListedRules(BaseModel):
    """The rules that are in force, oldest first."""

    rules: list[ListedRule]
    count: Count


class Ruled(BaseModel):
    """What became of a rule."""

    status: Literal["made", "already_there", "removed"]
    rule: ListedRule


class MatchShape(BaseModel):
    """A rule that somebody matches, and how."""

    kind: Kind
    rule: ListedRule
    steps: list[str] = Field(description="What had to be done to the name to arrive at the rule.")
    distance: int = Field(description="Slips of the keyboard between the two, after those steps.")
    action: Action | None = Field(description="What a door does about it; null for a rule that allows.")

    @classmethod
    def of(cls, match: Match) -> MatchShape:
        return cls(
            kind=match.kind,
            rule=ListedRule.of(match.rule),
            steps=list(match.steps),
            distance=match.distance,
            action=None if match.kind is Kind.ALLOW else STRICT.action(match.kind),
        )


class Explanation(BaseModel):
    """What the block-list says of somebody."""

    user_id: str = Field(description="Who was asked about.")
    verdict: Verdict
    matches: list[MatchShape] = Field(description="Every match; the first decides.")

    @classmethod
    def of(cls, user_id: str, finding: Finding) -> Explanation:
        matches = [MatchShape.of(match) for match in finding.matches]
        return cls(user_id=user_id, verdict=finding.verdict, matches=matches)


def rules_router(maker: RuleMaker, key: AdminKey) -> APIRouter:
    """Build the router; every endpoint in it asks for the API key first."""
    router = APIRouter(route_class=guarded(key.check), tags=["admin"], responses=problems(401, 503))

    @router.get("/rules")
    async def rules() -> ListedRules:
        """The rules that are in force, those of shared lists too, oldest first."""
        listed = [ListedRule.of(rule) for rule in await maker.rules()]
        return ListedRules(rules=listed, count=len(listed))

    @router.post("/rules", responses=problems(403, 413, 422))
    async def make_rule(new: NewRule) -> Ruled:
        """Block or allow a person, a pattern or a server; open knocks and invites follow at once."""
        made = await maker.make(
            new.entity,
            actor=ACTOR,
            reason=new.reason or "",
            lasting=new.expires_in,
            allow=new.allow,
            force=new.force,
        )
        return Ruled(status="made" if made.new else "already_there", rule=ListedRule.of(made.rule))

    @router.delete("/rules", responses=problems(404, 413, 422))
    async def remove_rule(named: NamedRule) -> Ruled:
        """Remove a rule, and undo what it did."""
        rule = await maker.remove(named.entity, actor=ACTOR, allow=named.allow)
        return Ruled(status="removed", rule=ListedRule.of(rule))

    @router.get("/explain", responses=problems(422))
    async def explain(
        user_id: Annotated[
            str,
            Query(
                max_length=2000, description="The Matrix ID to ask about.", examples=["@mallory:evil.example"]
            ),
        ],
        name: Annotated[str, Query(max_length=2000, description="The display name, if any.")] = "",
    ) -> Explanation:
        """What the block-list says of somebody: which rules, how, by which steps, and what would happen."""
        return Explanation.of(user_id, await maker.explain(user_id, name))

    return router

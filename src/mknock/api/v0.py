"""The endpoints of the first mknock, and those for held knocks, behind the API key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter

from mknock.api.access import AdminKey
from mknock.api.guard import guarded
from mknock.api.reference import problems
from mknock.api.shapes import (
    Acted,
    ActedStatus,
    Approval,
    Blocklist,
    HeldChoice,
    Knocks,
    KnockShape,
    Members,
    MemberShape,
    PendingInvites,
    Person,
    Refusal,
    RuleShape,
)
from mknock.domain.errors import Unreadable
from mknock.domain.ids import MatrixID, parse_matrix_id
from mknock.ports import Homeserver, Store
from mknock.services.doors import Doors
from mknock.services.moderation import Moderation, Removal
from mknock.services.rule_making import RuleMaker

ACTOR = "api"

MESSAGES = {
    Removal.KICKED: "They were kicked from the room.",
    Removal.INVITE_WITHDRAWN: "Their open invite was withdrawn.",
    Removal.KNOCK_REFUSED: "Their request to join was turned down.",
    Removal.NOT_THERE: "They are not in the room and have no open invite.",
    Removal.REFUSED: "The homeserver does not let Knock remove them: give its account more power in the room.",
    Removal.UNKNOWN: "The homeserver gave no answer: whether they are in the room is not known."
    " An open invite will be withdrawn as soon as it answers; call again to make sure.",
}


@dataclass(frozen=True, slots=True)
class Admin:
    """What the admin endpoints work with."""

    store: Store
    homeserver: Homeserver
    doors: Doors
    moderation: Moderation
    key: AdminKey
    rules: RuleMaker


def admin_router(admin: Admin) -> APIRouter:
    """Build the router; every endpoint in it asks for the API key first."""
    router = APIRouter(route_class=guarded(admin.key.check), tags=["admin"], responses=problems(401, 503))
    _add_moderation(router, admin)
    _add_held(router, admin)
    _add_listings(router, admin)
    return router


def _add_moderation(router: APIRouter, admin: Admin) -> None:
    @router.post("/block_user", responses=problems(403, 413, 422))
    async def block_user(person: Person) -> Acted:
        """Put a person on the block-list, withdraw their open invite, and kick them."""
        done = await admin.moderation.block(_user(admin, person.user_id), person.reason or "", actor=ACTOR)
        status: ActedStatus = "blocked" if done.new else "already_blocked"
        return Acted(
            status=status, user_id=done.user_id, removal=done.removal, message=MESSAGES[done.removal]
        )

    @router.post("/unblock_user", responses=problems(404, 413, 422))
    async def unblock_user(person: Person) -> Acted:
        """Take a person off the block-list. They are not invited again by this."""
        rule = await admin.moderation.unblock(_user(admin, person.user_id), actor=ACTOR)
        return Acted(status="unblocked", user_id=rule.entity, removal=None, message="They may knock again.")

    @router.post("/rescind_invite", responses=problems(403, 404, 413, 422))
    async def rescind_invite(person: Person) -> Acted:
        """Take back a person's open invite or waiting knock; kick them if they have joined."""
        done = await admin.moderation.rescind(_user(admin, person.user_id), person.reason or "", actor=ACTOR)
        status: ActedStatus = (
            "rescinding" if done.removal in (Removal.UNKNOWN, Removal.REFUSED) else "rescinded"
        )
        return Acted(
            status=status, user_id=done.user_id, removal=done.removal, message=MESSAGES[done.removal]
        )


def _add_held(router: APIRouter, admin: Admin) -> None:
    @router.get("/held")
    async def held() -> Knocks:
        """Knocks that wait for a moderator, oldest first."""
        knocks = [KnockShape.of(knock) for knock in await admin.moderation.held()]
        return Knocks(knocks=knocks, count=len(knocks))

    @router.post("/approve", responses=problems(404, 409, 413, 422))
    async def approve(choice: Approval) -> KnockShape:
        """Admit a held knock; the invite goes out next."""
        knock_id = await _chosen(admin, choice)
        return KnockShape.of(
            await admin.moderation.approve(
                knock_id, actor=ACTOR, reason=choice.reason or "", allow=choice.allow
            )
        )

    @router.post("/refuse", responses=problems(403, 404, 409, 413, 422))
    async def refuse(choice: Refusal) -> KnockShape:
        """Refuse a held knock. The person is told nothing."""
        knock_id = await _chosen(admin, choice)
        return KnockShape.of(
            await admin.moderation.refuse(
                knock_id, actor=ACTOR, reason=choice.reason or "", block=choice.block
            )
        )


def _add_listings(router: APIRouter, admin: Admin) -> None:
    @router.get("/blocklist")
    async def blocklist() -> Blocklist:
        """Who is blocked, oldest rule first; GET /rules tells more."""
        rules = [RuleShape.of(rule) for rule in await admin.rules.rules() if not rule.allow]
        return Blocklist(blocklist=rules, count=len(rules))

    @router.get("/pending_invites")
    async def pending_invites() -> PendingInvites:
        """People who are still to be invited, or who are deciding whether to join."""
        knocks = [KnockShape.of(knock) for knock in await admin.moderation.pending()]
        return PendingInvites(pending_invites=knocks, count=len(knocks))

    @router.get("/room_members", responses=problems(502))
    async def room_members() -> Members:
        """Who is in the room now, as the homeserver says."""
        joined = await admin.homeserver.joined_members(admin.doors.first.room_id)
        members = [MemberShape(user_id=user, display_name=_name(about)) for user, about in joined.items()]
        return Members(members=members, count=len(members))

    @router.get("/room_state", responses=problems(502))
    async def room_state() -> list[dict[str, Any]]:
        """The room's current state events, for debugging. Holds the room's address."""
        return await admin.homeserver.room_state(admin.doors.first.room_id)


def _name(about: Any) -> str | None:
    name = about.get("display_name") if hasattr(about, "get") else None
    return name if isinstance(name, str) else None


def _user(admin: Admin, typed: str) -> MatrixID:
    return parse_matrix_id(typed, default_server=admin.doors.first.reading.default_server)


async def _chosen(admin: Admin, choice: HeldChoice) -> str:
    if choice.knock_id:
        return choice.knock_id
    if choice.user_id:
        return (await admin.moderation.held_of(_user(admin, choice.user_id))).id
    raise Unreadable("say which knock is meant: knock_id (see GET /held) or user_id")

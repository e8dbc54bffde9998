"""What may be wrong with a door's room: where the bot stands in it, and what the room is like."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from mknock.domain.doors import Door, Removal
from mknock.domain.errors import HomeserverError, Refused
from mknock.ports import Encryption, Homeserver, Membership, PowerLevels
from mknock.services.findings import Finding, Verdict, bad, good, odd
from mknock.services.remedies import remedy
from mknock.services.sealing import CANNOT_ENCRYPT
from mknock.services.successors import sentence, trace

NOT_IN_THE_ROOM = {
    Membership.INVITE: "is invited but has not accepted: let it join",
    Membership.BAN: "is banned from the room: lift the ban, invite it and let it join",
    Membership.LEAVE: "has left the room, or was removed: invite it and let it join",
}
NEVER_THERE = "is not in the room, or {setting} is wrong: compare the ID, invite it and let it join"
MAKE_MODERATOR = "make it a moderator in the room's settings, under roles"
MESSAGE = "m.room.message"
SPACE = "m.space"
JOIN_RULES = {
    "invite": (Verdict.GOOD, "invite: people come in by invitation only"),
    "restricted": (
        Verdict.GOOD,
        "restricted: members of a space come in without a knock, others by invitation",
    ),
    "knock": (Verdict.GOOD, "knock: whoever knows the room's address can knock in their app"),
    "knock_restricted": (
        Verdict.GOOD,
        "knock_restricted: members of a space come in, others who know the address can knock in their app",
    ),
    "public": (
        Verdict.ODD,
        "public: anybody who knows the address comes in without a knock; make the room private (invite only)",
    ),
}
KNOCKABLE = frozenset({"knock", "knock_restricted"})
ANSWERED = ", and Knock decides; the address is known to people then, and no secret any more"
LEFT = ", and Knock leaves that to moderators, since native_knocks is off for this door"
CANNOT_REFUSE = f"{ANSWERED}; but it cannot turn anybody down: it has power {{own:g}} and needs {{needed}}"
STRANGE_RULE = (Verdict.ODD, "is one that Knock does not know; it is made for invite")


@dataclass(frozen=True, slots=True)
class RoomFindings:
    """Looks at one door's room after the other, as the account that Knock acts as."""

    homeserver: Homeserver
    encryption: Encryption | None = None

    async def of(self, door: Door, account: str) -> list[Finding]:
        """Everything about the room; as much as can be seen if something cannot."""
        what = f"room of door {door.slug}"
        try:
            followed = await trace(self.homeserver, door.room_id, account)
            door = replace(door, room_id=followed.rooms[-1])
            membership = (await self.homeserver.member(door.room_id, account)).membership
            if membership is not Membership.JOIN:
                return [bad(what, f"{account} {_not_there(door, membership)}")]
            moved = [_moved(door)] if len(followed.rooms) > 1 else []
            found = [finding async for finding in self._from_within(door, account, what, followed.problem)]
            return moved + found
        except Refused:  # only members may ask
            return [bad(what, f"{account} {NEVER_THERE.format(setting=door.setting)}")]
        except HomeserverError as error:
            return [bad(what, f"could not be looked at: {error}{remedy(error)}")]

    async def _from_within(
        self, door: Door, account: str, what: str, replaced: str
    ) -> AsyncIterator[Finding]:
        levels = await self.homeserver.power_levels(door.room_id)
        yield (
            bad(what, sentence(door, replaced)) if replaced else await self._room(door, account, what, levels)
        )
        for finding in powers(door, levels, levels.of(account)):
            yield finding
        yield await self._join_rule(door, levels.of(account), levels.kick)
        yield await self._encryption(door)

    async def _room(self, door: Door, account: str, what: str, levels: PowerLevels) -> Finding:
        made = await self.homeserver.state(door.room_id, "m.room.create") or {}
        kind = "space" if made.get("type") == SPACE else "room"
        version = made.get("room_version")
        shown = version if isinstance(version, str) and version.isalnum() else "1"
        outranked = sorted(levels.creators - {account})
        above = f"; its creators outrank everybody: {', '.join(outranked)}" if outranked else ""
        return good(what, f"{account} is in it; a {kind} of version {shown}{above}")

    async def _join_rule(self, door: Door, own: float, needed: int) -> Finding:
        content = await self.homeserver.state(door.room_id, "m.room.join_rules") or {}
        rule = str(content.get("join_rule", "invite"))
        verdict, says = JOIN_RULES.get(rule, STRANGE_RULE)
        if rule in KNOCKABLE and not door.native_knocks:
            says += LEFT
        elif rule in KNOCKABLE and own < needed:
            verdict, says = (
                Verdict.ODD,
                f"{says}{CANNOT_REFUSE.format(own=own, needed=needed)}; {MAKE_MODERATOR}",
            )
        elif rule in KNOCKABLE:
            says += ANSWERED
        return Finding(f"join rule of {door.slug}", verdict, says)

    async def _encryption(self, door: Door) -> Finding:
        what = f"encryption of {door.slug}"
        if await self.homeserver.state(door.room_id, "m.room.encryption") is None:
            return good(what, "the room is not encrypted")
        problem = await self.encryption.problem() if self.encryption else CANNOT_ENCRYPT
        if not problem:
            return good(what, "the room is encrypted, and so is what Knock sends")
        if not door.welcoming.text:
            return good(what, "the room is encrypted; Knock sends nothing into it")
        instead = "welcomes are sent in clear" if door.welcoming.clear_in_encrypted else "nobody is welcomed"
        return odd(what, f"the room is encrypted, and {instead}: {problem}")


def _not_there(door: Door, membership: Membership) -> str:
    return NOT_IN_THE_ROOM.get(membership) or NEVER_THERE.format(setting=door.setting)


def _moved(door: Door) -> Finding:
    return odd(
        f"address of door {door.slug}",
        f"the room was replaced by a newer one (upgraded), and the door leads there: set {door.setting} to that"
        " when you come to it",
    )


def powers(door: Door, levels: PowerLevels, own: float) -> list[Finding]:
    """What the bot may do, of what the door asks of it. Without inviting, nothing works."""
    needed = [
        _power(Verdict.BAD, f"may invite to {door.slug}", own, levels.invite),
        _power(Verdict.ODD, f"may kick from {door.slug}", own, levels.kick),
    ]
    if door.blocked_members is Removal.BAN:
        needed.append(_power(Verdict.ODD, f"may ban from {door.slug}", own, levels.ban))
    if door.welcoming.text:
        needed.append(_power(Verdict.ODD, f"may write to {door.slug}", own, levels.to_send(MESSAGE)))
    return needed


def _power(otherwise: Verdict, what: str, own: float, needed: int) -> Finding:
    if own >= needed:
        return good(what, "yes")
    return Finding(what, otherwise, f"no: it has power {own:g} and needs {needed}; {MAKE_MODERATOR}")

"""The people of the homeserver suite, what they are to the room, and what is answered to them."""

from __future__ import annotations

import itertools
import secrets
import string
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import httpx2
from tests.kit.account import Account, Caller, Json
from tests.kit.homeserver import Homeserver

Outcome = tuple[int, str]
"""The status and, of a refusal, the error code."""

GRANTED: Outcome = (200, "")
FORBIDDEN: Outcome = (403, "M_FORBIDDEN")
BAD_STATE: Outcome = (403, "M_BAD_STATE")
BLOCKED: Outcome = (403, "M_INVITE_BLOCKED")
UNKNOWN_TOKEN: Outcome = (401, "M_UNKNOWN_TOKEN")
MISSING_TOKEN: Outcome = (401, "M_MISSING_TOKEN")
INVALID: Outcome = (400, "M_INVALID_PARAM")

NO_SUCH_ROOM = "!nobodyeverhadaroomwiththisid"

_numbers = itertools.count(1)


def outcome(response: httpx2.Response) -> Outcome:
    return response.status_code, response.json().get("errcode", "") if response.is_error else ""


def new_name(beginning: str) -> str:
    """Return a localpart that nobody has yet."""
    return f"{beginning}{next(_numbers)}"


def unlike_name(beginning: str) -> str:
    """Return a localpart that nobody has yet, and that resembles nobody's."""
    return beginning + "".join(secrets.choice(string.ascii_lowercase) for _ in range(12))


def with_token(homeserver: Homeserver, token: str) -> Caller:
    """Return somebody who shows that access token."""
    anonymous = homeserver.anonymous()
    return Caller(anonymous.url, token, anonymous.transport)


Situation = Callable[["Cast"], Awaitable[Account]]
"""Makes somebody and brings them into a certain relation to the room."""


@dataclass(frozen=True)
class Cast:
    """Alice owns the room, the bot is in it with power 50, Carol has 50 as well, Mallory is outside."""

    homeserver: Homeserver
    alice: Account
    bot: Account
    carol: Account
    mallory: Account
    room: str
    _known: dict[Situation, Account] = field(default_factory=dict)

    @classmethod
    async def assembled(cls, homeserver: Homeserver) -> Cast:
        alice, bot, carol, mallory = [await homeserver.user(f"{name}cast") for name in ("a", "bot", "c", "m")]
        room = await homeserver.new_room(alice, bot=bot)
        levels = await alice.state(room, "m.room.power_levels")
        users = {**levels["users"], carol.user_id: 50}
        await alice.put_state(room, "m.room.power_levels", {**levels, "users": users})
        await alice.invite(room, carol.user_id)
        await carol.join(room)
        return cls(homeserver, alice, bot, carol, mallory, room)

    async def somebody(self) -> Account:
        """Return a person who was in no room yet."""
        return await self.homeserver.user(new_name("somebody"))

    async def one(self, situation: Situation) -> Account:
        """Return a person in that situation, the same for every test that only looks."""
        if situation not in self._known:
            self._known[situation] = await situation(self)
        return self._known[situation]

    async def act(self, who: Account, action: str, target: str) -> Outcome:
        """Let somebody invite, kick, ban or unban somebody."""
        return outcome(await who.call("POST", "rooms", self.room, action, json={"user_id": target}))

    async def member_event(self, person: Account) -> Json:
        """Return what the room says of that person, with who said it."""
        segments = ("rooms", self.room, "state", "m.room.member", person.user_id)
        return await self.bot.must("GET", *segments, params={"format": "event"})


async def stranger(cast: Cast) -> Account:
    return await cast.somebody()


async def invited(cast: Cast) -> Account:
    person = await cast.somebody()
    await cast.bot.invite(cast.room, person.user_id)
    return person


async def invited_by_another(cast: Cast) -> Account:
    person = await cast.somebody()
    await cast.alice.invite(cast.room, person.user_id)
    return person


async def joined(cast: Cast) -> Account:
    person = await invited(cast)
    await person.join(cast.room)
    return person


async def left(cast: Cast) -> Account:
    person = await joined(cast)
    await person.leave(cast.room)
    return person


async def declined(cast: Cast) -> Account:
    person = await invited(cast)
    await person.leave(cast.room)
    return person


async def kicked(cast: Cast) -> Account:
    person = await joined(cast)
    await cast.bot.kick(cast.room, person.user_id)
    return person


async def banned(cast: Cast) -> Account:
    person = await joined(cast)
    await cast.bot.ban(cast.room, person.user_id)
    return person


async def blocking(cast: Cast) -> Account:
    person = await cast.somebody()
    await person.set_invite_block()
    return person


async def joined_and_blocking(cast: Cast) -> Account:
    person = await joined(cast)
    await person.set_invite_block()
    return person


async def equal(cast: Cast) -> Account:
    return cast.carol


async def owner(cast: Cast) -> Account:
    return cast.alice

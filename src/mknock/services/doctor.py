"""Finding out what is wrong before a visitor does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from urllib.parse import urlsplit

from mknock.domain.doors import Door
from mknock.domain.errors import HomeserverError, HomeserverUnavailable, KnockError, RateLimited, Refused
from mknock.ports import Homeserver, Membership, Store
from mknock.services.doors import Doors


class Verdict(StrEnum):
    """How bad a finding is; only ``bad`` makes ``mknock doctor`` fail."""

    GOOD = "good"
    ODD = "odd"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: what was found and, unless it is good, how to mend it."""

    what: str
    verdict: Verdict
    says: str


def good(what: str, says: str) -> Finding:
    return Finding(what, Verdict.GOOD, says)


def odd(what: str, says: str) -> Finding:
    return Finding(what, Verdict.ODD, says)


def bad(what: str, says: str) -> Finding:
    return Finding(what, Verdict.BAD, says)


NOT_IN_THE_ROOM = {
    Membership.INVITE: "is invited but has not accepted: let it join",
    Membership.BAN: "is banned from the room: lift the ban, invite it and let it join",
    Membership.LEAVE: "has left the room, or was removed: invite it and let it join",
}
NEVER_THERE = "is not in the room, or NEW_ROOM_ID is wrong: compare the ID, invite it and let it join"
TO_US = ', or run "mknock doctor"'
"""What errors advise elsewhere."""
MAKE_MODERATOR = "make it a moderator in the room's settings, under roles"
FROM_OUTSIDE = "form platforms must reach Knock from outside"


@dataclass(frozen=True, slots=True)
class Doctor:
    """Looks at everything Knock needs, each part even if the one before is broken.

    Opens the store; writes nothing but a test value, and the session if it has
    to sign in to look. ``secrets`` are the names of those that the store may hold.
    """

    store: Store
    homeserver: Homeserver
    doors: Doors
    form_secrets: bool
    open_api: bool
    public_url: str | None
    secrets: Sequence[str] = ()

    async def examine(self) -> list[Finding]:
        findings = [await self._store(), *await self._homeserver()]
        return [*findings, self._form(), self._api(), address(self.public_url)]

    async def _store(self) -> Finding:
        try:
            await self.store.open()
            await self.store.ping()
            for name in self.secrets:
                await self.store.secret(name)
        except KnockError as error:
            return bad("store", str(error))
        return good("store", "can be written, and what is written is on disk")

    async def _homeserver(self) -> list[Finding]:
        try:
            account = await self.homeserver.whoami()
        except KnockError as error:  # the store's too: a session is kept there
            return [bad("sign-in", f"{error}{_remedy(error)}".replace(TO_US, ""))]
        findings = [good("sign-in", f"Knock acts as {account}")]
        for door in self.doors:
            findings += await self._door(door, account)
        return findings

    async def _door(self, door: Door, account: str) -> list[Finding]:
        what = f"room of door {door.slug}"
        try:
            membership = (await self.homeserver.member(door.room_id, account)).membership
            if membership is not Membership.JOIN:
                return [bad(what, f"{account} {NOT_IN_THE_ROOM.get(membership, NEVER_THERE)}")]
            return [good(what, f"{account} is in it"), *await self._powers(door, account)]
        except Refused:  # only members may ask
            return [bad(what, f"{account} {NEVER_THERE}")]
        except HomeserverError as error:
            return [bad(what, f"could not be looked at: {error}{_remedy(error)}")]

    async def _powers(self, door: Door, account: str) -> list[Finding]:
        levels = await self.homeserver.power_levels(door.room_id)
        own = levels.of(account)
        return [
            _power(Verdict.BAD, f"may invite to {door.slug}", own, levels.invite),
            _power(Verdict.ODD, f"may kick from {door.slug}", own, levels.kick),
        ]

    def _form(self) -> Finding:
        if self.form_secrets:
            return good("form", "every delivery must carry a secret")
        return odd(
            "form",
            "no secret is set, so anybody who finds the address can post:"
            " set FORM_TOKEN and put it into the webhook's address as ?token=…",
        )

    def _api(self) -> Finding:
        if self.open_api:
            return odd("admin endpoints", "are open to everybody: remove ALLOW_OPEN_API")
        return good("admin endpoints", "need the API key (mknock api-key)")


def _power(otherwise: Verdict, what: str, own: float, needed: int) -> Finding:
    if own >= needed:
        return good(what, "yes")
    return Finding(what, otherwise, f"no: it has power {own:g} and needs {needed}; {MAKE_MODERATOR}")


def _remedy(error: KnockError) -> str:
    """What to do about an error that does not say so itself."""
    match error:
        case HomeserverUnavailable():
            return ": check MATRIX_BASE_URL, and that the homeserver is up"
        case RateLimited():
            return ", then run this again"
        case _:
            return ""


def address(public_url: str | None) -> Finding:
    """What to say of PUBLIC_URL. Only looks at it: no address is called."""
    what = "public address"
    if public_url is None:
        return odd(what, f"PUBLIC_URL is not set: {FROM_OUTSIDE}, under an address that begins with https://")
    if _is_near(urlsplit(public_url).hostname or ""):
        return odd(
            what, f"{public_url} leads nowhere from outside: {FROM_OUTSIDE}; set PUBLIC_URL to a public name"
        )
    if not public_url.startswith("https://"):
        return odd(
            what, f"{public_url} is not https, so form tokens travel in the open: put a TLS proxy in front"
        )
    return good(what, f"forms post to {public_url}/invite_from_form")


def _is_near(host: str) -> bool:
    """Whether a host can be reached only from this machine or its network."""
    try:
        return not ip_address(host).is_global
    except ValueError:
        return "." not in host or host.endswith((".localhost", ".local", ".internal"))

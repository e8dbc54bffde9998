"""Finding out what is wrong before a visitor does."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from mknock.domain.doors import Door
from mknock.domain.errors import HomeserverError, KnockError, Refused
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


@dataclass(frozen=True, slots=True)
class Doctor:
    """Looks at everything Knock needs. Changes nothing but a test value in the store."""

    store: Store
    homeserver: Homeserver
    doors: Doors
    form_secrets: bool
    open_api: bool
    public_url: str | None

    async def examine(self) -> list[Finding]:
        findings = [await self._store()]
        findings += await self._homeserver()
        return [*findings, self._form(), self._api(), self._address()]

    async def _store(self) -> Finding:
        try:
            await self.store.ping()
        except KnockError as error:
            return bad("store", str(error))
        return good("store", "can be written, and what is written is on disk")

    async def _homeserver(self) -> list[Finding]:
        try:
            account = await self.homeserver.whoami()
        except HomeserverError as error:
            return [bad("sign-in", str(error))]
        findings = [good("sign-in", f"Knock acts as {account}")]
        for door in self.doors:
            findings += await self._door(door, account)
        return findings

    async def _door(self, door: Door, account: str) -> list[Finding]:
        what = f"room of door {door.slug}"
        try:
            member = await self.homeserver.member(door.room_id, account)
            if member.membership is not Membership.JOIN:
                return [bad(what, f"{account} is not in the room: invite it there and let it join")]
            return [good(what, "Knock is in the room"), *await self._powers(door, account)]
        except Refused:
            return [
                bad(
                    what,
                    f"{account} is not in the room, or NEW_ROOM_ID is wrong: invite it there and let it join",
                )
            ]
        except HomeserverError as error:
            return [bad(what, f"could not be looked at: {error}")]

    async def _powers(self, door: Door, account: str) -> list[Finding]:
        levels = await self.homeserver.power_levels(door.room_id)
        own = levels.of(account)
        return [
            _power(f"may {verb} in {door.slug}", own, needed, whenever)
            for verb, needed, whenever in (
                ("invite", levels.invite, bad),
                ("kick", levels.kick, odd),
            )
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

    def _address(self) -> Finding:
        if self.public_url is None:
            return odd(
                "public address",
                "PUBLIC_URL is not set: form platforms must reach Knock from outside, which localhost is not",
            )
        if not self.public_url.startswith("https://"):
            return odd(
                "public address", f"{self.public_url} is not https: form tokens would travel in the open"
            )
        return good("public address", f"forms post to {self.public_url}/invite_from_form")


def _power(what: str, own: float, needed: int, otherwise: object) -> Finding:
    if own >= needed:
        return good(what, "yes")
    says = f"no: Knock has power {own:g} and needs {needed}; raise it in the room's settings under roles"
    return bad(what, says) if otherwise is bad else odd(what, says)

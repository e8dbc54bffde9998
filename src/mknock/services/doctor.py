"""Finding out what is wrong before a visitor does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from mknock.domain.doors import Door
from mknock.domain.errors import HomeserverError, KnockError
from mknock.ports import LIMITS, Clock, Homeserver, ServerFacts, Store
from mknock.services.blocklist_file import WHAT, BlocklistFile
from mknock.services.doors import Doors
from mknock.services.findings import Finding, bad, good, odd
from mknock.services.list_findings import ListFindings
from mknock.services.notices import Notices
from mknock.services.proof_findings import ProofFindings
from mknock.services.remedies import remedy
from mknock.services.room_findings import RoomFindings
from mknock.services.sessions import OwnSession

TO_US: Final = ', or run "mknock doctor"'
"""What errors advise elsewhere."""
FROM_OUTSIDE: Final = "form platforms must reach Knock from outside"
CLOCKS_APART: Final = 60.0
"""Seconds between our clock and the homeserver's from which on it is worth a word."""
SYNAPSE: Final = (
    "unless its admin raised them, 10 invites at once and then one every 3.3 seconds, and for one person"
    " 5 and then one every 333 seconds; an admin can lift them for the bot (override_ratelimit)"
)
"""Synapse's rc_invites, as it comes (config/ratelimiting.py of release 1.163)."""


@dataclass(frozen=True, slots=True)
class Doctor:
    """Looks at everything Knock needs, each part even if the one before is broken.

    Opens the store; writes nothing but a test value, the session if it has to
    sign in to look, and our encryption keys if they are still to be published.
    ``secrets`` are the names of those that the store may hold.
    """

    store: Store
    homeserver: Homeserver
    doors: Doors
    clock: Clock
    session: OwnSession
    rooms: RoomFindings
    form_secrets: bool
    open_api: bool
    public_url: str | None
    secrets: Sequence[str] = ()
    file: BlocklistFile | None = None
    lists: ListFindings | None = None
    proofs: ProofFindings | None = None
    notices: Notices | None = None

    async def examine(self) -> list[Finding]:
        findings = [await self._store(), *await self._raids(), *await self._homeserver()]
        return [*findings, await self._blocklist(), self._form(), self._api(), address(self.public_url)]

    async def _store(self) -> Finding:
        try:
            await self.store.open()
            await self.store.ping()
            for name in self.secrets:
                await self.store.secret(name)
            problem = await self.store.durability_problem()
        except KnockError as error:
            return bad("store", str(error))
        return (
            odd("store", problem)
            if problem
            else good("store", "can be written, and what is written is on disk")
        )

    async def _homeserver(self) -> list[Finding]:
        try:
            account = await self.homeserver.whoami()
        except KnockError as error:  # the store's too: a session is kept there
            return [bad("sign-in", f"{error}{remedy(error)}".replace(TO_US, ""))]
        findings = [good("sign-in", f"Knock acts as {account}"), await self._listens()]
        for door in self.doors:
            findings += await self.rooms.of(door, account)
            findings += await self._moderators_room(door, account)
        if self.lists is not None:
            findings += await self.lists.of(account)
        if self.proofs is not None:
            findings += await self.proofs.of(account)
        return [*findings, *await self._server()]

    async def _raids(self) -> list[Finding]:
        """The raids that are on; they are nothing to be mended."""
        try:
            raids = [raid for raid in await self.store.untold_raids() if raid.is_on(self.clock())]
        except KnockError:
            return []  # the store's finding says what is wrong
        return [
            odd(
                f"door {raid.door}",
                f"is being raided, so everybody is held: mknock held --wave {raid.id}; if it is no raid,"
                f" mknock raid end {raid.door}",
            )
            for raid in raids
        ]

    async def _moderators_room(self, door: Door, account: str) -> list[Finding]:
        what = f"moderators' room of {door.slug}"
        if self.notices is None or not door.moderators_room:
            return []
        try:
            problem = await self.notices.problem(door.moderators_room, account)
        except HomeserverError as error:
            return [odd(what, f"could not be looked at: {error}{remedy(error)}")]
        return [odd(what, problem) if problem else good(what, "Knock is in it and may write")]

    async def _listens(self) -> Finding:
        try:
            problem = await self.session.problem()
        except HomeserverError as error:
            return odd("session", f"could not be looked at: {error}{remedy(error)}")
        return (
            odd("session", problem)
            if problem
            else good("session", "is Knock's own: joins are heard of at once")
        )

    async def _server(self) -> list[Finding]:
        try:
            about = await self.homeserver.about()
        except HomeserverError as error:
            return [odd("clock", f"the homeserver's could not be looked at: {error}{remedy(error)}")]
        return [clock(about, self.clock()), await self._limits(about)]

    async def _limits(self, about: ServerFacts) -> Finding:
        """What is known of the homeserver's limits: Matrix has no call that tells them."""
        what, left = "limits", await self._asked_to_wait()
        if left:
            return odd(
                what,
                f"the homeserver asks Knock to wait another {left:.0f} seconds; knocks wait and are kept",
            )
        if about.software.startswith("Synapse/"):
            return good(what, f"{about.software} has limits on invites: {SYNAPSE}")
        return good(
            what, "the homeserver does not tell its limits on invites; Knock waits whenever it asks to"
        )

    async def _asked_to_wait(self) -> float:
        """Seconds that the homeserver's limits still hold something up."""
        try:
            until = max([await self.store.paused(limit) for limit in LIMITS])
        except KnockError:
            return 0.0  # the store's finding says what is wrong
        return max(until - self.clock(), 0.0)

    async def _blocklist(self) -> Finding:
        if self.file is None:
            return good(WHAT, "none is followed: the block-list is in the store alone")
        try:
            return await self.file.examine()
        except KnockError:
            return odd(WHAT, f"{self.file.path} could not be compared with the store")

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


def clock(about: ServerFacts, now: float) -> Finding:
    """What to say of our clock, beside the homeserver's."""
    if about.clock is None:
        return good("clock", "the homeserver does not tell its time")
    apart = now - about.clock
    if abs(apart) < CLOCKS_APART:
        return good("clock", "agrees with the homeserver's")
    ahead = "ahead of" if apart > 0 else "behind"
    return odd(
        "clock",
        f"is {abs(apart):.0f} seconds {ahead} the homeserver's: let this machine set its clock by the network (NTP)",
    )


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
            what,
            f"{public_url} is not https, so form tokens travel in the open, and browsers do no proof of work"
            " for Knock's own page: put a TLS proxy in front",
        )
    return good(what, f"forms post to {public_url}/invite_from_form")


def _is_near(host: str) -> bool:
    """Whether a host can be reached only from this machine or its network."""
    try:
        return not ip_address(host).is_global
    except ValueError:
        return "." not in host or host.endswith((".localhost", ".local", ".internal"))

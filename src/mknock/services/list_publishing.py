"""Publishes Knock's own blocks into a policy room, so that Draupnir, Meowlnir and others act on them as well."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Any, Final

from mknock.domain.errors import HomeserverError, NotFound, RateLimited, Refused
from mknock.domain.policy_lists import BANS, KINDS, MOST_BYTES, spellings
from mknock.domain.rules import Rule, RuleKind
from mknock.ports import Clock, Homeserver, Membership, PowerLevels, Store
from mknock.services.rule_book import RuleBook
from mknock.telemetry import get_logger

log = get_logger(__name__)

EVENTS: Final[Mapping[RuleKind, str]] = {
    RuleKind.USER: "m.policy.rule.user",
    RuleKind.USER_GLOB: "m.policy.rule.user",
    RuleKind.SERVER: "m.policy.rule.server",
    RuleKind.SERVER_GLOB: "m.policy.rule.server",
}
OURS: Final = "knock:"
"""How the state keys of our events begin. What else our account may have written there is left alone."""
PAUSED: Final = ("homeserver", "send")
NOTHING: Final[Mapping[str, Any]] = {}
"""The content of an event whose rule is gone."""
Key = tuple[str, str]
"""Type and state key of an event."""


class Publisher:
    """Compares what should be in the room with what is there, and sends the difference.

    ``room`` is the policy room's ID or alias; ``every`` so many seconds it is looked at though no
    block of ours has changed. ``reasons`` says whether they are published.
    """

    def __init__(
        self,
        store: Store,
        homeserver: Homeserver,
        book: RuleBook,
        clock: Clock,
        *,
        room: str,
        every: float,
        reasons: bool = True,
    ) -> None:
        self._store = store
        self._homeserver = homeserver
        self._book = book
        self._clock = clock
        self._room = room
        self.every = every
        self._reasons = reasons
        self._troubled = ""
        self._settled: Mapping[Key, Mapping[str, Any]] | None = None
        """What was there when all was as it should be, and until when that is believed."""
        self._believed_until = 0.0
        self.next_at: float | None = None
        """When a limit of the homeserver's is over that kept something from being sent."""

    async def tick(self, now: float) -> int:
        """Bring the room up to date; return how many events were sent."""
        self.next_at = None
        paused = max([await self._store.paused(what) for what in PAUSED])
        if paused > now:
            self.next_at = paused
            return 0
        try:
            return await self._publish(now)
        except RateLimited as limit:
            self.next_at = self._clock() + limit.retry_after
            await self._store.pause("send", self.next_at)
            return 0
        except (HomeserverError, NotFound) as error:
            self._say(str(error))
            return 0

    async def problem(self) -> str:
        """Return "", or one sentence for the owner: why nothing can be published.

        Raises:
            HomeserverError: it cannot be found out right now.
        """
        try:
            room_id = await self._room_id()
            me = await self._homeserver.whoami()
            if (await self._homeserver.member(room_id, me)).membership is not Membership.JOIN:
                return f"{me} is not in the room of POLICY_LIST_ROOM: invite it"
            return _lacking(await self._homeserver.power_levels(room_id), me)
        except NotFound as error:
            return str(error)
        except Refused:
            return "Knock is not in the room of POLICY_LIST_ROOM: invite it"

    def _say(self, problem: str) -> None:
        if problem and problem != self._troubled:
            log.warning("rules could not be published", why=problem)
        self._troubled = problem

    async def _publish(self, now: float) -> int:
        await self._book.refresh()
        wanted = dict(self._wanted())
        if wanted == self._settled and now < self._believed_until:
            return 0  # what has changed were rules of others
        room_id, me = await self._room_id(), await self._homeserver.whoami()
        await self._be_in(room_id, me)
        sent = await self._bring_up_to_date(room_id, me, wanted)
        self._settled, self._believed_until = wanted, now + self.every / 2
        return sent

    async def _bring_up_to_date(self, room_id: str, me: str, wanted: Mapping[Key, Mapping[str, Any]]) -> int:
        changes = changes_of(await self._homeserver.room_state(room_id), wanted, me)
        if not changes:
            self._say("")
            return 0
        lacking = _lacking(await self._homeserver.power_levels(room_id), me)
        if lacking:
            self._say(lacking)  # and it is looked at again with the next change, or in a while
            return 0
        return await self._send(room_id, changes)

    async def _send(self, room_id: str, changes: Mapping[Key, Mapping[str, Any]]) -> int:
        """Write what has changed. What the homeserver refuses keeps nothing else from being written."""
        sent, refused = 0, ""
        for (kind, key), content in changes.items():
            try:
                await self._homeserver.set_state(room_id, kind, key, content)
                sent += 1
            except Refused as error:
                refused = str(error)
        self._say(refused)
        log.info("rules were published", changed=sent, refused=len(changes) - sent)
        return sent

    async def _room_id(self) -> str:
        if self._room.startswith("!"):
            return self._room
        address = await self._homeserver.resolve(self._room)
        if address is None:
            raise NotFound("POLICY_LIST_ROOM names a room that does not exist")
        return address.room_id

    async def _be_in(self, room_id: str, me: str) -> None:
        try:
            if (await self._homeserver.member(room_id, me)).membership is Membership.JOIN:
                return
        except Refused:
            pass  # only members may ask
        await self._homeserver.join(room_id)

    def _wanted(self) -> Iterable[tuple[Key, Mapping[str, Any]]]:
        now = self._clock()
        for rule in self._book.rules():
            if rule.is_own and not rule.allow and rule.kind in EVENTS and rule.counts_at(now):
                yield from events_of(rule, reasons=self._reasons)


def events_of(rule: Rule, *, reasons: bool) -> Iterator[tuple[Key, Mapping[str, Any]]]:
    """What is published of a rule: always under the same types and state keys for the same rule.

    The specification asks for a reason, so there is one, empty or not.
    """
    for entity in spellings(rule):
        key = f"{OURS}{entity}"
        if len(key.encode(errors="surrogatepass")) > MOST_BYTES:
            key = OURS + sha256(entity.encode(errors="surrogatepass")).hexdigest()
        reason = rule.reason if reasons else ""
        yield (EVENTS[rule.kind], key), {"entity": entity, "recommendation": "m.ban", "reason": reason}


def changes_of(
    events: Iterable[Mapping[str, Any]], wanted: Mapping[Key, Mapping[str, Any]], me: str
) -> Mapping[Key, Mapping[str, Any]]:
    """What has to be written, of rules that others have not published there already."""
    there: dict[Key, Mapping[str, Any]] = {}
    said: set[tuple[str, str]] = set()
    for event in events:
        kind, key, content = event.get("type"), event.get("state_key"), event.get("content")
        if not (
            isinstance(kind, str) and kind in KINDS and isinstance(key, str) and isinstance(content, dict)
        ):
            continue
        if event.get("sender") == me and key.startswith(OURS):
            there[kind, key] = content
        elif _is_ban(content):
            said.add((KINDS[kind], content["entity"]))
    new = {
        place: content
        for place, content in wanted.items()
        if there.get(place) != content and (KINDS[place[0]], content["entity"]) not in said
    }
    gone = [place for place, content in there.items() if content and place not in wanted]
    return new | dict.fromkeys(gone, NOTHING)


def _is_ban(content: Mapping[str, Any]) -> bool:
    advice = content.get("recommendation")
    return isinstance(content.get("entity"), str) and isinstance(advice, str) and advice in BANS


def _lacking(levels: PowerLevels, me: str) -> str:
    needed = max(levels.to_set(kind) for kind in set(EVENTS.values()))
    if levels.of(me) >= needed:
        return ""
    return f"{me} may not write rules into the room of POLICY_LIST_ROOM (it needs power {needed}): make it a moderator"

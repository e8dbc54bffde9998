"""What Knock needs from the outside, as protocols.

The store contract is written for SQLite, PostgreSQL and Redis alike: whatever
must happen in one transaction is one method. Times are seconds since the
epoch, UTC, and always come in by argument (design decision 8).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol, Self

from mknock.domain.doors import Door
from mknock.domain.ids import MatrixID
from mknock.domain.knocks import ADMITTED, Decision, Knock, KnockState, Outcome, Reason, Submission
from mknock.domain.policy_lists import PolicyList
from mknock.domain.rules import Rule


class Clock(Protocol):
    """Tells the time: seconds since the epoch, UTC."""

    def __call__(self) -> float: ...


# --- admission ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Attempt:
    """Somebody knocks: what the store needs to gather the facts and to keep the knock.

    ``sender`` is the visitor's network address as a keyed hash, or None when it
    is not known; ``trusted`` says that the delivery was authenticated (it is
    then stored over any window); ``proven`` that the person acted from
    this Matrix account.
    """

    knock_id: str
    door: Door
    user: MatrixID
    submission: Submission
    at: float
    sender: str | None = None
    trusted: bool = False
    proven: bool = False
    listed: Decision | None = ADMITTED
    """What the block-list says of the person; None when it cannot be read: then nobody may be admitted (promise 3)."""

    def is_blocked_by(self, rule: Rule | None) -> bool:
        """Whether the block-list refuses the person; ``rule`` is that of their own name, if there is one."""
        if self.listed is not None and self.listed.outcome is Outcome.REFUSE:
            return True
        return rule is not None and (self.listed is None or self.listed.reason is not Reason.ALLOWED)


HISTORY = 16
"""How many earlier knocks of one person at one room are looked at."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the store knows at the moment of judging, all from one transaction.

    Counts are of the sliding window, this knock included. ``rule`` is the rule that
    names this very person, newer than what ``Attempt.listed`` may have known.
    """

    rule: Rule | None = None
    history: tuple[Knock, ...] = ()
    """The same person's newest knocks at the same room, newest first (at most HISTORY of them)."""
    open_elsewhere: bool = False
    """An unproven knock of the same person is open at another room."""
    sender_count: float = 0.0
    homeserver_count: float = 0.0
    door_count: float = 0.0


Judge = Callable[[Attempt, Facts], Decision]
"""Decides from the facts alone. Runs inside the store's transaction: it must not block."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The knock is on disk. ``repeat`` says it counted on a record that was there before."""

    knock: Knock
    repeat: bool = False


@dataclass(frozen=True, slots=True)
class AskedToWait:
    """An anonymous sender is over its window: nothing was kept; try again in ``retry_after`` seconds."""

    retry_after: float


# --- delivery ----------------------------------------------------------------------------------


class Queue(StrEnum):
    """What waits for a worker. Each queue is worked on, and held up, by itself."""

    INVITES = "invites"
    """Invites to send, to remind of and to withdraw, and holds that end."""
    WELCOMES = "welcomes"
    """People who have joined and are to be welcomed."""


PAUSES: Mapping[Queue, tuple[str, ...]] = {
    Queue.INVITES: ("homeserver", "owner", "invite"),
    Queue.WELCOMES: ("homeserver", "owner", "send"),
}
"""The pauses (see Store.pause) that hold up a queue."""
LIMITS = ("invite", "send")
"""Those of them that stand for a limit of the homeserver's."""


@dataclass(frozen=True, slots=True)
class Pace:
    """At most one changing call every ``interval`` seconds over the installation, ``burst`` at once."""

    interval: float
    burst: int = 5


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a worker may do now, and when to look again at the latest (None: nothing is waiting)."""

    knocks: tuple[Knock, ...]
    next_at: float | None


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the audit ledger: who did what, why, by which rule, with before and after."""

    at: float
    actor: str
    action: str
    door: str = ""
    knock_id: str = ""
    user_id: str = ""
    reason: str = ""
    rule: str = ""
    before: str = ""
    after: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class RuleChange:
    """A rule as it was left by the change with this number."""

    revision: int
    rule: Rule
    removed: bool = False


@dataclass(frozen=True, slots=True)
class OwnRule:
    """A rule of the owner's, and what the block-list's file has of it.

    One that is ``removed`` is told of as long as the file still holds it.
    """

    rule: Rule
    in_file: bool = False
    removed: bool = False


@dataclass(frozen=True, slots=True)
class RulesChanged:
    """What a change of rules came to: those that are new (or others than before), and those that are gone."""

    added: tuple[Rule, ...] = ()
    dropped: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret to be stored. It may be forgotten after ``expires_at``."""

    name: str
    value: str = field(repr=False)
    expires_at: float | None = None


class Store(Protocol):
    """Everything Knock remembers. One contract for every back-end; see tests/contract/test_store.py.

    Every method may raise StoreUnavailable, and then nothing has changed. When
    a method that writes returns, what it wrote is on disk.
    """

    async def open(self) -> None:
        """Connect and bring the schema up to date, under a lock over all processes."""

    async def close(self) -> None: ...

    async def ping(self) -> None:
        """Write something, so that readiness knows a full or read-only disk."""

    async def durability_problem(self) -> str:
        """Return "", or one sentence on why a power failure could take what was acknowledged (promise 1)."""

    def on_work(self, wake: Callable[[], None]) -> None:
        """Call ``wake``, from now on, when another process may have made work due; too often does no harm.

        A hint, not a promise: whoever waits for work looks for it from time to time as well.
        """

    # knocks
    async def admit(self, attempt: Attempt, judge: Judge) -> Kept | AskedToWait:
        """Gather the facts, judge, and keep the knock with its ledger line: one transaction.

        A delivery whose event id was seen before, or a person whose knock is open
        or cooling down, counts on the record there is. For every other
        outcome the same statements run (promise 6).
        """

    async def count_request(self, door: Door, sender: str, at: float) -> float:
        """Count an anonymous request that makes no knock; return how many seconds its sender must wait (0.0: none)."""

    async def must_wait(self, sender: str, now: float) -> float:
        """How many seconds an anonymous sender still has to wait (0.0: none). Counts nothing."""

    async def claim(
        self,
        now: float,
        *,
        limit: int,
        lease: float,
        pace: Pace | None = None,
        queue: Queue = Queue.INVITES,
    ) -> Claimed:
        """Claim the due knocks of a queue for ``lease`` seconds, oldest first, as many as pace and pauses allow."""

    async def renew(self, claims: Sequence[Knock], until: float) -> None:
        """Keep claims that are still being worked on."""

    async def put_back(self, claim: Knock, *, due_at: float, tried: bool = True) -> bool:
        """Give a claim back, to be tried again at ``due_at``. False if the claim had lapsed."""

    async def record(self, claim: Knock, after: Knock, entries: Sequence[Entry]) -> bool:
        """Write what became of a claimed knock, with its ledger lines.

        False, and nothing is written, if another worker has claimed it since.
        """

    async def change(
        self, knock_id: str, how: Callable[[Knock], Knock], entry: Entry, *, rule: Rule | None = None
    ) -> Knock:
        """Change one knock in one transaction, ledger line included; its claim, if any, ends.

        A ``rule`` is added with it, unless it is there.

        ``entry`` gets door, person, before and after from the change. When
        ``how`` returns its argument unchanged, nothing is written; it may give the knock another room.

        Raises:
            NotFound: there is no such knock.
            IllegalMove: ``how`` asked for a step that MOVES does not have.
        """

    async def knock(self, knock_id: str) -> Knock | None: ...

    async def knock_with_receipt(self, receipt: str) -> Knock | None:
        """The knock that a submission with this receipt led to, in the last 90 days."""

    async def knocks_of(self, user_key: str, *, states: frozenset[KnockState] | None = None) -> list[Knock]:
        """A person's knocks at all doors, newest first."""

    async def knocks_in(
        self, states: frozenset[KnockState], *, limit: int = 1000, after: str = ""
    ) -> list[Knock]:
        """Knocks in these states, oldest first by id, from behind the id ``after``."""

    async def hurry(self, user_key: str, now: float) -> int:
        """Make the welcomes due that wait for this person; return how many."""

    # block-list
    async def rules(self) -> list[Rule]:
        """All rules, oldest first."""

    async def rules_since(self, revision: int, after: str = "", *, limit: int = 1000) -> list[RuleChange]:
        """What has changed behind this revision (and in it, behind the rule with the id ``after``), in order.

        A rule that was removed is told of for a week.
        """

    async def rules_revision(self) -> int:
        """The number of the newest change: as long as it is the same, so are the rules."""

    async def block(self, rule: Rule, entry: Entry) -> tuple[bool, list[Knock]]:
        """Add a person's rule and refuse their held and admitted knocks; say whether it is new, and who waits.

        The list holds the knocks that still need the homeserver: an invite to withdraw.
        """

    async def unblock(self, user_key: str, entry: Entry) -> Rule | None:
        """Remove a person's rule; None if there was none, and then nothing is written.

        An open invite that was about to be withdrawn for it stays.
        """

    async def change_rules(
        self,
        put: Sequence[Rule],
        drop: Sequence[str],
        entry: Entry,
        *,
        replacing: bool = False,
        in_file: bool = False,
    ) -> RulesChanged:
        """Add rules and remove others by their ids, each with its ledger line, in one transaction.

        A rule that is there already stays as it is, unless ``replacing``, or it has run out.
        ``in_file`` says that the block-list's file has it so: it holds those that are
        added, and no longer those that are removed.
        """

    async def own_rules(self) -> list[OwnRule]:
        """The rules that come from no shared list, oldest first, and what the block-list's file has of them."""

    async def mark_in_file(self, rule_ids: Sequence[str], in_file: bool) -> None:
        """Note whether the block-list's file holds these rules, those that were removed included."""

    async def knocks_by_rule(self, entity: str, *, after: str = "", limit: int = 1000) -> list[Knock]:
        """Knocks that a rule with this entity has decided, oldest first by id, from behind the id ``after``."""

    async def rules_of(self, source: str, after: str = "", *, limit: int = 1000) -> list[Rule]:
        """The rules of one source by their ids, from behind the id ``after``."""

    # policy lists
    async def policy_lists(self) -> list[PolicyList]:
        """The lists that Knock is subscribed to, or was, oldest first."""

    async def add_list(self, policy_list: PolicyList, entry: Entry) -> bool:
        """Subscribe to a list. False, and nothing is written, if one has its name or its room already.

        One of that name that was removed gives way to it.
        """

    async def remove_list(self, name: str, entry: Entry) -> PolicyList | None:
        """Note that a list is no longer wanted; None if there is none of that name. Its rules are still there."""

    async def add(self, knock: Knock, entry: Entry) -> None:
        """Put a knock on record that nobody has judged: somebody who joined by themselves."""

    async def import_knocks(self, knocks: Sequence[Knock], entry: Entry) -> int:
        """Add knocks of people who have no record at that room yet; return how many were new."""

    # ledger
    async def write(self, entry: Entry) -> None: ...

    async def ledger(self, *, knock_id: str = "", user_id: str = "", limit: int = 100) -> list[Entry]:
        """Newest first."""

    # shared between processes
    async def pause(self, what: str, until: float) -> None:
        """Nobody does ``what`` before ``until``; a later end wins."""

    async def paused(self, what: str) -> float:
        """When the pause ends (0.0: there is none)."""

    async def resume(self, what: str) -> None: ...

    async def take_lease(self, name: str, holder: str, *, now: float, until: float) -> bool:
        """Take or renew a lease over all processes; False while somebody else holds it."""

    async def drop_lease(self, name: str, holder: str) -> None: ...

    async def secret(self, name: str) -> str | None:
        """A stored secret, decrypted if SECRET_KEY is set."""

    async def put_secret(self, name: str, value: str, *, expires_at: float | None = None) -> None: ...

    async def put_secrets(self, secrets: Sequence[Secret], *, fence: str, seen: str) -> bool:
        """Write several secrets in one transaction, and count up the number kept under the name ``fence``.

        ``seen`` is that number as ``secret`` returned it before ("" for None). False, and
        nothing is written, if it is another one by now: somebody else has written since.
        """

    async def settle_secret(self, name: str, value: str, *, expires_at: float | None = None) -> str:
        """Insert if absent; return the one that counts for all processes."""

    async def drop_secret(self, name: str) -> None: ...

    async def tidy(self, now: float) -> int:
        """Forget what has run out (counters, back-offs, old event ids, expired secrets); return how much."""

    async def counts(self) -> Mapping[KnockState, int]:
        """How many knocks are open, by state, for the operator."""


# --- the homeserver ----------------------------------------------------------------------------


class Membership(StrEnum):
    """A person's membership of a room (Matrix specification, m.room.member)."""

    INVITE = "invite"
    JOIN = "join"
    KNOCK = "knock"
    LEAVE = "leave"
    BAN = "ban"
    NONE = "none"
    """Never had one."""


@dataclass(frozen=True, slots=True)
class Member:
    """What the room says of one person. ``since`` is 0.0 when the homeserver does not tell."""

    membership: Membership
    since: float = 0.0
    sender: str = ""


@dataclass(frozen=True, slots=True)
class PowerLevels:
    """Who may do what in a room (m.room.power_levels, with the specification's defaults).

    ``creators`` have unlimited power in rooms of version 12 and later.
    """

    users: Mapping[str, int]
    users_default: int = 0
    invite: int = 0
    kick: int = 50
    ban: int = 50
    creators: frozenset[str] = field(default_factory=frozenset)
    events: Mapping[str, int] = field(default_factory=dict)
    """What sending an event of a type needs, where that is not ``events_default``."""
    events_default: int = 0
    state_default: int = 50

    def of(self, user_id: str) -> float:
        """The power of one person; infinite for a creator of a version 12 room."""
        if user_id in self.creators:
            return float("inf")
        return self.users.get(user_id, self.users_default)

    def to_send(self, kind: str) -> int:
        """The power that sending a message event of this type needs."""
        return self.events.get(kind, self.events_default)

    def to_set(self, kind: str) -> int:
        """The power that writing a state event of this type needs."""
        return self.events.get(kind, self.state_default)


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What a homeserver tells of itself."""

    software: str = ""
    """Such as "Synapse/1.163.2"; "" if it does not say."""
    clock: float | None = None
    """Its time at the answer, in seconds since the epoch, to the second; None if it does not say."""


@dataclass(frozen=True, slots=True)
class StateEvent:
    """A state event of a room, as /sync tells it. ``at`` is its origin_server_ts in seconds."""

    kind: str
    key: str
    sender: str
    content: Mapping[str, Any]
    before: Mapping[str, Any] = field(default_factory=dict)
    """The content it replaced (``unsigned.prev_content``); empty if there was none."""
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class RoomNews:
    """What happened in one room, oldest first. With ``gap`` something is missing: re-read the members."""

    events: tuple[StateEvent, ...] = ()
    gap: bool = False


@dataclass(frozen=True, slots=True)
class News:
    """One answer of /sync. ``position`` is where to go on; store it once all of this is dealt with."""

    position: str
    rooms: Mapping[str, RoomNews] = field(default_factory=dict)
    """The rooms we are in, by room ID."""
    gone: frozenset[str] = frozenset()
    """Rooms that we have left or been thrown out of."""
    devices_changed: frozenset[str] = frozenset()
    """People whose devices are new or different (``device_lists.changed``)."""
    one_time_keys: Mapping[str, int] = field(default_factory=dict)
    """Our own unused one-time keys on the homeserver, by algorithm."""
    fallback_keys: tuple[str, ...] | None = None
    """The algorithms of our unused fallback keys; None when the homeserver did not say."""


@dataclass(frozen=True, slots=True)
class RoomAddress:
    """A room that an alias stands for, and servers through which it can be entered."""

    room_id: str
    servers: tuple[str, ...] = ()


class LostPosition(Exception):
    """The homeserver no longer knows the position: begin anew, and re-read the members."""


class Existence(StrEnum):
    """Whether an account exists, as far as a profile look-up can tell."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"
    """Hidden profile, other homeserver, limits, or an outage: not a "no"."""


class Homeserver(Protocol):
    """The Matrix calls Knock makes. Every one may raise a HomeserverError.

    ``room_id`` is always an ID, never an alias; path segments are percent-encoded.
    """

    async def whoami(self) -> str:
        """The Matrix ID Knock acts as (GET /account/whoami)."""

    async def about(self) -> ServerFacts:
        """What the homeserver tells anybody of itself (GET /versions)."""

    async def rooms(self) -> list[str]:
        """The IDs of the rooms and spaces we are in (GET /joined_rooms)."""

    async def invitations(self) -> Mapping[str, str]:
        """The rooms we are invited to and have not answered, by ID, with their names ("" for none)."""

    async def join(self, room_id: str, via: Sequence[str] = ()) -> None:
        """Accept an invitation, or enter a room that is open to all. ``via`` are servers that are in it."""

    async def resolve(self, alias: str) -> RoomAddress | None:
        """What an alias stands for; None if there is no such alias."""

    async def existence(self, user_id: str) -> Existence: ...

    async def invite(self, room_id: str, user_id: str, reason: str) -> None: ...

    async def kick(self, room_id: str, user_id: str, reason: str) -> None: ...

    async def member(self, room_id: str, user_id: str) -> Member: ...

    async def power_levels(self, room_id: str) -> PowerLevels: ...

    async def ban(self, room_id: str, user_id: str, reason: str) -> None: ...

    async def members(self, room_id: str, membership: Membership) -> Mapping[str, Member]:
        """Everybody with this membership, by Matrix ID."""

    async def state(self, room_id: str, kind: str, key: str = "") -> Mapping[str, Any] | None:
        """The content of one state event; None if the room has none."""

    async def set_state(self, room_id: str, kind: str, key: str, content: Mapping[str, Any]) -> None:
        """Write a state event; the same content again changes nothing."""

    async def send(self, room_id: str, kind: str, transaction: str, content: Mapping[str, Any]) -> str:
        """Send a message event; the same ``transaction`` again changes nothing. Returns its event ID."""

    async def sent_before(self, room_id: str, key: str, value: str, *, since: float) -> bool:
        """Whether one of our own events since then (seconds) has this key and value in its content."""

    async def device(self) -> str:
        """The ID of the device whose token we use; "" if the token has none."""

    async def device_keys(self, user_id: str, device: str) -> Mapping[str, Any] | None:
        """The encryption keys that a device has published (POST /keys/query); None if it has none."""

    async def sync(self, position: str | None, rooms: Sequence[str], *, timeout: float) -> News:  # noqa: ASYNC109 - the long poll
        """Wait up to ``timeout`` seconds for news of these rooms. Without a position: where we are now.

        Raises:
            LostPosition: the position is no longer known.
        """

    async def joined_members(self, room_id: str) -> Mapping[str, Mapping[str, Any]]:
        """Joined members by Matrix ID, with ``display_name`` and ``avatar_url`` as the homeserver gives them."""

    async def room_state(self, room_id: str) -> list[dict[str, Any]]:
        """All current state events of the room."""


# --- encryption --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rotation:
    """When a room's message session is replaced (content of m.room.encryption)."""

    messages: int = 100
    seconds: float = 7 * 86400.0

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Self:
        """Read what the room asks for; never more than 100 messages or a week (design decision 5)."""
        messages, milliseconds = content.get("rotation_period_msgs"), content.get("rotation_period_ms")
        usual = cls()
        return cls(
            messages=min(max(messages, 1), usual.messages) if type(messages) is int else usual.messages,
            seconds=min(max(milliseconds / 1000, 60.0), usual.seconds)
            if type(milliseconds) is int
            else usual.seconds,
        )


class Encryption(Protocol):
    """Encrypts what Knock sends into encrypted rooms. One process at a time uses it: the one with the turn."""

    async def start(self) -> None:
        """Have our keys published and signed; what is done already is not done again.

        Raises:
            EncryptionUnavailable: the owner has to do something first.
        """

    async def problem(self) -> str:
        """Return "", or one sentence for the owner: what keeps us from encrypting."""

    async def is_ours(self, device_keys: Mapping[str, Any]) -> bool:
        """Whether these published device keys are those that we have made for our own device."""

    async def can_read(self, user_id: str) -> bool:
        """Whether the person has a device that could decrypt."""

    async def encrypt(
        self,
        room_id: str,
        members: Sequence[str],
        kind: str,
        content: Mapping[str, Any],
        *,
        rotation: Rotation,
    ) -> dict[str, Any]:
        """Return the content of an m.room.encrypted event; its key is on every member's devices by then.

        What was encrypted is not encrypted again with the same message key, whatever crashes.

        Raises:
            EncryptionUnavailable: see ``start``; or another process has taken over.
        """

    async def heard(self, news: News) -> None:
        """Take in what /sync says of devices, of our own keys, and of people who left."""

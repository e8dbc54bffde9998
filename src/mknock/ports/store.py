"""Everything Knock remembers.

Written for SQLite, PostgreSQL and Redis alike: whatever must happen in one
transaction is one method. Times are seconds since the epoch, UTC, and always come
in by argument.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from mknock.domain.direct_rooms import DirectRoom, TalkLimits
from mknock.domain.doors import Door
from mknock.domain.knocks import Knock, KnockState
from mknock.domain.links import InviteLink, LinkStatistics
from mknock.domain.policy_lists import PolicyList
from mknock.domain.raids import Raid, Told
from mknock.domain.rules import Rule
from mknock.ports.admission import AskedToWait, Attempt, Judge, Kept, LinkOver
from mknock.ports.records import (
    Claimed,
    Entry,
    OwnRule,
    Pace,
    Queue,
    RoomToLeave,
    RuleChange,
    RulesChanged,
    Secret,
)


class Store(Protocol):
    """Everything Knock remembers. One contract for every back-end; see tests/contract/test_store*.py.

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
    async def admit(self, attempt: Attempt, judge: Judge) -> Kept | AskedToWait | LinkOver:
        """Gather the facts, judge, and keep the knock with its ledger line: one transaction.

        A use of the link by which it comes is taken in the same transaction, whatever is decided. A knock that is
        held for a moderator goes on by a link that stands for their yes.

        A delivery whose event id was seen before, or a person whose knock is open
        or cooling down, counts on the record there is. For every other
        outcome the same statements run (promise 6).
        """

    async def prove(self, attempt: Attempt, judge: Judge) -> Knock | None:
        """Mark the person's open knock at the door's room as proven; None if there is none.

        One that is held is judged anew, by facts of which it is no part itself, and goes on if the judge lets it:
        one transaction, ledger line included. The same once more changes nothing. ``admit`` does so by
        itself when the attempt is proven.
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

        False, and nothing is written, if another worker has claimed it since. A knock that fails for a
        reason in GIVEN_BACK gives back its use of the link by which it came.
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

        A rule that is there already stays as it is, unless ``replacing``, or it has run out. One that
        is both put and dropped takes the place of what is there, unless that is the very same.
        ``in_file`` says that the block-list's file has it so: it holds those that are
        added, and no longer those that are removed.
        """

    async def own_rules(self) -> list[OwnRule]:
        """The rules that come from no shared list, oldest first, and what the block-list's file has of them.

        Of very many not all are read at one moment: each as it is at some time during the call.
        """

    async def mark_in_file(self, rule_ids: Sequence[str], in_file: bool) -> None:
        """Note whether the block-list's file holds these rules, those that were removed included."""

    async def knocks_by_rule(self, entity: str, *, after: str = "", limit: int = 1000) -> list[Knock]:
        """Knocks that a rule with this entity has decided, oldest first by id, from behind the id ``after``."""

    async def rules_of(self, source: str, after: str = "", *, limit: int = 1000) -> list[Rule]:
        """The rules of one source by their ids, from behind the id ``after``."""

    # invite links
    async def add_link(self, link: InviteLink, entry: Entry) -> None:
        """Put a new link on record."""

    async def link(self, token_hash: str) -> InviteLink | None:
        """The link with this token, whether or not it is still open."""

    async def links(self, *, after: str = "", limit: int = 1000) -> list[InviteLink]:
        """Links by their ids, which are in the order of time, from behind the id ``after``."""

    async def link_statistics(self) -> Mapping[str, LinkStatistics]:
        """What became of the knocks that came by links, by the link's id; a link without any is left out."""

    async def revoke_link(self, link_id: str, entry: Entry) -> InviteLink | None:
        """Let nobody knock by a link any more; None if there is none. Revoked again, nothing is written."""

    # policy lists
    async def policy_lists(self) -> list[PolicyList]:
        """The lists that Knock is subscribed to, or was, oldest first."""

    async def add_list(self, policy_list: PolicyList, entry: Entry) -> bool:
        """Subscribe to a list. False, and nothing is written, if one has its name or its room already.

        One of that name that was removed gives way to it. Its room is no longer to be left.
        """

    async def remove_list(self, name: str, entry: Entry) -> PolicyList | None:
        """Note that a list is no longer wanted, and its room to be left; None if there is none of that name.

        Its rules are still there.
        """

    async def rooms_to_leave(self) -> list[RoomToLeave]:
        """The rooms of removed lists in which Knock may still be, in the order of their removal."""

    async def room_settled(self, room: RoomToLeave, entry: Entry) -> bool:
        """Note that a room needs no more leaving. False, and nothing is written, if it was not to be left any more."""

    async def add(self, knock: Knock, entry: Entry) -> None:
        """Put a knock on record that nobody has judged: somebody who joined by themselves."""

    async def import_knocks(self, knocks: Sequence[Knock], entry: Entry) -> int:
        """Add knocks of people who have no record at that room yet; return how many were new."""

    # direct rooms
    async def begin_talk(self, room: DirectRoom, limits: TalkLimits, entry: Entry) -> bool:
        """Put a direct room on record before it is entered. False, and nothing is written, if it is too much.

        Too much is another talk with the same person or in the same room, and whatever is over the limits.
        """

    async def go_on_talking(self, before: DirectRoom, after: DirectRoom, entry: Entry) -> bool:
        """Write how a talk goes on, in the ledger too if its state is another.

        False, and nothing is written, if it has gone on since.
        """

    async def direct_rooms(self, *, limit: int = 100) -> list[DirectRoom]:
        """The direct rooms that are not left yet, oldest first."""

    # raids
    async def start_raid(self, raid: Raid) -> Raid:
        """Begin a raid on a moderator's word, ledger line included; one that is on lasts as long as this one.

        Returns the raid that is on.
        """

    async def end_raid(self, door: str, at: float, by: str, *, quiet_until: float) -> Raid | None:
        """End the raid that is on at a door, and begin none before ``quiet_until``; None if there is none."""

    async def end_lapsed_raids(self, at: float) -> list[Raid]:
        """End the raids whose time is over, each with its ledger line; return them."""

    async def tell_raid(self, raid_id: str, told: Told) -> None:
        """Note what the moderators' room has been told."""

    async def raid(self, raid_id: str) -> Raid | None: ...

    async def raids(self, *, limit: int = 100) -> list[Raid]:
        """Newest first."""

    async def untold_raids(self) -> list[Raid]:
        """Those that are on, and those of which not everything has been told, oldest first."""

    async def wave(self, raid_id: str, *, after: str = "", limit: int = 1000) -> list[Knock]:
        """The knocks that are still held of a raid, oldest first by id, from behind the id ``after``."""

    async def wave_counts(self, raid_id: str) -> Mapping[KnockState, int]:
        """How many knocks were held in a raid, by the state they are in now."""

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

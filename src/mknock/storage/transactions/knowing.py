"""What is on record of a person at the moment they knock, and the facts that it makes."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import NamedTuple

from mknock.domain.knocks import Knock
from mknock.domain.links import InviteLink
from mknock.domain.raids import Raid
from mknock.domain.rules import Rule, block_id
from mknock.ports import HISTORY, Attempt, Facts
from mknock.storage import sql
from mknock.storage.rows import knock_of, raid_of, rule_of
from mknock.storage.transactions.counting import RAID_WIDTH, Counter, Counts, counts_before, to_read
from mknock.storage.transactions.steps import Rows, Step


class Known(NamedTuple):
    """What is on record of a person at the moment they knock."""

    seen: str | None
    """The knock that this very delivery has led to before."""
    open_elsewhere: bool
    counters: Sequence[Counter]
    counts: Sequence[int | None]
    """Of each counter, this knock not included: in the slot of now, and in the slot before."""
    raid: Raid | None
    """The newest of the door, over or not."""
    rule: Rule | None
    history: tuple[Knock, ...]


def known_of(attempt: Attempt, event: str, counters: Sequence[Counter]) -> Generator[Step, Rows, Known]:
    """Read it. ``event`` is the name of the delivery."""
    door, trapped, person = attempt.door, int(bool(attempt.submission.trap)), attempt.user.key
    about = (person, door.room_id, event, block_id(person), attempt.at, door.slug)
    rows = yield sql.KNOWN, (*about, *to_read(counters))
    seen, elsewhere, *rest = rows[0]
    counts, rest = rest[: 2 * len(counters)], rest[2 * len(counters) :]
    raid, rule = rest[:RAID_WIDTH], rest[RAID_WIDTH:]
    history = yield sql.HISTORY, (person, door.room_id, trapped, HISTORY)
    return Known(
        seen=seen,
        open_elsewhere=bool(elsewhere),
        counters=counters,
        counts=counts,
        raid=raid_of(raid) if raid[0] is not None else None,
        rule=rule_of(rule) if rule[0] is not None else None,
        history=tuple(map(knock_of, history)),
    )


def facts_of(
    known: Known,
    history: tuple[Knock, ...],
    counts: Counts,
    raid: Raid | None,
    *,
    link: InviteLink | None = None,
    sender_count: float = 0.0,
) -> Facts:
    return Facts(
        rule=known.rule,
        history=history,
        open_elsewhere=known.open_elsewhere,
        link=link,
        sender_count=sender_count,
        homeserver_count=counts.homeserver,
        door_count=counts.door,
        arrivals=counts.arrivals,
        raid=raid,
    )


def facts_without(before: Knock, known: Known, at: float) -> Facts:
    """The facts as if a knock, which was counted when it came, came only now.

    One of a wave is a moderator's to decide, also when the raid is over: raiders have accounts, and links.
    """
    others = tuple(knock for knock in known.history if knock.id != before.id)
    raid = known.raid if known.raid is not None and (before.raid or known.raid.is_on(at)) else None
    return facts_of(known, others, counts_before(known.counters, known.counts), raid)

"""Raids begin and end."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

from mknock.domain.chance import new_id
from mknock.domain.raids import Arrivals, Raid, sign_of
from mknock.ports import Attempt, Entry
from mknock.storage import sql
from mknock.storage.rows import raid_of, raid_row
from mknock.storage.transactions.steps import Rows, Step, Steps, write

SETTLED = 0.9
"""Of the calm. A raid that lasts so long without another sign is not written anew for one, so a flood costs nothing."""


def raid_at(
    attempt: Attempt, arrivals: Arrivals, newest: Raid | None, *, alarming: bool
) -> Generator[Step, Rows, Raid | None]:
    """The raid that is on as this knock comes; it begins, or goes on for longer, if the knock is a sign of one.

    What is counted alone decides; so who knocks, and what comes of it, makes no difference (promise 6).
    """
    at, alarm = attempt.at, attempt.door.alarm
    raid = newest if newest is not None and newest.is_on(at) else None
    if not alarming or _is_settled(raid, at + SETTLED * alarm.calm):
        return raid
    if newest is not None and newest.quiet_until > at:
        return raid
    sign = sign_of(alarm, arrivals, attempt.likeness, attempt.user)
    if sign is None:
        return raid
    begun = Raid(
        id=new_id(at),
        door=attempt.door.slug,
        cause=sign.cause,
        detail=sign.detail,
        started_at=at,
        started_by="knock",
        ends_at=at + alarm.calm,
    )
    return (yield from _put(sql.SIGN, begun, _entry(begun)))


def _is_settled(raid: Raid | None, until: float) -> bool:
    return raid is not None and (raid.ends_at is None or raid.ends_at >= until)


def _put(statement: str, raid: Raid, entry: Entry) -> Generator[Step, Rows, Raid]:
    """Begin a raid, or have the one that is on go on; only a beginning goes into the ledger."""
    rows = yield statement, raid_row(raid)
    on = raid_of(rows[0])
    if on.id == raid.id:
        yield from write(entry)
    return on


def _entry(raid: Raid) -> Entry:
    return Entry(
        at=raid.started_at,
        actor=raid.started_by,
        action="raid begins",
        door=raid.door,
        reason=raid.cause.value,
        after=raid.id,
        detail=raid.detail,
    )


def start_raid(raid: Raid) -> Steps[Raid]:
    """A moderator begins a raid, or says how long the one that is on lasts; see ports.Store.start_raid."""
    rows = yield sql.START_RAID, raid_row(raid)
    on = raid_of(rows[0])
    yield from write(replace(_entry(raid), after=on.id))
    return on


def end_raid(door: str, at: float, by: str, quiet_until: float) -> Steps[Raid | None]:
    rows = yield sql.END_RAID, (door, at, by, quiet_until)
    yield from write(*(_end(raid_of(row)) for row in rows))
    return raid_of(rows[0]) if rows else None


def end_lapsed_raids(at: float) -> Steps[list[Raid]]:
    rows = yield sql.LAPSED_RAIDS, (at,)
    raids = [raid_of(row) for row in rows]
    yield from write(*map(_end, raids))
    return raids


def _end(raid: Raid) -> Entry:
    return Entry(
        at=raid.ended_at or 0.0,
        actor=raid.ended_by,
        action="raid ends",
        door=raid.door,
        reason=raid.cause.value,
        before=raid.id,
        detail="" if raid.ended_by != "knock" else "it has been calm",
    )

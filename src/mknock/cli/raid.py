"""``mknock raid``: hold everybody at a door, and let go again."""

from __future__ import annotations

from typing import Final

import click

from mknock.cli.running import with_parts
from mknock.cli.terminal import MARGIN, moment, plain, say
from mknock.domain.raids import Raid
from mknock.settings import duration
from mknock.wiring.parts import Parts, waves_of

ACTOR: Final = "cli"
LONGEST: Final = 365 * 86400.0


@click.group()
def raid() -> None:
    """Look at raids, begin one by hand, and end it.

    While a door is being raided, everybody who knocks there is held.
    """


@raid.command("list")
def list_() -> None:
    """List the newest raids, those that are on first in each line."""

    async def work(parts: Parts) -> tuple[list[Raid], float]:
        return await waves_of(parts).raids(), parts.clock()

    raids, now = with_parts(work)
    for one in raids:
        say(shown(one, now))
    if not raids:
        say("There has been no raid.")


@raid.command()
@click.argument("door")
@click.option(
    "--for", "lasting", default="", metavar="TIME", help="How long, such as 2h; else until you end it."
)
def start(door: str, lasting: str) -> None:
    """Hold everybody who knocks at DOOR from now on."""
    seconds = _time(lasting, "--for")
    begun = with_parts(lambda parts: waves_of(parts).start(door, actor=ACTOR, lasting=seconds))
    until = f"until {moment(begun.ends_at)}" if begun.ends_at else f"until you run: mknock raid end {door}"
    say(f"Whoever knocks at {door} is held, {until}. The wave is {begun.id}.")


@raid.command()
@click.argument("door")
@click.option(
    "--quiet", default="", metavar="TIME", help="How long none begins by itself, such as 1d; else RAID_CALM."
)
def end(door: str, quiet: str) -> None:
    """End the raid at DOOR. Who is held still waits for a decision."""
    seconds = _time(quiet, "--quiet")
    ended = with_parts(lambda parts: waves_of(parts).end(door, actor=ACTOR, quiet=seconds))
    say(f"The raid at {door} is over. Who was held still waits: mknock held --wave {ended.id}")


def _time(typed: str, option: str) -> float | None:
    """A time that was typed, in seconds; None for none."""
    seconds = duration(typed) if typed else None
    if seconds is not None and not 0 < seconds <= LONGEST:
        raise click.UsageError(f"{option} takes a time such as 30m, 2h or 1d.")
    return seconds


def shown(one: Raid, now: float) -> str:
    """A raid in two lines."""
    since = f"{one.id}  door {one.door}, since {moment(one.started_at)}"
    if one.ended_at is not None:
        ends = f"ended {moment(one.ended_at)} by {plain(one.ended_by)}"
    elif one.is_on(now):
        ends = (
            f"on, until {moment(one.ends_at)} unless it goes on" if one.ends_at else "on, until it is ended"
        )
    else:
        ends = "over"
    return f"{since}: {ends}\n{MARGIN}{one.cause.value}, begun by {plain(one.started_by)}  {plain(one.detail)}".rstrip()

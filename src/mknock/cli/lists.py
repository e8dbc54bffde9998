"""``mknock lists``, ``subscribe`` and ``unsubscribe``: policy lists that others keep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import click

from mknock.api.lists import ListedList, WholeList
from mknock.cli.running import with_parts
from mknock.cli.terminal import MARGIN, ask, moment, plain, say, say_json
from mknock.domain.policy_lists import PolicyList, is_name, room_in
from mknock.ports import RoomAddress
from mknock.services.list_reports import ListReport
from mknock.services.list_survey import TOO_WIDE
from mknock.services.subscriptions import Hit, Preview
from mknock.wiring.parts import Parts, list_reports_of, subscriptions_of

ACTOR: Final = "cli"
SHOWN: Final = 50
"""People whom the preview names, and entries left out that are shown; more are counted."""
YES: Final = frozenset({"y", "yes"})


@click.command()
@click.argument("name", default="")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list.")
def lists(name: str, as_json: bool) -> None:
    """Show the policy lists that Knock is subscribed to.

    With the NAME of one, show what of it does not count as well, and why.
    """
    reports = with_parts(lambda parts: _reports(parts, name))
    if as_json:
        shape = WholeList if name else ListedList
        say_json([shape.of(report).model_dump(mode="json") for report in reports])
        return
    for report in reports:
        for line in _shown(report, whole=bool(name)):
            say(line)
    if not reports:
        say("Knock is subscribed to no policy list.")


@click.command()
@click.argument("room")
@click.option("--name", default="", help="What to call the list: small letters, digits, hyphens.")
@click.option("--look-alikes", is_flag=True, help="Hold names that resemble those on the list as well.")
@click.option("--allow-wide", is_flag=True, help="Use rules that name everybody, or a server of many, too.")
@click.option("--via", multiple=True, metavar="SERVER", help="A server that is in the room, for a bare ID.")
@click.option("--preview", "only_preview", is_flag=True, help="Show what the list would do, and stop.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def subscribe(
    room: str,
    name: str,
    look_alikes: bool,
    allow_wide: bool,
    via: tuple[str, ...],
    only_preview: bool,
    yes: bool,
) -> None:
    """Use the rules of a policy list that others keep.

    ROOM is the alias (#name:server) or the ID of the list's room, or a link to
    it (https://matrix.to/…). Knock goes in by itself if the room is open or
    Knock is invited; then it shows whom the list would hit right now, and
    asks.
    """
    named, more = room_in(room)
    called = "preview" if only_preview else _checked(name)
    wish = Wish(named, (*via, *more), called, look_alikes, allow_wide)
    policy_list, servers = _previewed(wish)
    if only_preview:
        return
    if not yes and ask("Subscribe? [y/N]", default="n").lower() not in YES:
        say("Nothing was changed. Knock stays in the room, where it only reads.")
        return
    with_parts(lambda parts: _subscribe(parts, policy_list, servers))
    say(
        f"Knock is subscribed to {policy_list.name}. Its rules count within seconds, or from the next start on."
    )


@click.command()
@click.argument("name")
def unsubscribe(name: str) -> None:
    """No longer use the rules of a policy list.

    NAME is what "mknock lists" shows. All of the list's rules go; whoever was
    removed for one may knock again. A running Knock then leaves the list's
    room, unless it is needed there.
    """
    dropped = with_parts(lambda parts: subscriptions_of(parts).unsubscribe(name, actor=ACTOR))
    say(f"Knock is no longer subscribed to {plain(name)}; {dropped} rules are gone.")


def _checked(name: str) -> str:
    if not name:
        raise click.UsageError("Missing option '--name': what do you want to call the list?")
    if not is_name(name):
        raise click.UsageError("A name has up to 40 small letters, digits, hyphens, dots and underscores.")
    return name


@dataclass(frozen=True, slots=True)
class Wish:
    """What was typed."""

    room: str
    via: tuple[str, ...]
    name: str
    look_alikes: bool
    allow_wide: bool

    def of(self, address: RoomAddress, at: float) -> PolicyList:
        return PolicyList(
            name=self.name,
            room_id=address.room_id,
            alias=self.room if self.room.startswith("#") else "",
            look_alikes=self.look_alikes,
            allow_wide=self.allow_wide,
            author=ACTOR,
            at=at,
        )


def _previewed(wish: Wish) -> tuple[PolicyList, Sequence[str]]:
    """Find the room, go in, and show what the list would do; with the servers through which the room is entered."""

    async def work(parts: Parts) -> tuple[PolicyList, RoomAddress, Preview]:
        subscriptions = subscriptions_of(parts)
        address = await subscriptions.find(wish.room, wish.via)
        if await subscriptions.enter(address):
            say("Knock has entered the list's room, where it only reads.")
        policy_list = wish.of(address, parts.clock())
        return policy_list, address, await subscriptions.preview(policy_list)

    policy_list, address, preview = with_parts(work)
    for line in _lines_of(preview):
        say(line)
    return policy_list, address.servers


async def _subscribe(parts: Parts, policy_list: PolicyList, via: Sequence[str]) -> None:
    # The time is that of the answer, which may have taken its own.
    await subscriptions_of(parts).subscribe(replace(policy_list, at=parts.clock()), actor=ACTOR, via=via)


def _lines_of(preview: Preview) -> Iterator[str]:
    yield f"The list has {preview.rules} rules that Knock can use{_enumerated(preview.kinds)}"
    for why, count in sorted(preview.left_out.items()):
        hint = " (--allow-wide takes them)" if why == TOO_WIDE.why else ""
        yield f"{MARGIN}left out: {count} {why}{hint}"
    for slug in preview.unseen:
        yield f"{MARGIN}the room of door {slug} could not be looked at"
    if not preview.hits:
        yield "It would hit nobody who is in the room or waits right now."
        return
    yield f"Right now it would hit {len(preview.hits)}:"
    for hit in preview.hits[:SHOWN]:
        yield f"{MARGIN}{_hit(hit)}"
    if len(preview.hits) > SHOWN:
        yield f"{MARGIN}and {len(preview.hits) - SHOWN} more"


def _enumerated(kinds: Mapping[str, int]) -> str:
    named = ", ".join(f"{count} {kind}" for kind, count in Counter(kinds).most_common())
    return f": {named}." if named else "."


def _hit(hit: Hit) -> str:
    why = f" ({plain(hit.rule.reason)})" if hit.rule.reason else ""
    spared = f"  - {hit.spared}: would be spared" if hit.spared else ""
    return f"{plain(hit.user_id)}, {hit.where}: by {plain(hit.rule.entity)}{why}{spared}"


async def _reports(parts: Parts, name: str) -> list[ListReport]:
    reports = list_reports_of(parts)
    return [await reports.one(name)] if name else await reports.all()


def _shown(report: ListReport, *, whole: bool) -> Iterator[str]:
    about = report.policy_list
    traits = [
        f"{report.rules} rules",
        f"since {moment(about.at)}",
        "look-alikes are held" if about.look_alikes else "",
        "wide rules count" if about.allow_wide else "",
    ]
    yield f"{about.name}  {plain(about.alias)}".rstrip()
    yield MARGIN + ", ".join(filter(None, traits))
    if report.problem:
        yield f"{MARGIN}what is left out is not known: {plain(report.problem)}"
    for why, count in sorted(report.left_out.items()):
        yield f"{MARGIN}left out: {count} {why}"
    if whole:
        yield from _left_out(report)


def _left_out(report: ListReport) -> Iterator[str]:
    """Which entries do not count. What strangers wrote is shown as plain text."""
    for entry in report.examples[:SHOWN]:
        by = f", by {plain(entry.author)}" if entry.author else ""
        yield f"{MARGIN * 2}{plain(entry.entity) or '(nothing that can be shown)'}: {entry.why}{by}"
    more = sum(report.left_out.values()) - min(len(report.examples), SHOWN)
    if more:
        yield f"{MARGIN * 2}and {more} more"

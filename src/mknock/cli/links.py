"""``mknock links``: invite links, made and revoked by moderators."""

from __future__ import annotations

from typing import Final

import click

from mknock.api.links import LinkShape
from mknock.cli.running import read_settings, with_parts
from mknock.cli.terminal import MARGIN, moment, plain, say, say_json
from mknock.cli.times import lasting
from mknock.domain.links import InviteLink, LinkStatistics, LinkStatus
from mknock.services.link_making import MadeLink, Wish
from mknock.wiring.parts import Parts, link_maker_of

ACTOR: Final = "cli"
Counted = tuple[InviteLink, LinkStatistics]


@click.group()
def links() -> None:
    """Make, list and revoke invite links."""


@links.command("add")
@click.option("--door", default="", help="The door that it leads to; the first if not given.")
@click.option("--label", default="", help="Whom or what it is for; moderators alone see it.")
@click.option("--uses", default=1, show_default=True, help="How many knocks it is good for.")
@click.option("--unlimited", is_flag=True, help="Good for any number of knocks.")
@click.option(
    "--for",
    "lasts",
    metavar="TIME",
    callback=lasting,
    default="7d",
    show_default=True,
    help="How long it lasts.",
)
@click.option("--forever", is_flag=True, help="Until it is revoked.")
@click.option("--skip-review", is_flag=True, help="Nobody who comes by it waits for a moderator.")
@click.option("--greeting", default="", help="Markdown, shown above the door's own text.")
def add(
    door: str,
    label: str,
    uses: int,
    unlimited: bool,
    lasts: float,
    forever: bool,
    skip_review: bool,
    greeting: str,
) -> None:
    """Make an invite link, and print its address.

    The address is shown this once: Knock keeps only a hash of it. Whoever has
    it can knock. With --skip-review, whoever passes the checks is let in
    without a moderator, and a closed door is open to them.
    """
    settings = read_settings()
    wish = Wish(
        door=door,
        label=label,
        greeting=greeting,
        uses=None if unlimited else uses,
        lasts=None if forever else lasts,
        skips_review=skip_review,
    )
    made = with_parts(lambda parts: link_maker_of(parts).make(wish, actor=ACTOR), settings)
    say(f"{settings.public_url or ''}{made.path}")
    say(_about_new(made, whole=bool(settings.public_url)))


@links.command("list")
@click.option("--all", "everything", is_flag=True, help="Also those that are over.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list, with the fields of GET /links.")
def list_(everything: bool, as_json: bool) -> None:
    """List the open links, and what became of whoever came."""

    async def work(parts: Parts) -> tuple[float, list[Counted]]:
        return parts.clock(), await _counted(parts, everything=everything)

    now, counted = with_parts(work)
    if as_json:
        say_json([LinkShape.of(link, now, of_it).model_dump(mode="json") for link, of_it in counted])
        return
    for link, of_it in counted:
        say(_shown(link, of_it, now))
    if not counted:
        say("There are no invite links." if everything else "No invite link is open.")


@links.command("revoke")
@click.argument("link")
@click.option("--reason", default="", help="Why, for the ledger.")
def revoke(link: str, reason: str) -> None:
    """Let nobody knock by a link any more.

    LINK is its id, as "mknock links list" shows it, or its address. Who has
    knocked by it already is not touched.
    """
    revoked = with_parts(lambda parts: link_maker_of(parts).revoke(link, actor=ACTOR, reason=reason))
    say(f"Nobody can knock by {revoked.id} any more.")


async def _counted(parts: Parts, *, everything: bool) -> list[Counted]:
    maker, now = link_maker_of(parts), parts.clock()
    statistics = await maker.statistics()
    return [
        (link, statistics.get(link.id, LinkStatistics()))
        async for link in maker.links()
        if everything or link.is_open(now)
    ]


def _about_new(made: MadeLink, *, whole: bool) -> str:
    lines = [_traits(made.link), f"revoke it by: mknock links revoke {made.link.id}"]
    if not whole:
        lines.append("the address of your Knock comes before it: set PUBLIC_URL to see it whole")
    return "\n".join(f"{MARGIN}{line}" for line in lines)


def _shown(link: InviteLink, statistics: LinkStatistics, now: float) -> str:
    status = link.status(now)
    over = "" if status is LinkStatus.OPEN else f"  ({status.value.replace('_', ' ')})"
    lines = [f"{link.id}  {plain(link.label)}".rstrip() + over, MARGIN + _traits(link)]
    if statistics.total:
        lines.append(MARGIN + _became(statistics))
    return "\n".join(lines)


def _traits(link: InviteLink) -> str:
    uses = "any number of knocks" if link.uses is None else f"{link.used} of {link.uses} used"
    ends = "until it is revoked" if link.expires_at is None else f"until {moment(link.expires_at)}"
    traits = [f"to {link.door}", uses, ends, "skips review" if link.skips_review else "", f"by {link.author}"]
    return ", ".join(filter(None, traits))


def _became(statistics: LinkStatistics) -> str:
    states = ", ".join(
        f"{count} {state.value.replace('_', ' ')}" for state, count in sorted(statistics.knocks.items())
    )
    return f"{statistics.total} knocked: {states}"

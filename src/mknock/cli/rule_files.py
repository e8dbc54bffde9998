"""``mknock import`` and ``export``: rules from and for other programs."""

from __future__ import annotations

from typing import BinaryIO, Final

import click

from mknock.cli.held import ACTOR
from mknock.cli.running import with_parts
from mknock.cli.terminal import MARGIN, complain, plain, say
from mknock.domain.errors import HomeserverError
from mknock.matching.extent import Extent
from mknock.services.rule_files import LARGEST, Format, Found, read, written
from mknock.services.rule_making import Brought
from mknock.wiring.parts import Parts, rule_maker_of

FORMATS: Final = [form.value for form in Format]
MOST_SHOWN: Final = 50


@click.command("import")
@click.argument("file", type=click.File("rb"))
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    help="How FILE is written (default: guessed).",
)
@click.option("--dry-run", is_flag=True, help="Say what would be blocked, and change nothing.")
@click.option("--force", is_flag=True, help="Do it even if it hits many, moderators, or Knock itself.")
def import_(file: BinaryIO, form: str | None, dry_run: bool, force: bool) -> None:
    """Add the rules of a file to the block-list.

    FILE is CSV, JSON, the policy rules of Draupnir or Mjolnir (their state
    events as JSON), or one rule a line as in BLOCKLIST_FILE; - is standard
    input. Rules that are there stay as they are. What is no rule is told by
    its number, and the rest counts.
    """
    data = file.read(LARGEST + 1)

    async def work(parts: Parts) -> Brought | None:
        found = read(data, Format(form) if form else None, author=ACTOR, at=parts.clock())
        _complain_of(found)
        if dry_run:
            await _preview(parts, found)
            return None
        return await rule_maker_of(parts).bring(found.rules, actor=ACTOR, force=force)

    brought = with_parts(work)
    if brought is not None:
        say(f"New rules: {brought.new}. There already: {brought.known}.")


def _complain_of(found: Found) -> None:
    for problem in found.problems[:MOST_SHOWN]:
        complain(f"{problem.line} is left out: {problem.sentence}")
    if len(found.problems) > MOST_SHOWN:
        complain(f"{len(found.problems) - MOST_SHOWN} more are left out.")


async def _preview(parts: Parts, found: Found) -> None:
    for rule in found.rules[:MOST_SHOWN]:
        reason = f": {plain(rule.reason)}" if rule.reason else ""
        say(f"{'allow' if rule.allow else 'block'} {plain(rule.entity)}{reason}")
    say(f"Rules: {len(found.rules)}. Nothing was changed.")
    try:
        _say_reach(await rule_maker_of(parts).preview([rule for rule in found.rules if not rule.allow]))
    except HomeserverError as error:
        complain(f"Whom they would hit is not known: {error}")


def _say_reach(reach: Extent) -> None:
    for problem in reach.problems:
        say(problem)
    for what, people in (("refused", reach.refused), ("held", reach.held)):
        if people:
            say(f"In the room, {len(people)} would be {what}:")
        for person in people[:MOST_SHOWN]:
            say(f"{MARGIN}{plain(person)}")


@click.command()
@click.option("--format", "form", type=click.Choice(FORMATS), default="csv", help="How to write it (csv).")
@click.option("--source", default="", help="Only rules from there: api, cli, file or import.")
def export(form: str, source: str) -> None:
    """Print the owner's rules, for a file.

    In CSV whatever a spreadsheet would run stands behind an apostrophe, which
    "mknock import" takes off again. Draupnir's policy rules and one rule a line
    know no end, so rules that run out are left out there. Rules from shared
    lists are not printed.
    """

    async def work(parts: Parts) -> str:
        rules = [rule for rule in await rule_maker_of(parts).rules() if rule.is_own]
        return written([rule for rule in rules if source in ("", rule.source)], Format(form))

    click.echo(with_parts(work).encode("utf-8", "replace"), nl=False)

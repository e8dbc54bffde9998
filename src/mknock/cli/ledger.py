"""``mknock ledger``: who did what, when and why."""

from __future__ import annotations

from dataclasses import asdict

import click

from mknock.cli.running import with_parts
from mknock.cli.terminal import MARGIN, moment, plain, say, say_json
from mknock.ports import Entry
from mknock.wiring.parts import Parts


@click.command()
@click.option("--user", default="", metavar="ID", help="Only about this Matrix ID.")
@click.option("--knock", default="", metavar="ID", help="Only about this knock.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, help="At most so many lines (100).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list.")
def ledger(user: str, knock: str, limit: int, as_json: bool) -> None:
    """Show the audit ledger, newest line first."""

    async def work(parts: Parts) -> list[Entry]:
        return await parts.store.ledger(knock_id=knock.upper(), user_id=user, limit=limit)

    entries = with_parts(work)
    if as_json:
        say_json([asdict(entry) for entry in entries])
        return
    for entry in entries:
        say(_shown(entry))
    if not entries:
        say("Nothing is on record.")


def _shown(entry: Entry) -> str:
    about = plain(entry.user_id or entry.rule)
    change = " → ".join(filter(None, (entry.before, entry.after)))
    lines = [f"{moment(entry.at)}  {plain(entry.actor)}: {plain(entry.action)} {about}  {change}".rstrip()]
    more = (
        ("reason", entry.reason),
        ("rule", entry.rule),
        ("detail", entry.detail),
        ("knock", entry.knock_id),
    )
    lines += [f"{MARGIN}{name}: {plain(value)}" for name, value in more if value and value != about]
    return "\n".join(lines)

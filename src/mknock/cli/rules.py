"""``mknock block``, ``unblock``, ``allow``, ``unallow`` and ``rules``: the block-list by hand."""

from __future__ import annotations

from typing import Final

import click

from mknock.api.rules import ListedRule
from mknock.cli.held import ACTOR
from mknock.cli.running import with_parts
from mknock.cli.terminal import MARGIN, moment, plain, say, say_json
from mknock.cli.times import lasting
from mknock.domain.rules import Rule
from mknock.services.rule_making import Made
from mknock.wiring.parts import Parts, rule_maker_of

FOR_HOW_LONG: Final = click.option(
    "--for",
    "lasting",
    metavar="TIME",
    callback=lasting,
    help="How long, such as 12h or 7d (default: for good).",
)


@click.command()
@click.argument("entity")
@click.option("--reason", default="", help="Why, for moderators; the person is told nothing.")
@FOR_HOW_LONG
@click.option("--force", is_flag=True, help="Do it even if it hits many, moderators, or Knock itself.")
def block(entity: str, reason: str, lasting: float | None, force: bool) -> None:
    """Put somebody, a pattern or a server on the block-list.

    ENTITY is a Matrix ID (@mallory:evil.example), a pattern ('*spam*:*',
    '@spam*:evil.example') or a server (evil.example, '*.evil.example'). Who
    waits is refused, open invites are withdrawn, and a running Knock puts out
    whoever is in the room, as BLOCKED_MEMBERS says. What would hit too many is
    refused, and shown.
    """
    made = _made(entity, reason, lasting, allow=False, force=force)
    say(f"{plain(made.rule.entity)} is blocked{_until(made.rule)}." if made.new else _already(made.rule))


@click.command()
@click.argument("entity")
def unblock(entity: str) -> None:
    """Take a rule off the block-list again, and undo what it did.

    ENTITY is what was blocked. Whose knock the rule had ended waits for a
    moderator again.
    """
    rule = _removed(entity, allow=False)
    say(f"{plain(rule.entity)} is no longer blocked.")


@click.command()
@click.argument("entity")
@click.option("--reason", default="", help="Why, for moderators.")
@FOR_HOW_LONG
def allow(entity: str, reason: str, lasting: float | None) -> None:
    """Let somebody in whatever the block-list says.

    ENTITY is a Matrix ID, a pattern or a server, as for "mknock block".
    """
    made = _made(entity, reason, lasting, allow=True, force=True)
    say(f"{plain(made.rule.entity)} is allowed{_until(made.rule)}." if made.new else _already(made.rule))


@click.command()
@click.argument("entity")
def unallow(entity: str) -> None:
    """Take back what "mknock allow" did."""
    rule = _removed(entity, allow=True)
    say(f"{plain(rule.entity)} is no longer allowed.")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list, with the fields of GET /rules.")
@click.option("--source", default="", help="Only from there: api, cli, file, import, or list:NAME.")
def rules(as_json: bool, source: str) -> None:
    """List the rules that are in force, oldest first."""

    async def work(parts: Parts) -> list[Rule]:
        return await rule_maker_of(parts).rules()

    chosen = [rule for rule in with_parts(work) if source in ("", rule.source)]
    if as_json:
        say_json([ListedRule.of(rule).model_dump(mode="json") for rule in chosen])
        return
    for rule in chosen:
        say(_shown(rule))
    if not chosen:
        say("There are no rules.")


def _made(entity: str, reason: str, lasting: float | None, *, allow: bool, force: bool) -> Made:
    async def work(parts: Parts) -> Made:
        return await rule_maker_of(parts).make(
            entity, actor=ACTOR, reason=reason, lasting=lasting, allow=allow, force=force
        )

    return with_parts(work)


def _removed(entity: str, *, allow: bool) -> Rule:
    async def work(parts: Parts) -> Rule:
        return await rule_maker_of(parts).remove(entity, actor=ACTOR, allow=allow)

    return with_parts(work)


def _already(rule: Rule) -> str:
    effect = "allowed" if rule.allow else "blocked"
    return f"{plain(rule.entity)} is {effect} already{_until(rule)}."


def _until(rule: Rule) -> str:
    return "" if rule.expires is None else f" until {moment(rule.expires)}"


def _shown(rule: Rule) -> str:
    effect = "allow " if rule.allow else ""
    reason = f"\n{MARGIN}{plain(rule.reason)}" if rule.reason else ""
    return (
        f"{effect}{plain(rule.entity)}\n{MARGIN}{rule.kind.value.replace('_', ' ')}, by {plain(rule.source)}"
        f" on {moment(rule.at)}{_until(rule)}{reason}"
    )

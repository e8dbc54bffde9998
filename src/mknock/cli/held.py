"""``mknock held``, ``approve`` and ``refuse``: deciding about knocks that wait."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import click

from mknock.api.shapes import KnockShape
from mknock.cli import waves
from mknock.cli.running import with_parts
from mknock.cli.terminal import MARGIN, indented, moment, plain, say, say_json
from mknock.domain.errors import HomeserverError, NotFound
from mknock.domain.ids import MatrixID, parse_matrix_id
from mknock.domain.knocks import Knock, KnockState, Reason
from mknock.services.moderation import Moderation, urgent_first
from mknock.services.rule_book import steps_in
from mknock.wiring.parts import Parts, moderation_of, waves_of

ACTOR: Final = "cli"
HELD: Final = frozenset({KnockState.HELD})
PAGE: Final = 500
"""Knocks read from the store at once."""
KNOCK_ID: Final = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}", re.IGNORECASE)

Decide = Callable[[Moderation, str], Awaitable[Knock]]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list, with the fields of GET /held.")
@click.option("--wave", default="", metavar="ID", help="Only those of a raid: its id, or its door's name.")
@click.option("--preview", "only_preview", is_flag=True, help="With --wave: only what the wave is like.")
def held(as_json: bool, wave: str, only_preview: bool) -> None:
    """List the knocks that wait for a moderator, oldest first.

    Those that wait for their person to prove the account come last: nothing
    has to be done about them.
    """
    if wave and not as_json:
        waves.preview(wave)
    if only_preview:
        return
    knocks = with_parts(lambda parts: waves_of(parts).held(wave) if wave else _all_held(parts))
    if as_json:
        say_json([KnockShape.of(knock).model_dump(mode="json") for knock in knocks])
        return
    for knock in knocks:
        say(_shown(knock))
    if not knocks:
        say("Nobody waits.")
    for one, count in Counter(knock.raid for knock in knocks if knock.raid and not wave).items():
        say(f"{count} of them came in one raid; decide them together: mknock approve --wave {one}, or refuse")


@click.command()
@click.argument("who", required=False)
@click.option("--reason", default="", help="Why, for the ledger.")
@click.option("--allow", is_flag=True, help="Let the person in from now on, whatever the block-list says.")
@click.option("--wave", default="", metavar="ID", help="Everybody of a raid: its id, or its door's name.")
@click.option("--except", "spare", multiple=True, metavar="KNOCK", help="Of the wave, who goes on waiting.")
@click.option("--yes", is_flag=True, help="Do not ask before a wave is decided.")
def approve(who: str | None, reason: str, allow: bool, wave: str, spare: tuple[str, ...], yes: bool) -> None:
    """Admit a held knock; the invitation goes out next.

    WHO is the knock's id or the person's Matrix ID, as "mknock held" shows
    them. With --wave instead, whoever waits for a raid alone is admitted, and
    their invitations go out at the usual pace.
    """
    if _is_wave(who, wave, spare):
        if allow:
            raise click.UsageError("--allow is about one person, not about a wave.")
        waves.decide(
            wave,
            lambda them: them.approve(wave, actor=ACTOR, reason=reason, spare=spare),
            "Admit everybody of them who waits for the raid alone?",
            "are admitted and will be invited",
            yes=yes,
        )
        return
    knock = _decided(
        who or "",
        lambda moderation, knock_id: moderation.approve(knock_id, actor=ACTOR, reason=reason, allow=allow),
    )
    say(f"{plain(knock.user_id)} is admitted and will be invited.")


@click.command()
@click.argument("who", required=False)
@click.option("--reason", default="", help="Why, for the ledger; the person is told nothing.")
@click.option("--block", is_flag=True, help="Put the person on the block-list as well.")
@click.option("--wave", default="", metavar="ID", help="Everybody of a raid: its id, or its door's name.")
@click.option("--except", "spare", multiple=True, metavar="KNOCK", help="Of the wave, who goes on waiting.")
@click.option("--yes", is_flag=True, help="Do not ask before a wave is decided.")
def refuse(who: str | None, reason: str, block: bool, wave: str, spare: tuple[str, ...], yes: bool) -> None:
    """Refuse a held knock. The person is told nothing.

    WHO is the knock's id or the person's Matrix ID, as "mknock held" shows
    them. With --wave instead, everybody who was held in a raid is refused.
    """
    if _is_wave(who, wave, spare):
        waves.decide(
            wave,
            lambda them: them.refuse(wave, actor=ACTOR, reason=reason, block=block, spare=spare),
            "Refuse and block all of them?" if block else "Refuse all of them?",
            "are refused and blocked" if block else "are refused",
            yes=yes,
        )
        return
    knock = _decided(
        who or "",
        lambda moderation, knock_id: moderation.refuse(knock_id, actor=ACTOR, reason=reason, block=block),
    )
    say(f"{plain(knock.user_id)} is refused.")


def _is_wave(who: str | None, wave: str, spare: tuple[str, ...]) -> bool:
    """Whether a wave is meant, rather than one person; both at once, or neither, is a slip."""
    if (who is None) is not bool(wave):
        raise click.UsageError("Say WHO is meant, or --wave: one of them.")
    if spare and not wave:
        raise click.UsageError("--except is for a --wave.")
    return bool(wave)


def _decided(who: str, decide: Decide) -> Knock:
    async def work(parts: Parts) -> Knock:
        # Nobody to wake: a running Knock sees within half a second what is due.
        moderation = moderation_of(parts)
        return await decide(moderation, await _knock_id(parts, moderation, who))

    return with_parts(work)


async def _all_held(parts: Parts) -> list[Knock]:
    knocks: list[Knock] = []
    while page := await parts.store.knocks_in(HELD, limit=PAGE, after=knocks[-1].id if knocks else ""):
        knocks += page
    return urgent_first(knocks)


async def _knock_id(parts: Parts, moderation: Moderation, who: str) -> str:
    """The id of the knock that is meant.

    Raises:
        NotFound: there is none.
        InvalidMatrixID: it is neither a knock's id nor a Matrix ID.
    """
    if KNOCK_ID.fullmatch(who):
        if await parts.store.knock(who.upper()) is None:
            raise NotFound(f"There is no knock {who}: see mknock held.")
        return who.upper()
    return (await moderation.held_of(await _person(parts, who))).id


async def _person(parts: Parts, who: str) -> MatrixID:
    """Read a Matrix ID; of a bare user name the server is DEFAULT_SERVER or, as for forms, Knock's own."""
    if ":" not in who and parts.doors.first.reading.default_server is None:
        with suppress(HomeserverError):  # then the whole ID is asked for
            parts.doors.learn_server(MatrixID.of(await parts.homeserver.whoami()).server)
    return parse_matrix_id(who, default_server=parts.doors.first.reading.default_server)


def _shown(knock: Knock) -> str:
    lines = [
        f"{knock.id}  {plain(knock.user_id)}{'  (the account is proven)' if knock.proven else ''}",
        f"{MARGIN}held since {moment(knock.updated_at)}: {_why(knock)}",
    ]
    if knock.link:
        lines.append(f"{MARGIN}by the invite link {knock.link}")
    if knock.reason is Reason.LOOK_ALIKE:
        lines += [indented(step, 2) for step in steps_in(knock.detail)]
    lines += [indented(f"signal  {signal}") for signal in knock.signals]
    for answer in knock.answers:
        lines += [indented(answer.label), indented(answer.value, 2)]
    return "\n".join(lines)


def _why(knock: Knock) -> str:
    if knock.reason is Reason.UNPROVEN:
        return "the person has still to prove the account (unproven)"
    if knock.reason is Reason.LOOK_ALIKE:
        return f"resembles {plain(knock.rule)}"
    return f"{knock.reason.value} ({plain(knock.detail)})" if knock.detail else knock.reason.value

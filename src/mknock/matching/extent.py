"""How far a rule reaches, before it is made: a slip of the pen must not lock out the room."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from mknock.domain.rules import Rule, RuleKind
from mknock.matching.engine import Engine
from mknock.matching.finding import Verdict

LARGE_SERVERS: Final = frozenset({"matrix.org", "beeper.com", "beeper.local", "matrix.beeper.com"})
"""Servers that anybody may be on."""
STRANGERS: Final = ("@q7z-nobody:q7z.nowhere.invalid", "@nobody-x9k:x9k.invalid")
"""Whoever means these means everybody."""


@dataclass(frozen=True, slots=True)
class Extent:
    """Whom a rule would hit."""

    refused: tuple[str, ...]
    """Members whom it would keep out."""
    held: tuple[str, ...]
    """Members whom it would hold, for resembling the one it names."""
    protected: tuple[str, ...]
    """The bot and moderators among those it would hit."""
    problems: tuple[str, ...]
    """Why the rule is not to be made unless it is forced; empty when it is harmless."""

    @property
    def is_too_wide(self) -> bool:
        return bool(self.problems)


def extent(
    rule: Rule,
    members: Iterable[str],
    protected: Iterable[str],
    *,
    most: int,
    now: float,
    familiar: Iterable[str] = (),
) -> Extent:
    """Say whom the rule would hit, and whether that is more than was probably meant.

    ``protected`` are the bot's and the moderators' IDs; ``most`` is how many
    members a rule may hit; ``familiar`` are names for ``Engine.know``. An allow
    rule is never too wide.
    """
    if rule.allow:
        return Extent((), (), (), ())
    engine = Engine([rule])
    engine.know(familiar)
    verdicts = {user: engine.look(user, now=now).verdict for user in dict.fromkeys([*members, *protected])}
    refused = tuple(user for user, verdict in verdicts.items() if verdict is Verdict.REFUSE)
    held = tuple(user for user, verdict in verdicts.items() if verdict is Verdict.HOLD)
    shielded = tuple(user for user in dict.fromkeys(protected) if user in refused)
    return Extent(refused, held, shielded, tuple(_problems(rule, engine, len(refused), shielded, most, now)))


def _problems(
    rule: Rule, engine: Engine, count: int, shielded: tuple[str, ...], most: int, now: float
) -> Iterable[str]:
    if all(engine.look(user, now=now).verdict is Verdict.REFUSE for user in STRANGERS):
        yield "It would keep out everybody."
    elif any(_means(rule, engine, server, now) for server in LARGE_SERVERS):
        yield "It would keep out everybody on a server that anybody may be on."
    if shielded:
        yield f"It would keep out Knock itself or moderators: {', '.join(shielded)}."
    if count > most:
        yield f"It would keep out {count} people in the room, more than {most}."


def _means(rule: Rule, engine: Engine, server: str, now: float) -> bool:
    """Whether the rule means a whole server."""
    if rule.kind not in {RuleKind.SERVER, RuleKind.SERVER_GLOB, RuleKind.USER_GLOB, RuleKind.SERVER_HASH}:
        return False
    strangers = (user.partition(":")[0] for user in STRANGERS)
    return all(engine.look(f"{name}:{server}", now=now).verdict is Verdict.REFUSE for name in strangers)

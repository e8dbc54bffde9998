"""What Knock makes of the events of a policy room: rules that count, and what is left out and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from mknock.domain.policy_lists import (
    ABOUT_ROOMS,
    GONE,
    KINDS,
    MOST_BYTES,
    PolicyList,
    Unread,
    one_line,
    rule_in,
)
from mknock.domain.rules import Rule, RuleKind
from mknock.matching import BadGlob
from mknock.matching.glob import Glob, check
from mknock.matching.hashed import hash_of
from mknock.ports import StateEvent

OPEN_SERVERS: Final = frozenset({"matrix.org", "beeper.com", "beeper.local", "matrix.beeper.com"})
"""Servers that anybody may be on."""
STRANGERS: Final = ("q7z-nobody", "nobody-x9k")
"""Whoever means these on a server means everybody there."""
NOWHERE: Final = ("q7z.nowhere.invalid", "x9k.invalid")
"""Whoever means these servers means all."""
TOO_WIDE: Final = Unread("rules that name everybody, or a server that anybody may be on")
GLOBS: Final = frozenset({RuleKind.USER_GLOB, RuleKind.SERVER_GLOB})


MOST_SHOWN: Final = 120
"""Characters of a stranger's entry that are shown."""
MOST_EXAMPLES: Final = 200
"""Entries left out that are told one by one."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An entry of a list that holds no rule Knock uses."""

    entity: str
    """What it names, on one line; "" where that is no text, or a room, whose address is nobody's business."""
    why: str
    author: str


@dataclass(frozen=True, slots=True)
class Survey:
    """The rules of a whole policy room, and what was left out."""

    rules: Mapping[str, Rule]
    """By their ids."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """How many for each reason."""
    examples: Sequence[LeftOut] = ()
    """Which those are, at most MOST_EXAMPLES."""


def survey(events: Iterable[Mapping[str, Any]], policy_list: PolicyList, own_server: str) -> Survey:
    """Read a policy room's state. Takes anything whatever, and never raises."""
    rules: dict[str, Rule] = {}
    left_out: Counter[str] = Counter()
    examples: list[LeftOut] = []
    for event in events:
        kind = event.get("type")
        if not isinstance(kind, str) or kind not in KINDS:
            continue
        found = usable(event, policy_list, own_server)
        if isinstance(found, Rule):
            rules[found.id] = found
        elif found is not GONE:
            left_out[found.why] += 1
            if len(examples) < MOST_EXAMPLES:
                examples.append(_told(event, found))
    return Survey(rules, left_out, examples)


def _told(event: Mapping[str, Any], found: Unread) -> LeftOut:
    """What may be shown of an entry that was written by a stranger."""
    content = event.get("content")
    named = content.get("entity") if isinstance(content, dict) and found is not ABOUT_ROOMS else ""
    return LeftOut(one_line(named, MOST_SHOWN), found.why, one_line(event.get("sender"), MOST_BYTES))


def usable(event: Mapping[str, Any], policy_list: PolicyList, own_server: str) -> Rule | Unread:
    """The rule that an event holds, if it is one that Knock uses on this list."""
    found = rule_in(event, policy_list)
    if isinstance(found, Unread):
        return found
    try:
        if found.kind in GLOBS:
            check(found.key)
    except BadGlob:
        return Unread("patterns with too many wildcards")
    if not policy_list.allow_wide and is_too_wide(found, own_server):
        return TOO_WIDE
    return found


def as_told(event: StateEvent) -> dict[str, Any]:
    """A state event from /sync in the shape in which a room's state gives it."""
    return {
        "type": event.kind,
        "state_key": event.key,
        "sender": event.sender,
        "content": event.content,
        "origin_server_ts": round(event.at * 1000),
    }


def is_too_wide(rule: Rule, own_server: str) -> bool:
    """Whether a stranger's rule hits more than strangers are to decide: everybody, or a server of many.

    ``own_server`` is Knock's homeserver, which it can hardly mean to keep out, or let in, as a whole.
    """
    servers = OPEN_SERVERS | {own_server.lower()}
    match rule.kind:
        case RuleKind.SERVER:
            return rule.key in servers
        case RuleKind.SERVER_HASH:
            return rule.key in {hash_of(server) for server in servers}
        case RuleKind.SERVER_GLOB:
            glob = Glob(rule.key)
            return any(map(glob.matches, servers)) or all(map(glob.matches, NOWHERE))
        case RuleKind.USER_GLOB:
            return _means_many(Glob(rule.key), servers)
        case _:
            return False


def _means_many(glob: Glob, servers: Iterable[str]) -> bool:
    for server in (*servers, NOWHERE):
        names = (server, server) if isinstance(server, str) else server
        if all(glob.matches(f"@{who}:{at}") for who, at in zip(STRANGERS, names, strict=True)):
            return True
    return False

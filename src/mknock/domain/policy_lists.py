"""Policy lists: rooms in which others keep the rules that Knock uses as well (Matrix specification, "Moderation
policy lists"; MSC4204, MSC4205).

Whatever an event says was written by a stranger. What makes no sense is no rule,
and that is also how a rule is removed: its event is written again, empty.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final
from urllib.parse import parse_qs, unquote

from mknock.domain.rules import LIST, Rule, RuleKind

USER, ROOM, SERVER = "user", "room", "server"
KINDS: Final[Mapping[str, str]] = {
    f"{prefix}.{what}": what
    for prefix in ("m.policy.rule", "m.room.rule", "org.matrix.mjolnir.rule")
    for what in (USER, ROOM, SERVER)
}
"""The types of the events that hold rules, those of the specification and two from before, and what each names."""
BANS: Final = frozenset(
    {"m.ban", "org.matrix.mjolnir.ban", "m.takedown", "org.matrix.msc4204.takedown"},
)
ALLOWS: Final = frozenset({"org.matrix.mjolnir.allow", "fi.mau.meowlnir.unban"})
"""Every recommendation that is in neither is ignored: what it asks for is not known to be a ban."""
HASHES: Final = ("hashes", "org.matrix.msc4205.hashes")
MOST_BYTES: Final = 255
"""Of an entity; no Matrix ID and no pattern that is used is longer."""
MOST_REASON: Final = 200
"""Characters of a stranger's reason that are kept."""
_LINK: Final = re.compile(r"https?://matrix\.to/#/(?P<room>[^/?]+)(?:\?(?P<query>.*))?")
NAME: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,39}")


@dataclass(frozen=True, slots=True)
class PolicyList:
    """A policy room that Knock is subscribed to. Its room is never told to anybody (promise 5)."""

    name: str
    """What the owner calls it."""
    room_id: str
    alias: str
    """The room's address as it was given; "" for none."""
    look_alikes: bool
    """Whether names that resemble those on the list are held, as with the owner's own rules."""
    allow_wide: bool
    """Whether rules count that name everybody, or a server that anybody may be on."""
    author: str
    at: float
    removed: bool = False

    def __repr__(self) -> str:
        return f"PolicyList({self.name!r})"

    @property
    def source(self) -> str:
        """The source of its rules."""
        return LIST + self.name


@dataclass(frozen=True, slots=True)
class Unread:
    """An event that holds no rule Knock can use: ``why``. Empty for one that was removed."""

    why: str = ""


GONE: Final = Unread()
ABOUT_ROOMS: Final = Unread("rules about rooms")
OTHER_ADVICE: Final = Unread("recommendations that Knock does not know")
SENSELESS: Final = Unread("rules whose fields make no sense")
TOO_LONG: Final = Unread("names that are too long")


def is_name(text: str) -> bool:
    """Whether a list can be called so: small letters, digits, and a few signs between."""
    return NAME.fullmatch(text) is not None


def spellings(rule: Rule) -> tuple[str, ...]:
    """How a rule's entity is written for programs that compare it letter by letter, as Draupnir does.

    In small letters, as homeservers write names today; and before that as it was
    written, if that differs and is a user's: accounts from before may have capitals.
    """
    if rule.kind is RuleKind.USER and rule.entity != rule.key:
        return rule.entity, rule.key
    return (rule.key,)


def origin_of(kind: str, key: str) -> str:
    """What names a rule within its room: the type and state key of its event, never what it says."""
    parts = f"{kind}\0{key}".encode(errors="surrogatepass")
    return sha256(parts).hexdigest()[:32]


def rule_in(event: Mapping[str, Any], policy_list: PolicyList) -> Rule | Unread:
    """Read a policy event, as /sync or the room's state gives it. Takes anything whatever, and never raises."""
    kind, key, content = event.get("type"), event.get("state_key"), event.get("content")
    if not isinstance(kind, str) or kind not in KINDS or not isinstance(key, str):
        return SENSELESS
    if not isinstance(content, dict) or not content:
        return GONE
    if KINDS[kind] == ROOM:
        return ABOUT_ROOMS
    allow = _advice(content.get("recommendation"))
    if isinstance(allow, Unread):
        return allow
    named = _named(content, KINDS[kind])
    if isinstance(named, Unread):
        return named
    return _rule(event, named, policy_list, allow=allow)


def _advice(recommendation: Any) -> bool | Unread:
    """Whether the rule lets in whom it names; Unread for what is neither that nor a ban."""
    if not isinstance(recommendation, str):
        return SENSELESS
    return recommendation in ALLOWS if recommendation in BANS | ALLOWS else OTHER_ADVICE


def _rule(event: Mapping[str, Any], named: _Named, policy_list: PolicyList, *, allow: bool) -> Rule:
    kind, entity, key = named
    return Rule(
        kind=kind,
        entity=entity,
        key=key,
        reason=one_line(event["content"].get("reason"), MOST_REASON),
        source=policy_list.source,
        author=one_line(event.get("sender"), MOST_BYTES),
        at=_moment(event.get("origin_server_ts")),
        allow=allow,
        look_alikes=policy_list.look_alikes and not allow,
        origin=origin_of(event["type"], event["state_key"]),
    )


def one_line(text: Any, most: int) -> str:
    """A stranger's text on one line, shortened; "" for what is no text."""
    if not isinstance(text, str):
        return ""
    shown = "".join(char if char.isprintable() else " " for char in text[: 4 * most])
    shown = " ".join(shown.split())
    return shown if len(shown) <= most else shown[: most - 1] + "…"


_Named = tuple[RuleKind, str, str]
"""A kind of rule, what it names as it was written, and what that is compared by."""


def _named(content: Mapping[str, Any], what: str) -> _Named | Unread:
    entity = content.get("entity")
    if entity is None:
        return _hashed(content, what)
    if not isinstance(entity, str) or not entity.isprintable() or not entity or " " in entity:
        return SENSELESS
    if len(entity.encode()) > MOST_BYTES:
        return TOO_LONG
    wild = "*" in entity or "?" in entity
    if what == SERVER:
        return RuleKind.SERVER_GLOB if wild else RuleKind.SERVER, entity, entity.lower()
    if wild:
        return RuleKind.USER_GLOB, entity, entity.lower()
    if not entity.startswith("@") or ":" not in entity:
        return SENSELESS
    return RuleKind.USER, entity, entity.lower()


def _hashed(content: Mapping[str, Any], what: str) -> _Named | Unread:
    """Read the SHA-256 that stands for the entity (MSC4205)."""
    for name in HASHES:
        hashes = content.get(name)
        written = hashes.get("sha256") if isinstance(hashes, dict) else None
        if isinstance(written, str):
            digest = _digest(written)
            kind = RuleKind.SERVER_HASH if what == SERVER else RuleKind.USER_HASH
            return (kind, f"sha256:{digest}", digest) if digest else SENSELESS
    return SENSELESS


def _digest(written: str) -> str:
    """The hash in unpadded base64, as it is compared; "" if it is none."""
    if len(written) > 64:
        return ""
    bare = written.strip().rstrip("=").replace("-", "+").replace("_", "/")
    try:
        raw = b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except ValueError:
        return ""
    return b64encode(raw).decode().rstrip("=") if len(raw) == sha256().digest_size else ""


def _moment(milliseconds: Any) -> float:
    """When an event was sent, in seconds; 0.0 for anything that is no time."""
    if isinstance(milliseconds, bool) or not isinstance(milliseconds, int | float):
        return 0.0
    return milliseconds / 1000 if 0 <= milliseconds < 1e14 else 0.0


def room_in(typed: str) -> tuple[str, tuple[str, ...]]:
    """The room that somebody named, and the servers it can be entered through: from an ID, an alias or a link to it."""
    text = typed.strip()
    link = _LINK.fullmatch(text)
    if link is None:
        return text, ()
    query = parse_qs(link["query"] or "")
    return unquote(link["room"]), tuple(query.get("via", ()))

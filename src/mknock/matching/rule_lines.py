"""The block-list as people write it: one rule a line.

| Line | Blocks |
| --- | --- |
| ``@mallory:evil.example`` | one Matrix ID |
| ``@mallory:evil.example Reason: sold watches`` | the same; the rest is for moderators |
| ``@mallory*:*`` | Matrix IDs by a pattern |
| ``evil.example``, ``@*:evil.example`` or ``*:evil.example`` | everybody on a server |
| ``*.evil.example`` | everybody on its subdomains |
| ``allow @alice:example.org`` | nobody: lets her in, whatever else is written |

``#`` begins a comment, at the start of a line or in the reason's place.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from mknock.domain.errors import InvalidMatrixID, InvalidRule
from mknock.domain.ids import MatrixID
from mknock.domain.rules import Rule, RuleKind
from mknock.matching.glob import BadGlob, check, is_glob

LONGEST_REASON: Final = 1000
_LINE: Final = re.compile(
    r"(?P<allow>allow\s+)?(?P<entity>\S+)(?:\s+(?i:reason:|#)\s*(?P<reason>.*))?\s*", re.DOTALL
)
_SERVER: Final = re.compile(
    r"[A-Za-z0-9.*?-]*[A-Za-z0-9*?](?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](?::[0-9]{1,5})?"
)


class BadRuleLine(InvalidRule):
    """A line is no rule."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A line that was left out."""

    line: int
    sentence: str


def read_rules(data: bytes, *, source: str, author: str, at: float) -> tuple[list[Rule], list[Problem]]:
    """Read a whole file. A broken line is a problem of its own, and the rest counts.

    Only ``\\n`` ends a line: a reason may hold other characters that some
    readers take for line ends, and what follows them is nobody to block.
    """
    rules: list[Rule] = []
    problems: list[Problem] = []
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        try:
            rule = rule_of(line.decode("utf-8"), source=source, author=author, at=at)
        except UnicodeDecodeError:
            problems.append(Problem(number, "this is not UTF-8 text"))
        except (BadRuleLine, BadGlob) as error:
            problems.append(Problem(number, str(error)))
        else:
            rules += [rule] if rule else []
    return rules, problems


def rule_of(line: str, *, source: str, author: str, at: float) -> Rule | None:
    """Read one line; None for a comment or an empty one.

    Raises:
        BadRuleLine: it is no rule.
        BadGlob: its pattern is not used.
    """
    text = line.strip()
    if not text or text.startswith("#"):
        return None
    parts = _LINE.fullmatch(text)
    if parts is None:
        raise BadRuleLine("this is neither an ID, a pattern or a server alone nor one with a reason")
    kind, key = _named(parts["entity"])
    return Rule(
        kind,
        parts["entity"],
        key,
        _shown(parts["reason"] or ""),
        source,
        author,
        at,
        allow=bool(parts["allow"]),
    )


def _named(entity: str) -> tuple[RuleKind, str]:
    """What is named, and its canonical key."""
    if is_glob(entity):
        check(entity)
        return _pattern(entity.lower())
    if not entity.startswith("@"):
        return RuleKind.SERVER, _server(entity)
    try:
        return RuleKind.USER, MatrixID.of(entity).key
    except InvalidMatrixID:
        raise BadRuleLine("this is not a Matrix ID, which looks like @alice:example.org") from None


def _pattern(pattern: str) -> tuple[RuleKind, str]:
    user, colon, server = pattern.removeprefix("@").partition(":")
    if colon and user == "*":  # everybody on a server, as moderators of other bots write it
        return (RuleKind.SERVER_GLOB if is_glob(server) else RuleKind.SERVER), _server(server)
    if not pattern.startswith("@") and (not colon or server.isdigit()):
        return RuleKind.SERVER_GLOB, _server(pattern)
    if not colon and "*" not in user:
        raise BadRuleLine("this pattern names no server; put :* behind it to mean all")
    return RuleKind.USER_GLOB, pattern


def _server(text: str) -> str:
    if not _SERVER.fullmatch(text) or len(text) > 230:
        raise BadRuleLine("this is not the name of a server, which looks like evil.example")
    return text.lower()


def _shown(text: str) -> str:
    return printable(text).strip()[:LONGEST_REASON]


def printable(text: str) -> str:
    """The text with a blank for what cannot be seen, and for what may end a line."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else " " for char in text)

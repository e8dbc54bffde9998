"""The block-list's file as bytes: what its lines say, and how a rule is written as one.

How a line is read is in matching/rule_lines.py.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from mknock.domain.rules import Rule, RuleKind
from mknock.matching.glob import BadGlob
from mknock.matching.rule_lines import LONGEST_REASON, BadRuleLine, Problem, printable, rule_of

SOURCE: Final = "file"
BOM: Final = b"\xef\xbb\xbf"
HEADING: Final = (
    "# Who is kept out, one a line: @mallory:evil.example, a pattern (*spam*:*), or a server (evil.example)."
    " Behind it, for moderators: Reason: and why. A line that begins with allow lets in.\n"
)
"""The first line of a file that Knock makes."""


class NoText(Exception):
    """The file holds bytes that are no text. The sentence goes on one that begins with its name."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What the file says: its rules by their ids, and the lines that say nothing."""

    data: bytes
    rules: Mapping[str, Rule] = field(default_factory=dict)
    ids: Mapping[int, str] = field(default_factory=dict)
    """Which rule a line is about, by the line's number from 1."""
    problems: tuple[Problem, ...] = ()

    def without(self, rule_ids: Container[str]) -> bytes:
        """The file without the lines about these rules; every other byte stays."""
        lines = self.data.split(b"\n")
        return b"\n".join(
            line for number, line in enumerate(lines, 1) if self.ids.get(number) not in rule_ids
        )


def read_listing(data: bytes, at: float) -> Listing:
    """Read the file. Of two lines about the same, the first counts; a broken one is a problem of its own.

    Raises:
        NoText: it is not UTF-8.
    """
    rules: dict[str, Rule] = {}
    ids: dict[int, str] = {}
    problems: list[Problem] = []
    for number, line in enumerate(_text(data).split("\n"), 1):
        try:
            rule = rule_of(line, source=SOURCE, author=SOURCE, at=at)
        except (BadRuleLine, BadGlob) as error:
            problems.append(Problem(number, str(error)))
            continue
        if rule is not None:
            reason = one_line(rule.reason)
            kept = rules.setdefault(rule.id, rule if reason == rule.reason else replace(rule, reason=reason))
            ids[number] = kept.id
    return Listing(data, rules, ids, tuple(problems))


def _text(data: bytes) -> str:
    if b"\0" in data:
        raise NoText("holds bytes that are no text")
    try:
        return data.removeprefix(BOM).decode("utf-8")
    except UnicodeDecodeError as error:
        raise NoText("is not UTF-8 text") from error


def one_line(reason: str) -> str:
    """A reason as a line can hold it."""
    return printable(reason).strip()[:LONGEST_REASON].rstrip()


def line_of(rule: Rule) -> str | None:
    """The line that says the rule, without its end; None if no line does.

    A line holds no time, so a rule that will run out has none.
    """
    if rule.expires is not None:
        return None
    named = f"{'allow ' if rule.allow else ''}{_written(rule)}"
    reason = one_line(rule.reason)
    told = (f"{named} Reason: {reason}", named) if reason else (named,)
    return next((line for line in told if _says(line, rule)), None)


def _written(rule: Rule) -> str:
    return rule.entity if rule.kind is RuleKind.USER else rule.key


def _says(line: str, rule: Rule) -> bool:
    """Whether the line is read as this rule: there are IDs of old that look like patterns."""
    try:
        read = rule_of(line, source=SOURCE, author=SOURCE, at=rule.at)
    except (BadRuleLine, BadGlob):
        return False
    return read is not None and "\n" not in line and read.id == rule.id

"""Rules as files of other programs: spreadsheets, JSON, the policy rules of Draupnir and Mjolnir, plain lines."""

from __future__ import annotations

import csv
import io
import json
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final

from mknock.domain.errors import InvalidMatrixID, Unreadable
from mknock.domain.ids import MatrixID
from mknock.domain.policy_lists import ALLOWS, BANS, HASHES, KINDS, ROOM, spellings
from mknock.domain.rules import Rule, RuleKind
from mknock.matching.glob import BadGlob
from mknock.matching.hashed import hash_key
from mknock.matching.rule_lines import LONGEST_REASON, BadRuleLine, Problem, read_rules, rule_of
from mknock.services.blocklist_lines import line_of
from mknock.services.first_mknock_files import time_in

SOURCE: Final = "import"
LARGEST: Final = 64 * 1024 * 1024
Fields = Mapping[str, Any]


class Format(StrEnum):
    """How the rules are written down."""

    CSV = "csv"
    """For spreadsheets; the first line names the columns."""
    JSON = "json"
    """A list of objects."""
    DRAUPNIR = "draupnir"
    """The state events of a policy list, as Draupnir and Mjolnir keep them."""
    TXT = "txt"
    """One rule a line, as in BLOCKLIST_FILE."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a file holds: rules, and by their number the entries that are none."""

    rules: tuple[Rule, ...]
    problems: tuple[Problem, ...] = ()


class _NoRule(Exception):
    """An entry is no rule; the text says why."""


# --- all formats


def written(rules: Iterable[Rule], form: Format) -> str:
    """Write the rules down."""
    return _WRITERS[form](rules)


def read(data: bytes, form: Format | None = None, *, author: str, at: float) -> Found:
    """Read rules; without a format, find out which it is.

    An entry that is no rule is a problem of its own, and the rest counts.

    Raises:
        Unreadable: it is no file of that format.
    """
    if len(data) > LARGEST:
        raise Unreadable(f"the file is larger than {LARGEST // 1024**2} MiB")
    text = _text(data)
    form = form or _guessed(text)
    if form is Format.TXT:
        rules, problems = read_rules(data, source=SOURCE, author=author, at=at)
        return Found(tuple(rules), tuple(problems))
    entries = _rows(text) if form is Format.CSV else _objects(text)
    return _each(entries, author, at)


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Unreadable("the file is not UTF-8 text") from None


def _guessed(text: str) -> Format:
    start = text.lstrip()[:1]
    if start in ("[", "{"):
        return Format.JSON
    return Format.TXT if _is_lines(text) else Format.CSV


def _is_lines(text: str) -> bool:
    """Whether it begins as BLOCKLIST_FILE does: with a comment, or a rule that is no cell of a sheet."""
    first = next((line.strip() for line in text.split("\n") if line.strip()), "#")
    if first.startswith("#") or first.lower() in ALIASES:
        return first.startswith("#")
    try:
        rule_of(first, source=SOURCE, author=SOURCE, at=0.0)
    except (BadRuleLine, BadGlob):
        return False
    return not {",", ";"} & set(first.removeprefix("allow").split()[0])


def _each(entries: Iterable[tuple[int, Fields]], author: str, at: float) -> Found:
    rules: list[Rule] = []
    problems: list[Problem] = []
    for number, fields in entries:
        try:
            rule = _rule_in(fields, author, at)
        except (_NoRule, BadRuleLine, BadGlob, InvalidMatrixID) as error:
            problems.append(Problem(number, str(error)))
        else:
            rules += [rule] if rule else []
    return Found(tuple(rules), tuple(problems))


def _rule_in(fields: Fields, author: str, at: float) -> Rule | None:
    """The rule that an entry is; None if it is about something else, or was taken back."""
    if "content" in fields:
        return _rule_of_event(fields, author, at)
    entity = _string(fields, "entity")
    rule = _named(_string(fields, "kind"), entity, author, at)
    expires = _end(fields.get("expires_at"), at)
    return replace(
        rule,
        reason=_string(fields, "reason")[:LONGEST_REASON],
        allow=_is_allow(fields),
        expires=expires,
    )


def _end(value: object, at: float) -> float | None:
    if value in (None, ""):
        return None
    expires = time_in(value)
    if expires is None:
        raise _NoRule("its end (expires_at) is no time")
    if expires <= at:
        raise _NoRule("it has run out")
    return expires


def _string(fields: Fields, name: str) -> str:
    value = fields.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _NoRule(f"{name} is no text")
    return value


def _is_allow(fields: Fields) -> bool:
    effect = fields.get("effect", "block")
    if effect not in ("block", "allow", "", None):
        raise _NoRule("the effect is neither block nor allow")
    return bool(effect == "allow")


def _named(kind: str, entity: str, author: str, at: float) -> Rule:
    """A rule about an entity. What is meant shows in it, but for a hash, and for an ID that looks like a pattern."""
    if kind in (RuleKind.USER_HASH, RuleKind.SERVER_HASH):
        return _hashed(RuleKind(kind), entity, author, at)
    if kind == RuleKind.USER:
        user = MatrixID.of(entity)
        return Rule(RuleKind.USER, entity, user.key, "", SOURCE, author, at)
    rule = rule_of(entity, source=SOURCE, author=author, at=at) if len(entity.split()) == 1 else None
    if rule is None or rule.allow:
        raise _NoRule("it names no Matrix ID, pattern or server")
    return rule


def _hashed(kind: RuleKind, entity: str, author: str, at: float) -> Rule:
    key = hash_key(entity)
    if len(key) != 43 or not key.isascii():
        raise _NoRule("this is no SHA-256 in base64")
    return Rule(kind, entity, key, "", SOURCE, author, at)


# --- CSV

COLUMNS: Final = ("entity", "reason", "effect", "kind", "expires_at", "source", "author", "at")
ALIASES: Final = {
    "entity": "entity",
    "user_id": "entity",
    "user": "entity",
    "mxid": "entity",
    "matrix id": "entity",
    "matrix_id": "entity",
}
RUN: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""What a spreadsheet takes for the beginning of a formula."""
QUOTE: Final = "'"


def defused(cell: str) -> str:
    """The cell with an apostrophe in front if a spreadsheet would run it, or if it has one of its own."""
    return QUOTE + cell if cell.startswith((*RUN, QUOTE)) else cell


def restored(cell: str) -> str:
    """The cell as it was before ``defused``."""
    return cell[1:] if cell.startswith(QUOTE) and cell[1:].startswith((*RUN, QUOTE)) else cell


def _csv(rules: Iterable[Rule]) -> str:
    out = io.StringIO()
    sheet = csv.writer(out)
    sheet.writerow(COLUMNS)
    for rule in rules:
        fields = _fields(rule)
        sheet.writerow([defused(_cell(name, fields[name])) for name in COLUMNS])
    return out.getvalue()


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    return datetime.fromtimestamp(value, UTC).isoformat() if name in ("at", "expires_at") else str(value)


def _rows(text: str) -> Iterator[tuple[int, Fields]]:
    """The rows as entries. Without a first line that names the columns, they are the entity and the reason."""
    rows = _cells(text)
    first = next(rows, None)
    if first is None:
        return
    names = [ALIASES.get(cell.strip().lower(), cell.strip().lower()) for cell in first[1]]
    if "entity" not in names:
        names = ["entity", "reason"]
        yield first[0], _entry(names, first[1])
    for number, row in rows:
        yield number, _entry(names, row)


def _cells(text: str) -> Iterator[tuple[int, list[str]]]:
    """The cells of every line that has any, restored, with the line's number."""
    first = text.lstrip().partition("\n")[0]
    mark = max(",;\t", key=first.count)
    sheet = csv.reader(io.StringIO(text, newline=""), delimiter=mark)
    try:
        for row in sheet:
            if any(cell.strip() for cell in row):
                yield sheet.line_num, [restored(cell) for cell in row]
    except csv.Error as error:
        raise Unreadable(f"the file is no CSV: line {sheet.line_num}: {error}") from None


def _entry(names: Sequence[str], row: Sequence[str]) -> Fields:
    fields = dict(zip(names, row, strict=False))
    return {**fields, "entity": fields.get("entity", "").strip()} | {
        name: fields[name].strip().lower() for name in ("kind", "effect") if name in fields
    }


# --- JSON


def _fields(rule: Rule) -> dict[str, Any]:
    return {
        "entity": rule.entity,
        "reason": rule.reason,
        "effect": "allow" if rule.allow else "block",
        "kind": rule.kind.value,
        "expires_at": rule.expires,
        "source": rule.source,
        "author": rule.author,
        "at": rule.at,
    }


def _json(rules: Iterable[Rule]) -> str:
    return _dumped([_fields(rule) for rule in rules])


def _dumped(entries: Sequence[Any]) -> str:
    return json.dumps(entries, indent=2) + "\n"


def _objects(text: str) -> Iterator[tuple[int, Fields]]:
    """The entries of a list, or of the one list in an object."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise Unreadable("the file is no JSON") from None
    if isinstance(value, dict):
        lists = [inner for inner in value.values() if isinstance(inner, list)]
        value = lists[0] if len(lists) == 1 else None
    if not isinstance(value, list):
        raise Unreadable("the file holds no list of rules")
    for number, entry in enumerate(value, 1):
        yield number, entry if isinstance(entry, dict) else {"entity": entry}


# --- the state events of policy lists (Matrix specification, moderation policy lists)

_ALLOW: Final = "org.matrix.mjolnir.allow"


def _rule_of_event(event: Fields, author: str, at: float) -> Rule | None:
    about, content = _string(event, "type"), event.get("content")
    if KINDS.get(about) == ROOM or content == {}:
        return None  # about rooms; or taken back
    if about not in KINDS or not isinstance(content, dict):
        raise _NoRule("this is no policy rule about users or servers")
    recommendation = _string(content, "recommendation")
    if recommendation not in BANS | ALLOWS:
        raise _NoRule("it recommends neither a ban nor to allow")
    rule = _named_in(content, KINDS[about], author, at)
    return replace(rule, reason=_string(content, "reason")[:LONGEST_REASON], allow=recommendation in ALLOWS)


def _named_in(content: Fields, about: str, author: str, at: float) -> Rule:
    for name in HASHES if content.get("entity") is None else ():
        if isinstance(hashes := content.get(name), dict) and "sha256" in hashes:
            return _named(f"{about}_hash", _string(hashes, "sha256"), author, at)
    return _named("", _string(content, "entity"), author, at)


def _events(rules: Iterable[Rule]) -> str:
    """Those that last: a policy list knows no end of a rule."""
    return _dumped([event for rule in rules if rule.expires is None for event in _events_of(rule)])


def _events_of(rule: Rule) -> Iterator[dict[str, Any]]:
    about = "user" if rule.kind in (RuleKind.USER, RuleKind.USER_GLOB, RuleKind.USER_HASH) else "server"
    for entity in spellings(rule):
        content: dict[str, Any] = {"recommendation": _ALLOW if rule.allow else "m.ban", "reason": rule.reason}
        if rule.kind in (RuleKind.USER_HASH, RuleKind.SERVER_HASH):
            content["hashes"] = {"sha256": entity + "=" * (-len(entity) % 4)}
        else:
            content["entity"] = entity
        yield {"type": f"m.policy.rule.{about}", "state_key": _state_key(entity), "content": content}


def _state_key(entity: str) -> str:
    """As Mjolnir makes it; a state key has at most 255 bytes."""
    key = f"rule:{entity}"
    if len(key.encode("utf-8", "replace")) <= 255:
        return key
    return b64encode(sha256(key.encode("utf-8", "replace")).digest()).decode()


# --- one rule a line


def _lines(rules: Iterable[Rule]) -> str:
    """Those that a line can say."""
    return "".join(f"{line}\n" for line in map(line_of, rules) if line is not None)


_WRITERS: Final[Mapping[Format, Callable[[Iterable[Rule]], str]]] = {
    Format.CSV: _csv,
    Format.JSON: _json,
    Format.DRAUPNIR: _events,
    Format.TXT: _lines,
}

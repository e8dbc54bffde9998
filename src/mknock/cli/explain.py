"""``mknock explain``: what a block-list says about somebody, and why."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click

from mknock.cli.running import with_parts
from mknock.cli.terminal import MARGIN, complain, plain, say
from mknock.domain.errors import InvalidMatrixID
from mknock.domain.ids import MatrixID
from mknock.matching import Engine, Finding, Match, Verdict, read_rules
from mknock.wiring.parts import Parts, rule_maker_of

UNREADABLE: Final = "unreadable"
"""The kind that stands with an ID that is none: whoever it is, nobody can invite them."""
WORDS: Final = {
    Verdict.ADMIT: "would be let in",
    Verdict.HOLD: "would be held for a moderator",
    Verdict.REFUSE: "would be refused",
}
NOW: Final = 0.0
"""Rules of a file never expire."""


@click.command()
@click.argument("user_id", required=False)
@click.option("--name", default="", help="The display name, which is compared too.")
@click.option(
    "--rules",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A block-list, one rule a line, as in BLOCKLIST_FILE (default: the rules in force).",
)
@click.option("--batch", is_flag=True, help="Read IDs from standard input, print a JSON line for each.")
def explain(user_id: str | None, name: str, rules: Path | None, batch: bool) -> None:
    """Say what the block-list does about somebody, and why.

    USER_ID is a whole Matrix ID. With --rules nothing else is looked up and
    nobody is asked: neither settings, nor the store, nor a homeserver.
    """
    if rules is None and (batch or not user_id):
        raise click.UsageError("Give one USER_ID, or the block-list to look into: --rules FILE.")
    if batch == bool(user_id):
        raise click.UsageError("Give either one USER_ID or --batch.")
    if batch and name:
        raise click.UsageError("--name goes with one USER_ID, not with --batch.")
    if rules is None:
        _say_finding(user_id or "", explain_person(user_id or "", name))
        return
    engine = _engine(rules)
    if batch:
        for line in sys.stdin.buffer:
            _explain_line(engine, line)
    else:
        _explain_one(engine, user_id or "", name)


def _engine(path: Path) -> Engine:
    rules, problems = read_rules(path.read_bytes(), source="file", author=path.name, at=NOW)
    for problem in problems:
        complain(f"{path.name}, line {problem.line}: {problem.sentence}.")
    engine = Engine(rules)
    engine.settle()
    return engine


def explain_person(user_id: str, name: str) -> Finding:
    """What the rules in the store say of somebody at the first door."""

    async def work(parts: Parts) -> Finding:
        await parts.book.refresh()
        await parts.book.settle()
        return await rule_maker_of(parts).explain(user_id, name)

    return with_parts(work)


def _explain_line(engine: Engine, line: bytes) -> None:
    user_id = line.decode("utf-8", "surrogateescape").strip()
    if user_id:
        click.echo(json.dumps(_as_json(user_id, engine.look(user_id, now=NOW), _problem(user_id))))


def _as_json(user_id: str, finding: Finding, problem: str) -> dict[str, Any]:
    match = finding.decisive
    told: dict[str, Any] = {
        "user_id": user_id,
        "verdict": finding.verdict.value,
        "kind": match.kind.value if match else None,
        "rule": match.rule.entity if match else None,
        "steps": list(match.steps) if match else [],
    }
    if problem:
        told["problem"] = problem
        if finding.verdict is Verdict.ADMIT:
            told |= {"verdict": Verdict.REFUSE.value, "kind": UNREADABLE}
    return told


def _explain_one(engine: Engine, user_id: str, name: str) -> None:
    _say_finding(user_id, engine.look(user_id, name, now=NOW, thorough=True))


def _say_finding(user_id: str, finding: Finding) -> None:
    if problem := _problem(user_id):
        complain(problem)
    say(f"{plain(user_id)} {WORDS[finding.verdict]}.")
    for match in finding.matches:
        for line in _told(match):
            say(line)
    if not finding.matches:
        say("No rule matches.")


def _told(match: Match) -> Iterator[str]:
    reason = f": {plain(match.rule.reason)}" if match.rule.reason else ""
    yield f"{MARGIN}{match.kind.value} {plain(match.rule.entity)}{reason}"
    for step in match.steps:
        yield f"{MARGIN * 2}{plain(step)}"


def _problem(user_id: str) -> str:
    try:
        MatrixID.of(user_id)
    except InvalidMatrixID as error:
        return str(error)
    return ""

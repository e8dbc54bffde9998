"""Does a knock cost more with 100,000 rules on the block-list?"""

from __future__ import annotations

from pathlib import Path
from statistics import median

from tests.kit.processes import Server

from bench.servers import FLAT, PATH, knock, load
from mknock.domain.rules import Rule, RuleKind
from mknock.ports import Entry
from mknock.storage.sqlite import SqliteStore

CONNECTIONS = 64
SECONDS = 3.0
RULES = 100_000
GLOBS = 1_000


async def rules(folder: Path) -> dict[str, float]:
    """Acknowledged knocks a second without rules and with many, in turn; a flat form, whose reading costs least."""
    await _fill(folder / "many" / "data")
    with knock(folder / "none") as none, knock(folder / "many") as many:
        for server in (none, many):
            await server.wait_ready("/healthz")
        pairs = [[await _rate(server, number) for server in (none, many)] for number in range(5)]
    ratio = median(few / lots for few, lots in pairs)
    print(
        f"{median(p[0] for p in pairs):.0f} /s without rules, {median(p[1] for p in pairs):.0f} /s"
        f" with {RULES:,} rules: cost {ratio:.2f} x"
    )
    return {"cost_with_100k_rules": round(ratio, 3)}


async def _fill(folder: Path) -> None:
    store = SqliteStore(folder / "knock.db")
    await store.open()
    for start in range(0, RULES, 10_000):
        some = [_rule(number) for number in range(start, start + 10_000)]
        await store.change_rules(some, (), Entry(0.0, "bench", "import"))
    await store.close()


async def _rate(server: Server, number: int) -> float:
    prefix = f"r{number}"
    seen = await load(server, PATH, FLAT, connections=CONNECTIONS, prefix=prefix, seconds=SECONDS)
    assert set(seen["statuses"]) == {"200"}, seen
    return float(seen["per_second"])


def _rule(number: int) -> Rule:
    if number < GLOBS:
        glob = f"@*spam{number}*:example.org"
        return Rule(RuleKind.USER_GLOB, glob, glob, "spam", source="bench", author="bench", at=0.0)
    user = f"@{_name(number)}:example.org"
    return Rule(RuleKind.USER, user, user, "spam", source="bench", author="bench", at=0.0)


def _name(number: int) -> str:
    """A name like people's, the same for the same number."""
    letters = "bcdfghjklmnpqrstvwz", "aeiou"
    rest, name = number * 7919 + 104_729, ""
    for place in range(9):
        choice = letters[place % 2]
        rest, index = divmod(rest, len(choice))
        name += choice[index]
    return name

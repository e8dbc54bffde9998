"""Acknowledged, durable knocks per second; 2,000 at once; memory."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

from tests.kit.fake_homeserver import FakeProcess
from tests.kit.processes import Server

from bench.servers import FLAT, PATH, bare, knock, load, tally_body

CONNECTIONS = 64
ROUNDS = 3
SECONDS = 4.0


async def accept(folder: Path) -> dict[str, float]:
    """Bare FastAPI, bare FastAPI with a durable insert, and Knock, in turn, three times."""
    with FakeProcess.start() as fake:
        bot, owner = await fake.user("knock"), await fake.user("alice")
        room = await fake.new_room(owner, bot=bot)
        env = {"NEW_ROOM_ID": room, "MATRIX_BASE_URL": fake.url, "MATRIX_ACCESS_TOKEN": str(bot.access_token)}
        with (
            bare(folder / "a", "empty") as empty,
            bare(folder / "b", "durable") as durable,
            knock(folder / "c", **env) as ours,
        ):
            return await _compare(empty, durable, ours)


async def _compare(empty: Server, durable: Server, ours: Server) -> dict[str, float]:
    for server, ready in ((empty, "/docs"), (durable, "/docs"), (ours, "/readyz")):
        await server.wait_ready(ready)
    cases = {
        "bare empty POST": (empty, "/", b"{}"),
        "bare durable insert": (durable, "/", FLAT),
        "knock, Tally sample": (ours, PATH, tally_body()),
        "knock, flat JSON": (ours, PATH, FLAT),
    }
    rates: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(ROUNDS):
        for name, (server, path, body) in cases.items():
            seen = await load(
                server, path, body, connections=CONNECTIONS, prefix=f"r{number}{name[7]}", seconds=SECONDS
            )
            assert set(seen["statuses"]) == {"200"}, (name, seen)
            rates[name].append(seen["per_second"])
    for name, seen_rates in rates.items():
        print(f"{name:22} {median(seen_rates):8.0f} /s   ({', '.join(f'{rate:.0f}' for rate in seen_rates)})")
    return _ratios(rates)


def _ratios(rates: dict[str, list[float]]) -> dict[str, float]:
    ratios = {}
    for ours in ("knock, Tally sample", "knock, flat JSON"):
        for other in ("bare empty POST", "bare durable insert"):
            pairs = [mine / theirs for mine, theirs in zip(rates[ours], rates[other], strict=True)]
            ratios[f"{ours} / {other}"] = round(median(pairs), 3)
            print(f"{ours} / {other}: {median(pairs):.2f}")
    return ratios


async def burst(folder: Path) -> dict[str, Any]:
    """2,000 connections at once, one knock each, none failed."""
    with knock(folder / "k") as ours:
        await ours.wait_ready()
        seen = await load(ours, PATH, tally_body(), connections=2000, prefix="burst", count=2000)
    print(f"2,000 at once: {seen['statuses']} in {seen['took']:.2f} s, slowest {seen['slowest_ms']:.0f} ms")
    return seen


async def memory(folder: Path) -> dict[str, float]:
    """Resident memory of the one process, before and after 10,000 knocks."""
    with knock(folder / "k") as ours:
        await ours.wait_ready()
        before = _resident(ours)
        await load(ours, PATH, tally_body(), connections=64, prefix="memory", count=10_000)
        after = _resident(ours)
    print(f"memory: {before:.0f} MiB at the start, {after:.0f} MiB after 10,000 knocks")
    return {"start_mib": round(before, 1), "after_10k_mib": round(after, 1)}


def _resident(server: Server) -> float:
    status = Path(f"/proc/{server.process.pid}/status").read_text("ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024

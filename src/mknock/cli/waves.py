"""Deciding about a whole wave: what ``held``, ``approve`` and ``refuse`` do with ``--wave``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Final

from mknock.cli.raid import shown
from mknock.cli.running import with_parts
from mknock.cli.terminal import MARGIN, ask, plain, say
from mknock.services.waves import Decided, Preview, Waves
from mknock.wiring.parts import Parts, waves_of

YES: Final = frozenset({"y", "yes"})

Decide = Callable[[Waves], Awaitable[Decided]]


def preview(wave: str) -> Preview:
    """Show what a wave is like."""

    async def work(parts: Parts) -> tuple[Preview, float]:
        return await waves_of(parts).preview(wave), parts.clock()

    found, now = with_parts(work)
    say("\n".join((shown(found.raid, now), *(MARGIN + line for line in _lines(found)))))
    return found


def decide(wave: str, decide: Decide, question: str, done: str, *, yes: bool) -> None:
    """Show the wave, ask, and decide it."""
    if not preview(wave).held:
        return
    if not yes and ask(f"{question} [y/N]", default="n").lower() not in YES:
        say("Nothing was changed.")
        return
    decided = with_parts(lambda parts: decide(waves_of(parts)))
    left = f"; {decided.left} still wait: mknock held --wave {decided.raid.id}" if decided.left else ""
    say(f"{decided.decided} {done}{left}.")


def _lines(found: Preview) -> Iterator[str]:
    total = sum(found.states.values())
    yield f"{found.held} wait, of {total} that were held" if total else "nobody was held"
    if not found.held:
        return
    yield f"waiting for: {_counted(found.reasons.items())}"
    yield f"from: {_counted(found.servers)}"
    if found.likenesses:
        yield f"names like: {_counted(found.likenesses)}"
    if found.signals:
        yield f"signals: {_counted(found.signals)}"
    more = " …" if found.held > len(found.people) else ""
    yield f"people: {', '.join(map(plain, found.people))}{more}"


def _counted(counts: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{plain(what)} {count}" for what, count in counts)

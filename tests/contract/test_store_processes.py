"""Several processes at once on one store, and processes that die under it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from tests.contract.store_cases import Shelf
from tests.kit.processes import ROOT

from mknock.domain.knocks import OPEN, KnockState

PROCESSES = 4
PATIENCE = 60.0


class Knockers:
    """A process that lets people knock (see store_process.py)."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def go(self) -> None:
        assert self.process.stdin
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def rest(self) -> list[str]:
        """All that was acknowledged and not read yet, up to the end of the process."""
        output, _ = self.process.communicate(timeout=PATIENCE)
        return output.split()


@contextmanager
def knockers(shelf: Shelf, name: str, first: int, count: int) -> Iterator[Knockers]:
    """A process that is ready, or on the way there, to admit so many people."""
    arguments = [shelf.backend, shelf.place, name, str(first), str(count)]
    command = [sys.executable, "-m", "tests.contract.store_process", *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield Knockers(process)
        finally:
            process.kill()


def all_at_once(shelf: Shelf, name: str, spread: int, count: int) -> list[str]:
    """Let four processes admit at the same time; return all they were told. ``spread`` is between their people."""
    with ExitStack() as stack:
        crowd = [
            stack.enter_context(knockers(shelf, name, number * spread, count)) for number in range(PROCESSES)
        ]
        assert [each.line() for each in crowd] == ["ready"] * PROCESSES
        for each in crowd:
            each.go()
        return [knock_id for each in crowd for knock_id in each.rest()]


async def test_four_processes_may_make_the_store_at_once(shelf: Shelf) -> None:
    assert all_at_once(shelf, "p", spread=0, count=0) == []


@pytest.mark.promise(1)
async def test_different_people_through_four_processes_are_all_on_record(shelf: Shelf) -> None:
    acknowledged = all_at_once(shelf, "p", spread=100, count=100)
    async with shelf.opened() as store:
        on_record = await store.knocks_in(OPEN)
        lines = await store.ledger(limit=1000)
    assert sorted(knock.id for knock in on_record) == sorted(acknowledged)
    assert len(on_record) == len(lines) == PROCESSES * 100


@pytest.mark.promise(2)
async def test_the_same_people_through_four_processes_have_one_knock_each(shelf: Shelf) -> None:
    acknowledged = all_at_once(shelf, "p", spread=0, count=100)
    async with shelf.opened() as store:
        on_record = await store.knocks_in(OPEN)
    assert {knock.id for knock in on_record} == set(acknowledged)
    assert len(on_record) == 100
    assert sum(knock.repeats for knock in on_record) == (PROCESSES - 1) * 100


@pytest.mark.promise(1)
@pytest.mark.parametrize("survived", [1, 77, 150])
async def test_what_was_acknowledged_survives_kill_9(shelf: Shelf, survived: int) -> None:
    with knockers(shelf, "p", 0, 200) as dying:
        assert dying.line() == "ready"
        dying.go()
        acknowledged = [dying.line() for _ in range(survived)]
        dying.process.kill()
        acknowledged += dying.rest()
    async with shelf.opened() as store:
        on_record = {knock.id for knock in await store.knocks_in(frozenset({KnockState.ADMITTED}))}
    assert on_record >= {knock_id for knock_id in acknowledged if len(knock_id) == 26}
    assert len(acknowledged) < 200

"""The description of the doors is read anew when it changes; what is wrong changes nothing."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mknock.domain.doors import Door
from mknock.services.doors import Doors
from mknock.workers.reload import Described, Reload

MAIN = Door("main", "!main:knock.test")


@dataclass
class Description:
    """A description that a test writes, and how often it was read."""

    path: Path
    doors: Doors = field(default_factory=lambda: Doors(MAIN))
    reads: int = 0
    told: list[list[str]] = field(default_factory=list)

    def read(self) -> Described:
        """A line a door; one that is no name is wrong."""
        self.reads += 1
        names = self.path.read_text().split()
        wrong = tuple(f"{name} is no name." for name in names if not name.isalpha())
        doors = tuple(Door(name, f"!{name}:knock.test") for name in names)
        return Described(() if wrong else (MAIN, *doors), (self.path,), wrong)

    async def changed(self, doors: tuple[Door, ...]) -> None:
        self.told.append([door.slug for door in doors])

    @property
    def slugs(self) -> list[str]:
        return [door.slug for door in self.doors]


@pytest.fixture
def described(tmp_path: Path) -> Description:
    (tmp_path / "doors.toml").write_text("")
    return Description(tmp_path / "doors.toml")


@pytest.fixture
def reload(described: Description) -> Reload:
    return Reload(described.doors, described.read, (described.path,), on_change=described.changed)


async def test_as_long_as_nothing_changes_nothing_is_read(described: Description, reload: Reload) -> None:
    await reload.tick(0.0)

    assert described.reads == 0


async def test_a_door_that_is_added_is_there(described: Description, reload: Reload) -> None:
    described.path.write_text("garden")
    await reload.tick(0.0)

    assert (described.slugs, described.told) == (["main", "garden"], [["main", "garden"]])


async def test_a_door_that_is_taken_out_is_gone(described: Description, reload: Reload) -> None:
    for text in ("garden cellar", "cellar"):
        described.path.write_text(text)
        await reload.tick(0.0)

    assert described.slugs == ["main", "cellar"]


async def test_a_file_that_takes_the_place_of_another_is_noticed(
    described: Description, reload: Reload
) -> None:
    times = described.path.stat()
    other = described.path.with_name("other")
    other.write_text("garden"[: times.st_size])
    os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
    other.replace(described.path)
    await reload.tick(0.0)

    assert described.reads == 1


async def test_what_is_wrong_changes_nothing_and_is_told(described: Description, reload: Reload) -> None:
    described.path.write_text("garden")
    await reload.tick(0.0)
    described.path.write_text("garden 7")
    await reload.tick(0.0)

    assert (described.slugs, reload.problem) == (["main", "garden"], "7 is no name.")


async def test_what_is_mended_is_taken_over(described: Description, reload: Reload) -> None:
    for text in ("7", "cellar"):
        described.path.write_text(text)
        await reload.tick(0.0)

    assert (described.slugs, reload.problem) == (["main", "cellar"], "")


async def test_while_something_is_wrong_it_is_read_at_every_look(
    described: Description, reload: Reload
) -> None:
    described.path.write_text("7")
    for _ in range(3):
        await reload.tick(0.0)

    assert described.reads == 3


async def test_who_asks_has_it_read_though_nothing_looks_changed(
    described: Description, reload: Reload
) -> None:
    reload.ask()
    await reload.tick(0.0)

    assert (described.reads, described.told) == (1, [])

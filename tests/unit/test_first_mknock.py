"""Taking over the first mknock's files: what comes along, what is left out, and that it happens once."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mknock.domain.doors import Door
from mknock.domain.knocks import Knock, KnockState, Reason
from mknock.domain.rules import Rule, RuleKind
from mknock.ports import Entry, Store
from mknock.services.first_mknock import BATCH, FirstMknock, OldFiles
from mknock.services.first_mknock_files import (
    Damaged,
    OldSession,
    old_session,
    pending_invites,
    time_in,
)
from mknock.services.rule_book import RuleBook
from mknock.storage.sqlite import SqliteStore
from mknock.telemetry import configure_logging

NOW = 1_750_000_000.0
INVITED_AT = 1_749_900_000.0
DOOR = Door(slug="main", room_id="!secret:knock.test")
ADMIN = Entry(at=NOW, actor="api", action="block")
ALICE = Rule(RuleKind.USER, "@alice:a.example", "@alice:a.example", "", "file", "file", NOW)


# --- pending_invites.json ------------------------------------------------------------------------


def times(about: Any) -> list[float | None]:
    listed = pending_invites(json.dumps({"@alice:a.example": about}).encode())
    return [invite.invited_at for invite in listed.found]


@pytest.mark.parametrize(
    "time",
    [
        INVITED_AT,
        int(INVITED_AT),
        INVITED_AT * 1000,
        str(INVITED_AT),
        "2025-06-14T11:20:00",
        "2025-06-14T11:20:00Z",
        "2025-06-14T13:20:00+02:00",
        "2025-06-14 11:20:00.000000",
    ],
)
def test_the_time_of_an_invite_is_read_in_every_spelling(time: object) -> None:
    assert times({"invite_time": time, "last_checked": None}) == [INVITED_AT]


@pytest.mark.parametrize(
    "time", [None, "yesterday", True, [], -5, 0, "", float("nan"), 10**400, "0001-01-01"]
)
def test_an_invite_without_a_usable_time_is_an_invite_all_the_same(time: object) -> None:
    assert times({"invite_time": time}) == [None]


def test_an_entry_needs_nothing_but_its_name() -> None:
    assert times({}) == [None]


@pytest.mark.parametrize(
    "entry", ['"@bob:b.example": null', '"@bob:b.example": []', '"garbage": {}', '"": {}']
)
def test_one_bad_entry_is_left_out_and_the_rest_counts(entry: str) -> None:
    data = f'{{{entry}, "@alice:a.example": {{}}}}'.encode()
    listed = pending_invites(data)
    assert ([str(one.user) for one in listed.found], listed.left_out) == (["@alice:a.example"], (1,))


@pytest.mark.parametrize(
    "data",
    [
        b'{"@alice:a.example": {"invite_time": "2025-06',
        b"",
        b"   ",
        b"[]",
        b'"text"',
        b"{}\0",
        b"\xff{}",
        b"[" * 100_000,
    ],
)
def test_a_file_that_breaks_off_or_is_no_object_is_damaged(data: bytes) -> None:
    with pytest.raises(Damaged):
        pending_invites(data)


@given(st.binary(max_size=200) | st.text().map(str.encode))
def test_no_bytes_make_reading_fail_in_another_way(data: bytes) -> None:
    for read in (pending_invites, old_session):
        try:
            read(data)
        except Damaged:
            continue


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), st.lists))
def test_no_value_makes_reading_a_time_fail(value: object) -> None:
    seconds = time_in(value)
    assert seconds is None or 0 < seconds < float("inf")


# --- tokens.json ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["access_token", "matrix_access_token", "MATRIX_ACCESS_TOKEN", "matrix_token"]
)
@pytest.mark.parametrize(
    "shape", ['{{"{}": "syt_abc", "user_id": "@k:x"}}', '{{"m": {{"{}": "syt_abc", "user_id": "@k:x"}}}}']
)
def test_the_token_is_found_under_every_name(name: str, shape: str) -> None:
    assert old_session(shape.format(name).encode()) == OldSession("syt_abc", "@k:x")


def test_the_device_comes_along() -> None:
    found = old_session(b'{"access_token": "syt_abc", "device_id": "DEV"}')
    assert found is not None
    assert found.device_id == "DEV"


@pytest.mark.parametrize(
    "data", [b"{}", b'{"access_token": null}', b'{"access_token": "two words"}', b'{"jwt": "x"}']
)
def test_a_file_may_hold_no_token(data: bytes) -> None:
    assert old_session(data) is None


# --- all of it, into a real store ----------------------------------------------------------------


@dataclass
class Knocker:
    """A Knock that starts where the first mknock was."""

    folder: Path
    sessions: list[OldSession] = field(default_factory=list)
    now: float = NOW

    @property
    def files(self) -> OldFiles:
        return OldFiles(
            self.folder / "pending_invites.json",
            self.folder / "tokens.json",
            self.folder / "data" / "kept-aside",
        )

    def write(self, name: str, data: str | bytes) -> Path:
        path = self.folder / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return path

    async def keep_session(self, session: OldSession) -> bool:
        self.sessions.append(session)
        return len(self.sessions) == 1

    def first_mknock(self, store: Store) -> FirstMknock:
        return FirstMknock(
            store,
            DOOR,
            self.files,
            RuleBook(store, lambda: self.now),
            lambda: self.now,
            keep_session=self.keep_session,
        )

    @asynccontextmanager
    async def store(self) -> AsyncIterator[SqliteStore]:
        store = SqliteStore(self.folder / "data" / "knock.db")
        await store.open()
        try:
            yield store
        finally:
            await store.close()

    async def start(self, look: Callable[[Store], Awaitable[Any]]) -> Any:
        """Start once, and return what ``look`` sees in the store."""
        async with self.store() as store:
            await self.first_mknock(store).take_over()
            return await look(store)

    def kept_aside(self) -> list[Path]:
        folder = self.files.kept_aside
        return sorted(folder.iterdir()) if folder.exists() else []


@pytest.fixture
def knock(tmp_path: Path) -> Knocker:
    return Knocker(tmp_path)


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], list[str]]]:
    """What was logged since it was last asked, each line with its fields."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configure_logging("INFO", "json")
    yield lambda: capsys.readouterr().err.splitlines()
    root.handlers[:] = handlers
    root.setLevel(level)


async def people(store: Store) -> list[str]:
    """Everybody with a knock on record."""
    return [knock.user_id for knock in await store.knocks_in(frozenset(KnockState), limit=10_000)]


async def knocks(store: Store) -> list[Knock]:
    return await store.knocks_in(frozenset(KnockState))


async def ledger(store: Store) -> list[Entry]:
    return await store.ledger()


async def nothing(_: Store) -> None: ...


INVITES = json.dumps({"@alice:a.example": {"invite_time": INVITED_AT}, "@bob:b.example": {}})


async def test_without_old_files_nothing_happens(knock: Knocker, said: Callable[[], list[str]]) -> None:
    assert (await knock.start(ledger), said()) == ([], [])


async def test_a_list_of_more_than_one_batch_comes_along_whole(knock: Knocker) -> None:
    knock.write("pending_invites.json", json.dumps({f"@user{n}:a.example": {} for n in range(2 * BATCH + 1)}))
    assert len(await knock.start(people)) == 2 * BATCH + 1


async def test_open_invites_become_invited_knocks(knock: Knocker) -> None:
    knock.write("pending_invites.json", INVITES)
    made = (await knock.start(knocks))[0]
    assert (made.user_id, made.state, made.reason, made.platform, made.due_at, made.room_id) == (
        "@alice:a.example",
        KnockState.INVITED,
        Reason.IMPORTED,
        "first-mknock",
        None,
        DOOR.room_id,
    )


async def test_an_invite_keeps_its_time(knock: Knocker) -> None:
    knock.write("pending_invites.json", INVITES)
    assert (await knock.start(knocks))[0].invited_at == INVITED_AT


async def test_an_invite_without_a_time_is_as_old_as_the_file(knock: Knocker) -> None:
    os.utime(knock.write("pending_invites.json", '{"@bob:b.example": {}}'), (INVITED_AT, INVITED_AT))
    assert (await knock.start(knocks))[0].invited_at == INVITED_AT


async def test_no_invite_lies_in_the_future(knock: Knocker) -> None:
    knock.write("pending_invites.json", '{"@bob:b.example": {"invite_time": 9999999999}}')
    assert (await knock.start(knocks))[0].invited_at == NOW


@pytest.mark.promise(3)
async def test_the_open_invite_of_a_blocked_person_is_due_to_be_withdrawn(knock: Knocker) -> None:
    knock.write("pending_invites.json", '{"@Alice:a.example": {}}')
    async with knock.store() as store:
        await store.change_rules([ALICE], (), ADMIN, in_file=True)
    made = (await knock.start(knocks))[0]
    assert (made.reason, made.rule, made.due_at) == (Reason.BLOCKED, "@alice:a.example", NOW)


async def test_who_has_a_record_already_gets_no_second_one(knock: Knocker) -> None:
    knock.write("pending_invites.json", '{"@alice:a.example": {}, "@Alice:a.example": {}}')
    assert len(await knock.start(knocks)) == 1


@pytest.mark.promise(8)
async def test_everything_imported_is_in_the_ledger(knock: Knocker) -> None:
    knock.write("pending_invites.json", '{"@alice:a.example": {}}')
    knock.write("tokens.json", '{"access_token": "syt_abc", "user_id": "@knock:a.example"}')
    lines = {(line.actor, line.action, line.user_id, line.after) for line in await knock.start(ledger)}
    assert lines == {
        ("import", "invited", "@alice:a.example", "invited"),
        ("import", "session imported", "@knock:a.example", ""),
    }


async def test_the_session_is_handed_over(knock: Knocker) -> None:
    knock.write("tokens.json", '{"access_token": "syt_abc"}')
    await knock.start(nothing)
    assert knock.sessions == [OldSession("syt_abc")]


async def test_the_log_says_once_what_was_imported(knock: Knocker, said: Callable[[], list[str]]) -> None:
    knock.write("pending_invites.json", '{"@eve:a.example": {}, "@Eve:a.example": {}}')
    for _ in range(3):
        await knock.start(nothing)
    lines = [json.loads(line) for line in said()]
    assert [(line["file"], line["found"], line["new"]) for line in lines] == [("pending_invites.json", 2, 1)]


async def test_the_log_numbers_the_entries_that_were_left_out(
    knock: Knocker, said: Callable[[], list[str]]
) -> None:
    nonsense: dict[str, object] = {f"nonsense {number}": {} for number in range(31)}
    knock.write("pending_invites.json", json.dumps({"@eve:a.example": {}, **nonsense}))
    await knock.start(nothing)
    assert "but for 31 of its entries (2, 3, 4," in said()[1]


@pytest.mark.promise(10)
async def test_the_log_advises_to_delete_the_plain_token_and_does_not_show_it(
    knock: Knocker, said: Callable[[], list[str]]
) -> None:
    knock.write("tokens.json", '{"access_token": "syt_canary"}')
    await knock.start(nothing)
    (line,) = said()
    assert ("delete that file" in line, "syt_canary" in line) == (True, False)


async def test_a_file_that_comes_later_is_imported_then(knock: Knocker) -> None:
    await knock.start(nothing)
    knock.write("pending_invites.json", INVITES)
    assert len(await knock.start(people)) == 2


async def test_the_files_themselves_stay_as_they_are(knock: Knocker) -> None:
    paths = [
        knock.write("pending_invites.json", "{brok"),
        knock.write("tokens.json", '{"access_token": "syt_abc"}'),
    ]
    before = [(path.read_bytes(), path.stat().st_mtime_ns) for path in paths]
    await knock.start(nothing)
    assert [(path.read_bytes(), path.stat().st_mtime_ns) for path in paths] == before


# --- several processes ---------------------------------------------------------------------------


async def four_at_once(knock: Knocker) -> tuple[list[str], int]:
    """Start four that share one store; return what each found when it was through, and the ledger's length."""

    async def one() -> list[str]:
        async with knock.store() as store:
            await knock.first_mknock(store).take_over()
            return await people(store)

    seen = await asyncio.gather(*(one() for _ in range(4)))
    async with knock.store() as store:
        return [str(len(found)) for found in seen], len(await store.ledger(limit=10_000))


async def test_none_of_four_that_start_at_once_goes_on_without_the_invites(knock: Knocker) -> None:
    knock.write("pending_invites.json", json.dumps({f"@user{n}:a.example": {} for n in range(700)}))
    assert (await four_at_once(knock))[0] == ["700"] * 4


async def test_four_that_start_at_once_write_each_ledger_line_once(knock: Knocker) -> None:
    knock.write("pending_invites.json", INVITES)
    assert (await four_at_once(knock))[1] == 2


async def test_four_that_start_at_once_say_it_once(knock: Knocker, said: Callable[[], list[str]]) -> None:
    knock.write("tokens.json", "{brok")
    knock.write("pending_invites.json", "{brok")
    await four_at_once(knock)
    assert len(said()) == 2


async def test_an_import_whose_process_died_is_taken_up_by_another(knock: Knocker) -> None:
    knock.write("pending_invites.json", INVITES)
    async with knock.store() as store:
        await store.take_lease("first-mknock", "the dead one", now=NOW, until=NOW + 5)

        async def later(seconds: float) -> None:
            knock.now += seconds

        taking = FirstMknock(
            store,
            DOOR,
            knock.files,
            RuleBook(store, lambda: knock.now),
            lambda: knock.now,
            keep_session=knock.keep_session,
            sleep=later,
        )
        await taking.take_over()
        assert len(await people(store)) == 2


# --- damaged and unreadable ----------------------------------------------------------------------

BROKEN = b'{"@alice:a.example": {"invite_time": "2025-06'


async def test_a_damaged_file_stops_nothing(knock: Knocker) -> None:
    knock.write("pending_invites.json", BROKEN)
    knock.write("tokens.json", '{"access_token": "syt_abc"}')
    await knock.start(nothing)
    assert knock.sessions == [OldSession("syt_abc")]


async def test_a_copy_of_a_damaged_file_is_kept_aside(knock: Knocker) -> None:
    knock.write("pending_invites.json", BROKEN)
    await knock.start(nothing)
    assert [path.read_bytes() for path in knock.kept_aside()] == [BROKEN]


async def test_the_copy_is_for_its_owner_alone(knock: Knocker) -> None:
    knock.write("tokens.json", BROKEN)
    await knock.start(nothing)
    assert [path.stat().st_mode & 0o777 for path in knock.kept_aside()] == [0o600]


async def test_another_damage_is_kept_beside_the_first(knock: Knocker) -> None:
    knock.write("pending_invites.json", BROKEN)
    await knock.start(nothing)
    knock.write("pending_invites.json", BROKEN[:-5])
    await knock.start(nothing)
    assert {path.read_bytes() for path in knock.kept_aside()} == {BROKEN, BROKEN[:-5]}


async def test_the_same_damage_is_kept_once(knock: Knocker) -> None:
    knock.write("pending_invites.json", BROKEN)
    for _ in range(3):
        await knock.start(nothing)
    assert len(knock.kept_aside()) == 1


async def test_damage_is_said_in_one_sentence_that_tells_what_to_do(
    knock: Knocker, said: Callable[[], list[str]]
) -> None:
    knock.write("pending_invites.json", BROKEN)
    await knock.start(nothing)
    (line,) = said()
    assert "mend it and start Knock again" in json.loads(line)["event"]


async def test_damage_is_said_at_every_start(knock: Knocker, said: Callable[[], list[str]]) -> None:
    knock.write("pending_invites.json", BROKEN)
    for _ in range(3):
        await knock.start(nothing)
        knock.now += 60
    assert len(said()) == 3


async def test_a_mended_file_is_imported(knock: Knocker) -> None:
    knock.write("pending_invites.json", BROKEN)
    await knock.start(nothing)
    knock.write("pending_invites.json", INVITES)
    assert len(await knock.start(knocks)) == 2


async def test_an_empty_file_leaves_no_copy(knock: Knocker) -> None:
    knock.write("pending_invites.json", b"")
    await knock.start(nothing)
    assert knock.kept_aside() == []


async def test_a_folder_in_the_place_of_a_file_is_reported(
    knock: Knocker, said: Callable[[], list[str]]
) -> None:
    (knock.folder / "pending_invites.json").mkdir()
    await knock.start(nothing)
    assert "is a folder" in said()[0]


async def test_a_link_that_leads_nowhere_is_reported(knock: Knocker, said: Callable[[], list[str]]) -> None:
    (knock.folder / "pending_invites.json").symlink_to("gone")
    await knock.start(nothing)
    assert "cannot be read (No such file or directory)" in said()[0]


async def test_a_copy_that_cannot_be_kept_stops_nothing(
    knock: Knocker, said: Callable[[], list[str]]
) -> None:
    knock.write("pending_invites.json", BROKEN)
    (knock.folder / "data").mkdir()
    knock.write("data/kept-aside", "a file where the folder should be")
    await knock.start(nothing)
    assert "no copy of it could be kept" in said()[0]

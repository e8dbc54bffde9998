"""The block-list's file is followed: what is edited there counts, and what is blocked elsewhere stands there."""

from __future__ import annotations

import errno
import logging
import os
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest
from tests.kit.fake_homeserver import FakeHomeserver
from tests.kit.workshop import Workshop

from mknock.domain.ids import MatrixID
from mknock.domain.knocks import KnockState, Reason
from mknock.domain.rules import LIST, Rule, RuleKind
from mknock.ports import Entry, OwnRule
from mknock.services import blocklist_disk as disk
from mknock.services.blocklist_file import AGAIN, BATCH, SETTLED, BlocklistFile
from mknock.services.blocklist_lines import HEADING
from mknock.services.enforcement import Enforcement
from mknock.services.findings import Verdict
from mknock.services.rule_book import RuleBook
from mknock.services.rule_making import RuleMaker
from mknock.storage.sqlite import SqliteStore
from mknock.telemetry import configure_logging

S = KnockState
Said = Callable[[], list[str]]
EVE, MALLORY = "@eve:evil.example", "@mallory:evil.example"


class Following:
    """A shop whose block-list's file is followed, as the process with the turn does."""

    def __init__(self, shop: Workshop, path: Path) -> None:
        self.shop = shop
        self.path = path
        self.file = self.anew()

    def anew(self) -> BlocklistFile:
        """The same in a process that has just begun."""
        return file_of(self.path, self.shop.store, self.shop)

    async def look(self, file: BlocklistFile | None = None) -> int:
        """Look until nothing changes any more, as the duty does again and again."""
        changed = 0
        for _ in range(6):
            self.shop.clock.forward(SETTLED)
            changed += await (file or self.file).tick(self.shop.clock())
        return changed

    async def write(self, text: str) -> None:
        self.path.write_text(text)
        await self.look()

    async def rules(self) -> dict[str, str]:
        """Every rule with its reason."""
        return {
            f"{'allow ' if rule.allow else ''}{rule.entity}": rule.reason
            for rule in await self.shop.store.rules()
        }

    async def block(self, user: str, reason: str = "") -> None:
        await self.shop.moderation.block(MatrixID.of(user), reason, actor="api")
        await self.look()

    async def unblock(self, user: str) -> None:
        await self.shop.moderation.unblock(MatrixID.of(user), actor="api")
        await self.look()

    def lines(self) -> list[str]:
        """What the file says, without comments."""
        return [line for line in self.path.read_text().splitlines() if not line.startswith("#")]

    def drafts(self) -> list[Path]:
        return list(self.path.parent.glob(".*"))


def file_of(path: Path, store: SqliteStore, shop: Workshop) -> BlocklistFile:
    book = RuleBook(store, shop.clock)
    return BlocklistFile(path, store, book, Enforcement(store, shop.doors, book), shop.clock)


@pytest.fixture
async def following(fake: FakeHomeserver, tmp_path: Path) -> AsyncIterator[Following]:
    async with Workshop.opened(fake, tmp_path) as shop:
        yield Following(shop, tmp_path / "blocked_users.txt")


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], list[str]]]:
    """What was logged since it was last asked."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configure_logging("INFO", "json")
    yield lambda: capsys.readouterr().err.splitlines()
    root.handlers[:] = handlers
    root.setLevel(level)


# --- from the file to the store


async def test_every_kind_of_line_becomes_a_rule(following: Following) -> None:
    await following.write(
        f"{EVE} Reason: spam\n# nobody\n*spam*:*\nevil.example # all of them\nallow {MALLORY}\n"
    )
    assert await following.rules() == {
        EVE: "spam",
        "*spam*:*": "",
        "evil.example": "all of them",
        f"allow {MALLORY}": "",
    }


async def test_what_came_from_the_file_says_so(following: Following) -> None:
    await following.write(f"{EVE}\n")
    (rule,) = await following.shop.store.rules()
    assert (rule.source, rule.author) == ("file", "file")


async def test_a_new_line_counts(following: Following) -> None:
    await following.write(f"{EVE}\n")
    await following.write(f"{EVE}\n{MALLORY}\n")
    assert set(await following.rules()) == {EVE, MALLORY}


async def test_a_deleted_line_takes_its_rule_along(following: Following) -> None:
    await following.write(f"{EVE}\n{MALLORY}\n")
    await following.write(f"{MALLORY}\n")
    assert set(await following.rules()) == {MALLORY}


async def test_a_changed_reason_replaces_the_rules_reason(following: Following) -> None:
    await following.write(f"{EVE} Reason: spam\n")
    await following.write(f"{EVE} Reason: spam, and rude\n")
    assert await following.rules() == {EVE: "spam, and rude"}


async def test_an_editor_may_put_another_file_in_its_place(following: Following, tmp_path: Path) -> None:
    await following.write(f"{EVE}\n")
    following.path.rename(tmp_path / "blocked_users.txt~")
    draft = tmp_path / "4913"
    draft.write_text(f"{EVE}\n{MALLORY}\n")
    draft.rename(following.path)
    await following.look()
    assert set(await following.rules()) == {EVE, MALLORY}


async def test_an_edit_is_read_once(following: Following, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a list of a hundred thousand that takes seconds. So long an edit takes several transactions."""
    await following.write(f"{EVE}\n")
    read = Mock(wraps=disk.contents)
    monkeypatch.setattr(disk, "contents", read)
    await following.write("".join(f"@a{number}:evil.example\n" for number in range(2 * BATCH + 1)))

    assert len(await following.rules()) == 2 * BATCH + 1
    assert read.call_count == 1


async def test_what_others_block_during_an_edit_is_not_overlooked(
    following: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = following.shop.store
    own_rules, block = store.own_rules, following.shop.moderation.block

    async def and_then_somebody_blocks() -> list[OwnRule]:
        own = await own_rules()
        monkeypatch.setattr(store, "own_rules", own_rules)
        await block(MatrixID.of(MALLORY), "spam", actor="api")
        return own

    monkeypatch.setattr(store, "own_rules", and_then_somebody_blocks)
    await following.write(f"{EVE}\n")

    assert following.lines() == [EVE, f"{MALLORY} Reason: spam"]


async def test_a_file_that_somebody_is_writing_waits_until_they_are_done(following: Following) -> None:
    await following.write(f"{EVE}\n{MALLORY}\n")
    following.path.write_text("@ev")
    await following.file.tick(following.shop.clock())
    following.path.write_text(f"{EVE}\n")
    await following.look()
    assert set(await following.rules()) == {EVE}


async def test_it_is_looked_at_again_soon_after_a_change(following: Following) -> None:
    await following.write(f"{EVE}\n")
    following.path.write_text(f"{MALLORY}\n")
    now = following.shop.clock()
    await following.file.tick(now)
    assert following.file.next_at == now + SETTLED


async def test_the_edits_of_one_look_are_in_the_ledger(following: Following) -> None:
    await following.write(f"{EVE}\n")
    await following.write(f"{MALLORY} Reason: spam\n")
    lines = [
        (one.actor, one.action, one.rule, one.before, one.after)
        for one in await following.shop.store.ledger()
    ]
    assert set(lines) == {
        ("file", "edit", EVE, "", "blocked"),
        ("file", "edit", EVE, "blocked", ""),
        ("file", "edit", MALLORY, "", "blocked"),
    }


async def test_a_broken_line_is_told_by_its_number_and_the_rest_counts(
    following: Following, said: Said
) -> None:
    await following.write(f"{EVE}\nnonsense and more\n@bad\n{MALLORY}\n")
    assert set(await following.rules()) == {EVE, MALLORY}
    assert len([line for line in said() if "lines that do not count (2, 3)" in line]) == 1


@pytest.mark.parametrize("line", ["*", "*:*", "@*:matrix.org", "*.org"])
async def test_a_slip_of_the_pen_does_not_lock_out_the_world(
    following: Following, said: Said, line: str
) -> None:
    await following.write(f"{EVE}\n{line}\n")
    assert set(await following.rules()) == {EVE}
    assert len([one for one in said() if "(2)" in one and "--force" in one]) == 1


async def test_what_was_forced_elsewhere_stays_and_is_written(following: Following, said: Said) -> None:
    await following.write(f"{EVE}\n")
    maker = RuleMaker(
        following.shop.store,
        following.shop.homeserver,
        following.shop.doors,
        following.shop.book,
        following.shop.clock,
    )
    await maker.make("*:matrix.org", actor="cli", force=True)
    await following.look()
    await following.look(following.anew())
    assert (following.lines(), set(await following.rules())) == ([EVE, "matrix.org"], {EVE, "*:matrix.org"})
    assert not [line for line in said() if "do not count" in line]


@pytest.mark.parametrize("trick", ["\r", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029"])
async def test_a_reason_cannot_block_a_second_person(following: Following, trick: str) -> None:
    await following.write(f"{EVE} Reason: bad{trick}{MALLORY}\n")
    assert set(await following.rules()) == {EVE}


async def test_the_mark_and_line_ends_of_windows_are_no_part_of_an_id(following: Following) -> None:
    following.path.write_bytes(f"\ufeff{EVE}\r\n{MALLORY} Reason: spam\r\n".encode())
    await following.look()
    assert await following.rules() == {EVE: "", MALLORY: "spam"}


async def test_a_hundred_thousand_lines_are_rules(following: Following) -> None:
    await following.write("".join(f"@spammer{number}:evil.example\n" for number in range(100_000)))
    assert len(await following.shop.store.rules()) == 100_000


async def test_at_a_start_the_lines_are_read_before_anything_else(following: Following) -> None:
    following.path.write_text(f"{EVE}\n")
    await following.file.read_in()
    assert set(await following.rules()) == {EVE}


async def test_two_processes_that_start_together_make_each_rule_once(following: Following) -> None:
    following.path.write_text(f"{EVE}\n")
    async with following.shop.another() as other:
        second = file_of(following.path, other.store, following.shop)
        await following.file.read_in()
        await second.read_in()
    assert len(await following.shop.store.ledger()) == 1


# --- whom it blocks


@pytest.mark.promise(3)
async def test_who_waits_is_refused_as_soon_as_the_file_blocks_them(following: Following) -> None:
    (person,) = following.shop.people(1)
    knock_id = await following.shop.knock(person)
    await following.write("knock.test\n")
    knock = await following.shop.record(knock_id)
    assert (knock.state, knock.reason, knock.rule) == (S.REFUSED, Reason.BLOCKED, "knock.test")


async def test_an_open_invite_is_withdrawn(following: Following) -> None:
    (person,) = following.shop.people(1)
    knock = await following.shop.delivered(person)
    await following.write(f"{person}\n")
    await following.shop.work_for(10)
    assert (await following.shop.record(knock.id)).state is S.RESCINDED
    assert following.shop.room.membership(person) == "leave"


async def test_whose_line_is_deleted_waits_again(following: Following) -> None:
    (person,) = following.shop.people(1)
    knock_id, store = await following.shop.knock(person), following.shop.store
    entry = Entry(at=following.shop.clock(), actor="knock", action="hold")
    await store.change(knock_id, lambda k: k.moved_to(S.HELD, at=k.created_at, due_at=None), entry)
    await following.write(f"{person}\n*spam*:*\n")
    await following.write("*spam*:*\n")
    knocks = await following.shop.store.knocks_of(person)
    assert [(knock.state, knock.reason) for knock in knocks] == [
        (S.HELD, Reason.UNBLOCKED),
        (S.REFUSED, Reason.UNBLOCKED),
    ]


# --- from the store to the file


async def test_what_the_api_blocks_is_added_to_the_file(following: Following) -> None:
    await following.write(f"# ours\n{EVE}")
    await following.block(MALLORY, "spam")
    assert following.path.read_text() == f"# ours\n{EVE}\n{MALLORY} Reason: spam\n"


async def test_a_file_that_is_not_there_is_made_with_the_first_rule(following: Following) -> None:
    await following.look()
    assert not following.path.exists()
    await following.block(EVE)
    assert following.path.read_text() == f"{HEADING}{EVE}\n"
    assert stat.S_IMODE(following.path.stat().st_mode) == 0o600


async def test_a_newline_in_a_reason_stays_on_its_line(following: Following) -> None:
    await following.block(EVE, f"spam\n{MALLORY}\r\n*:*\u2028x")
    assert following.lines() == [f"{EVE} Reason: spam {MALLORY}  *:* x"]
    assert set(await following.rules()) == {EVE}


async def test_what_is_added_is_added_once(following: Following) -> None:
    await following.block(EVE, "a\nb")
    await following.look(following.anew())
    assert following.lines() == [f"{EVE} Reason: a b"]
    assert await following.rules() == {EVE: "a\nb"}


async def test_who_is_unblocked_loses_their_line_and_everything_else_stays(following: Following) -> None:
    await following.write(f"# ours\r\n{EVE} Reason: spam\n\n  {MALLORY}\nnonsense and more\n# end")
    await following.unblock(EVE)
    assert following.path.read_bytes() == f"# ours\r\n\n  {MALLORY}\nnonsense and more\n# end".encode()
    assert set(await following.rules()) == {MALLORY}


async def test_every_line_about_a_removed_rule_goes(following: Following) -> None:
    await following.write(f"{EVE} Reason: a\n{MALLORY}\n{EVE.upper().replace('EVIL', 'evil')} Reason: b\n")
    await following.unblock(EVE)
    assert following.lines() == [MALLORY]


async def test_the_file_keeps_its_mode_and_owner_when_a_line_goes(following: Following) -> None:
    await following.write(f"{EVE}\n{MALLORY}\n")
    following.path.chmod(0o644)
    if os.geteuid() == 0:
        os.chown(following.path, 1234, 1235)
    before = following.path.stat()
    await following.unblock(EVE)
    after = following.path.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert after.st_ino != before.st_ino


async def test_a_link_stays_a_link(following: Following, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.txt"
    elsewhere.write_text(f"{EVE}\n{MALLORY}\n")
    following.path.symlink_to(elsewhere)
    await following.look()
    await following.unblock(EVE)
    assert (following.path.is_symlink(), elsewhere.read_text()) == (True, f"{MALLORY}\n")


async def test_nothing_is_left_lying_about(following: Following) -> None:
    await following.write(f"{EVE}\n{MALLORY}\n")
    await following.unblock(EVE)
    assert following.drafts() == []


async def test_what_another_process_blocks_and_unblocks_is_in_the_file(following: Following) -> None:
    await following.write(f"{EVE}\n")
    async with following.shop.another() as other:
        await other.moderation.block(MatrixID.of(MALLORY), "", actor="cli")
        await other.moderation.unblock(MatrixID.of(EVE), actor="cli")
    await following.look()
    assert following.lines() == [MALLORY]


async def test_who_is_unblocked_and_blocked_again_keeps_their_line(following: Following) -> None:
    await following.write(f"{EVE}\n")
    await following.shop.moderation.unblock(MatrixID.of(EVE), actor="api")
    await following.shop.moderation.block(MatrixID.of(EVE), "", actor="api")
    await following.look()
    assert (following.lines(), set(await following.rules())) == ([EVE], {EVE})


@pytest.mark.parametrize(
    "rule",
    [
        Rule(RuleKind.SERVER, "evil.example", "evil.example", "", LIST + "x", "", 0.0, origin="$1"),
        Rule(RuleKind.USER, EVE, EVE, "", "api", "api", 0.0, expires=4_000_000_000.0),
        Rule(RuleKind.USER_HASH, "x" * 43, "x" * 43, "", "import", "", 0.0),
        Rule(RuleKind.USER, "@we?rd:evil.example", "@we?rd:evil.example", "", "api", "api", 0.0),
    ],
    ids=["from a shared list", "that runs out", "by its hash", "that reads like a pattern"],
)
async def test_a_rule_that_no_line_can_say_stays_in_the_store(following: Following, rule: Rule) -> None:
    await following.write("# ours\n")
    await following.shop.store.change_rules([rule], (), Entry(at=1.0, actor="x", action="x"))
    await following.look()
    assert (following.lines(), await following.shop.store.rules()) == ([], [rule])


async def test_a_line_makes_a_rule_last_that_would_run_out(following: Following) -> None:
    now = following.shop.clock()
    brief = Rule(RuleKind.USER, EVE, EVE, "", "api", "api", now, expires=now + 60)
    await following.shop.store.change_rules([brief], (), Entry(at=now, actor="api", action="block"))
    await following.write(f"{EVE}\n")
    assert await following.shop.store.rules() == [replace(brief, expires=None)]


# --- crashes, and edits at the same time


async def test_a_crash_between_writing_a_line_and_marking_it_loses_nothing(
    following: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    await following.look()

    async def dies(*_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(following.shop.store, "mark_in_file", dies)
        with pytest.raises(SystemExit):
            await following.block(EVE)
    assert following.lines() == [EVE]
    await following.look(following.anew())
    assert (following.lines(), set(await following.rules())) == ([EVE], {EVE})
    assert [one.in_file for one in await following.shop.store.own_rules()] == [True]


async def test_a_crash_between_deleting_a_line_and_marking_it_blocks_nobody(
    following: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    await following.write(f"{EVE}\n{MALLORY}\n")

    async def dies(*_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(following.shop.store, "mark_in_file", dies)
        with pytest.raises(SystemExit):
            await following.unblock(EVE)
    await following.look(following.anew())
    assert (following.lines(), set(await following.rules())) == ([MALLORY], {MALLORY})


def test_an_edit_in_the_last_moment_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "blocked_users.txt"
    path.write_text(f"{EVE}\n{MALLORY}\n")
    with pytest.raises(disk.ChangedMeanwhile):
        disk.rewrite(path, f"{EVE}\n".encode(), b"")
    assert path.read_text() == f"{EVE}\n{MALLORY}\n"


def test_half_a_line_is_taken_back_when_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, write = tmp_path / "blocked_users.txt", os.write
    path.write_text(f"{EVE}\n")
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, data[:10]))
    with pytest.raises(OSError, match="No space"):
        disk.append(path, f"{MALLORY}\n".encode())
    assert path.read_text() == f"{EVE}\n"


# --- a file that cannot be relied on


async def test_a_missing_file_removes_nothing(following: Following) -> None:
    await following.write(f"{EVE}\n")
    following.path.unlink()
    await following.look()
    assert set(await following.rules()) == {EVE}
    assert following.file.problem == "is missing"


async def test_a_missing_file_is_not_made_anew_from_what_is_blocked_now(following: Following) -> None:
    await following.write(f"{EVE}\n")
    following.path.unlink()
    await following.block(MALLORY)
    assert not following.path.exists()
    await following.write(f"{EVE}\n")
    assert following.lines() == [EVE, MALLORY]


async def test_an_emptied_file_removes_nothing(following: Following) -> None:
    await following.write(f"{EVE}\n")
    await following.write("")
    await following.block(MALLORY)
    assert (set(await following.rules()), following.path.read_bytes()) == ({EVE, MALLORY}, b"")


async def test_a_comment_is_enough_to_empty_it_on_purpose(following: Following) -> None:
    await following.write(f"{EVE}\n")
    await following.write("# nobody\n")
    assert await following.rules() == {}


@pytest.mark.parametrize(
    "data", [b"@eve\xff:evil.example\n", "@e:a".encode("utf-16"), b"\0\0", b"<html>\n</html>\n"]
)
async def test_a_file_that_is_no_list_removes_nothing(following: Following, data: bytes) -> None:
    await following.write(f"{EVE}\n")
    following.path.write_bytes(data)
    await following.look()
    assert set(await following.rules()) == {EVE}
    assert following.file.problem


async def test_a_folder_in_its_place_removes_nothing(following: Following) -> None:
    await following.write(f"{EVE}\n")
    following.path.unlink()
    following.path.mkdir()
    await following.look()
    assert (set(await following.rules()), "folder" in following.file.problem) == ({EVE}, True)


async def test_a_file_that_may_not_be_read_removes_nothing(
    following: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    await following.write(f"{EVE}\n")

    def refused(_: Path) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", refused)
        following.path.touch()
        await following.look()
    assert set(await following.rules()) == {EVE}
    assert following.file.problem == "cannot be read (Permission denied)"


async def test_a_file_that_is_too_large_removes_nothing(
    following: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    await following.write(f"{EVE}\n")
    monkeypatch.setattr(disk, "LARGEST", 10)
    await following.write(f"{MALLORY}\n")
    assert set(await following.rules()) == {EVE}


async def test_a_problem_is_said_once_and_its_end_too(following: Following, said: Said) -> None:
    await following.write(f"{EVE}\n")
    following.path.unlink()
    await following.look()
    await following.block(MALLORY)
    await following.write(f"{EVE}\n")
    lines = said()
    assert [
        len([line for line in lines if text in line]) for text in ("is missing", "is followed again")
    ] == [1, 1]
    assert following.file.shortcoming == ""


async def test_a_folder_that_may_not_be_written_keeps_nobody_blocked_who_was_unblocked(
    following: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    await following.write(f"{EVE}\n{MALLORY}\n")

    def refused(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(disk, "_write_draft", refused)
        await following.unblock(EVE)
        await following.block("@trudy:evil.example")
        assert "cannot be written" in following.file.problem
        assert set(await following.rules()) == {MALLORY, "@trudy:evil.example"}
        assert following.lines() == [EVE, MALLORY, "@trudy:evil.example"]
    following.shop.clock.forward(AGAIN)
    await following.look()
    assert (following.lines(), following.file.problem) == ([MALLORY, "@trudy:evil.example"], "")


# --- the doctor


async def test_the_doctor_says_how_many_rules_are_in_the_file(following: Following) -> None:
    await following.write(f"{EVE}\n{MALLORY}\n")
    finding = await following.file.examine()
    assert (finding.verdict, "rules in it: 2" in finding.says) == (Verdict.GOOD, True)


async def test_the_doctor_warns_of_what_is_wrong(following: Following) -> None:
    await following.write(f"{EVE}\nnonsense and more\n")
    broken = await following.anew().examine()
    following.path.unlink()
    missing = await following.anew().examine()
    assert (broken.verdict, missing.verdict) == (Verdict.ODD, Verdict.ODD)
    assert ("(2)" in broken.says, "is missing" in missing.says) == (True, True)

"""The block-list's file beside a running Knock."""

from __future__ import annotations

from pathlib import Path

from tests.api.running import Running, Starting
from tests.kit.processes import wait_until

from mknock.domain.knocks import KnockState

EVE, MALLORY = "@eve:knock.test", "@mallory:knock.test"


def text_of(folder: Path) -> str:
    path = folder / "blocked_users.txt"
    return path.read_text() if path.exists() else ""


async def blocked(knock: Running) -> set[str]:
    return {rule.entity for rule in await knock.installation.parts.store.rules()}


async def test_an_edit_counts_within_seconds_and_puts_a_member_out(
    starting: Starting, tmp_path: Path
) -> None:
    async with starting() as knock:
        await knock.joined("eve")
        (tmp_path / "blocked_users.txt").write_text(f"{EVE} Reason: spam\n")
        await wait_until(lambda: knock.membership(EVE) == "leave", 10)


async def test_what_is_blocked_and_unblocked_through_the_api_comes_and_goes_in_the_file(
    starting: Starting, tmp_path: Path
) -> None:
    (tmp_path / "blocked_users.txt").write_text(f"# ours\n{MALLORY}\n")
    async with starting() as knock:
        await knock.admin("POST", "/block_user", {"user_id": EVE, "reason": "spam"})
        await wait_until(lambda: f"{EVE} Reason: spam\n" in text_of(tmp_path), 10)
        await knock.admin("POST", "/unblock_user", {"user_id": MALLORY})
        await wait_until(lambda: text_of(tmp_path) == f"# ours\n{EVE} Reason: spam\n", 10)


async def test_a_missing_file_is_a_shortcoming_and_its_rules_stay(starting: Starting, tmp_path: Path) -> None:
    (tmp_path / "blocked_users.txt").write_text(f"{EVE}\n")
    async with starting() as knock:
        await wait_until(lambda: not knock.installation.readiness.homeserver_problem)
        (tmp_path / "blocked_users.txt").unlink()
        await wait_until(lambda: "blocklist" in knock.installation.readiness.limited, 10)
        answer = await knock.call("GET", "/readyz")
        assert (answer.status_code, answer.json()["limited"], await blocked(knock)) == (
            200,
            ["blocklist"],
            {EVE},
        )
        await knock.post(EVE)
        assert (await knock.knocks_of(EVE))[0].state is KnockState.REFUSED


async def test_without_a_file_the_store_alone_counts(starting: Starting, tmp_path: Path) -> None:
    (tmp_path / "blocked_users.txt").write_text(f"{EVE}\n")
    async with starting(blocklist_file="off") as knock:
        assert (knock.installation.file, await blocked(knock)) == (None, set())

"""Rules of every kind through the API: made, removed, listed, explained, and decided with a held knock."""

from __future__ import annotations

from typing import Any

import pytest
from tests.api.running import Running, Starting
from tests.kit.processes import wait_until

from mknock.domain.knocks import KnockState

EVE = "@eve:knock.test"
MALLORY = "@malloryworthington:knock.test"


async def listed(knock: Running) -> list[tuple[str, str, bool]]:
    rules = (await knock.admin("GET", "/rules")).json()["rules"]
    return [(rule["entity"], rule["kind"], rule["allow"]) for rule in rules]


async def explained(knock: Running, user: str, name: str = "") -> dict[str, Any]:
    answer: dict[str, Any] = (await knock.admin("GET", f"/explain?user_id={user}&name={name}")).json()
    return answer


@pytest.mark.parametrize(
    ("entity", "kind"),
    [
        (EVE, "user"),
        ("*spam*:*", "user_glob"),
        ("evil.example", "server"),
        ("*.evil.example", "server_glob"),
    ],
)
async def test_a_rule_is_made_listed_and_removed(knock: Running, entity: str, kind: str) -> None:
    made = await knock.admin("POST", "/rules", {"entity": entity, "reason": "spam"})
    assert (made.status_code, made.json()["status"]) == (200, "made")
    assert await listed(knock) == [(entity, kind, False)]
    removed = await knock.admin("DELETE", "/rules", {"entity": entity})
    assert (removed.json()["status"], removed.json()["rule"]["reason"]) == ("removed", "spam")
    assert await listed(knock) == []


async def test_a_rule_that_is_there_already_says_so(knock: Running) -> None:
    await knock.admin("POST", "/rules", {"entity": EVE})
    assert (await knock.admin("POST", "/rules", {"entity": EVE})).json()["status"] == "already_there"


async def test_a_rule_may_end(knock: Running) -> None:
    made = await knock.admin("POST", "/rules", {"entity": EVE, "expires_in": 60})
    assert made.json()["rule"]["expires_at"] - made.json()["rule"]["at"] == pytest.approx(60)
    knock.clock.ahead += 61
    assert (await explained(knock, EVE))["verdict"] == "admit"


async def test_an_allow_rule_is_another_than_a_block(knock: Running) -> None:
    await knock.admin("POST", "/rules", {"entity": EVE})
    await knock.admin("POST", "/rules", {"entity": EVE, "allow": True})
    assert (await explained(knock, EVE))["verdict"] == "admit"
    await knock.admin("DELETE", "/rules", {"entity": EVE, "allow": True})
    assert (await explained(knock, EVE))["verdict"] == "refuse"


async def test_a_blocked_server_puts_its_members_out_at_once(knock: Running) -> None:
    await knock.joined("eve")
    made = await knock.admin("POST", "/rules", {"entity": "@e*:knock.test"})
    assert made.status_code == 200
    await wait_until(lambda: knock.membership(EVE) == "leave", 5)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"entity": "*:matrix.org"}, 403),
        ({"entity": "@bot:knock.test"}, 403),
        ({"entity": "nonsense"}, 422),
        ({"entity": "*" * 9 + ":*"}, 422),
        ({"entity": EVE, "expires_in": 0}, 422),
        ({"entity": EVE, "force": "yes"}, 422),
        ({"entity": EVE, "more": 1}, 422),
        ({}, 422),
    ],
)
async def test_what_cannot_be_made_is_refused_in_one_sentence(
    knock: Running, body: dict[str, Any], status: int
) -> None:
    answer = await knock.admin("POST", "/rules", body)
    assert (answer.status_code, list(answer.json())) == (status, ["error"])
    assert await listed(knock) == []


async def test_what_would_hit_too_many_can_be_forced(knock: Running) -> None:
    answer = await knock.admin("POST", "/rules", {"entity": "*:matrix.org", "force": True})
    assert answer.status_code == 200


async def test_what_is_not_there_cannot_be_removed(knock: Running) -> None:
    assert (await knock.admin("DELETE", "/rules", {"entity": EVE})).status_code == 404


async def test_a_match_is_explained_step_by_step(knock: Running) -> None:
    await knock.admin("POST", "/rules", {"entity": MALLORY, "reason": "spam"})
    told = await explained(knock, "@ma11oryworthington:knock.test")
    (match,) = told["matches"]
    assert (told["verdict"], match["rule"]["entity"], match["action"]) == ("refuse", MALLORY, "refuse")
    assert match["steps"]


async def test_a_display_name_is_explained_too(knock: Running) -> None:
    await knock.admin("POST", "/rules", {"entity": MALLORY})
    told = await explained(knock, "@innocent:knock.test", "malloryworthington")
    assert [match["kind"] for match in told["matches"]] == ["display_name"]


async def test_a_held_knock_shows_the_match_step_by_step(knock: Running) -> None:
    await knock.admin("POST", "/rules", {"entity": MALLORY, "reason": "spam"})
    await knock.post("@malloryworthington:elsewhere.example")
    (held,) = (await knock.admin("GET", "/held")).json()["knocks"]
    assert (held["reason"], held["rule"]) == ("look_alike", MALLORY)
    assert held["steps"][0] == "other server"
    assert held["steps"][-1] == "blocked for: spam"


async def test_approving_may_allow_and_refusing_may_block(starting: Starting) -> None:
    async with starting(door_policy="review") as knock:
        for name in ("eve", "trudy"):
            knock.fake.add_user(name)
            await knock.post(f"@{name}:knock.test")
        approved = await knock.admin("POST", "/approve", {"user_id": EVE, "allow": True})
        refused = await knock.admin("POST", "/refuse", {"user_id": "@trudy:knock.test", "block": True})
        assert (approved.json()["state"], refused.json()["state"]) == ("admitted", "refused")
        assert await listed(knock) == [(EVE, "user", True), ("@trudy:knock.test", "user", False)]


async def test_who_waits_is_refused_with_the_rule(starting: Starting) -> None:
    async with starting(door_policy="review") as knock:
        await knock.post(EVE)
        await knock.admin("POST", "/rules", {"entity": "@e*:knock.test"})
        (record,) = await knock.knocks_of(EVE)
        assert (record.state, record.rule) == (KnockState.REFUSED, "@e*:knock.test")
        await knock.admin("DELETE", "/rules", {"entity": "@e*:knock.test"})
        assert [one["user_id"] for one in (await knock.admin("GET", "/held")).json()["knocks"]] == [EVE]


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/rules"), ("POST", "/rules"), ("DELETE", "/rules"), ("GET", "/explain")]
)
async def test_without_the_key_nothing_is_told(knock: Running, method: str, path: str) -> None:
    assert (await knock.call(method, path)).status_code == 401

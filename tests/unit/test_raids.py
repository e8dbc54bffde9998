"""What counts as a sign of a raid, and what risk signals see."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mknock.checks import decide
from mknock.checks.links import links
from mknock.checks.name_pattern import name_pattern
from mknock.checks.raid import raid
from mknock.checks.signals import LONGEST
from mknock.checks.too_fast import too_fast
from mknock.domain.doors import Action, Alarm, Door, Limits, Policy, Signals
from mknock.domain.ids import MatrixID
from mknock.domain.knocks import ADMITTED, Answer, Outcome, Reason, Submission
from mknock.domain.raids import Arrivals, Cause, Raid, sign_of
from mknock.ports import Attempt, Facts

ALARM = Alarm(arrivals=30, alike=10)
ALICE = MatrixID("alice99", "example.org")
DOOR = Door("main", "!room:example.org", limits=Limits(door=60))
ON = Raid(id="01R", door="main", cause=Cause.ARRIVALS, started_at=1.0, started_by="knock", ends_at=200.0)
SHAPE = "aaaaa99"


def cause(arrivals: Arrivals, *, alarm: Alarm = ALARM, likeness: str = SHAPE) -> Cause | None:
    sign = sign_of(alarm, arrivals, likeness, ALICE)
    return sign.cause if sign else None


@pytest.mark.parametrize(
    ("recent", "usual", "expected"),
    [
        (30, 0, None),
        (31, 0, Cause.ARRIVALS),
        (31, 31, Cause.ARRIVALS),  # all of the day came just now
        (90, 2970, None),  # ten a five minutes are usual
        (110, 2990, Cause.ARRIVALS),
    ],
)
def test_arrivals_are_far_above_the_usual_and_above_the_doors_number(
    recent: float, usual: float, expected: Cause | None
) -> None:
    assert cause(Arrivals(recent=recent, usual=usual)) is expected


@pytest.mark.parametrize(
    ("alike", "usual", "expected"), [(10, 0, None), (11, 0, Cause.NAMES), (11, 2400, None)]
)
def test_names_alike_are_a_sign_unless_a_busy_hour_brings_as_many(
    alike: float, usual: float, expected: Cause | None
) -> None:
    assert cause(Arrivals(alike=alike, usual=usual)) is expected


def test_a_name_without_a_likeness_is_no_sign() -> None:
    assert cause(Arrivals(alike=99), likeness="") is None


@pytest.mark.parametrize(
    ("server", "usual", "before", "expected"),
    [
        (11, 100, 11, Cause.HOMESERVER),
        (10, 100, 10, None),
        (11, 30, 11, None),  # nobody knows what is usual here
        (11, 100, 30, None),  # it brings more in a day
        (30, 200, 70, None),  # one of the large ones
    ],
)
def test_a_homeserver_is_a_sign_when_more_came_in_the_hour_than_in_the_day_before(
    server: float, usual: float, before: float, expected: Cause | None
) -> None:
    assert cause(Arrivals(server=server, usual=usual, server_usual=before)) is expected


@given(st.builds(Arrivals, *[st.floats(0, 1e9) for _ in Arrivals._fields]))
def test_a_door_without_an_alarm_has_no_signs(arrivals: Arrivals) -> None:
    assert cause(arrivals, alarm=Alarm(arrivals=0, alike=0)) is None


@pytest.mark.parametrize(
    ("one", "at", "expected"),
    [
        (ON, 199.0, True),
        (ON, 200.0, False),
        (replace(ON, ends_at=None), 1e12, True),
        (replace(ON, ended_at=50.0), 60.0, False),
    ],
)
def test_a_raid_is_on_until_its_time_or_its_end(one: Raid, at: float, expected: bool) -> None:
    assert one.is_on(at) is expected


# --- the checks


def knocking(*, through: Door = DOOR, answers: tuple[str, ...] = (), timely: bool = True) -> Attempt:
    submission = Submission(
        "tally", ALICE, answers=tuple(Answer("q", text) for text in answers), timely=timely
    )
    return Attempt("01A", through, ALICE, submission, 100.0, likeness=SHAPE)


def having(**actions: Action) -> Door:
    return replace(DOOR, signals=replace(Signals(), **actions))


def test_a_raid_holds() -> None:
    decision = raid(knocking(), Facts(raid=ON))
    assert (decision.outcome, decision.reason) == (Outcome.HOLD, Reason.RAID)


def test_no_raid_holds_nobody() -> None:
    assert raid(knocking(), Facts()) == ADMITTED


@pytest.mark.parametrize(
    "text",
    ["https://spam.example", "see WWW.spam.example", "t.me/spam", "join discord.gg/x", "hxxp://spam.example"],
)
def test_links_are_noted(text: str) -> None:
    decision = links(knocking(answers=(text,)), Facts())
    assert (decision.outcome, decision.signals) == (Outcome.ADMIT, ("links: 1 in the answers",))


@pytest.mark.parametrize("text", ["I am on example.org", "@alice:example.org", "chat me", "a/b"])
def test_what_is_no_link_is_not_noted(text: str) -> None:
    assert links(knocking(answers=(text,)), Facts()) == ADMITTED


def test_a_name_like_many_is_noted() -> None:
    decision = name_pattern(knocking(), Facts(arrivals=Arrivals(alike=6)))
    assert decision.signals == ("name_pattern: 5 others of the last hour are like it (aaaaa99)",)


def test_a_name_like_few_is_not_noted() -> None:
    assert name_pattern(knocking(), Facts(arrivals=Arrivals(alike=5))) == ADMITTED


SEEN = {
    "speed": (too_fast, {"timely": False}, Facts(), Reason.TOO_FAST),
    "links": (links, {"answers": ("https://x.example",)}, Facts(), Reason.LINKS),
    "name_pattern": (name_pattern, {}, Facts(arrivals=Arrivals(alike=9)), Reason.NAME_PATTERN),
}


@pytest.mark.parametrize("name", SEEN)
@pytest.mark.parametrize("action", Action)
def test_a_door_says_what_a_signal_leads_to(name: str, action: Action) -> None:
    check, how, facts, reason = SEEN[name]
    decision = check(knocking(through=having(**{name: action}), **how), facts)  # type: ignore[arg-type]
    held = action is Action.HOLD
    assert decision.outcome is (Outcome.HOLD if held else Outcome.ADMIT)
    assert (decision.reason is reason) is held
    assert bool(decision.signals) is (action is not Action.OFF)


def test_a_knock_carries_every_signal() -> None:
    decision = decide(
        knocking(answers=("https://x.example",), timely=False), Facts(arrivals=Arrivals(alike=9))
    )
    assert [signal.partition(":")[0] for signal in decision.signals] == ["speed", "links", "name_pattern"]
    assert decision.reason is Reason.TOO_FAST


def test_what_speaks_against_one_person_comes_before_the_raid() -> None:
    suspicious = knocking(through=having(links=Action.HOLD), answers=("https://x.example",))
    assert decide(suspicious, Facts(raid=ON)).reason is Reason.LINKS


def test_the_raid_comes_before_what_holds_everybody() -> None:
    reviewed = replace(having(name_pattern=Action.HOLD), policy=Policy.REVIEW)
    facts = Facts(raid=ON, arrivals=Arrivals(alike=99), door_count=1e9)
    assert decide(knocking(through=reviewed), facts).reason is Reason.RAID


def test_a_signal_is_short_and_one_line() -> None:
    attempt = replace(knocking(), likeness="a\n" * 500)
    (note,) = name_pattern(attempt, Facts(arrivals=Arrivals(alike=9))).signals
    assert len(note) <= LONGEST
    assert "\n" not in note

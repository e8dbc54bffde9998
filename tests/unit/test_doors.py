"""The doors there are, and where a knock belongs."""

from __future__ import annotations

from mknock.domain.doors import Door, FormReading, Policy, Welcoming
from mknock.domain.knocks import Knock, KnockState, Reason
from mknock.services.doors import Doors, Standing

MAIN = Door("main", "!main:knock.test", welcoming=Welcoming(text="Hello"))
GARDEN = Door("garden", "!garden:knock.test", reading=FormReading(default_server="garden.example"))


def knock(door: str, room: str) -> Knock:
    return Knock(
        id="01AAAAAAAAAAAAAAAAAAAAAAAA",
        door=door,
        room_id=room,
        user_id="@alice:example.org",
        user_key="@alice:example.org",
        state=KnockState.HELD,
        reason=Reason.REVIEW,
        created_at=1.0,
        updated_at=1.0,
        seen_at=1.0,
        expires_at=9.0,
    )


def test_the_first_is_the_one_that_was_described_first() -> None:
    assert Doors(MAIN, GARDEN).first == MAIN


def test_a_knock_belongs_to_its_door() -> None:
    assert Doors(MAIN, GARDEN).of(knock("garden", GARDEN.room_id)) == GARDEN


def test_a_knock_of_a_door_that_is_gone_has_its_own_room() -> None:
    assert Doors(MAIN).of(knock("garden", GARDEN.room_id)).room_id == GARDEN.room_id


def test_a_door_that_is_gone_is_quiet() -> None:
    gone = Doors(MAIN).of(knock("garden", GARDEN.room_id))

    assert (gone.policy, gone.welcoming.text, gone.latecomers.reminders) == (Policy.CLOSED, "", ())


def test_the_bots_server_is_that_of_doors_that_name_none() -> None:
    doors = Doors(MAIN, GARDEN)
    doors.learn_server("knock.test")

    assert [door.reading.default_server for door in doors] == ["knock.test", "garden.example"]


def test_what_was_learned_stays_when_doors_are_described_anew() -> None:
    doors = Doors(MAIN)
    doors.learn_server("knock.test")
    doors.learn_standings({"main": Standing(MAIN.room_id, "!new:knock.test")})
    doors.describe([MAIN, GARDEN])

    assert (doors.first.reading.default_server, doors.first.room_id) == ("knock.test", "!new:knock.test")


def test_a_standing_counts_for_the_room_that_it_is_about() -> None:
    doors = Doors(MAIN)
    doors.learn_standings({"main": Standing("!other:knock.test", "!new:knock.test")})

    assert doors.first.room_id == MAIN.room_id


def test_a_door_shows_neither_its_room_nor_its_secrets() -> None:
    assert repr(GARDEN) == "Door('garden')"

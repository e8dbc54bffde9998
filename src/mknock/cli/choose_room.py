"""Choosing, at the terminal, the room or space that people knock at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from mknock.cli.running import with_parts
from mknock.cli.terminal import WrongAnswer, ask, plain, say
from mknock.domain.errors import HomeserverError
from mknock.services.room_choice import RoomChoice, rooms_of
from mknock.settings import Settings
from mknock.wiring.parts import Parts

MOST_SHOWN = 20
"""Rooms in one list; with more, a part of the name narrows it down."""

Invitations = Mapping[str, str]


def room_for(settings: Callable[[], Settings]) -> str:
    """Ask for the room until one is chosen, and return its ID. Accepts an invitation that is chosen.

    Raises:
        WrongAnswer: what was typed is in no list.
        NotAnswered, HomeserverError: as they say.
    """
    while True:
        choices, invitations = with_parts(_look, settings())
        chosen = _chosen(choices, invitations)
        if chosen in invitations:
            with_parts(partial(_join, room_id=chosen), settings())
        elif chosen:
            return chosen


async def _look(parts: Parts) -> tuple[Sequence[RoomChoice], Invitations]:
    choices = await rooms_of(parts.homeserver)
    try:
        invitations = await parts.homeserver.invitations()
    except HomeserverError:  # they only make it easier
        return choices, {}
    # Synapse gives the same answer of /sync for two minutes: those that were accepted since are in it still.
    joined = {choice.room_id for choice in choices}
    return choices, {each.room_id: each.name for each in invitations if each.room_id not in joined}


async def _join(parts: Parts, room_id: str) -> None:
    await parts.homeserver.join(room_id)


def _chosen(choices: Sequence[RoomChoice], invitations: Invitations) -> str:
    """The ID of the room that was chosen from the list, or typed; "" to look again."""
    usable, others = [[c for c in choices if bool(c.problem) is wrong] for wrong in (False, True)]
    part = ""
    while True:
        fitting = [choice for choice in usable if part in choice.name.casefold()][:MOST_SHOWN]
        _show(fitting, invitations, others[:MOST_SHOWN])
        answer = ask("Number of the room, part of its name, or Enter to look again", default="")
        if answer.isdecimal():
            return _numbered([*(choice.room_id for choice in fitting), *invitations], answer)
        if not answer or answer.startswith("!"):
            return answer
        part = answer.casefold()


def _numbered(offered: Sequence[str], answer: str) -> str:
    number = int(answer[:9])
    if not 1 <= number <= len(offered):
        raise WrongAnswer(f"There is no number {answer[:9]} in the list.")
    return offered[number - 1]


def _show(fitting: Sequence[RoomChoice], invitations: Invitations, others: Sequence[RoomChoice]) -> None:
    if fitting or invitations:
        say("Which room or space do people knock at?")
    else:
        say("There is no room to choose: invite Knock's account to yours, and make it a moderator there.")
    for number, choice in enumerate(fitting, 1):
        say(f"  {number:>2}  {_described(choice)}")
    for number, (room_id, name) in enumerate(invitations.items(), len(fitting) + 1):
        say(f"  {number:>2}  {plain(name or room_id)} (invited: to choose it is to accept)")
    for choice in others:
        say(f"   -  {_described(choice)}: {plain(choice.problem)}")


def _described(choice: RoomChoice) -> str:
    traits = [name for name, so in (("space", choice.is_space), ("encrypted", choice.is_encrypted)) if so]
    return plain(choice.name) + (f" ({', '.join(traits)})" if traits else "")

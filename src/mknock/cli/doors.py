"""``mknock doors``: what doors there are, and whether their file is right."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Final

import click

from mknock.cli.running import read_settings
from mknock.cli.terminal import complain, indented, say
from mknock.domain.doors import Door, Limits, Policy
from mknock.settings import Settings, SettingsError
from mknock.wiring.doors import doors_of

POLICIES: Final = {
    Policy.AUTO: "invites at once whoever passes every check",
    Policy.REVIEW: "holds every knock for a moderator",
    Policy.PROVE_FIRST: "holds every knock until the person proves the account, and then invites",
    Policy.CLOSED: "holds every knock, since nobody comes in for now",
}


@click.group()
def doors() -> None:
    """Look at the doors of the environment and of doors.toml."""


@doors.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
def check(file: Path | None) -> None:
    """Say what each door will do, or what is wrong with the file.

    FILE is checked instead of the one that is in use (DOORS_FILE). Ends with
    code 1 if something is wrong. A running Knock takes a file that is right
    over by itself.
    """
    try:
        settings = read_settings({"DOORS_FILE": str(file)} if file else {})
        found = doors_of(settings)
    except SettingsError as error:
        for sentence in (*error.problems, *error.warnings):
            complain(sentence)
        sys.exit(1)
    for door in found:
        say("\n".join([f"{door.slug}: {POLICIES[door.policy]}", *map(indented, _about(door))]))


@doors.command("list")
def list_() -> None:
    """List the doors, each with its policy and the address of its form."""
    settings = read_settings()
    for number, door in enumerate(doors_of(settings)):
        source = str(settings.doors.path) if door.secrets.in_file else "environment"
        say(f"{door.slug}  {door.policy.value}  {_address(settings, door, first=not number)}  ({source})")


def _address(settings: Settings, door: Door, *, first: bool) -> str:
    path = "/invite_from_form" if first else f"/d/{door.slug}/forms/<platform>"
    return f"{settings.public_url or ''}{path}"


def _about(door: Door) -> Iterator[str]:
    """What a door does, in words; never its room or a secret."""
    yield _secrets(door)
    yield _limits(door.limits)
    yield _raids(door)
    yield _after_the_invite(door)
    yield f"block-list: members who are on it: {door.blocked_members.value}"
    if not door.native_knocks:
        yield "native knocks: left to moderators"
    if door.page:
        yield f"page: /d/{door.slug}"
    if door.questions:
        yield f"questions: {', '.join(question.key for question in door.questions)}"


def _secrets(door: Door) -> str:
    names = (["its token"] if door.secrets.token else []) + [
        f"the signature of {name}" for name in sorted(door.secrets.signing)
    ]
    if names:
        return f"forms: let in by {' or '.join(names)}"
    return f"forms: /d/{door.slug}/forms/… lets nobody in but the API key, since the door has no secret"


def _limits(limits: Limits) -> str:
    return (
        f"limits: {limits.door} knocks in {limits.window:g} s; of one homeserver {limits.homeserver},"
        f" of one sender {limits.sender}"
    )


def _raids(door: Door) -> str:
    """What counts as a raid, and which signals are looked at."""
    alarm, actions = door.alarm, asdict(door.signals)
    raids = [
        f"{alarm.arrivals} in five minutes" if alarm.arrivals else "",
        f"{alarm.alike} alike in an hour" if alarm.alike else "",
    ]
    held = " or ".join(filter(None, raids))
    signals = ", ".join(f"{name} {action.value}" for name, action in actions.items())
    told = "; moderators are told in their room" if door.moderators_room else ""
    return (
        f"raids: more than {held}{told}; signals: {signals}" if held else f"raids: never; signals: {signals}"
    )


def _after_the_invite(door: Door) -> str:
    times = [f"{seconds / 86400:g} d" for seconds in door.latecomers.reminders]
    reminded = f"reminded after {' and '.join(times)}" if times else "never reminded"
    ends = door.latecomers.lifetime
    ended = f"withdrawn after {ends / 86400:g} d" if ends else "never withdrawn"
    welcomed = "whoever joins is welcomed" if door.welcoming.text else "nobody is welcomed"
    return f"invites: {reminded}, {ended}; {welcomed}"

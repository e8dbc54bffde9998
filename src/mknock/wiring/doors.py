"""The doors, as the environment and the file describe them."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from mknock.domain.doors import (
    DEFAULT_COLOUR,
    Action,
    Alarm,
    Door,
    FormReading,
    FormSecrets,
    Latecomers,
    Limits,
    Matching,
    Page,
    Policy,
    Question,
    QuestionKind,
    Removal,
    Signals,
    Welcoming,
)
from mknock.matching import DEFAULT_ACTIONS
from mknock.services.welcome_text import DEFAULT_WELCOME, WelcomeTemplate
from mknock.settings import (
    DoorsFile,
    DoorTable,
    LimitsTable,
    PageTable,
    Settings,
    SettingsError,
    doors_paths,
    load_doors,
    plain,
)
from mknock.web.pictures import read_picture
from mknock.workers.reload import Described

T = TypeVar("T")


def doors_of(settings: Settings) -> list[Door]:
    """All doors: that of the environment first, then those of the file.

    Raises:
        SettingsError: a welcome cannot be understood.
    """
    described = settings.doors.doors.items()
    own = [door_of(settings)] if settings.new_room_id else []
    problems: list[str] = []
    doors = [_door_of_table(settings, slug, table, problems) for slug, table in described]
    if problems:
        raise SettingsError([f"{settings.doors.path}: {problem}" for problem in problems])
    return own + doors


def door_of(settings: Settings) -> Door:
    """The door that the environment describes.

    Raises:
        SettingsError: its welcome cannot be understood.
    """
    try:
        text = welcome_of(settings.welcome_message)
    except ValueError as error:
        raise SettingsError([f"WELCOME_MESSAGE {error}"]) from None
    try:
        matching = matching_of(settings.match_actions, other_servers=settings.match_other_servers)
    except ValueError as error:
        raise SettingsError([f"MATCH_ACTIONS {error}"]) from None
    return Door(
        slug=settings.door_slug,
        room_id=plain(settings.new_room_id),
        policy=Policy(settings.door_policy),
        limits=Limits(
            window=settings.spam_window_seconds,
            door=settings.max_requests_per_window,
            homeserver=settings.limit_per_homeserver,
            sender=settings.limit_per_sender,
        ),
        alarm=Alarm(*settings.alarm, settings.raid_calm),
        signals=signals_of(settings.risk_signals),
        moderators_room=plain(settings.moderators_room_id),
        reading=FormReading(
            id_field=settings.form_id_field,
            trap_field=settings.form_honeypot_field,
            default_server=settings.default_server,
        ),
        cooldown=settings.knock_cooldown,
        lifetime=settings.knock_lifetime,
        invite_reason=settings.invite_reason,
        hold_lifetime=settings.hold_lifetime,
        proof_lifetime=settings.proof_lifetime,
        latecomers=Latecomers(settings.remind_after, settings.invite_lifetime),
        welcoming=Welcoming(
            text=text,
            delay=settings.welcome_delay,
            everyone=settings.welcome_everyone,
            clear_in_encrypted=settings.welcome_unencrypted,
        ),
        blocked_members=Removal(settings.blocked_members),
        native_knocks=settings.native_knocks,
        matching=matching,
        secrets=FormSecrets(plain(settings.form_token) or None, settings.signing_secrets),
        page=_page_of(settings),
    )


def matching_of(actions: Sequence[tuple[str, str]], *, other_servers: bool) -> Matching:
    """How strict a door is.

    Raises:
        ValueError: a kind of match is not known; the rest of a sentence that begins with the setting's name.
    """
    for name, _ in actions:
        if name not in DEFAULT_ACTIONS:
            near = difflib.get_close_matches(name, DEFAULT_ACTIONS, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(DEFAULT_ACTIONS)}."
            raise ValueError(f"names a kind of match that there is not ({name[:40]}): {hint}")
    return Matching(tuple(actions), other_servers)


def _page_of(settings: Settings) -> Page | None:
    """The page of the environment's door; none without a title."""
    if settings.page_title is None:
        return None
    try:
        logo = read_picture(settings.page_logo) if settings.page_logo else None
    except ValueError as error:
        raise SettingsError([f"PAGE_LOGO {error}"]) from None
    return Page(
        settings.page_title,
        settings.page_text or "",
        settings.page_rules or "",
        settings.page_colour or DEFAULT_COLOUR,
        logo,
    )


def _page_of_table(slug: str, table: PageTable, problems: list[str]) -> Page | None:
    """The page of a door of the file. It takes nothing from the environment's, which is about another room."""
    if table.title is None or not table.on:
        return None
    logo = None
    try:
        logo = read_picture(Path(table.logo)) if table.logo else None
    except ValueError as error:
        problems.append(f'door "{slug}": page.logo {error}')
    return Page(table.title, table.text, table.rules, table.colour or DEFAULT_COLOUR, logo)


def _door_of_table(settings: Settings, slug: str, table: DoorTable, problems: list[str]) -> Door:
    """A door of the file: as the environment's, but for what the file says of it."""
    form, welcome, secret = table.form, table.welcome, table.secrets
    try:
        text = welcome_of(_or(welcome.text, settings.welcome_message))
    except ValueError as error:
        text = ""
        problems.append(f'door "{slug}": welcome.text {error}')
    try:
        matching = matching_of(
            _or(table.match_actions, settings.match_actions),
            other_servers=_or(table.match_other_servers, settings.match_other_servers),
        )
    except ValueError as error:
        matching = Matching()
        problems.append(f'door "{slug}": match_actions {error}')
    return Door(
        slug=slug,
        room_id=plain(table.room),
        policy=Policy(_or(table.policy, settings.door_policy)),
        limits=_limits_of(settings, table.limits),
        alarm=_alarm_of(settings, table),
        signals=signals_of(_or(table.signals, settings.risk_signals)),
        moderators_room=plain(_or(table.moderators_room, settings.moderators_room_id)),
        reading=FormReading(
            id_field=_or(form.id_field, settings.form_id_field),
            trap_field=_or(form.honeypot_field, settings.form_honeypot_field),
            default_server=_or(form.default_server, settings.default_server),
        ),
        cooldown=_or(table.cooldown, settings.knock_cooldown),
        lifetime=_or(table.lifetime, settings.knock_lifetime),
        invite_reason=_or(table.invite_reason, settings.invite_reason),
        hold_lifetime=_or(table.hold_lifetime, settings.hold_lifetime),
        proof_lifetime=_or(table.proof_lifetime, settings.proof_lifetime),
        latecomers=Latecomers(
            _or(table.reminders, settings.remind_after), _or(table.invite_lifetime, settings.invite_lifetime)
        ),
        welcoming=Welcoming(
            text=text,
            delay=_or(welcome.delay, settings.welcome_delay),
            everyone=_or(welcome.everyone, settings.welcome_everyone),
            clear_in_encrypted=_or(welcome.unencrypted, settings.welcome_unencrypted),
        ),
        blocked_members=Removal(_or(table.blocked_members, settings.blocked_members)),
        native_knocks=_or(table.native_knocks, settings.native_knocks),
        matching=matching,
        secrets=FormSecrets(plain(secret.token) or None, secret.signing, in_file=True),
        questions=tuple(
            Question(one.key, one.label, QuestionKind(one.kind), one.required, one.options, one.hint)
            for one in table.questions
        ),
        page=_page_of_table(slug, table.page, problems),
        setting=f"room in [doors.{slug}]",
    )


class DoorsAsDescribed:
    """The doors as the environment and the file describe them, whenever it is called."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._found = settings.doors

    @property
    def sources(self) -> tuple[Path, ...]:
        return _sources_of(self._settings, self._found)

    def __call__(self) -> Described:
        try:
            doors = tuple(self._doors())
        except SettingsError as error:
            return Described((), self.sources, error.problems)
        return Described(doors, self.sources)

    def _doors(self) -> list[Door]:
        """Read them. A file that was there and is gone is a mistake, not the end of its doors."""
        found, before = load_doors(self._settings), self._found.path
        if before and not found.path:
            raise SettingsError([f"{before}: is gone; to go on without its doors, restart Knock."])
        doors = doors_of(self._settings.model_copy(update={"doors": found}))
        self._found = found
        return doors


def _sources_of(settings: Settings, found: DoorsFile) -> tuple[Path, ...]:
    """Every file in which a change may be one of the doors, also those that are not there yet."""
    return tuple(dict.fromkeys((*doors_paths(settings.doors_file, settings.data_dir), *found.sources)))


def secrets_of(door: Door) -> Iterator[str]:
    yield door.room_id
    if door.moderators_room:
        yield door.moderators_room
    yield from door.secrets.signing.values()
    if door.secrets.token:
        yield door.secrets.token


def _limits_of(settings: Settings, limits: LimitsTable) -> Limits:
    """The door's windows; the narrower ones follow the door's own unless they are set somewhere."""
    door = _or(limits.door, settings.max_requests_per_window)
    return Limits(
        window=_or(limits.window, settings.spam_window_seconds),
        door=door,
        homeserver=limits.homeserver or settings.max_requests_per_homeserver or door,
        sender=limits.sender or settings.max_requests_per_sender or max(1, door // 3),
    )


def _alarm_of(settings: Settings, table: DoorTable) -> Alarm:
    """What counts as a raid of the door; unless that is set somewhere it follows the door's own window."""
    door = _or(table.limits.door, settings.max_requests_per_window)
    arrivals, alike = settings.model_copy(update={"max_requests_per_window": door}).alarm
    raids = table.raids
    return Alarm(_or(raids.arrivals, arrivals), _or(raids.alike, alike), _or(raids.calm, settings.raid_calm))


def signals_of(actions: Sequence[tuple[str, str]]) -> Signals:
    """What is done about each risk signal; the usual about those that are not named."""
    return replace(Signals(), **{name: Action(action) for name, action in actions})


def _or(said: T | None, otherwise: T) -> T:
    return otherwise if said is None else said


def welcome_of(message: str | None) -> str:
    """The welcome's text, the usual one for None; "" for none.

    Raises:
        ValueError: it cannot be understood.
    """
    text = DEFAULT_WELCOME if message is None else message
    if text.strip().lower() == "off":
        return ""
    WelcomeTemplate.parse(text)
    return text

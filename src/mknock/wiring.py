"""Where the parts meet: the only module that knows all of them, and (with cli) that reads settings."""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import gc
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from pydantic import SecretStr
from starlette.types import ASGIApp, Receive, Scope, Send

from mknock import __version__
from mknock.api.access import AdminKey, FormGate
from mknock.api.application import build
from mknock.api.common import BODY_LIMIT, headers_for, read_body, status_of
from mknock.api.health import Ready
from mknock.api.sender import Visitors
from mknock.api.stopping import Stopping
from mknock.api.v0 import Admin
from mknock.api.webhooks import FormsFirst, Webhooks
from mknock.domain.doors import (
    DEFAULT_COLOUR,
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
    Welcoming,
)
from mknock.domain.errors import KnockError
from mknock.domain.ids import key_of
from mknock.matching import DEFAULT_ACTIONS
from mknock.matrix.auth import FixedToken, JwtSignIn, KeptSessionOnly, PasswordSignIn, SignedIn, SignIn
from mknock.matrix.beeper import PROGRESS, BeeperLogin, EmailCodeSignIn
from mknock.matrix.client import MatrixClient, TokenSource, bare, matrix_http
from mknock.matrix.encryption import encryption_of
from mknock.matrix.gateway import HomeserverGateway
from mknock.matrix.lanes import Lanes
from mknock.matrix.session import SECRET, Session, kept_session
from mknock.ports import Clock, Encryption, Entry, Homeserver, Pace, Queue, RuleChange, RulesChanged, Store
from mknock.services.admission import Admission
from mknock.services.blocklist_file import BlocklistFile
from mknock.services.doctor import Doctor
from mknock.services.doors import Doors
from mknock.services.enforcement import Enforcement
from mknock.services.first_mknock import FirstMknock, OldFiles
from mknock.services.first_mknock_files import OldSession
from mknock.services.invitations import Invitations
from mknock.services.list_findings import ListFindings
from mknock.services.list_following import ListFollower
from mknock.services.list_publishing import Publisher
from mknock.services.memberships import Memberships
from mknock.services.moderation import Moderation
from mknock.services.outcomes import Outcomes
from mknock.services.readiness import Readiness
from mknock.services.retry import Retry
from mknock.services.room_findings import RoomFindings
from mknock.services.rule_book import RuleBook
from mknock.services.rule_making import RuleMaker
from mknock.services.sessions import OwnSession
from mknock.services.shortcomings import Shortcomings
from mknock.services.subscriptions import Subscriptions
from mknock.services.successors import Successors
from mknock.services.watchdog import Watchdog
from mknock.services.welcome_text import DEFAULT_WELCOME, WelcomeTemplate
from mknock.services.welcomes import Welcomes
from mknock.settings import (
    NO_SIGN_IN,
    DoorsFile,
    DoorTable,
    LimitsTable,
    PageTable,
    Settings,
    SettingsError,
    doors_paths,
    load_doors,
    load_settings,
)
from mknock.storage.sqlite import SqliteStore
from mknock.telemetry import configure_logging, get_logger, keep_secret
from mknock.web.pictures import read_picture
from mknock.web.proof import ProofOfWork
from mknock.web.public import PublicPages, Requests
from mknock.web.signing import KEY as PAGE_KEY
from mknock.web.signing import Signer, Stamps
from mknock.workers.delivery import LEASE, Delivery
from mknock.workers.housekeeping import Housekeeping
from mknock.workers.reload import Described, Reload
from mknock.workers.runner import Duty, Runner, Turn
from mknock.workers.watch import Watch

T = TypeVar("T")

log = get_logger(__name__)

CANNOT_START = 3
"""The exit code that tells uvicorn's supervisor not to start this worker again."""
GARBAGE = 10_000
"""New objects between two collections; Python's 700 are made by two forms."""
LISTS_EVERY = 1.5
"""Seconds between two looks for policy lists that were added or removed by a command."""
WELCOMES_AT_ONCE = 8
"""Welcomes on their way at once."""
STOP_GRACE = 0.3
"""Seconds that invites on their way have at the end."""
CLOSING = 0.6
"""Seconds that connections have to close at the end, from the moment that nothing new is taken in."""
API_KEY = "api-key"
RELOAD_EVERY = 2.0
"""Seconds between two looks whether the description of the doors has changed."""
KEPT_SECRETS = (API_KEY, SECRET, PROGRESS, PAGE_KEY)
"""The names of the store's secrets that only SECRET_KEY opens, if it was set when they were kept."""


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
        room_id=_value(settings.new_room_id),
        policy=Policy(settings.door_policy),
        limits=Limits(
            window=settings.spam_window_seconds,
            door=settings.max_requests_per_window,
            homeserver=settings.limit_per_homeserver,
            sender=settings.limit_per_sender,
        ),
        reading=FormReading(
            id_field=settings.form_id_field,
            trap_field=settings.form_honeypot_field,
            default_server=settings.default_server,
        ),
        cooldown=settings.knock_cooldown,
        lifetime=settings.knock_lifetime,
        invite_reason=settings.invite_reason,
        hold_lifetime=settings.hold_lifetime,
        latecomers=Latecomers(settings.remind_after, settings.invite_lifetime),
        welcoming=Welcoming(
            text=text,
            delay=settings.welcome_delay,
            everyone=settings.welcome_everyone,
            clear_in_encrypted=settings.welcome_unencrypted,
        ),
        blocked_members=Removal(settings.blocked_members),
        matching=matching,
        secrets=FormSecrets(_value(settings.form_token) or None, settings.signing_secrets),
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
        room_id=_value(table.room),
        policy=Policy(_or(table.policy, settings.door_policy)),
        limits=_limits_of(settings, table.limits),
        reading=FormReading(
            id_field=_or(form.id_field, settings.form_id_field),
            trap_field=_or(form.honeypot_field, settings.form_honeypot_field),
            default_server=_or(form.default_server, settings.default_server),
        ),
        cooldown=_or(table.cooldown, settings.knock_cooldown),
        lifetime=_or(table.lifetime, settings.knock_lifetime),
        invite_reason=_or(table.invite_reason, settings.invite_reason),
        hold_lifetime=_or(table.hold_lifetime, settings.hold_lifetime),
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
        matching=matching,
        secrets=FormSecrets(_value(secret.token) or None, secret.signing, in_file=True),
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


def _secrets_of(door: Door) -> Iterator[str]:
    yield door.room_id
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


def store_of(settings: Settings) -> Store:
    """The store that STORE_URL names. Opens nothing yet.

    Raises:
        SettingsError: it names PostgreSQL, for which a package is missing.
    """
    secret_key = _value(settings.secret_key) or None
    if settings.postgres_url is None:
        return SqliteStore(settings.sqlite_path, secret_key=secret_key)
    if find_spec("asyncpg") is None:
        raise SettingsError(
            ['STORE_URL names PostgreSQL, for which a package is missing: install "mknock[postgres]".']
        )
    from mknock.storage.postgres import PostgresStore  # only when used: few need its driver

    return PostgresStore(
        settings.postgres_url,
        secret_key=secret_key,
        notify_url=_value(settings.store_notify_url) or None,
        pool_size=settings.store_pool_size,
    )


@dataclass
class Parts:
    """The parts that commands and the service share."""

    settings: Settings
    store: Store
    homeserver: Homeserver
    doors: Doors
    clock: Clock
    http: Lanes
    book: RuleBook
    tokens: TokenSource | None = None
    encryption: Encryption | None = None
    """What encrypts for encrypted rooms; None without the extra ``e2ee``."""

    async def close(self) -> None:
        if isinstance(self.tokens, SignedIn):
            await self.tokens.aclose()
        await self.http.aclose()
        await self.store.close()


def parts_of(
    settings: Settings,
    *,
    store: Store | None = None,
    homeserver: Homeserver | None = None,
    clock: Clock = time.time,
) -> Parts:
    """Make the parts; whatever is given is used instead."""
    store, http = store or store_of(settings), matrix_http()
    book = RuleBook(store, clock)
    if homeserver is not None:
        return Parts(settings, store, homeserver, Doors(*doors_of(settings)), clock, http, book)
    tokens = tokens_of(settings, store, http, clock)
    client = MatrixClient(settings.matrix_base_url, tokens, http=http, clock=clock)
    gateway = HomeserverGateway(client)
    encryption = encryption_of(
        client,
        gateway,
        store,
        clock=clock,
        password=_value(settings.matrix_password),
        recovery_key=_value(settings.recovery_key),
    )
    return Parts(settings, store, gateway, Doors(*doors_of(settings)), clock, http, book, tokens, encryption)


def _value(secret: SecretStr | None) -> str:
    return secret.get_secret_value() if secret else ""


def sign_in_of(settings: Settings, store: Store, http: Lanes, clock: Clock) -> SignIn:
    """The preferred one of the configured ways to sign in; without any, the session that was kept."""
    if settings.matrix_user:
        return PasswordSignIn(settings.matrix_user, _value(settings.matrix_password))
    if settings.beeper_login_token:
        return JwtSignIn(_value(settings.beeper_login_token))
    if settings.beeper_login_email:
        beeper = BeeperLogin(settings.beeper_api_base, http, clock=clock)
        code = _value(settings.beeper_login_code)
        return EmailCodeSignIn(store, beeper, settings.beeper_login_email, code, clock=clock)
    return KeptSessionOnly()


def signed_in(settings: Settings, store: Store, http: Lanes, sign_in: SignIn, clock: Clock) -> SignedIn:
    """A session in the store, made and renewed by one way to sign in."""
    client = MatrixClient(settings.matrix_base_url, http=http, clock=clock)
    return SignedIn(store, sign_in, client, holder=f"{os.getpid()}-{secrets.token_hex(4)}", clock=clock)


def tokens_of(settings: Settings, store: Store, http: Lanes, clock: Clock) -> TokenSource:
    """Where the access token comes from: MATRIX_ACCESS_TOKEN, or a session in the store."""
    if settings.matrix_access_token:
        return FixedToken(_value(settings.matrix_access_token), settings.matrix_base_url)
    return signed_in(settings, store, http, sign_in_of(settings, store, http, clock), clock)


def setting_before(parts: Parts, session: Session) -> str:
    """The setting that keeps a session in the store from being used, since it comes first; "" for none."""
    ways = parts.settings.sign_in_ways
    if not ways or (
        not parts.settings.matrix_access_token
        and sign_in_of(parts.settings, parts.store, parts.http, parts.clock).owns(session)
    ):
        return ""
    return ways[0].value


async def prepare(parts: Parts, file: BlocklistFile | None = None) -> None:
    """Open the store, read the block-list's file and those of the first mknock, and see that there is a way to sign in.

    Raises:
        KnockError: the store cannot be opened.
        SettingsError: there is no way to sign in, and no session that was kept.
    """
    await parts.store.open()
    file = file or blocklist_file_of(parts)
    if file is not None:
        await file.read_in()
    else:
        await asyncio.to_thread(_say_what_is_not_followed, parts.settings)
    await first_mknock_of(parts).take_over()
    await parts.book.refresh()
    if not parts.settings.sign_in_ways and await kept_session(parts.store) is None:
        raise SettingsError([NO_SIGN_IN])


def _say_what_is_not_followed(settings: Settings) -> None:
    """A block-list under the default name that does not count should be no surprise."""
    if settings.postgres_url is not None and settings.blocklist_file.is_file():
        log.warning(
            f"{settings.blocklist_file.name} is there but not followed, since the store is on the network:"
            " set BLOCKLIST_FILE, or bring it in once by: mknock import"
        )


async def can_start(settings: Settings) -> None:
    """Return if a Knock with these settings can start. Raises as ``prepare``."""
    parts = parts_of(settings)
    try:
        await prepare(parts)
    finally:
        await parts.close()


def session_of(parts: Parts) -> OwnSession:
    """What knows whether Knock may listen with the session it acts in."""
    signed_in = isinstance(parts.tokens, SignedIn)
    return OwnSession(parts.homeserver, signed_in=signed_in, encryption=parts.encryption)


def blocklist_file_of(parts: Parts) -> BlocklistFile | None:
    """What follows the block-list's file; None if none is followed."""
    path = parts.settings.followed_blocklist
    if path is None:
        return None
    enforcement = Enforcement(parts.store, parts.doors, parts.book)
    return BlocklistFile(path, parts.store, parts.book, enforcement, parts.clock)


def moderation_of(parts: Parts, *, wake: Callable[[], None] = lambda: None) -> Moderation:
    return Moderation(parts.store, parts.homeserver, parts.doors, parts.book, parts.clock, wake=wake)


def rule_maker_of(parts: Parts) -> RuleMaker:
    return RuleMaker(parts.store, parts.homeserver, parts.doors, parts.book, parts.clock)


def publisher_of(parts: Parts) -> Publisher | None:
    """What publishes Knock's own blocks; None if the owner named no room for it."""
    room = _value(parts.settings.policy_list_room)
    if not room:
        return None
    return Publisher(
        parts.store,
        parts.homeserver,
        parts.book,
        parts.clock,
        room=room,
        every=parts.settings.invite_check_interval,
        reasons=parts.settings.publish_reasons,
    )


def subscriptions_of(parts: Parts) -> Subscriptions:
    moderation = moderation_of(parts)
    return Subscriptions(
        parts.store,
        parts.homeserver,
        parts.doors,
        parts.clock,
        published=_value(parts.settings.policy_list_room),
        restore=partial(moderation.restore, actor="knock"),
    )


def list_findings_of(parts: Parts) -> ListFindings:
    return ListFindings(parts.store, parts.homeserver, publisher_of(parts))


def doctor_of(parts: Parts) -> Doctor:
    settings = parts.settings
    return Doctor(
        parts.store,
        parts.homeserver,
        parts.doors,
        parts.clock,
        session_of(parts),
        RoomFindings(parts.homeserver, parts.encryption),
        file=blocklist_file_of(parts),
        form_secrets=bool(parts.doors.first.secrets),
        open_api=settings.allow_open_api,
        public_url=settings.public_url,
        secrets=KEPT_SECRETS,
        lists=list_findings_of(parts),
    )


class Installation:
    """A whole running Knock: its parts, its background duties, and its HTTP application."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.admin_key = AdminKey(open=parts.settings.allow_open_api)
        self.outcomes = Outcomes(parts.store)
        self.session = session_of(parts)
        successors = Successors(
            parts.store, parts.homeserver, parts.doors, parts.clock, wake=lambda: self.wake()
        )
        self.file = blocklist_file_of(parts)
        shortcomings = Shortcomings(
            parts.homeserver,
            parts.doors,
            self.session,
            successors,
            parts.encryption,
            self.file,
            list_findings_of(parts),
        )
        described = DoorsAsDescribed(parts.settings)
        self.reload = Reload(parts.doors, described, described.sources, on_change=self._other_doors)
        self.readiness = Readiness(
            parts.store,
            parts.homeserver,
            parts.doors,
            shortcomings,
            doors_problem=lambda: self.reload.problem,
        )
        self.retry = Retry(base=parts.settings.base_backoff_delay, quick=parts.settings.max_retries)
        self._looking = Duty(
            "readiness", self.readiness.tick, every=15.0, next_at=self._next_look, alone=True
        )
        self.delivery, self._delivering = self._inviting()
        self.welcomes, self._welcoming = self._welcoming_duty()
        self.watchdog = Watchdog(
            parts.store,
            parts.homeserver,
            parts.doors,
            parts.book,
            parts.clock,
            dry_run=parts.settings.watchdog_dry_run,
        )
        self.memberships = Memberships(
            parts.store,
            parts.homeserver,
            parts.clock,
            guard=self.watchdog.look_at,
            doors=parts.doors,
            wake=self._welcoming.wake,
        )
        self.moderation = moderation_of(parts, wake=self.wake)
        self.reloading = Duty("doors", self.reload.tick, every=RELOAD_EVERY)
        self._scanning = Duty(
            "block-list", self._enforce, every=parts.settings.blocklist_scan_interval, alone=True
        )
        self.follower = self._follower()
        self.watch = self._watch()
        self._telling = [*self._file_duties(), *self._publishing_duties()]
        parts.book.on_news(self._heard_of_rules)
        turn = Turn(parts.store, holder=f"{os.getpid()}-{secrets.token_hex(4)}")
        self.runner = Runner(self._duties(), parts.clock, turn)
        self.stopping = Stopping(self._application())
        self.stopping.on_stop(self.outcomes.stop)

    def wake(self) -> None:
        """There may be something to deliver."""
        self._delivering.wake()

    def _wake_all(self) -> None:
        """Something may be due, by what another process did or what happened in a room."""
        self._delivering.wake()
        self._welcoming.wake()

    def _inviting(self) -> tuple[Delivery, Duty]:
        """What sends invites, reminders and withdrawals; in every process."""
        parts = self.parts
        invitations = Invitations(
            parts.store,
            parts.homeserver,
            parts.doors,
            parts.book,
            parts.clock,
            self.retry,
            on_outage=self._looking.wake,
        )
        delivery = Delivery(
            parts.store,
            invitations.deliver,
            concurrency=parts.settings.delivery_concurrency,
            pace=Pace(parts.settings.request_delay),
            on_room=self.wake,
        )
        duty = Duty("delivery", delivery.tick, every=0.5, next_at=lambda: delivery.next_at, again=True)
        return delivery, duty

    def _welcoming_duty(self) -> tuple[Delivery, Duty]:
        """What welcomes; in one process, for an encrypting device has one writer."""
        parts = self.parts
        welcomes = Welcomes(
            parts.store,
            parts.homeserver,
            parts.doors,
            parts.book,
            parts.clock,
            self.retry,
            encryption=parts.encryption,
            on_outage=self._looking.wake,
        )
        delivery = Delivery(
            parts.store,
            welcomes.deliver,
            concurrency=WELCOMES_AT_ONCE,
            pace=Pace(parts.settings.request_delay),
            queue=Queue.WELCOMES,
            on_room=lambda: self._welcoming.wake(),
        )
        duty = Duty(
            "welcome", delivery.tick, every=0.5, next_at=lambda: delivery.next_at, again=True, alone=True
        )
        return delivery, duty

    def _file_duties(self) -> list[Duty]:
        """What follows the block-list's file, if there is one; in one process, for it writes to it."""
        file = self.file
        if file is None:
            return []
        file.on_trouble = self._looking.wake
        return [Duty("block-list file", file.tick, every=2.0, next_at=lambda: file.next_at, alone=True)]

    def _heard_of_rules(self, changes: Sequence[RuleChange]) -> None:
        """The block-list is another: members may be on it now, and the file and our own list are to say the same."""
        if any(change.removed is change.rule.allow for change in changes):
            self._scanning.wake()
        for duty in self._telling:
            duty.wake()

    def _duties(self) -> list[Duty]:
        """Every background duty. Those marked ``alone`` run in one process of all (promise 9)."""
        settings = self.parts.settings
        return [
            self._delivering,
            Duty("rules", self.parts.book.tick, every=0.5),
            Duty("leases", self._renew, every=LEASE / 4),
            Duty("recall", self.readiness.recall, every=2.0),
            self.reloading,
            self._welcoming,
            self._looking,
            Duty("watch", self.watch.tick, every=5.0, again=True, alone=True),
            Duty("lists", self.follower.tick, every=LISTS_EVERY, alone=True),
            Duty("invite check", self._check_invites, every=settings.invite_check_interval, alone=True),
            self._scanning,
            *self._telling,
            Duty("housekeeping", Housekeeping(self.parts.store).tick, every=3600.0, alone=True),
        ]

    def _watch(self) -> Watch:
        parts = self.parts
        return Watch(
            parts.store,
            parts.homeserver,
            parts.doors,
            self.memberships,
            self.session,
            encryption=parts.encryption,
            lists=self.follower,
            hurry=self._hurry,
            on_change=self._look_anew,
            on_trouble=self._looking.wake,
        )

    def _follower(self) -> ListFollower:
        """What follows policy lists; it is not asked to before there is the watch."""
        parts = self.parts
        return ListFollower(
            parts.store,
            parts.homeserver,
            parts.clock,
            every=parts.settings.invite_check_interval,
            on_rooms=lambda: self.watch.listen_elsewhere(),
            on_change=self._rules_changed,
        )

    def _publishing_duties(self) -> list[Duty]:
        """What publishes Knock's own blocks, if a room is named for them; in one process, for it writes there."""
        publisher = publisher_of(self.parts)
        if publisher is None:
            return []
        every = publisher.every
        return [Duty("publish", publisher.tick, every=every, next_at=lambda: publisher.next_at, alone=True)]

    async def _rules_changed(self, done: RulesChanged) -> None:
        """A policy list says something else: undo what is undone, look at who waits and who is in a room."""
        await self.moderation.restore(done.dropped, actor="knock")
        if any(not rule.allow for rule in done.added) or any(rule.allow for rule in done.dropped):
            self._scanning.wake()
        self.wake()

    async def _enforce(self, now: float) -> int:
        """Look for whoever is blocked, among those who wait and in the rooms."""
        enforcement = Enforcement(self.parts.store, self.parts.doors, self.parts.book)
        ended = await enforcement.enforce_all(Entry(at=now, actor="knock", action="block"))
        if ended:
            self.wake()
        return ended + await self.watchdog.scan(now)

    async def _renew(self, now: float) -> int:
        return await self.delivery.renew(now) + await self.welcomes.renew(now)

    async def _look_anew(self) -> None:
        """A room's settings have changed: what waited for the owner may go now, and what works is another."""
        await self.parts.store.resume("owner")
        self._wake_all()
        self._looking.wake()

    async def _hurry(self, user_id: str) -> None:
        """Somebody's devices have changed: they may now be able to read their welcome."""
        if await self.parts.store.hurry(key_of(user_id), self.parts.clock()):
            self._welcoming.wake()

    async def _check_invites(self, _: float) -> int:
        """Compare every room with the record: what /sync did not tell, and for those who cannot use it."""
        return await self.memberships.compare_all()

    def read_doors_anew(self) -> None:
        """Read the description of the doors anew, whether or not it looks changed (SIGHUP)."""
        self.reload.ask()
        self.reloading.wake()

    async def _other_doors(self, doors: tuple[Door, ...]) -> None:
        """There are other doors: nothing of theirs is to be logged, and what works is another."""
        for door in doors:
            for secret in _secrets_of(door):
                keep_secret(secret)
        self._looking.wake()

    def _next_look(self) -> float | None:
        return self.parts.clock() + 2.0 if self.readiness.homeserver_problem else None

    def _application(self) -> ASGIApp:
        parts, settings = self.parts, self.parts.settings
        gate = FormGate(self.admin_key, parts.clock)
        admission = Admission(parts.store, parts.book, parts.clock, wake=self.wake)
        visitors = Visitors(settings.trusted_proxies)
        webhooks = Webhooks(
            doors=parts.doors, gate=gate, admission=admission, visitors=visitors, outcomes=self.outcomes
        )
        rules = rule_maker_of(parts)
        admin = Admin(parts.store, parts.homeserver, parts.doors, self.moderation, self.admin_key, rules)
        pages = self._pages(admission, visitors).routes()
        self.api = build(webhooks, admin, Ready(self.readiness), version=__version__, pages=pages)
        return FormsFirst(self.api, webhooks)

    def _pages(self, admission: Admission, visitors: Visitors) -> PublicPages:
        """The doors' own pages."""
        parts, signer = self.parts, Signer(self.parts.store)
        return PublicPages(
            doors=parts.doors,
            admission=admission,
            proof=ProofOfWork(parts.store, signer, parts.clock),
            stamps=Stamps(signer, parts.clock),
            requests=Requests(visitors.address, read_body, status_of, headers_for, BODY_LIMIT),
        )

    async def start(self) -> None:
        """Open the store and begin the duties. The homeserver may be down: Knock serves all the same.

        Raises:
            KnockError: the store cannot be opened.
            SettingsError: there is no way to sign in.
        """
        await prepare(self.parts, self.file)
        await self.readiness.learn()
        self.admin_key.key = await settle_api_key(self.parts)
        keep_secret(self.admin_key.key)
        self.parts.store.on_work(self._wake_all)
        self.runner.start()

    async def stop(self) -> None:
        await self.runner.stop()
        await asyncio.gather(self.delivery.stop(STOP_GRACE), self.welcomes.stop(STOP_GRACE))
        await self.parts.close()


def first_mknock_of(parts: Parts) -> FirstMknock:
    """What takes over the files of the first mknock; its token becomes the session, unless there is one."""
    settings = parts.settings
    files = OldFiles(
        pending_invites=settings.pending_invites_file,
        tokens=settings.tokens_file,
        kept_aside=settings.data_dir / "kept-aside",
    )

    async def keep(old: OldSession) -> bool:
        session = Session(
            base_url=bare(settings.matrix_base_url),
            access_token=old.access_token,
            user_id=old.user_id,
            device_id=old.device_id,
            began_at=parts.clock(),
        ).dump()
        return await parts.store.settle_secret(SECRET, session) == session

    return FirstMknock(parts.store, parts.doors.first, files, parts.book, parts.clock, keep_session=keep)


async def settle_api_key(parts: Parts) -> str:
    """The key of the admin endpoints: API_KEY, or one made once for all processes and kept in the store."""
    given = parts.settings.api_key
    if given is not None:
        return given.get_secret_value()
    kept = await parts.store.secret(API_KEY)
    if kept is None:
        kept = await parts.store.settle_secret(API_KEY, secrets.token_urlsafe(32))
        log.info("API_KEY is not set, so a key was made: see it with: mknock api-key")
    return kept


class Application:
    """The ASGI application: Knock's life between start-up and shut-down, and its endpoints."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await self.installation.stopping(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        """Speak the ASGI lifespan protocol; a failed start is one sentence, not a traceback."""
        await receive()
        try:
            settings = self.installation.parts.settings
            configure_logging(settings.log_level, settings.log_format)
            _say_what_is_odd(settings, self.installation.parts.doors.first)
            await self.installation.start()
        except (KnockError, SettingsError) as error:
            log.critical("Knock cannot start", why=str(error))
            await send({"type": "lifespan.startup.failed", "message": ""})
            return
        _spare_the_collector()
        restore = _hear_signals(self.installation)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        restore()
        await self.installation.stop()
        await send({"type": "lifespan.shutdown.complete"})


def _spare_the_collector() -> None:
    """Keep what lives as long as the process from being looked through for garbage again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE, 10, 10)


def _hear_signals(installation: Installation) -> Callable[[], None]:
    """Notice SIGTERM and SIGINT before uvicorn waits for open requests, and SIGHUP; return what undoes it."""
    loop = asyncio.get_running_loop()
    former: dict[int, Any] = {}

    def ends(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(installation.stopping.stop)
        if callable(former[number]):
            former[number](number, frame)

    def hangs_up(*_: object) -> None:
        loop.call_soon_threadsafe(installation.read_doors_anew)

    with contextlib.suppress(ValueError):  # not in the main thread: whoever runs us handles signals
        for number in (signal.SIGTERM, signal.SIGINT):
            former[number] = signal.getsignal(number)
            signal.signal(number, ends)
            _set_patience(former[number])
        if hasattr(signal, "SIGHUP") and not _is_at_a_terminal():  # it would end the process
            former[signal.SIGHUP] = signal.signal(signal.SIGHUP, hangs_up)

    def restore() -> None:
        for number, earlier in former.items():
            signal.signal(number, earlier)

    return restore


def _is_at_a_terminal() -> bool:
    """Whether SIGHUP means that the terminal is gone, and Knock has to go with it."""
    return sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty()


def _set_patience(handler: Any) -> None:
    """Let uvicorn, if ``handler`` is its own, wait for connections to close no longer than CLOSING.

    Unless it was told a time it waits for ever, so a client that does not
    read its answer could keep the process from ending.
    """
    config: Any = getattr(getattr(handler, "__self__", None), "config", None)
    if getattr(config, "timeout_graceful_shutdown", 0) is None:
        config.timeout_graceful_shutdown = CLOSING


def _say_what_is_odd(settings: Settings, first: Door) -> None:
    for warning in settings.warnings:
        log.warning(warning)
    if not first.secrets:
        log.warning(
            "no form secret is set: anybody who knows the address can post, and counts as an anonymous visitor;"
            f" set {first.secrets.setting('token')}, or the platform's signing secret"
        )
    if settings.allow_open_api:
        log.warning("ALLOW_OPEN_API is on: anybody can use the admin endpoints")


def application_of(settings: Settings) -> Application:
    """The application of these settings. Opens nothing yet."""
    for secret in settings.secret_values():
        keep_secret(secret)
    return Application(Installation(parts_of(settings)))


def application_from_environment() -> Application:
    """The application for ``uvicorn mknock:app``; a wrong setting ends the process with one sentence."""
    try:
        return application_of(load_settings(require_sign_in=False))
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the last word before the end
        sys.exit(CANNOT_START)

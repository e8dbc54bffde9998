"""The parts that commands and the service share, and what is made of them."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec

from mknock.matrix.auth import FixedToken, JwtSignIn, KeptSessionOnly, PasswordSignIn, SignedIn, SignIn
from mknock.matrix.beeper import PROGRESS, BeeperLogin, EmailCodeSignIn
from mknock.matrix.client import MatrixClient, TokenSource, bare, matrix_http
from mknock.matrix.encryption import encryption_of
from mknock.matrix.gateway import HomeserverGateway
from mknock.matrix.lanes import Lanes
from mknock.matrix.session import SECRET, Session, kept_session
from mknock.ports import Clock, Encryption, Homeserver, Store
from mknock.services.blocklist_file import BlocklistFile
from mknock.services.doctor import Doctor
from mknock.services.doors import Doors
from mknock.services.enforcement import Enforcement
from mknock.services.first_mknock import FirstMknock, OldFiles
from mknock.services.first_mknock_files import OldSession
from mknock.services.link_making import LinkMaker
from mknock.services.list_findings import ListFindings
from mknock.services.list_leaving import ListLeaver
from mknock.services.list_publishing import Publisher
from mknock.services.list_reports import ListReports
from mknock.services.moderation import Moderation
from mknock.services.notices import Notices
from mknock.services.proof_codes import KEY as PROOF_KEY
from mknock.services.proof_findings import ProofFindings
from mknock.services.room_findings import RoomFindings
from mknock.services.rule_book import RuleBook
from mknock.services.rule_making import RuleMaker
from mknock.services.sessions import OwnSession
from mknock.services.subscriptions import Subscriptions
from mknock.services.waves import Waves
from mknock.settings import (
    NO_SIGN_IN,
    Settings,
    SettingsError,
    plain,
)
from mknock.storage.sqlite import SqliteStore
from mknock.telemetry import get_logger
from mknock.web.signing import KEY as PAGE_KEY
from mknock.wiring.doors import doors_of

log = get_logger(__name__)

API_KEY = "api-key"
KEPT_SECRETS = (API_KEY, SECRET, PROGRESS, PAGE_KEY, PROOF_KEY)
"""The names of the store's secrets that only SECRET_KEY opens, if it was set when they were kept."""


def store_of(settings: Settings) -> Store:
    """The store that STORE_URL names. Opens nothing yet.

    Raises:
        SettingsError: it names PostgreSQL, for which a package is missing.
    """
    secret_key = plain(settings.secret_key) or None
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
        notify_url=plain(settings.store_notify_url) or None,
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
        password=plain(settings.matrix_password),
        recovery_key=plain(settings.recovery_key),
    )
    return Parts(settings, store, gateway, Doors(*doors_of(settings)), clock, http, book, tokens, encryption)


def sign_in_of(settings: Settings, store: Store, http: Lanes, clock: Clock) -> SignIn:
    """The preferred one of the configured ways to sign in; without any, the session that was kept."""
    if settings.matrix_user:
        return PasswordSignIn(settings.matrix_user, plain(settings.matrix_password))
    if settings.beeper_login_token:
        return JwtSignIn(plain(settings.beeper_login_token))
    if settings.beeper_login_email:
        beeper = BeeperLogin(settings.beeper_api_base, http, clock=clock)
        code = plain(settings.beeper_login_code)
        return EmailCodeSignIn(store, beeper, settings.beeper_login_email, code, clock=clock)
    return KeptSessionOnly()


def signed_in(settings: Settings, store: Store, http: Lanes, sign_in: SignIn, clock: Clock) -> SignedIn:
    """A session in the store, made and renewed by one way to sign in."""
    client = MatrixClient(settings.matrix_base_url, http=http, clock=clock)
    return SignedIn(store, sign_in, client, holder=f"{os.getpid()}-{secrets.token_hex(4)}", clock=clock)


def tokens_of(settings: Settings, store: Store, http: Lanes, clock: Clock) -> TokenSource:
    """Where the access token comes from: MATRIX_ACCESS_TOKEN, or a session in the store."""
    if settings.matrix_access_token:
        return FixedToken(plain(settings.matrix_access_token), settings.matrix_base_url)
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


def notices_of(parts: Parts) -> Notices:
    return Notices(parts.store, parts.homeserver, parts.clock, parts.encryption)


def waves_of(parts: Parts, moderation: Moderation | None = None) -> Waves:
    return Waves(parts.store, parts.doors, moderation or moderation_of(parts), parts.clock)


def rule_maker_of(parts: Parts) -> RuleMaker:
    return RuleMaker(parts.store, parts.homeserver, parts.doors, parts.book, parts.clock)


def link_maker_of(parts: Parts) -> LinkMaker:
    return LinkMaker(parts.store, parts.doors, parts.clock)


def publisher_of(parts: Parts) -> Publisher | None:
    """What publishes Knock's own blocks; None if the owner named no room for it."""
    room = plain(parts.settings.policy_list_room)
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
        published=plain(parts.settings.policy_list_room),
        restore=partial(moderation.restore, actor="knock"),
    )


def list_leaver_of(parts: Parts, session: OwnSession) -> ListLeaver:
    return ListLeaver(
        parts.store,
        parts.homeserver,
        parts.doors,
        parts.clock,
        session,
        published=plain(parts.settings.policy_list_room),
    )


def list_reports_of(parts: Parts) -> ListReports:
    return ListReports(parts.store, parts.homeserver)


def list_findings_of(parts: Parts) -> ListFindings:
    return ListFindings(parts.store, parts.homeserver, publisher_of(parts))


def proof_findings_of(parts: Parts, session: OwnSession) -> ProofFindings:
    return ProofFindings(parts.homeserver, parts.doors, session, parts.encryption)


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
        proofs=proof_findings_of(parts, session_of(parts)),
        notices=notices_of(parts),
    )


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

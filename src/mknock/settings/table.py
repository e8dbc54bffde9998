"""Every setting of Knock, one a line. ``docs/env_vars.md`` is the page for the owner."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from mknock.settings.doors_file import DoorsFile
from mknock.settings.values import (
    POSTGRES,
    YEAR,
    Address,
    BlockedMembers,
    Colour,
    Count,
    CountOrNever,
    Email,
    ListRoom,
    LogFormat,
    LogLevel,
    LongText,
    Matches,
    MatrixUser,
    Networks,
    Policy,
    PostgresAddress,
    RecoveryKey,
    Reminders,
    RiskSignals,
    RoomID,
    ServerName,
    ShortText,
    Slug,
    StoreAddress,
    Switch,
    WebhookSecret,
    Word,
    passwords,
    seconds,
    whole,
)


class SignIn(StrEnum):
    """The ways to sign in at the homeserver, in order of preference, by their deciding setting."""

    ACCESS_TOKEN = "MATRIX_ACCESS_TOKEN"  # noqa: S105 - names of settings, as are the next two
    PASSWORD = "MATRIX_PASSWORD"  # noqa: S105
    BEEPER_TOKEN = "BEEPER_LOGIN_TOKEN"  # noqa: S105
    BEEPER_EMAIL = "BEEPER_LOGIN_EMAIL"


NO_SIGN_IN = (
    "There is no way to sign in: set MATRIX_ACCESS_TOKEN, or MATRIX_USER and MATRIX_PASSWORD, "
    "or BEEPER_LOGIN_TOKEN, or BEEPER_LOGIN_EMAIL (the first of them is the most reliable)."
)

_SIGNING_SECRET = "_signing_secret"  # noqa: S105 - how the names of some settings end


class Settings(BaseModel):
    """The values Knock runs with. Made by ``load_settings``; by hand it reads nothing but its arguments."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    # the room
    new_room_id: RoomID | None = Field(
        None, description="ID of the room or space that people are invited to; begins with !."
    )
    door_slug: Slug = Field(
        "main", description="Short public name of the door to that room, used in addresses."
    )
    door_policy: Policy = Field(
        "auto", description="Who passes every check is invited (auto), or held (review, closed)."
    )
    invite_reason: ShortText = Field(
        "You asked to join. Accept to come in.", description="Sentence shown beside the invitation."
    )

    doors_file: Path | None = Field(
        None, description="File with further doors; unset: doors.toml in DATA_DIR or the working directory."
    )

    # the homeserver
    matrix_base_url: Address = Field(
        "https://matrix.beeper.com", description="Address of the homeserver's client API."
    )
    matrix_access_token: Word | None = Field(None, description="Access token of the account that invites.")
    matrix_user: MatrixUser | None = Field(
        None, description="User name or full Matrix ID, with MATRIX_PASSWORD."
    )
    matrix_password: SecretStr | None = Field(None, description="Password of MATRIX_USER.")
    beeper_api_base: Address = Field(
        "https://api.beeper.com", description="Address of Beeper's own API, to sign in by e-mail."
    )
    beeper_login_token: Word | None = Field(
        None, description="Token of a Beeper login, exchanged once for a session."
    )
    beeper_login_email: Email | None = Field(None, description="E-mail address of the Beeper account.")
    beeper_login_code: Word | None = Field(
        None, description="Code from Beeper's e-mail, for the second start."
    )
    default_server: ServerName | None = Field(
        None, description="Homeserver of people who type only a user name."
    )

    # the form
    form_token: Word | None = Field(
        None, description="Secret that every delivery must carry, in a header or the address."
    )
    tally_signing_secret: SecretStr | None = Field(None, description="Signing secret of Tally's webhook.")
    typeform_signing_secret: SecretStr | None = Field(
        None, description="Signing secret of Typeform's webhook."
    )
    formbricks_signing_secret: WebhookSecret | None = Field(
        None, description="Signing secret of Formbricks' webhook, which begins with whsec_."
    )
    formspree_signing_secret: SecretStr | None = Field(
        None, description="Signing secret of Formspree's webhook."
    )
    opnform_signing_secret: SecretStr | None = Field(None, description="Signing secret of OpnForm's webhook.")
    wpforms_signing_secret: SecretStr | None = Field(None, description="Secret of WPForms' webhook.")
    webflow_signing_secret: SecretStr | None = Field(
        None, description="Secret of a Webflow webhook that its API or an app made."
    )
    netlify_signing_secret: SecretStr | None = Field(
        None, description="JWS secret token of Netlify's notification."
    )
    webhook_signing_secret: WebhookSecret | None = Field(
        None, description="Secret of any sender of Standard Webhooks or by Svix; begins with whsec_."
    )
    form_id_field: str | None = Field(
        None, description="Key or label of the question that asks for the Matrix ID."
    )
    form_honeypot_field: str | None = Field(
        None, description="Key or label of the field that people cannot see."
    )

    # Knock's own page
    page_title: ShortText | None = Field(
        None, description="Headline of Knock's own page of the door; unset: the door has no page."
    )
    page_text: LongText | None = Field(None, description="Markdown below the headline.")
    page_rules: LongText | None = Field(None, description="Markdown that people have to accept.")
    page_colour: Colour | None = Field(None, description="Colour of buttons and links, such as #2e7d32.")
    page_logo: Path | None = Field(None, description="File of an image above the headline.")

    # limits
    max_requests_per_window: Count = Field(
        60, description="Knocks that pass the door in one window; more are held."
    )
    spam_window_seconds: Annotated[float, seconds(1, YEAR)] = Field(
        60.0, description="Length of a window, seconds."
    )
    max_requests_per_homeserver: Count | None = Field(
        None, description="Knocks from one homeserver in one window; unset: the door's total."
    )
    max_requests_per_sender: Count | None = Field(
        None,
        description="Requests from one network address in one window; unset: a third of the door's total.",
    )
    raid_arrivals: CountOrNever | None = Field(
        None,
        description="New knocks in five minutes that may be a raid; unset: 30; 0: never.",
    )
    raid_alike: CountOrNever | None = Field(
        None,
        description="New knocks in an hour, alike or of one rare homeserver, that are a raid; unset: 10; 0: never.",
    )
    raid_calm: Annotated[float, seconds(60, YEAR)] = Field(
        1800.0, description="Seconds without new signs after which a raid is over."
    )
    risk_signals: RiskSignals = Field(
        (), description="What is done about risk signals: off, log or hold, such as links=hold."
    )
    moderators_room_id: RoomID | None = Field(
        None, description="ID of the room where moderators are told of raids; begins with !."
    )
    trusted_proxies: Networks = Field((), description="Proxies whose X-Forwarded-For is believed.")
    knock_cooldown: Annotated[float, seconds(0, YEAR)] = Field(
        3600.0, description="Seconds in which a repeat counts on the old knock."
    )
    knock_lifetime: Annotated[float, seconds(60, YEAR)] = Field(
        604800.0, description="Seconds in which delivery is tried."
    )

    # delivery
    request_delay: Annotated[float, seconds(0, 3600)] = Field(
        0.5, description="Seconds between calls that change something, over the installation."
    )
    max_retries: Annotated[int, whole(0, 100)] = Field(
        5, description="Quick repeats of a call before the knock goes back to wait."
    )
    base_backoff_delay: Annotated[float, seconds(0.01, 3600)] = Field(
        1.0, description="Seconds before the first repeat; doubled each time."
    )
    delivery_concurrency: Annotated[int, whole(1, 256)] = Field(
        64, description="Invitations on their way at once, in one process."
    )

    # after the invite
    welcome_message: str | None = Field(
        None, description="Markdown sent when somebody has joined; unset: a short greeting; off: nothing."
    )
    welcome_delay: Annotated[float, seconds(0, 86400)] = Field(
        0.0, description="Seconds from the join to the welcome; who has left by then is not welcomed."
    )
    welcome_everyone: Switch = Field(False, description="Welcome also people who joined without a knock.")
    welcome_unencrypted: Switch = Field(
        False, description="Welcome in clear in an encrypted room when Knock cannot encrypt."
    )
    recovery_key: RecoveryKey | None = Field(
        None, description="Recovery key of an account that was verified before, to sign Knock's device."
    )
    remind_after: Reminders = Field(
        (86400.0, 259200.0), description="Times after the invite at which to remind; at most two, or off."
    )
    invite_lifetime: Annotated[float, seconds(0, YEAR)] = Field(
        604800.0, description="Seconds after which an unanswered invite is withdrawn; 0: never."
    )
    hold_lifetime: Annotated[float, seconds(0, YEAR)] = Field(
        2592000.0, description="Seconds after which a held knock that nobody decided expires; 0: never."
    )
    proof_lifetime: Annotated[float, seconds(60, YEAR)] = Field(
        86400.0, description="Seconds in which people prove their account at a door that wants a proof."
    )
    invite_check_interval: Annotated[float, seconds(5, 86400)] = Field(
        300.0, description="Seconds between two comparisons of the room with the record."
    )
    blocklist_scan_interval: Annotated[float, seconds(5, 86400)] = Field(
        600.0, description="Seconds between two scans of the room for people on the block-list."
    )
    blocked_members: BlockedMembers = Field(
        "kick", description="What happens to a member on the block-list: kick, ban, or report."
    )
    native_knocks: Switch = Field(
        True, description="A knock made in a Matrix app, at the room itself, is a knock at this door."
    )
    match_actions: Matches = Field(
        (), description="What is done about a kind of look-alike, such as number=hold; see look-alikes."
    )
    match_other_servers: Switch = Field(
        True, description="A name on another homeserver than the blocked one's can be its look-alike."
    )
    watchdog_dry_run: Switch = Field(False, description="The scan removes nobody and only reports.")

    # policy lists
    policy_list_room: ListRoom | None = Field(
        None, description="ID or alias of the policy room into which Knock's own blocks are published."
    )
    publish_reasons: Switch = Field(True, description="Publish the reasons of blocks with them.")

    # what is kept
    data_dir: Path = Field(Path("data"), description="Folder for everything Knock keeps.")
    store_url: StoreAddress | None = Field(
        None, description="Where the store is; unset: knock.db in DATA_DIR."
    )
    store_notify_url: PostgresAddress | None = Field(
        None,
        description="Address of the same PostgreSQL past a pooler, to hear of the other processes' work.",
    )
    store_pool_size: Annotated[int, whole(1, 1000)] = Field(
        10, description="Connections to PostgreSQL of one process, at the most."
    )
    secret_key: SecretStr | None = Field(None, description="Encrypts tokens at rest; 32 characters or more.")
    blocklist_file: Path = Field(
        Path("blocked_users.txt"), description="Block-list in a file, followed while Knock runs; off: none."
    )
    tokens_file: Path = Field(
        Path("tokens.json"), description="Tokens of the first Knock, read on first start."
    )
    pending_invites_file: Path = Field(
        Path("pending_invites.json"), description="Invites of the first Knock, read on first start."
    )

    # the service
    public_url: Address | None = Field(
        None, description="Address under which people and form platforms reach Knock."
    )
    api_key: Word | None = Field(None, description="Bearer token of the admin endpoints; unset: one is made.")
    allow_open_api: Switch = Field(False, description="Run the admin endpoints without a key.")
    host: str = Field("0.0.0.0", description="Network address that mknock serve listens on.")  # noqa: S104 - as the first mknock
    port: Annotated[int, whole(0, 65535)] = Field(
        8000, description="Port that mknock serve listens on; 0: any free one."
    )
    workers: Annotated[int, whole(1, 64)] = Field(1, description="Processes that mknock serve starts.")
    log_level: LogLevel = Field("INFO", description="Least important log lines that are written.")
    log_format: LogFormat = Field(
        "auto", description="Look of a log line; auto: console on a terminal, otherwise json."
    )

    warnings: tuple[str, ...] = ()
    """Not a setting: what ``load_settings`` noticed, one sentence each, for the log."""
    doors: DoorsFile = DoorsFile()
    """Not a setting: what the file of doors says."""
    doors_problems: tuple[str, ...] = ()
    """Not a setting: why the file of doors cannot be used, if ``load_settings`` was told to go on all the same."""

    @property
    def sqlite_path(self) -> Path:
        """The file of the store, if it is not in PostgreSQL."""
        if self.store_url is None:
            return self.data_dir / "knock.db"
        return Path(self.store_url.get_secret_value().removeprefix("sqlite:///"))

    @property
    def postgres_url(self) -> str | None:
        """The address of the store's PostgreSQL; None if the store is a file."""
        address = self.store_url.get_secret_value() if self.store_url else ""
        return address if address.startswith(POSTGRES) else None

    @property
    def followed_blocklist(self) -> Path | None:
        """The file of the block-list; None if none is followed.

        With a store on the network only one that is named: a default name would be another file on each machine.
        """
        is_named = "blocklist_file" in self.model_fields_set
        if str(self.blocklist_file).lower() == "off" or (self.postgres_url and not is_named):
            return None
        return self.blocklist_file

    @property
    def limit_per_homeserver(self) -> int:
        """Knocks of one homeserver in one window; follows the door's total unless set."""
        return self.max_requests_per_homeserver or self.max_requests_per_window

    @property
    def alarm(self) -> tuple[int, int]:
        """How many arrivals, and how many alike, may be a raid. An owner who lets more pass expects more."""
        most = self.max_requests_per_window
        return (
            max(30, most // 2) if self.raid_arrivals is None else self.raid_arrivals,
            max(10, most // 6) if self.raid_alike is None else self.raid_alike,
        )

    @property
    def limit_per_sender(self) -> int:
        """Requests of one network address in one window; a third of the door's total unless set.

        So a single sender can never fill the door's window for everybody else.
        """
        return self.max_requests_per_sender or max(1, self.max_requests_per_window // 3)

    @property
    def signing_secrets(self) -> dict[str, str]:
        """Every <NAME>_SIGNING_SECRET that is set, by the name in small letters."""
        named = {
            name: getattr(self, name) for name in type(self).model_fields if name.endswith(_SIGNING_SECRET)
        }
        return {
            name.removesuffix(_SIGNING_SECRET): secret.get_secret_value()
            for name, secret in named.items()
            if secret is not None
        }

    @property
    def sign_in_ways(self) -> tuple[SignIn, ...]:
        """The configured ways to sign in, the preferred one first."""
        return tuple(way for way in SignIn if getattr(self, way.lower()) is not None)

    def secret_values(self) -> tuple[str, ...]:
        """What must never be seen, for ``telemetry.keep_secret``."""
        values = (getattr(self, name) for name in type(self).model_fields)
        secrets = [value.get_secret_value() for value in values if isinstance(value, SecretStr)]
        of_doors = [secret for door in self.doors.doors.values() for secret in door.secret_values()]
        return (*secrets, *of_doors, *passwords(self.store_url), *passwords(self.store_notify_url))


_NO_SETTINGS = ("warnings", "doors", "doors_problems")
NAMES = tuple(name.upper() for name in Settings.model_fields if name not in _NO_SETTINGS)
FILE_NAMES = tuple(f"{name}_FILE" for name in NAMES)
KNOWN = frozenset((*NAMES, *FILE_NAMES, "ENV_FILE", "STATE_DIRECTORY"))

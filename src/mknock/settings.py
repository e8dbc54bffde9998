"""Every setting of Knock, one a line, and the only place that reads them.

Importing this module reads nothing. ``load_settings`` gathers the values from
the environment, from files named by ``NAME_FILE``, and from ``.env``; it
reports everything that is wrong at once, one sentence a problem, and never
repeats a secret. ``docs/env_vars.md`` is the page for the owner.
"""

from __future__ import annotations

import os
import re
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from io import StringIO
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

from dotenv.parser import parse_stream
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

YEAR = 365 * 86400.0
PLACEHOLDER = "change-me"
"""Marks what ``.env.example`` leaves to the owner; no value may hold it."""

WHERE_IS_THE_ROOM_ID = "in Element, open the room's settings, then Advanced, and copy the internal room ID"


class SettingsError(Exception):
    """A setting is missing or wrong; the start stops.

    The text holds one line for each problem, which names the setting and says
    what to do, and then the warnings, since a misspelt name often explains
    a missing setting. ``problems`` and ``warnings`` hold them apart.
    """

    def __init__(self, problems: Iterable[str], warnings: Iterable[str] = ()) -> None:
        self.problems, self.warnings = tuple(problems), tuple(warnings)
        super().__init__("\n".join((*self.problems, *self.warnings)))


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


# --- kinds of values: each error is the rest of a sentence that begins with the setting's name -----


def _shown(value: object) -> str:
    """The value for an error, unless it is so long that it might be a secret in the wrong place."""
    text = str(value)
    return repr(text) if len(text) <= 20 else f"{len(text)} characters long"


def _whole(low: int, high: int) -> BeforeValidator:
    def read(value: object) -> int:
        text = str(value)
        if not re.fullmatch(r"[0-9]{1,9}", text) or not low <= int(text) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}, but is {_shown(text)}.")
        return int(text)

    return BeforeValidator(read)


UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def _duration(value: object) -> float:
    """Seconds of a time such as 90, 1.5h or 7d; -1 if it is none."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+) *([smhdw]?)", str(value))
    return float(match[1]) * UNITS[match[2]] if match else -1.0


def _seconds(low: float, high: float) -> BeforeValidator:
    def read(value: object) -> float:
        seconds = _duration(value)
        if not low <= seconds <= high:
            limits = f"from {low:g} to {high:g}"
            raise ValueError(
                f"must be seconds {limits}, or a time such as 12h or 7d, but is {_shown(value)}."
            )
        return seconds

    return BeforeValidator(read)


def _one_of(*allowed: str, change: Callable[[str], str] = str.lower) -> BeforeValidator:
    def read(value: object) -> str:
        text = change(str(value))
        if text not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}, but is {_shown(value)}.")
        return text

    return BeforeValidator(read)


def _switch(value: object) -> bool:
    text = str(value).lower()
    if text in ("true", "yes", "on", "1"):
        return True
    if text in ("false", "no", "off", "0"):
        return False
    raise ValueError(f"must be true or false, but is {_shown(value)}.")


def _address(value: str) -> str:
    """A web address without its last slash. Errors do not repeat it: it may hold a password."""
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not value.isprintable() or " " in value:
        raise ValueError("must be an address that begins with https:// (or http://), host name included.")
    if "@" in parts.netloc:
        raise ValueError("must not hold a user name or password.")
    if "?" in value or "#" in value:
        raise ValueError("must end before the ? or #.")
    return value.rstrip("/")


def _store_address(value: SecretStr) -> SecretStr:
    scheme, _, path = value.get_secret_value().partition("://")
    if scheme in ("redis", "rediss", "valkey"):
        raise ValueError("names Redis, which comes in a later release; use sqlite:/// or postgresql://.")
    if scheme in POSTGRES:
        return _postgres_address(value)
    if scheme != "sqlite" or not re.fullmatch(r"/[^?#]*[^?#/]", path) or ":memory:" in path:
        raise ValueError(
            "must be sqlite:///relative/file.db, sqlite:////absolute/file.db or postgresql://user:password@host/name."
        )
    return value


POSTGRES = ("postgresql", "postgres")
"""The schemes of PostgreSQL's addresses."""


def _postgres_address(value: SecretStr) -> SecretStr:
    """An address as PostgreSQL's own programs take it. Errors do not repeat it: it holds a password."""
    text = value.get_secret_value()
    try:
        parts = urlsplit(text)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in POSTGRES or not (parts.netloc or parts.query):
        raise ValueError("must be postgresql://user:password@host/name.")
    if "#" in text or not re.fullmatch(r"[!-~]+", text):
        raise ValueError(
            "must have every character of the password that is no letter and no digit percent-encoded (# is %23)."
        )
    return value


def _passwords(address: SecretStr | None) -> Iterator[str]:
    """The password of an address, as it is written there and as it is."""
    found = urlsplit(address.get_secret_value()).password if address else None
    if found:
        yield from {found, unquote(found)}


def _room_id(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if text.startswith("#"):
        raise ValueError(
            f"is an alias (it begins with #), but Knock needs the room ID: {WHERE_IS_THE_ROOM_ID}, "
            "which begins with !."
        )
    # Nothing is asked of what follows: since room version 12 it has no ":server".
    if not re.fullmatch(r"![^\s?#\"']+", text) or not text.isprintable() or len(text.encode()) > 255:
        raise ValueError(
            f"must be a room ID, which begins with ! and stands here without quotation marks or ?via=: "
            f"{WHERE_IS_THE_ROOM_ID}."
        )
    return value


def _one_word(value: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[!-~]+", value.get_secret_value()):
        raise ValueError(
            "must not hold spaces, line breaks or characters beyond ASCII: look for a slip in copying."
        )
    return value


def _groups(value: SecretStr) -> SecretStr:
    """A recovery key: letters and digits, in groups as apps show it."""
    if not re.fullmatch(r"[A-Za-z0-9 ]+", value.get_secret_value()):
        raise ValueError(
            "must hold nothing but letters and digits, in groups with spaces between as the app shows it."
        )
    return value


def _webhook_secret(value: SecretStr) -> SecretStr:
    """A secret as Standard Webhooks has it: 24 bytes or more in base64."""
    try:
        key = b64decode(value.get_secret_value().removeprefix("whsec_"), validate=True)
    except ValueError:
        key = b""
    if len(key) < 24:
        raise ValueError(
            "must be whsec_ and at least 32 characters of base64, as the sender shows it: look for a slip in copying."
        )
    return value


def _email(value: str) -> str:
    if not re.fullmatch(r"[^@\s]+@[^@\s]+", value):
        raise ValueError("must be an e-mail address.")
    return value


def _matrix_user(value: str) -> str:
    """A user name or a full Matrix ID. ``@bot`` becomes ``bot``: no homeserver takes it as it is."""
    if not re.fullmatch(r"@[^\s:@]+:\S+|@?[^\s:@]+", value):
        raise ValueError("must be a user name (bot) or a full Matrix ID (@bot:example.org).")
    return value if ":" in value else value.removeprefix("@")


def _server_name(value: str) -> str:
    if not re.fullmatch(r"([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?", value):
        raise ValueError("must be a server's name such as example.org, without https:// and without a path.")
    return value.lower()


def _slug(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9-]{1,64}", value):
        raise ValueError(f"must be 1 to 64 small letters, digits and hyphens, but is {_shown(value)}.")
    return value


Network = IPv4Network | IPv6Network


def _networks(value: object) -> tuple[Network, ...]:
    if not isinstance(value, str):
        return tuple(value) if isinstance(value, Iterable) else ()
    return tuple(_network(text) for text in re.split(r"[,\s]+", value) if text)


def _network(text: str) -> Network:
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"must list IP addresses and networks, but one is {_shown(text)}.") from None
    if network.prefixlen == 0:
        raise ValueError(f"must not hold {text}: any sender could then choose the address Knock sees.")
    return network


def _short_text(value: str) -> str:
    if len(value) > 500:
        raise ValueError("must be at most 500 characters.")
    return value


def _reminders(value: object) -> tuple[float, ...]:
    if not isinstance(value, str):
        return tuple(value) if isinstance(value, Iterable) else ()
    words = [] if value.lower() == "off" else re.split(r"[,\s]+", value)
    times = tuple(_duration(word) for word in words if word)
    if not all(60 <= time <= YEAR for time in times) or list(times) != sorted(set(times)):
        raise ValueError(
            "must list times after the invite in their order, each from 60 s to a year, such as 1d, 3d, or be off,"
            f" but is {_shown(value)}."
        )
    if len(times) > 2:
        raise ValueError("must list at most two times: nobody is reminded more often.")
    return times


Address = Annotated[str, AfterValidator(_address)]
Count = Annotated[int, _whole(1, 1_000_000)]
Switch = Annotated[bool, BeforeValidator(_switch)]
Word = Annotated[SecretStr, AfterValidator(_one_word)]
RecoveryKey = Annotated[SecretStr, AfterValidator(_groups)]
RoomID = Annotated[SecretStr, AfterValidator(_room_id)]
WebhookSecret = Annotated[SecretStr, AfterValidator(_webhook_secret)]
Email = Annotated[str, AfterValidator(_email)]
MatrixUser = Annotated[str, AfterValidator(_matrix_user)]
ServerName = Annotated[str, AfterValidator(_server_name)]
StoreAddress = Annotated[SecretStr, AfterValidator(_store_address)]
PostgresAddress = Annotated[SecretStr, AfterValidator(_postgres_address)]
Slug = Annotated[str, AfterValidator(_slug)]
Networks = Annotated[tuple[Network, ...], BeforeValidator(_networks)]
ShortText = Annotated[str, AfterValidator(_short_text)]
Reminders = Annotated[tuple[float, ...], BeforeValidator(_reminders)]
BlockedMembers = Annotated[str, _one_of("kick", "ban", "report")]
Policy = Annotated[str, _one_of("auto", "review", "closed")]
LogLevel = Annotated[str, _one_of("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", change=str.upper)]
LogFormat = Annotated[str, _one_of("auto", "console", "json")]


_SIGNING_SECRET = "_signing_secret"  # noqa: S105 - how the names of some settings end


# --- the settings ------------------------------------------------------------------------------


class Settings(BaseModel):
    """The values Knock runs with. Made by ``load_settings``; by hand it reads nothing but its arguments."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    # the room
    new_room_id: RoomID = Field(
        description="ID of the room or space that people are invited to; begins with !."
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

    # limits
    max_requests_per_window: Count = Field(
        60, description="Knocks that pass the door in one window; more are held."
    )
    spam_window_seconds: Annotated[float, _seconds(1, YEAR)] = Field(
        60.0, description="Length of a window, seconds."
    )
    max_requests_per_homeserver: Count | None = Field(
        None, description="Knocks from one homeserver in one window; unset: the door's total."
    )
    max_requests_per_sender: Count | None = Field(
        None,
        description="Requests from one network address in one window; unset: a third of the door's total.",
    )
    trusted_proxies: Networks = Field((), description="Proxies whose X-Forwarded-For is believed.")
    knock_cooldown: Annotated[float, _seconds(0, YEAR)] = Field(
        3600.0, description="Seconds in which a repeat counts on the old knock."
    )
    knock_lifetime: Annotated[float, _seconds(60, YEAR)] = Field(
        604800.0, description="Seconds in which delivery is tried."
    )

    # delivery
    request_delay: Annotated[float, _seconds(0, 3600)] = Field(
        0.5, description="Seconds between calls that change something, over the installation."
    )
    max_retries: Annotated[int, _whole(0, 100)] = Field(
        5, description="Quick repeats of a call before the knock goes back to wait."
    )
    base_backoff_delay: Annotated[float, _seconds(0.01, 3600)] = Field(
        1.0, description="Seconds before the first repeat; doubled each time."
    )
    delivery_concurrency: Annotated[int, _whole(1, 256)] = Field(
        64, description="Invitations on their way at once, in one process."
    )

    # after the invite
    welcome_message: str | None = Field(
        None, description="Markdown sent when somebody has joined; unset: a short greeting; off: nothing."
    )
    welcome_delay: Annotated[float, _seconds(0, 86400)] = Field(
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
    invite_lifetime: Annotated[float, _seconds(0, YEAR)] = Field(
        604800.0, description="Seconds after which an unanswered invite is withdrawn; 0: never."
    )
    hold_lifetime: Annotated[float, _seconds(0, YEAR)] = Field(
        2592000.0, description="Seconds after which a held knock that nobody decided expires; 0: never."
    )
    invite_check_interval: Annotated[float, _seconds(5, 86400)] = Field(
        300.0, description="Seconds between two comparisons of the room with the record."
    )
    blocklist_scan_interval: Annotated[float, _seconds(5, 86400)] = Field(
        600.0, description="Seconds between two scans of the room for people on the block-list."
    )
    blocked_members: BlockedMembers = Field(
        "kick", description="What happens to a member on the block-list: kick, ban, or report."
    )
    watchdog_dry_run: Switch = Field(False, description="The scan removes nobody and only reports.")

    # what is kept
    data_dir: Path = Field(Path("data"), description="Folder for everything Knock keeps.")
    store_url: StoreAddress | None = Field(
        None, description="Where the store is; unset: knock.db in DATA_DIR."
    )
    store_notify_url: PostgresAddress | None = Field(
        None,
        description="Address of the same PostgreSQL past a pooler, to hear of the other processes' work.",
    )
    store_pool_size: Annotated[int, _whole(1, 1000)] = Field(
        10, description="Connections to PostgreSQL of one process, at the most."
    )
    secret_key: SecretStr | None = Field(None, description="Encrypts tokens at rest; 32 characters or more.")
    blocklist_file: Path = Field(
        Path("blocked_users.txt"), description="Block-list of the first Knock, read on first start."
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
    port: Annotated[int, _whole(0, 65535)] = Field(
        8000, description="Port that mknock serve listens on; 0: any free one."
    )
    workers: Annotated[int, _whole(1, 64)] = Field(1, description="Processes that mknock serve starts.")
    log_level: LogLevel = Field("INFO", description="Least important log lines that are written.")
    log_format: LogFormat = Field(
        "auto", description="Look of a log line; auto: console on a terminal, otherwise json."
    )

    warnings: tuple[str, ...] = ()
    """Not a setting: what ``load_settings`` noticed, one sentence each, for the log."""

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
    def limit_per_homeserver(self) -> int:
        """Knocks of one homeserver in one window; follows the door's total unless set."""
        return self.max_requests_per_homeserver or self.max_requests_per_window

    @property
    def limit_per_sender(self) -> int:
        """Requests of one network address in one window; a third of the door's total unless set.

        So a single sender can never fill the door's window for everybody else.
        """
        return self.max_requests_per_sender or max(1, self.max_requests_per_window // 3)

    @property
    def form_secrets(self) -> bool:
        """Whether deliveries must prove where they come from."""
        return self.form_token is not None or bool(self.signing_secrets)

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
        return (*secrets, *_passwords(self.store_url), *_passwords(self.store_notify_url))


NAMES = tuple(name.upper() for name in Settings.model_fields if name != "warnings")
FILE_NAMES = tuple(f"{name}_FILE" for name in NAMES)
KNOWN = frozenset((*NAMES, *FILE_NAMES, "ENV_FILE", "STATE_DIRECTORY"))


# --- reading them ------------------------------------------------------------------------------


@dataclass
class _Findings:
    """What is wrong, one sentence a setting (the first one found), and what is only odd."""

    problems: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def problem(self, name: str, sentence: str) -> None:
        self.problems.setdefault(name, sentence)

    def sentences(self) -> list[str]:
        """The problems in the order of the settings; those of the .env file itself come first."""
        places = {name: place for place, name in enumerate(NAMES)}
        return [self.problems[name] for name in sorted(self.problems, key=lambda name: places.get(name, -1))]


def load_settings(
    environ: Mapping[str, str] | None = None, env_file: Path | None = None, *, require_sign_in: bool = True
) -> Settings:
    """Read all settings and check them.

    ``environ`` is the process's environment unless given, ``env_file`` what
    ENV_FILE names or ``.env``; the environment wins over the file, and an empty value
    counts as unset. ``require_sign_in=False`` is for commands that need no
    account, or find a session in the store.

    Raises:
        SettingsError: with every problem there is.
    """
    surroundings = dict(os.environ if environ is None else environ)
    findings = _Findings()
    written = _written(surroundings, env_file, findings)
    findings.warnings += _strange_names(written, surroundings)
    given = _values(_filled(written) | _filled(surroundings), findings)
    _check_pairs(given, findings)
    _check_store(given, findings)
    if require_sign_in and not findings.problems.keys() & _SIGN_IN_NAMES and not given.keys() & set(SignIn):
        findings.problem("MATRIX_ACCESS_TOKEN", NO_SIGN_IN)
    findings.warnings += _short_secrets(given)
    settings = _checked(given, findings)
    if settings is not None and settings.allow_open_api and settings.api_key is not None:
        findings.problem(
            "API_KEY", "API_KEY and ALLOW_OPEN_API=true contradict each other: keep one of them."
        )
    if settings is None or findings.problems:
        raise SettingsError(findings.sentences(), findings.warnings)
    return settings


def _filled(values: Mapping[str, str]) -> dict[str, str]:
    """Without the empty ones: compose passes ``NAME=`` for what nobody set."""
    return {name: value for name, value in values.items() if value.strip()}


def _written(surroundings: Mapping[str, str], env_file: Path | None, findings: _Findings) -> dict[str, str]:
    """What the .env file says. Nothing is expanded: a ``$`` is a dollar sign."""
    named = env_file or surroundings.get("ENV_FILE")
    path = Path(named or ".env")
    try:
        with path.open(encoding="utf-8-sig") as stream:
            return _bindings(stream.read(), path, findings)
    except FileNotFoundError:
        if named:
            findings.problem("ENV_FILE", f"ENV_FILE names {path}, which does not exist.")
    except UnicodeDecodeError:
        findings.problem("ENV_FILE", f"{path} is not UTF-8 text: save it as UTF-8.")
    except OSError as error:
        _say_unreadable(path, error, findings, needed=bool(named))
    return {}


def _say_unreadable(path: Path, error: OSError, findings: _Findings, *, needed: bool) -> None:
    """Only a file that somebody named is needed: systemd reads a .env that its service may not."""
    if needed:
        findings.problem("ENV_FILE", f"ENV_FILE names {path}, which cannot be read ({error.strerror}).")
    else:
        findings.warnings.append(f"{path} cannot be read ({error.strerror}) and was left out.")


def _bindings(text: str, path: Path, findings: _Findings) -> dict[str, str]:
    values: dict[str, str] = {}
    for binding in parse_stream(StringIO(text)):
        if binding.error:
            line = binding.original.line
            findings.problem(
                f"line {line}", f"Line {line} of {path} is not NAME=value: mend it, or put # before it."
            )
        elif binding.key is not None:
            values[binding.key] = binding.value or ""
    return values


def _values(given: Mapping[str, str], findings: _Findings) -> dict[str, str]:
    """Each setting that has a value, by name; those read from files included."""
    values: dict[str, str] = {}
    for name in NAMES:
        value = _value(name, given, findings)
        if value and PLACEHOLDER in value.lower():
            findings.problem(
                name, f"{name} still holds the placeholder of .env.example: fill it in, or delete the line."
            )
        elif value:
            values[name] = value
    if "DATA_DIR" not in values and "STATE_DIRECTORY" in given:
        values["DATA_DIR"] = given["STATE_DIRECTORY"].split(":")[0]
    return values


def _value(name: str, given: Mapping[str, str], findings: _Findings) -> str | None:
    value, path = given.get(name), given.get(f"{name}_FILE")
    if value is not None and path is not None:
        findings.problem(name, f"{name} and {name}_FILE are both set: keep one of them.")
        return None
    if path is not None:
        value = _content(name, Path(path), findings)
    # Spaces around a token are slips; around a password they may be meant.
    return value if value is None or name == "MATRIX_PASSWORD" else value.strip()


def _content(name: str, path: Path, findings: _Findings) -> str | None:
    try:
        value = path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        findings.problem(name, f"{name}_FILE names {path}, which cannot be read ({why}).")
        return None
    if not value:
        findings.problem(name, f"{name}_FILE names {path}, which is empty.")
    return value


_SIGN_IN_NAMES = frozenset((*SignIn, "MATRIX_USER", "BEEPER_LOGIN_CODE"))
_PAIRS = (
    ("MATRIX_USER", "MATRIX_PASSWORD"),
    ("MATRIX_PASSWORD", "MATRIX_USER"),
    ("BEEPER_LOGIN_CODE", "BEEPER_LOGIN_EMAIL"),
)


def _check_pairs(given: Mapping[str, str], findings: _Findings) -> None:
    for one, other in _PAIRS:
        if one in given and other not in given and other not in findings.problems:
            findings.problem(one, f"{one} is set without {other}: set both, or neither.")


def _check_store(given: Mapping[str, str], findings: _Findings) -> None:
    in_postgres = given.get("STORE_URL", "").startswith(POSTGRES)
    if in_postgres and "SECRET_KEY" not in given:
        findings.problem(
            "SECRET_KEY",
            "SECRET_KEY is missing: it encrypts the tokens in PostgreSQL, which needs it;"
            ' make one with "openssl rand -hex 32".',
        )
    if "STORE_NOTIFY_URL" in given and not in_postgres:
        findings.problem(
            "STORE_NOTIFY_URL",
            "STORE_NOTIFY_URL is set, but STORE_URL does not name PostgreSQL: leave it out.",
        )


_SHORT = {"SECRET_KEY": 32, "API_KEY": 16, "FORM_TOKEN": 16}


def _short_secrets(given: Mapping[str, str]) -> Iterator[str]:
    for name, length in _SHORT.items():
        if name in given and len(given[name]) < length:
            yield (
                f"{name} has fewer than {length} characters and might be guessed: "
                'make one with "openssl rand -hex 32".'
            )


def _checked(given: Mapping[str, str], findings: _Findings) -> Settings | None:
    values: dict[str, Any] = {name.lower(): value for name, value in given.items()}
    try:
        return Settings.model_validate({**values, "warnings": tuple(findings.warnings)})
    except ValidationError as error:
        for detail in error.errors(include_url=False, include_input=False):
            name = str(detail["loc"][0]).upper()
            findings.problem(name, f"{name} {_what_is_wrong(detail['type'], detail.get('ctx', {}))}")
        return None


def _what_is_wrong(kind: str, context: Mapping[str, object]) -> str:
    if kind == "missing":
        return f"is missing: set it to the ID of the room to invite people to ({WHERE_IS_THE_ROOM_ID})."
    return str(context.get("error", "is not valid: see docs/env_vars.md."))


# --- names that are probably mistakes ----------------------------------------------------------

_OF_OTHERS = re.compile(
    r"(COMPOSE|DOCKER|BUILDKIT|UVICORN|CADDY|SSL|LC|OTEL)_.*|PYTHON.*|TZ|LANG|LANGUAGE|WEB_CONCURRENCY|"
    r"FORWARDED_ALLOW_IPS|(HTTPS?|ALL|NO)_PROXY|NO_COLOR|FORCE_COLOR|TMPDIR|PATH|HOME|USER|UID|GID"
)
"""What a .env file may hold for the programs beside Knock that read the same file."""


def _strange_names(written: Mapping[str, str], surroundings: Mapping[str, str]) -> Iterator[str]:
    """A sentence for each name in the .env file that is no setting, and in the environment that nearly is."""
    for name in sorted(written.keys() - KNOWN):
        if not _OF_OTHERS.fullmatch(name.upper()):
            nearest = _nearest(name, lambda length: 2 if length >= 6 else 1)
            hint = f"did you mean {nearest}?" if nearest else "see docs/env_vars.md for the names there are."
            yield f"{name} in the .env file is not a setting and was left out: {hint}"
    for name in sorted(surroundings.keys() - KNOWN - written.keys()):
        nearest = _nearest(name, _allowed_edits)
        if nearest:
            yield f"{name} in the environment is not a setting: did you mean {nearest}?"


def _allowed_edits(length: int) -> int:
    """How far a name may be from a setting of this length and still look meant.

    An environment holds many short names that have nothing to do with Knock:
    GPG_KEY, which Python's container sets, is two edits from API_KEY, and
    HISTFILE from HOST_FILE (so the ending does not count as length).
    """
    return 2 if length >= 8 else 1 if length >= 6 else 0


def _nearest(name: str, allowed: Callable[[int], int]) -> str | None:
    """The known name with the fewest edits, if those are few enough. Case counts for nothing."""
    upper = name.upper()
    near = [
        (edits(upper, known), known)
        for known in sorted(KNOWN)
        if abs(len(upper) - len(known)) <= 2 and len(set(upper) ^ set(known)) <= 4
    ]
    fit = [pair for pair in near if pair[0] <= allowed(min(len(upper), len(pair[1].removesuffix("_FILE"))))]
    return min(fit)[1] if fit else None


def edits(one: str, other: str) -> int:
    """How many letters to insert, drop, change or swap with their neighbour to make one text the other.

    (Damerau-Levenshtein, restricted: no letter is touched twice.)
    """
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, left in enumerate(one, 1):
        before, above, row = row, before, [i]
        for j, right in enumerate(other, 1):
            best = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (left != right))
            if i > 1 and j > 1 and left == other[j - 2] and one[i - 2] == right:
                best = min(best, above[j - 2] + 1)
            row.append(best)
    return row[-1]

"""The kinds of values. Each error is the rest of a sentence that begins with the setting's name."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr

YEAR = 365 * 86400.0
WHERE_IS_THE_ROOM_ID = "in Element, open the room's settings, then Advanced, and copy the internal room ID"


def shown(value: object) -> str:
    """The value for an error, unless it is so long that it might be a secret in the wrong place."""
    text = str(value)
    return repr(text) if len(text) <= 20 else f"{len(text)} characters long"


def whole(low: int, high: int) -> BeforeValidator:
    def read(value: object) -> int:
        text = str(value)
        if not re.fullmatch(r"[0-9]{1,9}", text) or not low <= int(text) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}, but is {shown(text)}.")
        return int(text)

    return BeforeValidator(read)


UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def duration(value: object) -> float:
    """Seconds of a time such as 90, 1.5h or 7d; -1 if it is none."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+) *([smhdw]?)", str(value))
    return float(match[1]) * UNITS[match[2]] if match else -1.0


def seconds(low: float, high: float) -> BeforeValidator:
    def read(value: object) -> float:
        seconds = duration(value)
        if not low <= seconds <= high:
            limits = f"from {low:g} to {high:g}"
            raise ValueError(f"must be seconds {limits}, or a time such as 12h or 7d, but is {shown(value)}.")
        return seconds

    return BeforeValidator(read)


def one_of(*allowed: str, change: Callable[[str], str] = str.lower) -> BeforeValidator:
    def read(value: object) -> str:
        text = change(str(value))
        if text not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}, but is {shown(value)}.")
        return text

    return BeforeValidator(read)


def _switch(value: object) -> bool:
    text = str(value).lower()
    if text in ("true", "yes", "on", "1"):
        return True
    if text in ("false", "no", "off", "0"):
        return False
    raise ValueError(f"must be true or false, but is {shown(value)}.")


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


def passwords(address: SecretStr | None) -> Iterator[str]:
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


def _list_room(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    fits = re.fullmatch(r"![^\s?#\"']+|#[^\s\"']+:[^\s?#\"']+", text)
    if not fits or not text.isprintable() or len(text.encode()) > 255:
        raise ValueError("must be a room's ID, which begins with !, or its alias, such as #list:example.org.")
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


def slug(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9-]{1,64}", value):
        raise ValueError(f"must be 1 to 64 small letters, digits and hyphens, but is {shown(value)}.")
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
        raise ValueError(f"must list IP addresses and networks, but one is {shown(text)}.") from None
    if network.prefixlen == 0:
        raise ValueError(f"must not hold {text}: any sender could then choose the address Knock sees.")
    return network


def _short_text(value: str) -> str:
    if len(value) > 500:
        raise ValueError("must be at most 500 characters.")
    return value


def _colour(value: str) -> str:
    digits = value.removeprefix("#").lower()
    if not re.fullmatch("[0-9a-f]{3}|[0-9a-f]{6}", digits):
        raise ValueError(f"must be a colour such as #2e7d32, but is {shown(value)}.")
    return "#" + (digits if len(digits) == 6 else "".join(2 * digit for digit in digits))


def _long_text(value: str) -> str:
    if len(value) > 20_000:
        raise ValueError("must be at most 20,000 characters.")
    return value


def _reminders(value: object) -> tuple[float, ...]:
    if not isinstance(value, str):
        return tuple(value) if isinstance(value, Iterable) else ()
    words = [] if value.lower() == "off" else re.split(r"[,\s]+", value)
    times = tuple(duration(word) for word in words if word)
    if not all(60 <= time <= YEAR for time in times) or list(times) != sorted(set(times)):
        raise ValueError(
            "must list times after the invite in their order, each from 60 s to a year, such as 1d, 3d, or be off,"
            f" but is {shown(value)}."
        )
    if len(times) > 2:
        raise ValueError("must list at most two times: nobody is reminded more often.")
    return times


MATCH_ACTIONS = ("refuse", "hold", "log")


def _matches(value: object) -> tuple[tuple[str, str], ...]:
    """What is done about kinds of match: ``number=hold, other_server=log``, or a table of the same."""
    if not isinstance(value, str):
        items = value.items() if isinstance(value, Mapping) else value if isinstance(value, Iterable) else ()
        return tuple((str(kind), _match_action(action)) for kind, action in items)
    words = (word.partition("=") for word in re.split(r"[,\s]+", value) if word)
    return tuple((kind, _match_action(action)) for kind, _, action in words)


def _match_action(value: object) -> str:
    if value not in MATCH_ACTIONS:
        raise ValueError(
            f"must say refuse, hold or log of each kind, such as number=hold, but says {shown(value)}."
        )
    return str(value)


SIGNALS = ("speed", "name_pattern", "links")
SIGNAL_ACTIONS = ("off", "log", "hold")


def _signals(value: object) -> tuple[tuple[str, str], ...]:
    """What is done about risk signals: ``links=hold, speed=log``, or a table of the same."""
    if not isinstance(value, str):
        items = value.items() if isinstance(value, Mapping) else value if isinstance(value, Iterable) else ()
        return tuple(_signal(str(name), str(action)) for name, action in items)
    words = (word.partition("=") for word in re.split(r"[,\s]+", value) if word)
    return tuple(_signal(name, action) for name, _, action in words)


def _signal(name: str, action: str) -> tuple[str, str]:
    if name not in SIGNALS:
        raise ValueError(f"names a signal that there is not ({name[:40]}): there are {', '.join(SIGNALS)}.")
    if action not in SIGNAL_ACTIONS:
        raise ValueError(
            f"must say off, log or hold of each signal, such as links=hold, but says {shown(action)}."
        )
    return name, action


RiskSignals = Annotated[tuple[tuple[str, str], ...], BeforeValidator(_signals)]
CountOrNever = Annotated[int, whole(0, 1_000_000)]
Matches = Annotated[tuple[tuple[str, str], ...], BeforeValidator(_matches)]
Address = Annotated[str, AfterValidator(_address)]
Count = Annotated[int, whole(1, 1_000_000)]
Switch = Annotated[bool, BeforeValidator(_switch)]
Word = Annotated[SecretStr, AfterValidator(_one_word)]
RecoveryKey = Annotated[SecretStr, AfterValidator(_groups)]
RoomID = Annotated[SecretStr, AfterValidator(_room_id)]
ListRoom = Annotated[SecretStr, AfterValidator(_list_room)]
WebhookSecret = Annotated[SecretStr, AfterValidator(_webhook_secret)]
Email = Annotated[str, AfterValidator(_email)]
MatrixUser = Annotated[str, AfterValidator(_matrix_user)]
ServerName = Annotated[str, AfterValidator(_server_name)]
StoreAddress = Annotated[SecretStr, AfterValidator(_store_address)]
PostgresAddress = Annotated[SecretStr, AfterValidator(_postgres_address)]
Slug = Annotated[str, AfterValidator(slug)]
Networks = Annotated[tuple[Network, ...], BeforeValidator(_networks)]
ShortText = Annotated[str, AfterValidator(_short_text)]
LongText = Annotated[str, AfterValidator(_long_text)]
Colour = Annotated[str, AfterValidator(_colour)]
Reminders = Annotated[tuple[float, ...], BeforeValidator(_reminders)]
BlockedMembers = Annotated[str, one_of("kick", "ban", "report")]
Policy = Annotated[str, one_of("auto", "review", "prove-first", "closed")]
LogLevel = Annotated[str, one_of("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", change=str.upper)]
LogFormat = Annotated[str, one_of("auto", "console", "json")]


def plain(secret: SecretStr | None) -> str:
    """A secret's text; "" for none."""
    return secret.get_secret_value() if secret else ""

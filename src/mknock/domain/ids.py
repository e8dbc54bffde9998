"""Matrix IDs: what one is, and how to read what people type instead.

Three readers, from strict to helpful:

``MatrixID.of``
    for what a homeserver, a file or the store says: nothing is changed.
``as_the_only_value``
    for a form whose owner did not say which answer is the ID: a full ID
    or a link to a person, and nothing is guessed.
``parse_matrix_id``
    for the field that asks for the ID: mends what keyboards, clipboards and
    other networks' habits do to it.

Sources: Matrix specification, appendices: "User Identifiers" (with "Historical
User IDs"), "Server Name", "matrix.to navigation" and "Matrix URI scheme",
https://spec.matrix.org/latest/appendices/. All lengths are in bytes of UTF-8.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Self
from urllib.parse import unquote

from mknock.domain.errors import InvalidMatrixID

MAX_ID_BYTES = 255
"""Of the whole ID, ``@`` and ``:`` included; a user ID has to fit into a state key."""
MAX_SERVER_BYTES = 230
"""The specification's recommendation, which leaves room for a user name."""
MAX_TYPED = 2000
"""Characters; a longer text is not looked at. Links with several ``via`` stay far below."""


@dataclass(frozen=True, slots=True)
class MatrixID:
    """A Matrix user ID, ``@localpart:server``.

    Two IDs are equal when they are the same on the wire. To ask whether they
    are the same person, compare ``key``.
    """

    localpart: str
    server: str

    def __str__(self) -> str:
        return f"@{self.localpart}:{self.server}"

    @property
    def key(self) -> str:
        """What block-list and repeats compare: the ID in lower case.

        ``@Alice:x`` and ``@alice:x`` differ on the wire, but homeservers have
        long refused to register a name that differs in case only, so treating
        them as one costs nobody and closes an easy way round the block-list.
        """
        return key_of(str(self))

    @classmethod
    def of(cls, text: str) -> Self:
        """Read an ID exactly as written; ``str()`` of the result is ``text`` again.

        Historical IDs are accepted, except the empty user name and what
        cannot be seen (blanks, control and invisible characters).

        Raises:
            InvalidMatrixID: it is not a full ID.
        """
        if common := _common(text):
            return cls(common["localpart"], common["server"])
        if len(text) > MAX_ID_BYTES:
            raise InvalidMatrixID(TOO_LONG)
        localpart, _, server = text[1:].partition(":")
        if text[:1] != "@" or not _is_localpart(localpart) or not server.isascii() or not _server(server):
            raise InvalidMatrixID(NOT_AN_ID)
        if not _fits(text):
            raise InvalidMatrixID(TOO_LONG)
        return cls(localpart, server)


def key_of(user_id: str) -> str:
    """The key (see MatrixID.key) of an ID that a homeserver gave, whatever it looks like."""
    return user_id.lower()


# --- what we say --------------------------------------------------------------------------------
# No sentence repeats what was typed: it may be somebody's address, a room's, or an attack on a log.

_LOOKS_LIKE = "a Matrix ID looks like @alice:example.org"
EMPTY = f"No Matrix ID was given; {_LOOKS_LIKE}."
E_MAIL = f"That looks like an e-mail address; {_LOOKS_LIKE}."
ROOM_ALIAS = f"That is the address of a room; give your own Matrix ID instead: {_LOOKS_LIKE}."
ROOM_ID = f"That is the ID of a room; give your own Matrix ID instead: {_LOOKS_LIKE}."
ROOM_LINK = f"That link leads to a room; give your own Matrix ID instead: {_LOOKS_LIKE}."
SEVERAL = "That names more than one Matrix ID; give only your own."
NO_SERVER = "The homeserver is missing; write the whole Matrix ID, such as @alice:example.org."
NO_LOCALPART = "The user name is missing; write the whole Matrix ID, such as @alice:example.org."
BAD_SERVER = f"What follows the colon is not the name of a homeserver; {_LOOKS_LIKE}."
BAD_LOCALPART = f"The user name holds characters that cannot be part of one; {_LOOKS_LIKE}."
TOO_LONG = f"A Matrix ID has at most {MAX_ID_BYTES} bytes and this is longer; give only the ID."
NOT_AN_ID = "That is not a Matrix ID, which looks like @alice:example.org."


# --- the grammar --------------------------------------------------------------------------------

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_WORD = r"[A-Za-z0-9._=\-/+]+"  # the modern localpart; capitals, because phones add them

_COMMON = re.compile(
    r"@(?P<localpart>[a-z0-9._=\-/+]+):"
    r"(?P<server>(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?)"
)
"""What nearly everybody has: the modern grammar at a DNS name with a dot."""

_SERVER = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]{2,45}\]|[^:\[\]]+)(?::(?P<port>[0-9]{1,5}))?")
_DNS_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")

_OTHER_TODAY = re.compile("[ßẞς]")
"""Python's codec is IDNA 2003, which reads these as ss and σ: other hosts today (RFC 5894, section 7.2)."""
_PROSE_BEGINS = re.compile(r"[!-~][。｡][^!-~]|[A-Za-z][^!-~.。｡]+\Z|[^!-~.。｡][A-Za-z0-9-]+\Z")
"""Where a sentence goes on without a blank, as in Chinese: "example.org谢谢", "example.org。谢谢"."""
_NAME_CATEGORIES = frozenset({"Ll", "Lu", "Lo", "Lm", "Mn", "Mc", "Nd"})

# Unicode's Default_Ignorable_Code_Point, control characters but blanks, and U+FFFC, left by dictation.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    "\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffc"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_BLANKS = re.compile(r"[\s\u2800]+")
_PERCENT = re.compile(r"%[0-9A-Fa-f]{2}")
_SECOND_SIGIL = re.compile(r"(?<!\w)@")


def _common(text: str) -> re.Match[str] | None:
    parts = _COMMON.fullmatch(text) if len(text) <= MAX_ID_BYTES else None
    return parts if parts and len(parts["server"]) <= MAX_SERVER_BYTES else None


def _fits(matrix_id: str) -> bool:
    return len(matrix_id.encode()) <= MAX_ID_BYTES


def _is_localpart(text: str) -> bool:
    """Whether it may stand before the colon: one or more characters that can be seen, not a colon."""
    if not text or ":" in text or _BLANKS.search(text) or _INVISIBLE.search(text):
        return False
    return text.isprintable()  # False for lone surrogates, which JSON can smuggle in, and unassigned ones


def _server(text: str) -> str | None:
    """Return the server name in lower case and ASCII, or None if it is not one."""
    parts = _SERVER.fullmatch(text) if len(text) <= MAX_SERVER_BYTES else None
    if parts is None or int(parts["port"] or 0) > 65535:
        return None
    host = _ip_literal(parts["host"]) if text.startswith("[") else _host(parts["host"])
    if host is None:
        return None
    server = f"{host}:{parts['port']}" if parts["port"] else host
    return server if len(server) <= MAX_SERVER_BYTES else None


def _ip_literal(bracketed: str) -> str | None:
    try:
        IPv6Address(bracketed[1:-1])
    except AddressValueError:
        return None
    return bracketed.lower()


def _host(text: str) -> str | None:
    """Return a DNS name or an IPv4 address in lower case; other scripts become punycode."""
    name = (text if text.isascii() else _punycode(text)).lower()
    if not _DNS_NAME.fullmatch(name):
        return None
    # No top-level domain is a number, so that is an IPv4 address or a mistake, such as a port alone.
    return name if not name.rpartition(".")[2].isdigit() or _is_ipv4(name) else None


def _is_ipv4(text: str) -> bool:
    try:
        IPv4Address(text)
    except AddressValueError:
        return False
    return True


def _punycode(host: str) -> str:
    """Return the ASCII form of an internationalised name, or "" if there is none beyond doubt."""
    if _OTHER_TODAY.search(host) or _PROSE_BEGINS.search(host) or not all(map(_is_in_names, host)):
        return ""
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError:
        return ""


def _is_in_names(character: str) -> bool:
    """Whether a host name may hold it: letters, marks, digits, hyphens and the dots of IDNA."""
    return character in "-.。｡" or unicodedata.category(character) in _NAME_CATEGORIES


# --- reading what was typed ---------------------------------------------------------------------

_LEFT = " \"'`´“”„‟‚‘’‛«»‹›「『【《〈<([{*~|"
_RIGHT = " \"'`´“”„‟‚‘’‛«»‹›」』】》〉>)]}*~|.,;:!?…。，、；：！？"

_FOLDED = (
    {0xFF01 + i: 0x21 + i for i in range(94)} | {ord(c): "@" for c in "﹫"} | {ord(c): ":" for c in "﹕︓∶"}
)
"""Full-width ASCII, as East Asian keyboards write it, and what else passes for ``@`` and ``:``."""

_WEB_LINK = re.compile(
    r"(?:(?:[a-z][a-z0-9+.\-]*://)?[^\s/#?@<>()\[\]\"']+(?:/[^\s#]*)?#/"
    r"|(?:https?://)?(?:www\.)?matrix\.to/(?!%23/)(?:#(?=@|%40))?)(?:user/|room/)?(?P<id>\S+)",
    re.IGNORECASE | re.ASCII,
)
"""matrix.to, and Element or any other client in the browser; matrix.to also without its ``#`` or a slash."""

_MATRIX_URI = re.compile(
    r"(?:web\+)?matrix:(?://[^/\s]*/)?(?P<type>u|user|r|room|roomid)/(?P<id>\S+)", re.IGNORECASE | re.ASCII
)
_SIGILS = {"u": "@", "user": "@", "r": "#", "room": "#", "roomid": "!"}

_IN_TEXT = re.compile(
    r"(?:(?<![A-Za-z0-9@])@|\bmatrix:u(?:ser)?/@?)"
    r"(?P<localpart>[^\s:@<>()\[\]{}\"'`“”‘’«»,;|\\*!?#&%]{1,253}):"
    rf"(?P<server>(?:\[[0-9A-Fa-f:.]{{2,45}}\]|(?:{_LABEL}\.)+{_LABEL}|[Ll]ocalhost)(?::[0-9]{{1,5}})?)"
    r"(?!_*[^\W_]|[-@%]|:\S| \.\w)"
)
"""A full ID among other words. Its server has a dot: "@alice:thanks" in a sentence is no ID."""

_BARE = re.compile(rf"@?(?P<localpart>(?!/){_WORD}):(?P<server>\S+)")
_FEDIVERSE = re.compile(rf"@(?P<localpart>{_WORD})@(?P<server>\S+)")
_LABELLED = re.compile(rf"[A-Za-z][A-Za-z ]{{0,30}}:(?P<localpart>(?!/){_WORD}):(?P<server>\S+)")
_ALONE = re.compile(rf"@?(?P<localpart>(?=[^A-Za-z0-9]*[A-Za-z0-9]){_WORD})")
_E_MAIL = re.compile(r"(?:mailto:)?[^\s@:]+@[^\s@:]+(?::[0-9]+)?", re.IGNORECASE)


def parse_matrix_id(typed: str, *, default_server: str | None = None) -> MatrixID:
    """Read the Matrix ID that somebody meant.

    Mends blanks and invisible characters, quotes and brackets, a missing
    ``@``, links, percent-encoding, ``@user@server``, trailing punctuation and
    an upper-case host; takes the one ID out of a text that names just one. A
    name alone belongs to ``default_server``, if there is one. The case of a
    user name is kept, since it counts on the wire. Reading the result again
    gives the same.

    Raises:
        InvalidMatrixID: with one sentence for the person who typed.
    """
    if common := _common(typed):
        return MatrixID(common["localpart"], common["server"])
    if len(typed) > MAX_TYPED:
        raise InvalidMatrixID(TOO_LONG)
    return _mended(_visible(typed), default_server)


def as_the_only_value(text: str) -> MatrixID | None:
    """Return the ID if the whole text is one: ``@user:server``, or a link to a person.

    Blanks around it, invisible characters and an upper-case host are mended as
    in ``parse_matrix_id``, which then gives the same; nothing is guessed.
    """
    if len(text) > MAX_TYPED:
        return None
    return _whole(_visible(text))


def _visible(text: str) -> str:
    """Return the text as it looks: nothing invisible, plain ``@`` and ``:``, single blanks inside only."""
    return _BLANKS.sub(" ", _INVISIBLE.sub("", text).translate(_FOLDED)).strip()


def _exact(text: str) -> MatrixID | None:
    """Return the ID if the text is one as it stands, its host put into lower case and ASCII."""
    localpart, _, typed_server = text[1:].partition(":")
    if text[:1] != "@" or not _is_localpart(localpart) or _PERCENT.search(text):
        return None
    if _SECOND_SIGIL.search(text, 1):  # "@alice,@bob:example.org" is a list, not a historical ID
        return None
    server = _server(typed_server)
    matrix_id = MatrixID(localpart, server) if server else None
    return matrix_id if matrix_id and _fits(str(matrix_id)) else None


def _whole(text: str) -> MatrixID | None:
    """Return the ID if the text as it stands is one, or a link to a person."""
    return _exact(text) or _exact(_linked(text) or "")


def _mended(text: str, default_server: str | None) -> MatrixID:
    """Try every way to read the text, from what is certain to what is guessed."""
    decoded = _decoded(text)
    for form in (text, _unwrapped(text), decoded, _unwrapped(decoded)):
        if found := _whole(form):
            return found
    for form in (_unwrapped(text), _unwrapped(decoded)):
        if (target := _linked(form)) is not None:
            return _person_behind(target)
    found = _one_in(decoded) or _guessed(_unwrapped(decoded), default_server)
    if found is None:
        raise InvalidMatrixID(_why_not(_unwrapped(decoded)))
    return found


def _person_behind(target: str) -> MatrixID:
    """Read what a link leads to. A name alone is not enough: a link says which server it means."""
    if target[:1] in {"#", "!", "+", "$"}:
        raise InvalidMatrixID(ROOM_LINK)
    found = _guessed(target, None)
    if found is None:
        raise InvalidMatrixID(_why_not(target))
    return found


def _decoded(text: str) -> str:
    """Undo percent-encoding, twice at most, since links get encoded again when they are passed on."""
    for _ in range(2):
        try:
            text = _visible(unquote(text, errors="strict"))
        except UnicodeDecodeError:
            break
    return text


def _unwrapped(text: str) -> str:
    """Drop quotes, brackets and emphasis around the text, and the punctuation of the sentence it ended."""
    core = text.lstrip(_LEFT).rstrip(_RIGHT)
    if core.count("[") > core.count("]"):
        core += "]"  # it belonged to an IPv6 address
    return core


def _linked(text: str) -> str | None:
    """Return the identifier, with its sigil, that a whole text links to; None if it is no link."""
    if uri := _MATRIX_URI.fullmatch(text):
        sigil = _SIGILS[uri["type"].lower()]
        return sigil + _identifier(uri["id"]).removeprefix(sigil)
    if link := _WEB_LINK.fullmatch(text):
        return _identifier(link["id"])
    return None


def _identifier(link_tail: str) -> str:
    """Return what stands before ``?via=…`` and before further path segments, decoded."""
    name, colon, server = _decoded(link_tail.partition("?")[0]).partition(":")
    return name + colon + server.partition("/")[0]


def _one_in(text: str) -> MatrixID | None:
    """Return the only ID that occurs among other words.

    Raises:
        InvalidMatrixID: there are different ones.
    """
    found = {_exact(f"@{hit['localpart']}:{hit['server']}") for hit in _IN_TEXT.finditer(text)} - {None}
    if len(found) > 1:
        raise InvalidMatrixID(SEVERAL)
    return found.pop() if found else None


def _guessed(text: str, default_server: str | None) -> MatrixID | None:
    """Mend inner blanks, a missing ``@``, another network's ``@user@server``, and a missing server."""
    tight = _tightened(text)
    found = _exact(tight)
    if found and _is_telling(found.server, default_server):
        return found
    for pattern in (_FEDIVERSE, _BARE, _LABELLED):
        parts = pattern.fullmatch(tight)
        found = _exact(f"@{parts['localpart']}:{parts['server']}") if parts else None
        if found and _is_telling(found.server, default_server):
            return found
    alone = _ALONE.fullmatch(tight) if default_server else None
    return _exact(f"@{alone['localpart']}:{default_server}") if alone else None


def _tightened(text: str) -> str:
    """Drop what keyboards and habit add inside: blanks beside ``:`` and ``.``, a second ``@``, a scheme."""
    text = re.sub(r"^@[@ ]+", "@", text)
    text = re.sub(r" ?([:.]) ?", r"\1", text)
    return re.sub(r"^(@[^:]*:)https?://([^/]+)/?$", r"\1\2", text)


def _is_telling(server: str, default_server: str | None) -> bool:
    """Whether a guess may rest on this server name: "Discord: alice" must not become ``@Discord:alice``."""
    return "." in server or ":" in server or server in {"localhost", (default_server or "").lower()}


def _why_not(text: str) -> str:
    """Return the sentence that helps the person who typed this, after every mend has failed."""
    if not text:
        return EMPTY
    if text[0] in "#!":
        return ROOM_ALIAS if text[0] == "#" else ROOM_ID
    if any(_E_MAIL.fullmatch(word.lstrip(_LEFT).rstrip(_RIGHT)) for word in text.replace(" @ ", "@").split()):
        return E_MAIL
    if _ALONE.fullmatch(text):
        return NO_SERVER
    return _why_not_as_an_id(text)


def _why_not_as_an_id(text: str) -> str:
    localpart, colon, server = text.removeprefix("@").partition(":")
    if not colon or not text.startswith("@"):
        return NOT_AN_ID
    if not localpart:
        return NO_LOCALPART
    if not _is_localpart(localpart) or _PERCENT.search(localpart):
        return BAD_LOCALPART
    too_long = len(server) > MAX_SERVER_BYTES or (_server(server) is not None and not _fits(text))
    return TOO_LONG if too_long else BAD_SERVER

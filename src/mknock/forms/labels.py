"""What a question asks for, judged by its label or key."""

from __future__ import annotations

import re
from enum import Enum, auto
from functools import lru_cache

_LONGEST = 200
"""Characters of a label that are looked at; also bounds what the caches may hold."""

_POLITE = re.compile(
    "an?|the|what(?:s|is)?|s|is|are|my|your?|please|enter|type|give|us|tell|provide|here|own|full|complete|valid"
    "|or|and|required|optional|mandatory"
    "|bitte|gib|gebe|die|der|das|wie|lautet|ist|oder|und|vollständige|pflichtfeld|(?:[dm]?ein|ihr|euer|eur)(?:e|er)?"
    "|votre|ton|mon|quel|est|ou|tu|su|mi|cu[aá]l|es"
)
"""Words that leave the meaning of a question as it is."""

_HINTS = re.compile(
    r"\([^()]*\)|\[[^\[\]]*\]"  # (with the server), [required]
    r"|\S*@\S*"  # @you:example.org
    r"|\b(?:e\.\s?g\.|eg\b|for example|such as|like\b|z\.\s?b\.|zum beispiel).*"
)
_WORDS = re.compile(r"[^\W_]+")
_OWNER = "(?:your|my|deine?|meine?|ihre?|eure?)?"
_SERVICE = "(?:matrix|beeper|element)+(?:org)?"
_ACCOUNT = "(?:user|account|benutzer|nutzer|konto)?"
_NOUN = "(?:id|name|handle|address|adresse|kennung|identifier|account|konto|user)"
_ASKS_FOR_ID = re.compile(
    f"{_OWNER}(?:{_SERVICE}{_ACCOUNT}{_NOUN}|(?:matrix)?mxid)"
    "|id(?:entifiant|entificador)?(?:de)?matrix|(?:adresse|usuario|pseudo)(?:de)?matrix"
)
_MIGHT_ASK_FOR_ID = re.compile(f"userid|{_OWNER}(?:matrix|beeper)")
_METADATA = re.compile(
    "id|(?:event|submission|response|respondent|form)id|eventtype|form(?:name|title|url|slug)"
    "|(?:created|updated|submitted|landed)at|timestamp|ip(?:address)?|useragent|referr?er|(?:page|site)?url"
    "|(?:form|csrf)?token|apikey|secret|signature|authorization"
    "|meta(?:data)?|hidden(?:fields)?|url(?:param|parameter)s|query|headers|context|variables|calculations"
    "|tracking|utm|definition"
)
_METADATA_STARTS = ("utm_", "_")
"""A leading underscore marks what a form says to its platform (``_next``, ``_subject``, ``_gotcha``)."""


class Meaning(Enum):
    """What a field is for, as far as its label or key tells; strongest first."""

    TRAP = auto()
    """The field that people cannot see."""
    ID = auto()
    """The person's own Matrix ID."""
    PERHAPS_ID = auto()
    """A bare "user_id", "Matrix" or "Beeper", which counts when no label is clearer."""
    OTHER = auto()


def fold(label: str) -> str:
    """Return what a label is compared by: casefolded letters and digits only, of its first 200 characters."""
    return _fold(label[:_LONGEST])


@lru_cache(maxsize=1024)
def _fold(label: str) -> str:
    return "".join(filter(str.isalnum, label.casefold()))


def meaning(label: str, key: str) -> Meaning:
    """Return what a field is for, the strongest of what its label and its key say.

    "What is your Matrix ID? (e.g. @you:example.org)" asks for the ID; "Who
    invited you (Matrix ID)?" does not: every word that is not mere politeness
    counts. "Honeypot (leave empty)" is a trap as soon as it begins like that.
    """
    return _meaning(label[:_LONGEST], key[:_LONGEST])


@lru_cache(maxsize=1024)
def _meaning(label: str, key: str) -> Meaning:
    said = {_meaning_of(label), _meaning_of(key)}
    return next(meaning for meaning in Meaning if meaning in said)


def _meaning_of(name: str) -> Meaning:
    if name.lstrip().casefold().startswith("honeypot"):
        return Meaning.TRAP
    folded = _fold(name)
    if _ASKS_FOR_ID.fullmatch(folded) or _ASKS_FOR_ID.fullmatch(_essence(name)):
        return Meaning.ID
    return Meaning.PERHAPS_ID if _MIGHT_ASK_FOR_ID.fullmatch(folded) else Meaning.OTHER


def _essence(label: str) -> str:
    words = _WORDS.findall(_HINTS.sub(" ", label.casefold()))
    return "".join(word for word in words if not _POLITE.fullmatch(word))


def is_metadata(key: str) -> bool:
    """Whether a key names something about the delivery: no answer, and settable by whoever makes a link.

    Secrets that forms carry along are among it, so that they reach no moderator and no log.
    """
    return key.startswith(_METADATA_STARTS) or bool(_METADATA.fullmatch(fold(key)))

"""A door: the public entry to one private room or space."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Policy(StrEnum):
    """What happens to a knock that passes every check."""

    AUTO = "auto"
    """Invite at once."""
    REVIEW = "review"
    """Hold every knock for a moderator."""
    CLOSED = "closed"
    """Hold every knock, and say so in the ledger: nobody comes in for now."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How many knocks may pass in ``window`` seconds before the rest is held or asked to wait.

    ``door`` counts new knocks at this door, ``homeserver`` those of one
    homeserver, ``sender`` all requests of one network address (an IPv6 /64).
    """

    window: float = 60.0
    door: int = 60
    homeserver: int = 60
    sender: int = 60
    backoff_longest: float = 3600.0
    """Seconds an anonymous sender is asked to wait at the most."""


@dataclass(frozen=True, slots=True)
class FormReading:
    """What the owner says about the form: which field is which, by key, reference or label."""

    id_field: str | None = None
    """The key (or reference, or label) of the question that asks for the Matrix ID."""
    trap_field: str | None = None
    """The key of the field that people cannot see; labels starting with "honeypot" count as well."""
    default_server: str | None = None
    """The homeserver of people who type only their user name."""


@dataclass(frozen=True, slots=True)
class Door:
    """One door. ``room_id`` is secret: it appears in no public answer, log or metric (promise 5)."""

    slug: str
    room_id: str
    policy: Policy = Policy.AUTO
    limits: Limits = field(default_factory=Limits)
    reading: FormReading = field(default_factory=FormReading)
    cooldown: float = 3600.0
    """Seconds during which a repeat of a settled knock counts on the old record."""
    lifetime: float = 7 * 86400.0
    """Seconds that Knock keeps trying to deliver an admitted knock."""
    invite_reason: str = "You asked to join. Accept to come in."
    """Shown by the invited person's Matrix app beside the invitation."""

    def __repr__(self) -> str:
        return f"Door({self.slug!r})"

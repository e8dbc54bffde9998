"""A door: the public entry to one private room or space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from mknock.domain.knocks import Reason


class Policy(StrEnum):
    """What happens to a knock that passes every check."""

    AUTO = "auto"
    """Invite at once."""
    REVIEW = "review"
    """Hold every knock for a moderator."""
    PROVE_FIRST = "prove-first"
    """Hold every knock until the person proves that the account is theirs, then as AUTO."""
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
class Alarm:
    """From when on a door counts as being raided (see domain.raids), and for how long. 0 takes no notice."""

    arrivals: int = 30
    """New knocks in five minutes, if it is far above the usual as well."""
    alike: int = 10
    """New knocks in an hour whose names are alike, or from one homeserver that hardly anybody comes from."""
    calm: float = 1800.0
    """Seconds without new signs after which a raid is over."""


class Action(StrEnum):
    """What a risk signal leads to."""

    OFF = "off"
    """Nothing: it is not looked for."""
    LOG = "log"
    """A note on the knock, for moderators; nothing changes."""
    HOLD = "hold"


@dataclass(frozen=True, slots=True)
class Signals:
    """What a door does about each risk signal (see checks.signals)."""

    speed: Action = Action.HOLD
    name_pattern: Action = Action.LOG
    links: Action = Action.LOG


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
class FormSecrets:
    """What a form shows to be let in: the door's token, or a platform's signature by its secret, by its name."""

    token: str | None = field(default=None, repr=False)
    signing: Mapping[str, str] = field(default_factory=dict, repr=False)
    in_file: bool = False
    """They are described in the file of doors, not in the environment."""

    def __bool__(self) -> bool:
        return bool(self.token or self.signing)

    def setting(self, name: str) -> str:
        """What the owner calls the secret of that signer, or the ``token``."""
        if self.in_file:
            return f"secrets.{name}"
        return "FORM_TOKEN" if name == "token" else f"{name}_signing_secret".upper()


class QuestionKind(StrEnum):
    """How a question is answered."""

    LINE = "line"
    """In a few words."""
    TEXT = "text"
    """In several lines."""
    CHOICE = "choice"
    """By one of the options."""
    CHOICES = "choices"
    """By any number of the options."""
    AGREE = "agree"
    """By a tick: a rule to accept."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question that the door asks. ``key`` names it for programs, ``label`` is what people read."""

    key: str
    label: str
    kind: QuestionKind = QuestionKind.LINE
    required: bool = False
    options: tuple[str, ...] = ()
    hint: str = ""


DEFAULT_COLOUR = "#3b5bdb"


@dataclass(frozen=True, slots=True)
class Picture:
    """An image as browsers get it."""

    content: bytes = field(repr=False)
    media_type: str


@dataclass(frozen=True, slots=True)
class Page:
    """Knock's own page of a door, as its owner describes it. ``text`` and ``rules`` are Markdown."""

    title: str
    text: str = ""
    rules: str = ""
    """What whoever knocks has to accept; "" asks for nothing."""
    colour: str = DEFAULT_COLOUR
    logo: Picture | None = None


class Removal(StrEnum):
    """What happens to a member who comes onto the block-list."""

    KICK = "kick"
    BAN = "ban"
    REPORT = "report"
    """Nothing: it is written into the ledger and the log."""


@dataclass(frozen=True, slots=True)
class Latecomers:
    """What happens to an invite that nobody answers. Times are seconds after the invite."""

    reminders: tuple[float, ...] = (86400.0, 3 * 86400.0)
    """When to remind; at most two are kept (promise 4)."""
    lifetime: float = 7 * 86400.0
    """When the invite is withdrawn; 0: never."""

    def ends_at(self, invited_at: float) -> float | None:
        """When an invite is withdrawn; None: never."""
        return invited_at + self.lifetime if self.lifetime else None

    def next_due(self, invited_at: float, reminded: int, now: float) -> float | None:
        """When something is to be done about an invite next, after so many reminders; None: never.

        Counted from ``now``, so that after a long outage reminders come no closer than they were meant to.
        """
        ends = self.ends_at(invited_at)
        if reminded >= len(self.reminders):
            return ends
        reminder = now + self.reminders[reminded] - (self.reminders[reminded - 1] if reminded else 0.0)
        return reminder if ends is None or reminder < ends else ends


@dataclass(frozen=True, slots=True)
class Welcoming:
    """How people who join are welcomed."""

    text: str = ""
    """Markdown with placeholders; "" welcomes nobody."""
    delay: float = 0.0
    """Seconds from the join to the welcome; whoever has left by then is not welcomed."""
    everyone: bool = False
    """Also people who joined without a knock."""
    clear_in_encrypted: bool = False
    """Send it unencrypted into an encrypted room when it cannot be encrypted."""


@dataclass(frozen=True, slots=True)
class Matching:
    """How strict a door is about people who resemble somebody on the block-list."""

    actions: tuple[tuple[str, str], ...] = ()
    """What is done about a kind of match (refuse, hold or log), where that is not as usual."""
    other_servers: bool = True
    """Whether a name on another homeserver than the blocked one's can resemble it."""


@dataclass(frozen=True, slots=True)
class Door:
    """One door. ``room_id`` is secret: it appears in no public answer, log or metric (promise 5)."""

    slug: str
    room_id: str
    policy: Policy = Policy.AUTO
    limits: Limits = field(default_factory=Limits)
    alarm: Alarm = field(default_factory=Alarm)
    signals: Signals = field(default_factory=Signals)
    moderators_room: str = field(default="", repr=False)
    """Where moderators are told of what happens at the door; as secret as ``room_id``. "": nowhere."""
    reading: FormReading = field(default_factory=FormReading)
    cooldown: float = 3600.0
    """Seconds during which a repeat of a settled knock counts on the old record."""
    lifetime: float = 7 * 86400.0
    """Seconds that Knock keeps trying to deliver an admitted knock."""
    invite_reason: str = "You asked to join. Accept to come in."
    """Shown by the invited person's Matrix app beside the invitation."""
    hold_lifetime: float = 30 * 86400.0
    """Seconds after which a held knock that no moderator decided expires; 0: never."""
    proof_lifetime: float = 86400.0
    """Seconds that a person has, after knocking at a door that wants a proof, to send one."""
    latecomers: Latecomers = field(default_factory=Latecomers)
    welcoming: Welcoming = field(default_factory=Welcoming)
    blocked_members: Removal = Removal.KICK
    native_knocks: bool = True
    """Whether a membership knock at the room is a knock at this door, if the room's join rule allows any."""
    matching: Matching = field(default_factory=Matching)
    secrets: FormSecrets = field(default_factory=FormSecrets, repr=False)
    questions: tuple[Question, ...] = ()
    page: Page | None = None
    """None: it has no page of Knock's own."""
    setting: str = "NEW_ROOM_ID"
    """What the owner changes to give the door another room."""
    replaced: bool = False
    """Its room was replaced by one that Knock may not follow to: everybody is held."""

    @property
    def wants_proof(self) -> bool:
        """Whether people have to prove first that the account is theirs."""
        return self.policy is Policy.PROVE_FIRST

    def held_until(self, reason: Reason, at: float) -> float | None:
        """When a knock that is held from now on expires; None: never."""
        lifetime = self.proof_lifetime if reason is Reason.UNPROVEN else self.hold_lifetime
        return at + lifetime if lifetime else None

    def reminder_reason(self, reminded: int) -> str:
        """The reason of the next reminder: never the same as before, or it would be no new event."""
        return f"Reminder {reminded + 1}: {self.invite_reason}"

    def __repr__(self) -> str:
        return f"Door({self.slug!r})"

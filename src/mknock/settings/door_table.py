"""What ``doors.toml`` may say of a door, one key a line. ``docs/reference/doors.md`` is the page for the owner.

Every key but ``room`` may be left out: the door then follows the setting of the environment.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from mknock.settings.values import (
    YEAR,
    BlockedMembers,
    Colour,
    Count,
    CountOrNever,
    LongText,
    Matches,
    Policy,
    Reminders,
    RiskSignals,
    RoomID,
    ServerName,
    ShortText,
    Slug,
    Switch,
    WebhookSecret,
    Word,
    one_of,
    seconds,
)

MOST_QUESTIONS = 40
"""As many answers as are kept of one form."""
QuestionKind = Annotated[str, one_of("line", "text", "choice", "choices", "agree")]
_CHOOSING = ("choice", "choices")


def _listed(value: object) -> object:
    """A list of times as TOML has it, in the words of the setting."""
    return ", ".join(map(str, value)) or "off" if isinstance(value, list) else str(value)


def _not_empty(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be empty.")
    return value


Title = Annotated[ShortText, AfterValidator(_not_empty)]


class Table(BaseModel):
    """A table of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class WelcomeTable(Table):
    text: str | None = Field(None, description="Markdown sent when somebody has joined; off: nothing.")
    delay: Annotated[float, seconds(0, 86400)] | None = Field(
        None, description="Seconds from the join to the welcome."
    )
    everyone: Switch | None = Field(None, description="Welcome also people who joined without a knock.")
    unencrypted: Switch | None = Field(
        None, description="Welcome in clear in an encrypted room when Knock cannot encrypt."
    )


class FormTable(Table):
    id_field: Title | None = Field(None, description="The question that asks for the Matrix ID.")
    honeypot_field: Title | None = Field(None, description="The field that people cannot see.")
    default_server: ServerName | None = Field(
        None, description="Homeserver of people who type only a user name."
    )


class LimitsTable(Table):
    window: Annotated[float, seconds(1, YEAR)] | None = Field(
        None, description="Length of a window, seconds."
    )
    door: Count | None = Field(None, description="Knocks that pass in one window; more are held.")
    homeserver: Count | None = Field(None, description="Knocks from one homeserver in one window.")
    sender: Count | None = Field(None, description="Requests from one network address in one window.")


class RaidsTable(Table):
    arrivals: CountOrNever | None = Field(
        None, description="New knocks in five minutes that may be a raid; 0: never."
    )
    alike: CountOrNever | None = Field(
        None, description="New knocks in an hour, alike or of one rare homeserver, that are a raid; 0: never."
    )
    calm: Annotated[float, seconds(60, YEAR)] | None = Field(
        None, description="Seconds without new signs after which a raid is over."
    )


class SecretsTable(Table):
    """The door's own: no secret of the environment opens it. After ``token``, the names of the signers."""

    token: Word | None = Field(None, description="Sent along by the form, in a header or the address.")
    tally: SecretStr | None = Field(None, description="Signing secret of Tally's webhook.")
    typeform: SecretStr | None = Field(None, description="Signing secret of Typeform's webhook.")
    formbricks: WebhookSecret | None = Field(None, description="Signing secret of Formbricks' webhook.")
    formspree: SecretStr | None = Field(None, description="Signing secret of Formspree's webhook.")
    opnform: SecretStr | None = Field(None, description="Signing secret of OpnForm's webhook.")
    wpforms: SecretStr | None = Field(None, description="Secret of WPForms' webhook.")
    webflow: SecretStr | None = Field(None, description="Secret of Webflow's webhook.")
    netlify: SecretStr | None = Field(None, description="JWS secret token of Netlify's notification.")
    webhook: WebhookSecret | None = Field(None, description="Of any sender of Standard Webhooks or Svix.")

    @property
    def signing(self) -> dict[str, str]:
        """The signing secrets that are set, by the signer's name."""
        named = {name: getattr(self, name) for name in type(self).model_fields if name != "token"}
        return {name: secret.get_secret_value() for name, secret in named.items() if secret is not None}


class PageTable(Table):
    """The door has a page of Knock's own if there is a title here."""

    on: Switch = Field(True, description="Whether the page is there.")
    title: Title | None = Field(None, description="Headline of the page.")
    text: LongText = Field("", description="Markdown below the headline.")
    rules: LongText = Field("", description="Markdown that people have to accept.")
    colour: Colour | None = Field(None, description="Colour of buttons and links, such as #2e7d32.")
    logo: Title | None = Field(None, description="File of an image above the headline.")

    @model_validator(mode="after")
    def _has_a_title(self) -> Self:
        if self.title is None and self.model_fields_set - {"on"}:
            raise ValueError("has no title: write one, since a page without a headline is not shown.")
        return self


class QuestionTable(Table):
    key: Slug = Field(description="Its name for programs.")
    label: Title = Field(description="What people read.")
    kind: QuestionKind = Field("line", description="line, text, choice, choices or agree.")
    required: Switch = Field(False, description="Whether it has to be answered.")
    options: tuple[Title, ...] = Field((), description="What to choose from.")
    hint: ShortText = Field("", description="A sentence below the question.")

    @model_validator(mode="after")
    def _offers(self) -> Self:
        if self.kind in _CHOOSING and len(set(self.options)) < max(2, len(self.options)):
            raise ValueError("must have two options or more, each of them once.")
        if self.kind not in _CHOOSING and self.options:
            raise ValueError('has options, so its kind must be "choice" or "choices".')
        return self


class DoorTable(Table):
    """``[doors.<slug>]``."""

    room: RoomID = Field(description="ID of the room or space that people are invited to.")
    policy: Policy | None = Field(None, description="auto, review, prove-first or closed.")
    invite_reason: ShortText | None = Field(None, description="Sentence shown beside the invitation.")
    cooldown: Annotated[float, seconds(0, YEAR)] | None = Field(
        None, description="Seconds in which a repeat counts on the old knock."
    )
    lifetime: Annotated[float, seconds(60, YEAR)] | None = Field(
        None, description="Seconds in which delivery is tried."
    )
    hold_lifetime: Annotated[float, seconds(0, YEAR)] | None = Field(
        None, description="Seconds after which a held knock that nobody decided expires; 0: never."
    )
    proof_lifetime: Annotated[float, seconds(60, YEAR)] | None = Field(
        None, description="Seconds in which people prove their account, where the policy is prove-first."
    )
    invite_lifetime: Annotated[float, seconds(0, YEAR)] | None = Field(
        None, description="Seconds after which an unanswered invite is withdrawn; 0: never."
    )
    reminders: Annotated[Reminders, BeforeValidator(_listed)] | None = Field(
        None, description="Times after the invite at which to remind; at most two, or off."
    )
    blocked_members: BlockedMembers | None = Field(
        None, description="What happens to a member on the block-list: kick, ban, or report."
    )
    native_knocks: Switch | None = Field(
        None, description="A knock made in a Matrix app, at the room itself, is a knock at this door."
    )
    match_actions: Matches | None = Field(
        None, description="What is done about a kind of look-alike: refuse, hold or log."
    )
    signals: RiskSignals | None = Field(
        None, description="What is done about risk signals: off, log or hold."
    )
    moderators_room: RoomID | None = Field(
        None, description="ID of the room where moderators are told of raids."
    )
    match_other_servers: Switch | None = Field(
        None, description="A name on another homeserver than the blocked one's can be its look-alike."
    )
    welcome: WelcomeTable = Field(
        WelcomeTable.model_validate({}), description="How people who join are welcomed."
    )
    form: FormTable = Field(FormTable.model_validate({}), description="How the door's form is read.")
    limits: LimitsTable = Field(LimitsTable.model_validate({}), description="How many may knock in a while.")
    raids: RaidsTable = Field(RaidsTable.model_validate({}), description="What counts as a raid.")
    secrets: SecretsTable = Field(
        SecretsTable.model_validate({}), description="What a form must show to be let in."
    )
    page: PageTable = Field(PageTable.model_validate({}), description="Knock's own page of the door.")
    questions: tuple[QuestionTable, ...] = Field((), description="What the door asks people.")

    @model_validator(mode="after")
    def _asks_each_once(self) -> Self:
        keys = [question.key for question in self.questions]
        if len(keys) > MOST_QUESTIONS:
            raise ValueError(f"has more than {MOST_QUESTIONS} questions.")
        if len(set(keys)) < len(keys):
            raise ValueError("has two questions with the same key.")
        return self

    def secret_values(self) -> list[str]:
        """What must never be seen."""
        given = [secret for secret in (self.secrets.token, self.moderators_room) if secret is not None]
        own = [secret.get_secret_value() for secret in (self.room, *given)]
        return [*own, *self.secrets.signing.values()]


BY_NAME: tuple[tuple[str, ...], ...] = (
    ("room",),
    ("moderators_room",),
    ("welcome", "text"),
    ("page", "text"),
    ("page", "rules"),
    *(("secrets", name) for name in SecretsTable.model_fields),
)
"""What need not stand in the file: ``…_file`` names a file that holds it, ``…_env`` a variable."""

"""A form that came back: what was typed, what is wrong with it, and the submission it makes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from mknock.domain import ids
from mknock.domain.doors import Door, Question, QuestionKind
from mknock.domain.errors import InvalidMatrixID, Unreadable
from mknock.domain.ids import MatrixID, parse_matrix_id
from mknock.domain.knocks import Submission
from mknock.forms.post import FormPost, decode
from mknock.forms.reading import LONGEST_TRAP, Field, answers_of
from mknock.forms.text import clean

ID: Final = "matrix_id"
RULES: Final = "rules"
TRAP: Final = "website"
STAMP: Final = "opened"
PROOF: Final = "proof"
YES: Final = "yes"
PLATFORM: Final = "page"
LONGEST_TYPED = 500
"""Characters that are given back to whoever typed a wrong ID."""

WRONG_IDS: Final[Mapping[str, str]] = {
    getattr(ids, name): name.lower()
    for name in (
        "EMPTY",
        "E_MAIL",
        "ROOM_ALIAS",
        "ROOM_ID",
        "ROOM_LINK",
        "SEVERAL",
        "NO_SERVER",
        "NO_LOCALPART",
        "BAD_SERVER",
        "BAD_LOCALPART",
        "TOO_LONG",
        "NOT_AN_ID",
    )
}
"""The sentences of domain.ids, each with its key among the texts of a language."""


def name_of(question: Question) -> str:
    """The name of its field."""
    return f"answer-{question.key}"


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a field: chapter and key of the sentence."""

    chapter: str
    key: str


@dataclass(frozen=True, slots=True)
class Filled:
    """A form as it was filled in, or as it is before that."""

    values: Mapping[str, tuple[str, ...]]

    def texts(self, name: str) -> tuple[str, ...]:
        return self.values.get(name, ())

    def text(self, name: str) -> str:
        return next(iter(self.texts(name)), "")

    @property
    def typed(self) -> str:
        """The ID as it was typed."""
        return self.text(ID)

    @property
    def trap(self) -> str:
        """What was written into the field that people cannot see; never "" if anything was."""
        text = self.text(TRAP)
        return text.strip() and (clean(text, LONGEST_TRAP) or "(filled)")

    def shown(self, name: str, longest: int = 2000) -> str:
        """What was typed, as it goes back into the field."""
        return clean(self.text(name), longest)


EMPTY: Final = Filled({})


def read(post: FormPost) -> Filled:
    """Read a form that a browser sent.

    Raises:
        Unreadable: it is none.
    """
    payload = decode(post)
    if not payload.html:
        raise Unreadable("a form was expected")
    return Filled({name: _texts(value) for name, value in payload.data.items()})


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(value) if isinstance(value, list) else (value,)


# --- the ID --------------------------------------------------------------------------------------


def person_in(typed: str, door: Door) -> MatrixID | Problem:
    """Whom the text names, or why it names nobody."""
    try:
        return parse_matrix_id(typed, default_server=door.reading.default_server)
    except InvalidMatrixID as error:
        return Problem("wrong_id", WRONG_IDS.get(str(error), "not_an_id"))


# --- the answers ---------------------------------------------------------------------------------


def problems(filled: Filled, door: Door) -> dict[str, Problem]:
    """What has to be mended, by the name of the field, in the order of the page."""
    return dict(_problems(filled, door))


def _problems(filled: Filled, door: Door) -> Iterator[tuple[str, Problem]]:
    person = person_in(filled.typed, door)
    if isinstance(person, Problem):
        yield ID, person
    for question in door.questions:
        if key := _wrong(question, filled.texts(name_of(question))):
            yield name_of(question), Problem("wrong", key)
    if door.page and door.page.rules and filled.text(RULES) != YES:
        yield RULES, Problem("wrong", "rules")


def _wrong(question: Question, texts: tuple[str, ...]) -> str:
    """What is wrong with an answer; "" if nothing is."""
    given = [text for text in texts if text.strip()]
    if not given:
        return "required" if question.required else ""
    match question.kind:
        case QuestionKind.CHOICE | QuestionKind.CHOICES:
            allowed = 1 if question.kind is QuestionKind.CHOICE else len(question.options)
            fits = set(given) <= set(question.options) and len(given) <= allowed
            return "" if fits else "choice"
        case QuestionKind.AGREE:
            return "" if given == [YES] else "required"
        case _:
            return ""


def submission(filled: Filled, door: Door, *, worked: bool, timely: bool, receipt: str) -> Submission:
    """What the form says, to be judged like any other. There may be nobody in it."""
    person = person_in(filled.typed, door)
    return Submission(
        PLATFORM,
        None if isinstance(person, Problem) else person,
        trap=filled.trap,
        answers=answers_of(list(_answered(filled, door))),
        worked=worked,
        timely=timely,
        receipt=receipt,
    )


def _answered(filled: Filled, door: Door) -> Iterator[Field]:
    for question in door.questions:
        texts = filled.texts(name_of(question))
        value: Any = list(texts) if question.kind is QuestionKind.CHOICES else "\n".join(texts[:1])
        yield Field(question.key, question.label, value)
    if door.page and door.page.rules and filled.text(RULES) == YES:
        yield Field(RULES, "Rules", "accepted")

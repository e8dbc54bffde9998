"""From the fields of a form to a Submission: who knocks, what they answered, whether they are a bot.

The same for every platform, so that no platform is trusted with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any

from mknock.domain.doors import FormReading
from mknock.domain.errors import AmbiguousMatrixID, InvalidMatrixID, Unreadable
from mknock.domain.ids import MatrixID, as_the_only_value, parse_matrix_id
from mknock.domain.knocks import Answer, Submission
from mknock.forms.labels import Meaning, fold, meaning
from mknock.forms.post import MOST_FIELDS
from mknock.forms.text import clean, filled, one_line, shown

EMAIL = "email"
CHOICE = "choice"
FILE = "file"
"""Kinds of field. Only what a person typed freely is searched for an ID that nobody asked for by name."""

MOST_ANSWERS = 40
LONGEST_LABEL = 200
LONGEST_ANSWER = 2000
LONGEST_TRAP = 200
LONGEST_EVENT_ID = 200
MOST_BYTES = 16 * 1024
"""All answers of a submission together, labels included."""
_MOST_SEARCHED = 1000
_MOST_NAMED = 10

_TWO = "The form names two different Matrix IDs; give only your own."
_LOOKS = "a Matrix ID looks like @alice:example.org"


@dataclass(slots=True, eq=False)
class Field:
    """One question with what was answered: any JSON value.

    Only itself is equal to it, since comparing strangers' values could go deep;
    and it is not frozen, since that would double the cost of making one.

    ``hidden`` fields hold what the form or its link filled in: they are neither
    searched nor carried along. ``kind`` is EMAIL, CHOICE, FILE or anything else.
    """

    key: str
    label: str
    value: Any
    hidden: bool = False
    kind: str = ""


def read_fields(
    fields: Iterable[Field], reading: FormReading, platform: str, event_id: Any = "", sender_address: str = ""
) -> Submission:
    """Read a form's fields.

    A form without a usable Matrix ID is read too: its problem is said, and a
    filled honeypot is reported all the same. An ``event_id`` that is no short
    text counts as none.

    Raises:
        Unreadable: the form has more than 1,000 fields.
    """
    form = _told_apart(_bounded(fields), reading)
    person = _find_person(form, reading)
    return Submission(
        platform=platform,
        user_id=person.user_id,
        problem=person.problem,
        event_id=_event_id(event_id),
        trap=_trap(form.traps),
        answers=answers_of([field for field in form.questions if field not in person.named]),
        sender_address=one_line(sender_address, LONGEST_LABEL),
    )


def _bounded(fields: Iterable[Field]) -> list[Field]:
    found = list(islice(fields, MOST_FIELDS + 1))
    if len(found) > MOST_FIELDS:
        raise Unreadable(f"The form has more than {MOST_FIELDS} fields.")
    return found


@dataclass(slots=True)
class _Form:
    """Fields told apart: traps (hidden ones too), the questions that a person saw, and which ask for the ID."""

    traps: list[Field]
    questions: list[Field]
    ids: list[Field]
    perhaps_ids: list[Field]


def _told_apart(fields: list[Field], reading: FormReading) -> _Form:
    form = _Form([], [], [], [])
    for field in fields:
        means = meaning(field.label, field.key)
        if means is Meaning.TRAP or (reading.trap_field and _is_called(field, reading.trap_field)):
            form.traps.append(field)
        elif not field.hidden:
            form.questions.append(field)
            if means is Meaning.ID:
                form.ids.append(field)
            elif means is Meaning.PERHAPS_ID:
                form.perhaps_ids.append(field)
    return form


def _is_called(field: Field, wanted: str) -> bool:
    """Whether this is the field that a setting names: by its key, or by either folded."""
    folded = fold(wanted)
    return field.key == wanted or (bool(folded) and folded in (fold(field.label), fold(field.key)))


def _event_id(value: Any) -> str:
    if not isinstance(value, str) or len(value) > LONGEST_EVENT_ID:
        return ""  # cutting it could make one of two
    return one_line(value, LONGEST_EVENT_ID)


# --- the honeypot ---------------------------------------------------------------------------------


def _trap(traps: list[Field]) -> str:
    """Return what the first filled trap holds; never "" when one is filled."""
    for field in traps:
        if filled(field.value):
            return clean(shown(field.value), LONGEST_TRAP) or "(filled)"
    return ""


# --- the person -----------------------------------------------------------------------------------


@dataclass(slots=True)
class _Person:
    """Whom the form names, or why it names nobody; ``named`` are the fields that said so."""

    user_id: MatrixID | None
    problem: str = ""
    named: frozenset[Field] = frozenset()


def _find_person(form: _Form, reading: FormReading) -> _Person:
    """Look where the owner said, then by label, then for the only value that is an ID.

    What a field that asks for the ID holds is final: when it cannot be read,
    no other value is taken, since a stranger could name a victim in any answer.
    An empty field counts as absent.
    """
    try:
        for fields in _where_asked(form, reading):
            if named := frozenset(field for field in fields if field.kind != EMAIL and _texts(field.value)):
                return _Person(_the_one_in(named, reading.default_server), named=named)
        return _the_only_one(form.questions) or _Person(None, problem=_missing(form, reading))
    except (InvalidMatrixID, AmbiguousMatrixID) as problem:
        return _Person(None, problem=str(problem))


def _where_asked(form: _Form, reading: FormReading) -> Iterator[list[Field]]:
    """Yield the fields that ask for the ID, surest first."""
    if wanted := reading.id_field:
        yield [field for field in form.questions if field.key == wanted]
        yield [field for field in form.questions if _is_called(field, wanted)]
    yield form.ids
    yield form.perhaps_ids


def _the_one_in(named: Iterable[Field], default_server: str | None) -> MatrixID:
    """Return the ID that the fields agree on.

    Raises:
        InvalidMatrixID: one of them holds something else.
        AmbiguousMatrixID: they differ.
    """
    texts = {text for field in named for text in _texts(field.value)}
    if len(texts) > _MOST_NAMED:
        raise AmbiguousMatrixID(_TWO)
    return _agreed([parse_matrix_id(text, default_server=default_server) for text in sorted(texts)])


def _the_only_one(questions: list[Field]) -> _Person | None:
    """Return the person when exactly one of all the values is an ID.

    Choices and file names are left out: the owner wrote them, or a camera.
    """
    searched = (field for field in questions if field.kind not in (EMAIL, CHOICE, FILE))
    typed = ((field, text) for field in searched for text in _strings(field.value))
    found = [(field, as_the_only_value(text)) for field, text in islice(typed, _MOST_SEARCHED)]
    ids = [user_id for _, user_id in found if user_id]
    if not ids:
        return None
    return _Person(_agreed(ids), named=frozenset(field for field, user_id in found if user_id))


def _agreed(ids: list[MatrixID]) -> MatrixID:
    if any(user_id.key != ids[0].key for user_id in ids):
        raise AmbiguousMatrixID(_TWO)
    return ids[0]


def _missing(form: _Form, reading: FormReading) -> str:
    asked = next((field.label or field.key for field in form.ids + form.perhaps_ids), "")
    if question := one_line(reading.id_field or asked, LONGEST_LABEL):
        return f'The question "{question}" was not answered with a Matrix ID; {_LOOKS}.'
    return f"The form has no question for the Matrix ID, and no answer is one; {_LOOKS}."


def _texts(value: Any) -> list[str]:
    """Return what was typed into a field that asks for the ID; a user name may be a number."""
    if isinstance(value, int) and not isinstance(value, bool):
        return [str(value)]
    return [text for text in _strings(value) if text.strip()]


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


# --- the answers ----------------------------------------------------------------------------------


def answers_of(questions: list[Field]) -> tuple[Answer, ...]:
    """Return what was answered, as short text, until there is enough of it."""
    answers: list[Answer] = []
    left = MOST_BYTES
    for field in questions:
        answer = _answer(field)
        if answer is None:
            continue
        left -= len(answer.label.encode()) + len(answer.value.encode())
        if left < 0 or len(answers) == MOST_ANSWERS:
            break
        answers.append(answer)
    return tuple(answers)


def _answer(field: Field) -> Answer | None:
    value = clean(shown(field.value), LONGEST_ANSWER)
    if not value:
        return None
    return Answer(_title(field.label[: 2 * LONGEST_LABEL]), value)


@lru_cache(maxsize=1024)
def _title(label: str) -> str:
    return one_line(label, LONGEST_LABEL) or "(untitled)"

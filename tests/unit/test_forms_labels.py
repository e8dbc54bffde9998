"""What labels and keys ask for."""

from __future__ import annotations

import re

import pytest

from mknock.forms.labels import Meaning, fold, is_metadata, meaning

ASK_FOR_THE_ID = """
Matrix ID|matrix_id|matrixId|MATRIX-ID|Matrix user ID|matrix_user_id|Matrix username|Matrix address|Matrix handle|MXID
mxid|Your Matrix ID|your_matrix_id|yourMatrixID|Your MXID|Beeper ID|Beeper username|Element ID|Matrix account
What is your Matrix ID?|What's your full Matrix ID? *|Please enter your Matrix ID:|Matrix ID (required)
Matrix ID (e.g. @you:example.org)|Matrix ID, e.g. @you:example.org|Matrix ID [like @you:example.org]|Matrix or Beeper ID
Your Matrix ID, for example @you:example.org|matrix.org ID|Matrix MXID
MatrixID|Matrix-ID|deineMatrixID|Deine Matrix-ID|Ihre Matrix-Adresse|Wie lautet deine Matrix-ID?|Matrix-Kennung
Matrix-Benutzername|Bitte gib deine Matrix-ID ein (z. B. @du:example.org)|Identifiant Matrix|Usuario de Matrix
"""

ASK_FOR_SOMETHING_ELSE = """
Name|Your name|Username|Handle|Email|E-mail address|Why do you want to join?|Who invited you? (Matrix ID)
Your friend's Matrix ID|Do you have a Matrix ID?|Matrix display name|Matrix server
I would like a Matrix ID|Matrix room|What is Matrix?|Favourite element|Discord ID|id|ID|()|@|*|Matrix questions
Matrix ID of the person who invited you
"""


def listed(labels: str) -> list[str]:
    return [label for label in re.split(r"[|\n]", labels) if label]


@pytest.mark.parametrize("label", listed(ASK_FOR_THE_ID))
def test_it_asks_for_the_id(label: str) -> None:
    assert meaning(label, "") is Meaning.ID


@pytest.mark.parametrize("label", listed(ASK_FOR_SOMETHING_ELSE))
def test_it_asks_for_something_else(label: str) -> None:
    assert meaning(label, "") is Meaning.OTHER


@pytest.mark.parametrize("label", ["user_id", "User ID", "Matrix", "Your Matrix:", "beeper"])
def test_it_perhaps_asks_for_the_id(label: str) -> None:
    assert meaning(label, "") is Meaning.PERHAPS_ID


@pytest.mark.parametrize(
    "label", ["honeypot", "Honeypot (leave empty)", " HONEYPOT", "honeypot_1", "honeypot Matrix ID"]
)
def test_it_is_a_trap(label: str) -> None:
    assert meaning(label, "") is Meaning.TRAP


def test_the_key_counts_as_well() -> None:
    assert meaning("How do we reach you?", "matrix_id") is Meaning.ID


@pytest.mark.parametrize(("label", "key"), [("honeypot", "matrix_id"), ("Matrix ID", "honeypot")])
def test_a_trap_outweighs_an_id(label: str, key: str) -> None:
    assert meaning(label, key) is Meaning.TRAP


def test_folding_leaves_letters_and_digits() -> None:
    assert fold(" Straße-Nr. 7! ") == "strassenr7"


@pytest.mark.parametrize(
    "key",
    [
        "utm_source",
        "_next",
        "user_agent",
        "Referer",
        "created_at",
        "formName",
        "ip",
        "form_token",
        "csrf_token",
    ],
)
def test_it_is_about_the_delivery(key: str) -> None:
    assert is_metadata(key)


@pytest.mark.parametrize("key", ["matrix_id", "why", "name", "room", "website", "language", "tip"])
def test_it_is_an_answer(key: str) -> None:
    assert not is_metadata(key)

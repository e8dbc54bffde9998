"""What names of one wave have in common, and innocent ones have not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mknock.matching.likeness import LONGEST, likeness


@pytest.mark.parametrize(
    ("names", "shared"),
    [
        (["raider0001", "raider0002"], "aaaaaa9999"),
        (["kqzvp4821", "hbtrx1107"], "aaaaa9999"),
        (["swift-fox-4211", "brave-wombat-9001"], "a-a-9999"),
        (["swift_fox_42", "swift.fox.42"], "a-a-99"),
        (["a3f9c2e1", "9b1c4d7e"], "mixed, 8 long"),
        (["84930281", "11111111"], "99999999"),
        (["dragon", "DRAGON", "dra.gon", "drаgon", "draagon"], "reads dragon"),
    ],
)
def test_names_made_in_one_way_are_alike(names: list[str], shared: str) -> None:
    assert {likeness(name) for name in names} == {shared}


def test_names_of_letters_are_not_alike_for_that() -> None:
    names = ["alice", "robin", "clara", "peter", "anna_schmidt", "maria_lopez"]
    assert len({likeness(name) for name in names}) == len(names)


@pytest.mark.parametrize("name", ["ab", "_", "--", "٣٤"])
def test_what_says_nothing_is_like_nobody(name: str) -> None:
    assert likeness(name) == ""


@given(st.text())
def test_any_name_has_a_short_likeness(name: str) -> None:
    assert len(likeness(name)) <= LONGEST + len("reads ")

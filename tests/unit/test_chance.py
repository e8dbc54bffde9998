"""Identifiers sort by the time they were made."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mknock.domain.chance import new_id, new_ids

times = st.integers(0, 2**48 - 1).map(lambda milliseconds: (milliseconds + 0.5) / 1000)


def test_an_id_is_a_ulid() -> None:
    new = new_id(1469922850.259)  # the time of the specification's own example, 01ARZ3NDEKTSV4RRFFQ69G5FAV
    assert len(new) == 26
    assert set(new) <= set("0123456789ABCDEFGHJKMNPQRSTVWXYZ")
    assert new.startswith("01ARZ3NDEK")


@given(times, times)
def test_ids_sort_by_time(earlier: float, later: float) -> None:
    first, second = sorted((earlier, later))
    assert new_id(first)[:10] <= new_id(second)[:10]


def test_ids_of_the_same_moment_differ() -> None:
    assert len({new_id(1.0) for _ in range(1000)}) == 1000


def test_several_ids_of_one_moment_sort_in_their_order() -> None:
    ids = new_ids(1.0, 100)
    assert ids == sorted(set(ids))


@given(times)
def test_the_last_moment_there_is_fits_as_well(at: float) -> None:
    assert {len(new) for new in new_ids(at, 3)} == {26}

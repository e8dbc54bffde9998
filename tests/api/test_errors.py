"""Each of Knock's errors has an HTTP status, and its answers have one shape."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator

import pytest
from starlette.requests import Request

import mknock
from mknock.api.common import STATUSES, error_response, headers_for, status_of
from mknock.domain.errors import KnockError, RateLimited, StoreUnavailable, Unauthenticated


def subclasses(of: type[KnockError]) -> Iterator[type[KnockError]]:
    for each in of.__subclasses__():
        yield each
        yield from subclasses(each)


def all_errors() -> list[type[KnockError]]:
    """Every kind of KnockError in the package that a request can meet: those of the command line it cannot."""
    for module in pkgutil.walk_packages(mknock.__path__, "mknock."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    return sorted(
        (each for each in set(subclasses(KnockError)) if re.match(r"mknock\.(?!cli\b)", each.__module__)),
        key=lambda each: each.__qualname__,
    )


@pytest.mark.parametrize("error", all_errors(), ids=lambda error: error.__name__)
def test_every_error_or_its_parent_has_a_status(error: type[KnockError]) -> None:
    assert any(kind in STATUSES for kind in error.__mro__)


@pytest.mark.parametrize(
    ("error", "status"), STATUSES.items(), ids=lambda value: getattr(value, "__name__", value)
)
def test_only_statuses_of_errors_are_given(error: type[KnockError], status: int) -> None:
    assert 400 <= status < 600


@pytest.mark.promise(7)
def test_not_knowing_and_no_have_different_statuses() -> None:
    unknown = {status for error, status in STATUSES.items() if "Unavailable" in error.__name__}
    assert unknown == {503}


def test_an_outage_asks_to_come_back() -> None:
    assert headers_for(StoreUnavailable("away")) == {"Retry-After": "10"}


def test_a_limits_wait_is_rounded_up() -> None:
    assert headers_for(RateLimited("slow down", retry_after=0.2)) == {"Retry-After": "1"}


def test_a_missing_key_names_its_scheme() -> None:
    assert headers_for(Unauthenticated("no")) == {"WWW-Authenticate": "Bearer"}


def test_a_child_has_its_parents_status() -> None:
    class Locked(StoreUnavailable):
        pass

    assert status_of(Locked("away")) == 503


async def test_the_answer_is_the_errors_sentence() -> None:
    answer = await error_response(Request({"type": "http"}), StoreUnavailable("the store is away"))
    assert bytes(answer.body) == b'{"error":"the store is away"}'

"""Codes: made of a token under a key, read in any dress, and kept as a hash alone."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.kit.encrypting import MemorySecrets

from mknock.services.proof_codes import ALPHABET, LENGTH, MOST, ProofCodes, codes_in, is_yes, shown

CODE = "3K7QWX9Z"


def codes(secrets: MemorySecrets | None = None) -> ProofCodes:
    return ProofCodes(secrets or MemorySecrets())  # type: ignore[arg-type]


async def test_every_process_makes_the_same_code_of_a_token() -> None:
    secrets = MemorySecrets()
    first, second = [await codes(secrets).code_of("token") for _ in range(2)]
    assert first == second
    assert set(first) <= set(ALPHABET)
    assert len(first) == LENGTH


async def test_another_store_makes_another_code() -> None:
    assert await codes().code_of("token") != await codes().code_of("token")


async def test_codes_use_the_whole_alphabet_evenly() -> None:
    one = codes()
    counted = Counter("".join([await one.code_of(str(number)) for number in range(4000)]))
    assert set(counted) == set(ALPHABET)
    assert max(counted.values()) < 1.3 * min(counted.values())


@pytest.mark.promise(10)
async def test_a_receipt_tells_nothing_of_its_code_without_the_key() -> None:
    one = codes()
    receipt = await one.receipt_of(CODE)
    assert CODE not in receipt
    assert receipt == await one.receipt_of(CODE)
    assert receipt != await codes().receipt_of(CODE)
    assert len(receipt) == 64


@pytest.mark.parametrize(
    "text",
    [
        "3K7QWX9Z",
        "3k7q-wx9z",
        " 3K7Q WX9Z\n",
        "3K7Q–WX9Z.",
        "3 k 7 q w x 9 z",
        "**3K7Q-WX9Z**",
        "the code: 3k7q-wx9z, thanks",
        "３Ｋ７Ｑ-ＷＸ９Ｚ",
        "> quoted\n\n3K7Q-WX9Z",
    ],
)
def test_a_code_is_read_in_any_dress(text: str) -> None:
    assert CODE in codes_in(text)


@pytest.mark.parametrize(("typed", "read"), [("OOOO-IIII", "00001111"), ("lIoO 2345", "11002345")])
def test_letters_that_look_like_figures_are_read_as_those(typed: str, read: str) -> None:
    assert codes_in(typed) == [read]


@pytest.mark.parametrize(
    "text", ["", "hello", "how are you", "3K7Q", "3K7QWX9Z3K7QWX9Z", "UUUU-UUUU", "🙂" * 99]
)
def test_what_is_no_code_is_none(text: str) -> None:
    assert list(codes_in(text)) == []


@pytest.mark.parametrize("text", ["yes", "Yes!", " JA. ", "*yes*"])
def test_yes_is_yes(text: str) -> None:
    assert is_yes(text)


@pytest.mark.parametrize("text", ["", "no", "yes and no", "yesterday", "nein", "y e s", CODE])
def test_anything_else_is_not(text: str) -> None:
    assert not is_yes(text)


def test_a_shown_code_is_read_again() -> None:
    assert codes_in(shown(CODE)) == [CODE]


@given(st.text(max_size=2000))
def test_no_text_gives_more_than_a_few_codes_or_odd_ones(text: str) -> None:
    found = codes_in(text)
    assert len(found) <= MOST
    assert all(len(code) == LENGTH and set(code) <= set(ALPHABET) for code in found)

"""Whatever a homeserver or a device answers: nothing but our own errors, and no key for whom it is not meant."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.kit.encrypting import Encrypting, MemorySecrets, sent
from tests.kit.key_server import BOT, DEVICE, Json, KeyServer, Reader

from mknock.domain.errors import KnockError
from mknock.matrix.encryption.devices import device_in
from mknock.matrix.encryption.signatures import encoded, is_key, is_signed

ALICE = "@alice:hs.test"
NO_POINT = encoded(bytes(32))
LONG = encoded(bytes(33))
"""A key of 33 bytes, at which vodozemac's own Ed25519 panics."""


# --- device keys


def without(keys: Json, name: str) -> Json:
    return {key: value for key, value in keys.items() if key != name}


ALTERED: dict[str, Callable[[Reader], Any]] = {
    "of somebody else": lambda reader: reader.device_keys(user_id="@mallory:hs.test"),
    "of another device": lambda reader: reader.device_keys(device_id="LAPTOP"),
    "unsigned": lambda reader: without(reader.device_keys(), "signatures"),
    "signed by another device": lambda reader: {
        **reader.device_keys(),
        "signatures": Reader(ALICE, "PHONE").device_keys()["signatures"],
    },
    "changed after signing": lambda reader: {
        **reader.device_keys(),
        "algorithms": ["m.olm.v1.curve25519-aes-sha2"],
    },
    "without Olm": lambda reader: reader.device_keys(algorithms=["m.megolm.v1.aes-sha2"]),
    "without keys": lambda reader: reader.device_keys(keys={}),
    "keys that are a list": lambda reader: reader.device_keys(keys=[]),
    "algorithms that are a number": lambda reader: reader.device_keys(algorithms=7),
    "a key that is too long": lambda reader: reader.device_keys(
        keys={"curve25519:PHONE": reader.curve25519, "ed25519:PHONE": LONG}
    ),
    "a key that is no text": lambda reader: reader.device_keys(
        keys={"curve25519:PHONE": 1, "ed25519:PHONE": reader.ed25519}
    ),
    "with a fraction": lambda reader: {**reader.device_keys(), "more": 1.5},
    "no object": lambda _: [],
}


@pytest.mark.parametrize("how", ALTERED)
def test_a_device_is_not_used_with_keys(how: str) -> None:
    assert device_in(ALICE, "PHONE", ALTERED[how](Reader(ALICE, "PHONE"))) is None


def test_a_device_with_proper_keys_is_used() -> None:
    assert device_in(ALICE, "PHONE", Reader(ALICE, "PHONE").device_keys()) is not None


@pytest.fixture
def place() -> Encrypting:
    return Encrypting(MemorySecrets(), KeyServer())


@pytest.mark.parametrize("how", ALTERED)
async def test_no_room_key_goes_to_such_a_device(place: Encrypting, how: str) -> None:
    place.server.add(ALICE)
    place.server.devices[ALICE]["PHONE"] = ALTERED[how](place.server.readers[ALICE, "PHONE"])
    await sent(place.knock(), ALICE)
    assert place.server.calls("sendToDevice") == []


async def test_an_unusable_device_does_not_keep_the_key_from_the_others(place: Encrypting) -> None:
    reader = place.server.add(ALICE)
    place.server.devices[ALICE]["BROKEN"] = {"keys": []}
    assert reader.can_read(await sent(place.knock(), ALICE))


async def test_a_device_that_has_our_own_keys_gets_nothing(place: Encrypting) -> None:
    knock = place.knock()
    await knock.start()
    place.server.devices[ALICE] = {DEVICE: place.server.devices[BOT][DEVICE]}
    await sent(knock, ALICE)
    assert place.server.calls("sendToDevice") == []


async def test_a_device_with_a_key_that_is_no_point_gets_nothing(place: Encrypting) -> None:
    reader = place.server.add(ALICE)
    keys = {"curve25519:PHONE": NO_POINT, "ed25519:PHONE": reader.ed25519}
    place.server.devices[ALICE]["PHONE"] = reader.device_keys(keys=keys)
    await sent(place.knock(), ALICE)
    assert place.server.calls("sendToDevice") == []


# --- one-time keys

CLAIMED: dict[str, Callable[[Reader], Any]] = {
    "of another device": lambda _: Reader(ALICE, "PHONE").one_time_keys(),
    "unsigned": lambda reader: {"signed_curve25519:A": {"key": reader.curve25519}},
    "of another kind": lambda reader: {"curve25519:A": reader.signed({"key": reader.curve25519})},
    "that are no point": lambda reader: {"signed_curve25519:A": reader.signed({"key": NO_POINT})},
    "that are too long": lambda reader: {"signed_curve25519:A": reader.signed({"key": LONG})},
    "that are no text": lambda reader: {"signed_curve25519:A": reader.signed({"key": 1})},
    "that are text alone": lambda reader: {"signed_curve25519:A": reader.curve25519},
    "in a list": lambda _: [1],
    "that are none": lambda _: {},
}


@pytest.mark.parametrize("how", CLAIMED)
async def test_no_session_begins_with_one_time_keys(place: Encrypting, how: str) -> None:
    reader = place.server.add(ALICE)
    claimed = CLAIMED[how](reader)
    place.server.instead["keys/claim"] = {"one_time_keys": {ALICE: {"PHONE": claimed}}}
    await sent(place.knock(), ALICE)
    assert place.server.calls("sendToDevice") == []


# --- signatures


@pytest.mark.parametrize(
    "text", [None, 1, "", "AAAA", LONG, f"{NO_POINT}=", "é" * 43, "-" * 43, f"{NO_POINT}\n"]
)
def test_some_things_are_no_key(text: Any) -> None:
    assert not is_key(text)


@pytest.mark.parametrize(
    "signatures",
    [None, [], {ALICE: None}, {ALICE: []}, {ALICE: {"ed25519:PHONE": 1}}, {ALICE: {"ed25519:PHONE": "AA"}}],
)
def test_what_is_no_signature_is_none(signatures: Any) -> None:
    assert not is_signed({"a": 1, "signatures": signatures}, ALICE, "PHONE", Reader(ALICE, "PHONE").ed25519)


# --- anything at all

leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([ALICE, BOT, DEVICE, "PHONE", NO_POINT, LONG])
)
anything = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([ALICE, BOT, DEVICE, "PHONE", "keys", "signatures", "device_keys", "key"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)


def places_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path to every value inside."""
    if path:
        yield path
    for key, inner in value.items() if isinstance(value, dict) else ():
        yield from places_in(inner, (*path, key))


def changed_at(value: Json, path: tuple[Any, ...], new: Any) -> Json:
    changed = copy.deepcopy(value)
    inside = changed
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = new
    return changed


def altered(answer: Json, which: int, new: Any) -> Json:
    """The answer with one of its values, the deepest included, replaced by anything."""
    paths = list(places_in(answer))
    return changed_at(answer, paths[which % len(paths)], new)


async def encrypts_or_says_why(server: KeyServer) -> None:
    with contextlib.suppress(KnockError):
        event = await sent(Encrypting(MemorySecrets(), server).knock(), ALICE)
        assert event["algorithm"] == "m.megolm.v1.aes-sha2"


@given(st.integers(0, 10_000), anything)
async def test_no_answer_about_devices_raises_anything_else(which: int, new: Any) -> None:
    server = KeyServer()
    server.add(ALICE)
    server.instead["keys/query"] = lambda body: altered(server.query(body), which, new)
    await encrypts_or_says_why(server)


@given(st.integers(0, 10_000), anything)
async def test_no_answer_to_a_claim_raises_anything_else(which: int, new: Any) -> None:
    server = KeyServer()
    reader = server.add(ALICE, one_time_keys=1)
    claimed = {"one_time_keys": {ALICE: {"PHONE": reader.one_time_keys()}}}
    server.instead["keys/claim"] = altered(claimed, which, new)
    await encrypts_or_says_why(server)


@given(
    st.sampled_from(
        ["keys/query", "keys/claim", "keys/upload", "keys/device_signing", "keys/signatures", "sendToDevice"]
    ),
    st.sampled_from([200, 301, 400, 401, 403, 404, 413, 429, 500, 502]),
    anything | st.fixed_dictionaries({"errcode": st.sampled_from(["M_FORBIDDEN", "M_UNKNOWN_TOKEN", 1, ""])}),
)
async def test_no_answer_at_all_raises_anything_else(call: str, status: int, body: Any) -> None:
    server = KeyServer()
    server.add(ALICE)
    with contextlib.suppress(ValueError):  # some floats are no JSON
        server.instead[call] = httpx2.Response(status, json=body)
    await encrypts_or_says_why(server)

"""The recovery key, and what it opens. The vectors were made by matrix-js-sdk (Element Web's library)."""

from __future__ import annotations

import base64
from typing import Any

import httpx2
import pytest
from tests.kit.key_server import BOT, KeyServer

from mknock.domain.errors import EncryptionUnavailable
from mknock.matrix.encryption.secret_storage import fits, key_in, opened, secret_in_storage

KEY = bytes(number * 7 % 256 for number in range(32))
RECOVERY_KEY = "EsSz z9tE P7v3 2x3J pej9 kEu3 wFRg Cohn LtKd CcAP Gyjg nnbj"
DESCRIPTION = {
    "algorithm": "m.secret_storage.v1.aes-hmac-sha2",
    "iv": "DLYcjtAmUGE6BwEWjwXc9w==",
    "mac": "P+718UD68hLdaCl/mCF4GrfWDqxwhEk2AyASPWp97BQ=",
}
NAME = "m.cross_signing.self_signing"
SEED = "MzIgYnl0ZXMgdGhhdCBhcmUgaGFyZCB0byBndWVzcyE"
SEALED = {
    "iv": "XRuWojhqxDUk+MLwNwrXFA==",
    "ciphertext": "rvm1qBfGo3ZA/E3LWDjVwTdhsVZ7eQhhvvxf0yHCMaFSakEAc3PyIFfnlw==",
    "mac": "rloce7QkV7rIkbkzu72rpapDyxY1ArpWmp1pPRKzJPU=",
}
OTHER_KEY = "EsTc LW2K PGiF wKEA 3As5 g5c4 BXwk qeeJ ZJV8 Q9fu gUMN UE4d"


def test_a_recovery_key_stands_for_32_bytes() -> None:
    assert key_in(RECOVERY_KEY) == KEY


def test_the_spaces_in_a_recovery_key_do_not_count() -> None:
    assert key_in(f" {RECOVERY_KEY.replace(' ', '')}\n") == KEY


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "1",
        "0OIl",
        RECOVERY_KEY[:-1],
        RECOVERY_KEY.replace("z9tE", "z9tF"),
        RECOVERY_KEY.replace("EsSz", "EsTz"),
        f"{RECOVERY_KEY}1",
        f"1{RECOVERY_KEY}",
        "correct horse battery staple",
        "z" * 100_000,
        "Ä" * 48,
    ],
)
def test_what_is_mistyped_is_no_recovery_key(typed: str) -> None:
    with pytest.raises(EncryptionUnavailable, match="RECOVERY_KEY is not a recovery key"):
        key_in(typed)


def test_a_sealed_secret_opens_with_its_key() -> None:
    assert opened(KEY, NAME, SEALED) == SEED


@pytest.mark.parametrize(
    ("key", "name", "sealed"),
    [
        (bytes(32), NAME, SEALED),
        (KEY, "m.cross_signing.master", SEALED),
        (KEY, NAME, {**SEALED, "ciphertext": "AAAA"}),
        (KEY, NAME, {**SEALED, "mac": "AAAA"}),
        (KEY, NAME, {**SEALED, "iv": SEALED["iv"][4:]}),
        (KEY, NAME, {}),
        (KEY, NAME, {"iv": 1, "ciphertext": None, "mac": []}),
        (KEY, NAME, None),
        (KEY, NAME, "sealed"),
    ],
)
def test_nothing_else_opens_it(key: bytes, name: str, sealed: Any) -> None:
    with pytest.raises(ValueError):
        opened(key, name, sealed)


@pytest.mark.parametrize(
    ("key", "description", "does_fit"),
    [
        (KEY, DESCRIPTION, True),
        (bytes(32), DESCRIPTION, False),
        (KEY, {"algorithm": DESCRIPTION["algorithm"]}, True),
        (KEY, {**DESCRIPTION, "algorithm": "another"}, False),
        (KEY, {**DESCRIPTION, "iv": None}, False),
        (KEY, None, False),
    ],
)
def test_a_description_tells_whether_the_key_is_meant(key: bytes, description: Any, does_fit: bool) -> None:
    assert fits(key, description) is does_fit


@pytest.fixture
def server() -> KeyServer:
    """A homeserver where the owner has left a secret."""
    data: dict[str, Any] = {NAME: {"encrypted": {"key1": SEALED}}, "m.secret_storage.key.key1": DESCRIPTION}
    return KeyServer(account_data=data)


async def test_a_secret_is_found_with_the_recovery_key(server: KeyServer) -> None:
    assert await secret_in_storage(server.client(), BOT, NAME, RECOVERY_KEY) == SEED


async def test_the_key_that_fits_is_used(server: KeyServer) -> None:
    other = {"iv": "", "ciphertext": "", "mac": ""}
    server.account_data[NAME] = {"encrypted": {"key0": other, "key1": SEALED}}
    server.account_data["m.secret_storage.key.key0"] = {**DESCRIPTION, "mac": base64.b64encode(KEY).decode()}
    assert await secret_in_storage(server.client(), BOT, NAME, RECOVERY_KEY) == SEED


async def test_another_accounts_recovery_key_is_told_from_the_right_one(server: KeyServer) -> None:
    with pytest.raises(EncryptionUnavailable, match="not the recovery key of the account"):
        await secret_in_storage(server.client(), BOT, NAME, OTHER_KEY)


@pytest.mark.parametrize("data", [None, {}, {"encrypted": {}}, {"encrypted": [1]}, {"encrypted": "x"}])
async def test_an_account_without_secret_storage_is_told(server: KeyServer, data: Any) -> None:
    del server.account_data[NAME]
    server.instead = (
        {} if data is None else {f"user/{BOT}/account_data/{NAME}": httpx2.Response(200, json=data)}
    )
    with pytest.raises(EncryptionUnavailable, match="no secure backup"):
        await secret_in_storage(server.client(), BOT, NAME, RECOVERY_KEY)

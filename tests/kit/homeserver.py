"""What the real and the fake homeserver have in common, so that one test can run on both."""

from __future__ import annotations

from typing import Protocol, Unpack

from tests.kit.account import Account, Caller
from tests.kit.rooms import RoomWishes

SERVER_NAME = "knock.test"

UNREACHABLE_SERVER = "127.0.0.1:1"
"""A server name where nothing listens: calls that need it answer 502."""

DENIED_SERVER = "denied.test"
"""A server that the homeserver does not federate with: calls that need it answer 403."""


class Homeserver(Protocol):
    """A homeserver whose people and rooms a test makes as it needs them."""

    @property
    def url(self) -> str:
        """Where the client-server API is, without a slash at the end."""
        ...

    @property
    def server_name(self) -> str: ...

    def anonymous(self) -> Caller:
        """Return somebody without an access token."""
        ...

    def jwt(self, name: str) -> str:
        """Return a token for ``org.matrix.login.jwt``; logging in with it makes the account."""
        ...

    async def user(self, name: str) -> Account:
        """Return the account with that localpart on a fresh device; it is made when it is new."""
        ...

    async def users(self, count: int, prefix: str = "user") -> list[Account]:
        """Return ``count`` accounts named prefix0, prefix1, …"""
        ...

    async def register(self, name: str, password: str) -> Account:
        """Make an account that can log in with a password."""
        ...

    async def new_room(self, owner: Account, **wishes: Unpack[RoomWishes]) -> str:
        """Make a private room that belongs to ``owner`` and return its id."""
        ...

    async def expired_token(self, name: str) -> str:
        """Return an access token of that account whose time is over: 401 with ``soft_logout``."""
        ...

"""Login tokens for ``org.matrix.login.jwt``, signed by hand (RFC 7519, HS256)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time

SECRET = "a secret of the test homeservers, 32+ characters"


class BadToken(ValueError):
    """The token is malformed, expired, or signed by somebody else."""


def login_token(name: str, *, secret: str = SECRET, lifetime: float = 300.0) -> str:
    """Return a token that logs ``name`` in (a localpart) for ``lifetime`` seconds."""
    signed = ".".join((_packed({"alg": "HS256", "typ": "JWT"}), _packed(_claims(name, lifetime))))
    return f"{signed}.{_signature(signed, secret)}"


def subject(token: str, *, secret: str = SECRET) -> str:
    """Return the localpart that the token stands for.

    Raises:
        BadToken: it is malformed, expired, or not signed with the secret.
    """
    signed, _, signature = token.rpartition(".")
    if not hmac.compare_digest(_signature(signed, secret).encode(), signature.encode()):
        raise BadToken("Signature verification failed")
    claims = _unpacked(signed.partition(".")[2])
    if claims["exp"] < time.time():
        raise BadToken("The token is expired")
    return str(claims["sub"])


def _claims(name: str, lifetime: float) -> dict[str, object]:
    return {"sub": name, "exp": int(time.time() + lifetime)}


def _packed(value: dict[str, object]) -> str:
    return _text(json.dumps(value).encode())


def _unpacked(text: str) -> dict[str, float]:
    claims: dict[str, float] = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return claims


def _signature(signed: str, secret: str) -> str:
    return _text(hmac.new(secret.encode(), signed.encode(), hashlib.sha256).digest())


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

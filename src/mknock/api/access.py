"""Who may call: form secrets and the API key, compared in constant time (promise 10)."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field

from mknock.domain.errors import Unauthenticated
from mknock.forms import SIGNED, signatures_on
from mknock.forms.post import FormPost
from mknock.ports import Clock
from mknock.telemetry import get_logger

log = get_logger(__name__)


def same(presented: str, secret: str) -> bool:
    """Compare in constant time; on bytes, since text that is not ASCII would raise."""
    return hmac.compare_digest(presented.encode("utf-8", "surrogatepass"), secret.encode())


def bearer(headers: Mapping[str, str]) -> str:
    """The token of an ``Authorization: Bearer …`` header, or ""."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


@dataclass(slots=True)
class AdminKey:
    """The key of the admin endpoints. ``open`` leaves them without one: the owner must have asked for that."""

    key: str | None = field(default=None, repr=False)
    open: bool = False

    def check(self, headers: Mapping[str, str]) -> None:
        """Raises Unauthenticated unless the caller has the key."""
        if self.open or (self.key is not None and same(bearer(headers), self.key)):
            return
        raise Unauthenticated("send the API key: Authorization: Bearer <API_KEY> (see: mknock api-key)")


@dataclass(frozen=True, slots=True)
class Trust:
    """Whether somebody vouches for a delivery. ``platform`` is whose signature did: it vouches for no other's."""

    given: bool
    platform: str = ""


ANONYMOUS = Trust(given=False)
BY_TOKEN = Trust(given=True)


@dataclass(frozen=True, slots=True)
class FormGate:
    """Says whether a delivery is authenticated.

    Once a secret is set for the form (FORM_TOKEN or a platform's signing
    secret), every delivery must satisfy one of them, whatever its shape. The
    API key is accepted as well, as it was in the first mknock.
    """

    admin: AdminKey
    clock: Clock
    form_token: str | None = field(default=None, repr=False)
    signing_secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    def trust(self, post: FormPost) -> Trust:
        """Who vouches for this delivery; ANONYMOUS for a visitor of whom nothing is asked.

        Raises:
            Unauthenticated: a secret is set and none is satisfied, or a wrong one was presented.
        """
        presented = self._presented(post)
        accepted = [key for key in (self.form_token, self.admin.key) if key]
        if any(same(token, key) for token in presented for key in accepted):
            return BY_TOKEN
        if signer := self._signer(post):
            return Trust(given=True, platform=signer)
        if self.form_token or self.signing_secrets:
            log.info("a form was refused", why=self._why_not(post, presented))
            raise Unauthenticated(
                "this form needs its secret: a valid signature, or FORM_TOKEN as ?token= or bearer"
            )
        if presented:
            raise Unauthenticated("the token is wrong; no FORM_TOKEN is set here, so send none or set it")
        return ANONYMOUS

    def _signer(self, post: FormPost) -> str:
        now, secrets = self.clock(), self.signing_secrets
        verified = (
            name for name in SIGNED if name in secrets and SIGNED[name].verifies(post, secrets[name], now)
        )
        return next(verified, "")

    def _why_not(self, post: FormPost, presented: list[str]) -> str:
        """Why nobody vouches for this delivery, for the owner."""
        signers = signatures_on(post)
        if known := [_setting(name) for name in signers if name in self.signing_secrets]:
            return f"its signature does not match {' or '.join(known)}, or its time is too far from ours"
        if signers:
            return f"it is signed, but {' or '.join(map(_setting, signers))} is not set"
        if presented:
            return (
                "its token is not FORM_TOKEN"
                if self.form_token
                else "its token is wrong; FORM_TOKEN is not set"
            )
        return "it carries neither a token nor a signature"

    @staticmethod
    def _presented(post: FormPost) -> list[str]:
        tokens = (bearer(post.headers), post.headers.get("x-form-token", ""), post.query.get("token", ""))
        return [token for token in tokens if token]


def _setting(signer: str) -> str:
    return f"{signer}_signing_secret".upper()

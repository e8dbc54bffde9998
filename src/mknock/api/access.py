"""Who may call: form secrets and the API key, compared in constant time (promise 10)."""

from __future__ import annotations

import base64
import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from mknock.domain.doors import Door, FormSecrets
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


UNPROVEN = "this form needs its secret: a valid signature, or FORM_TOKEN as ?token= or bearer"
UNPROVEN_AT_DOOR = "this form needs its door's secret: a valid signature, or the token as ?token= or bearer"
_DECOY = "whsec_" + base64.b64encode(os.urandom(32)).decode()
"""What a delivery to a door that has no such secret, or to none, is compared with: it takes as long."""


@dataclass(frozen=True, slots=True)
class FormGate:
    """Says whether a delivery is authenticated.

    Once a secret is set for the first door's form (FORM_TOKEN or a platform's signing
    secret), every delivery must satisfy one of them, whatever its shape. The
    API key is accepted as well, as it was in the first mknock.
    """

    admin: AdminKey
    clock: Clock

    def trust(self, post: FormPost, door: Door) -> Trust:
        """Who vouches for this delivery; ANONYMOUS for a visitor of whom nothing is asked.

        Raises:
            Unauthenticated: a secret is set and none is satisfied, or a wrong one was presented.
        """
        secrets = door.secrets
        presented = _presented(post)
        accepted = [key for key in (secrets.token, self.admin.key) if key]
        if any(same(token, key) for token in presented for key in accepted):
            return BY_TOKEN
        if signer := self._signer(post, secrets):
            return Trust(given=True, platform=signer)
        if secrets:
            log.info("a form was refused", why=_why_not(post, presented, secrets))
            raise Unauthenticated(UNPROVEN)
        if presented:
            raise Unauthenticated("the token is wrong; no FORM_TOKEN is set here, so send none or set it")
        return ANONYMOUS

    def trust_named(self, post: FormPost, door: Door | None) -> Trust:
        """Who vouches for a delivery to a door by its name. Here a secret is always needed, the door's own.

        A door that does not exist is compared like any other, so that neither the
        answer nor its time tells which doors there are.

        Raises:
            Unauthenticated: none is satisfied, or there is no such door.
        """
        secrets = door.secrets if door else FormSecrets()
        presented = _presented(post)
        accepted = (secrets.token or _DECOY, self.admin.key or _DECOY)
        by_token = [same(token, key) for token in presented for key in accepted]
        signer = self._signer(post, FormSecrets(signing={**dict.fromkeys(SIGNED, _DECOY), **secrets.signing}))
        if door is not None and any(by_token):
            return BY_TOKEN
        if door is not None and signer in secrets.signing:
            return Trust(given=True, platform=signer)
        why = _why_not(post, presented, secrets)
        log.info(
            "a form was refused",
            door=door.slug if door else "",
            why=why if door else "there is no door of that name",
        )
        raise Unauthenticated(UNPROVEN_AT_DOOR)

    def _signer(self, post: FormPost, secrets: FormSecrets) -> str:
        now, signing = self.clock(), secrets.signing
        verified = (
            name for name in SIGNED if name in signing and SIGNED[name].verifies(post, signing[name], now)
        )
        return next(verified, "")


def _why_not(post: FormPost, presented: list[str], secrets: FormSecrets) -> str:
    """Why nobody vouches for this delivery, for the owner."""
    signers, token = signatures_on(post), secrets.setting("token")
    if known := [secrets.setting(name) for name in signers if name in secrets.signing]:
        return f"its signature does not match {' or '.join(known)}, or its time is too far from ours"
    if signers:
        return f"it is signed, but {' or '.join(map(secrets.setting, signers))} is not set"
    if presented:
        return f"its token is not {token}" if secrets.token else f"its token is wrong; {token} is not set"
    return "it carries neither a token nor a signature"


def _presented(post: FormPost) -> list[str]:
    tokens = (bearer(post.headers), post.headers.get("x-form-token", ""), post.query.get("token", ""))
    return [token for token in tokens if token]

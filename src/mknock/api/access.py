"""Who may call: form secrets and the API key, compared in constant time (promise 10)."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field

from mknock.domain.errors import Unauthenticated
from mknock.forms import SIGNED
from mknock.forms.post import FormPost


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
class FormGate:
    """Says whether a delivery is authenticated.

    Once a secret is set for the form (FORM_TOKEN or a platform's signing
    secret), every delivery must satisfy one of them, whatever its shape. The
    API key is accepted as well, as it was in the first mknock.
    """

    admin: AdminKey
    form_token: str | None = field(default=None, repr=False)
    signing_secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    def trusts(self, post: FormPost) -> bool:
        """Whether somebody vouches for this delivery; False is an anonymous visitor.

        Raises:
            Unauthenticated: a secret is set and none is satisfied, or a wrong one was presented.
        """
        presented = self._presented(post)
        accepted = [key for key in (self.form_token, self.admin.key) if key]
        if any(same(token, key) for token in presented for key in accepted):
            return True
        if any(SIGNED[platform](post, secret) for platform, secret in self.signing_secrets.items()):
            return True
        if self.form_token or self.signing_secrets:
            raise Unauthenticated(
                "this form needs its secret: a valid signature, or FORM_TOKEN as ?token= or bearer"
            )
        if presented:
            raise Unauthenticated("the token is wrong; no FORM_TOKEN is set here, so send none or set it")
        return False

    @staticmethod
    def _presented(post: FormPost) -> list[str]:
        tokens = (bearer(post.headers), post.headers.get("x-form-token", ""), post.query.get("token", ""))
        return [token for token in tokens if token]

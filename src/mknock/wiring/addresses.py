"""What answers requests: which parts stand behind which addresses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fastapi import FastAPI

from mknock import __version__
from mknock.api.access import AdminKey, FormGate
from mknock.api.application import build
from mknock.api.common import BODY_LIMIT, headers_for, read_body, status_of
from mknock.api.health import Ready
from mknock.api.links import links_router
from mknock.api.lists import lists_router
from mknock.api.sender import Visitors
from mknock.api.v0 import Admin
from mknock.api.waves import waves_router
from mknock.api.webhooks import Webhooks
from mknock.services.admission import Admission
from mknock.services.moderation import Moderation
from mknock.services.outcomes import Outcomes
from mknock.services.proof_codes import ProofCodes
from mknock.services.readiness import Readiness
from mknock.web.entrances import Entrances
from mknock.web.proof import ProofOfWork
from mknock.web.public import PublicPages, Requests
from mknock.web.signing import Signer, Stamps
from mknock.wiring.parts import Parts, link_maker_of, list_reports_of, rule_maker_of, waves_of


@dataclass(frozen=True, slots=True)
class Addresses:
    """``wake`` is called when somebody is to be invited."""

    parts: Parts
    key: AdminKey
    outcomes: Outcomes
    moderation: Moderation
    readiness: Readiness
    wake: Callable[[], None]

    def application(self) -> tuple[FastAPI, Webhooks]:
        """Everything that is served, and the part of it that takes forms."""
        parts, key = self.parts, self.key
        admission = Admission(parts.store, parts.book, parts.clock, wake=self.wake)
        visitors = Visitors(parts.settings.trusted_proxies)
        webhooks = Webhooks(
            doors=parts.doors,
            gate=FormGate(key, parts.clock),
            admission=admission,
            visitors=visitors,
            outcomes=self.outcomes,
        )
        rules = rule_maker_of(parts)
        links = links_router(link_maker_of(parts), key, parts.clock, parts.settings.public_url or "")
        served = build(
            webhooks,
            Admin(parts.store, parts.homeserver, parts.doors, self.moderation, key, rules),
            Ready(self.readiness),
            version=__version__,
            routers=[
                lists_router(list_reports_of(parts), key),
                links,
                waves_router(waves_of(parts, self.moderation), key),
            ],
            pages=self._pages(admission, visitors).routes(),
        )
        return served, webhooks

    def _pages(self, admission: Admission, visitors: Visitors) -> PublicPages:
        """What visitors see."""
        parts, signer = self.parts, Signer(self.parts.store)
        return PublicPages(
            entrances=Entrances(parts.doors, parts.store.link, parts.clock),
            admission=admission,
            proof=ProofOfWork(parts.store, signer, parts.clock),
            stamps=Stamps(signer, parts.clock),
            codes=ProofCodes(parts.store),
            account=lambda: self.readiness.account,
            requests=Requests(visitors.address, read_body, status_of, headers_for, BODY_LIMIT),
        )

"""A relay by hand over a server in this process: it signs whatever a test wants."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from tests.attested.machines import Makers, Tee
from tests.server.world import Computer, Shop

from modelseal.admin import IssuedLicense, PlanDraft, RelayReport
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.crypto.signing import SigningKey
from modelseal.ids import new_id
from modelseal.license import attested, tokens
from modelseal.license.claims import Confirmation, DelegationClaims, LeaseClaims, RelayKey
from modelseal.license.plans import LeaseTerms, Plan, PlanEntitlement, RelayTerms
from modelseal.server.services.acts import DelegatedAct
from modelseal.server.services.attesting import AttestedRequest
from modelseal.server.services.booking import Booked
from modelseal.server.services.delegating import Delegated
from modelseal.strict_json import b64u
from modelseal.types import to_numeric

DAY = 86400


def terms(**more: Any) -> Plan:
    """A plan that lets relays give two places and three renewals."""
    known: dict[str, Any] = {
        "entitlements": [PlanEntitlement(id="face.swap")],
        "seats": 6,
        "lease": LeaseTerms(max_seconds=7 * DAY),
        "relay": RelayTerms(seats=2, renewals=3, max_seconds=20 * DAY),
    }
    return Plan(**{**known, **more})


def issued(shop: Shop, name: str = "site", **more: Any) -> IssuedLicense:
    """A license of a plan that is made with it."""
    shop.admin.create_plan(PlanDraft(name=name, terms=terms(**more)))
    return shop.license(name)


@dataclass
class Hand:
    """A relay whose key is in the test's hand; ``tee`` is its machine, ``by`` what it may."""

    shop: Shop
    makers: Makers
    license: IssuedLicense
    relay: str = ""
    key: SigningKey = field(default_factory=SigningKey.generate)
    by: DelegationClaims | None = None
    token: str = ""

    def __post_init__(self) -> None:
        self.relay = self.relay or new_id("rly", self.shop.clock(), os.urandom)
        self.tee = Tee(self.shop, self.relay, makers=self.makers)
        self.tee.activate(self.license.license_key)
        self.ask()

    def ask(self, relay: str | None = None) -> Delegated:
        """A delegation for this relay, or for another one."""
        nonce = self.tee.nonce()
        claims = self.tee.request(
            "delegate", kem=self.tee.kem(KemPrivateKey.generate()), server_nonce=nonce.nonce,
            server_key=nonce.server_key, level=3,
            delegate=RelayKey(relay or self.relay, dict(self.key.jwk)),
        )  # fmt: skip
        token = self.tee.sign(claims).decode()
        sent = AttestedRequest(
            token, self.tee.evidence(attested.of(claims, token)), self.tee.beside
        )
        given = self.shop.server.devices.delegate(self.tee.device_id or "", sent)
        self.token = given.delegation
        self.by, _kid = tokens.read_delegation(given.delegation, self.shop.trust)
        return given

    def gives(self, device: Computer, op: str = "activate", **wrong: Any) -> DelegatedAct:
        """The act by which ``device`` has its next lease from here; ``wrong`` alters the lease."""
        by, now = self.by, to_numeric(self.shop.clock())
        assert by is not None
        nonce = b64u(os.urandom(32))
        claims = device.request(op, nonce=nonce, kem=device.kem(KemPrivateKey.generate()))
        said: dict[str, Any] = {
            "iss": by.iss, "aud": by.aud, "product": by.product, "lic": by.lic, "pv": by.pv,
            "sub": device.device_id or new_id("dev", self.shop.clock(), os.urandom),
            "jti": new_id("lea", self.shop.clock(), os.urandom), "iat": now, "nbf": now,
            "exp": min(now + 7 * DAY, by.exp), "renew_after_at": now, "seq": device.seq + 1,
            "request_nonce": nonce, "cnf": Confirmation(device.key.kid), "ent": by.ent,
            "enforcement": "software", "keys": [], "level": 0, "status": by.status,
            "prev": device.prev if op == "renew" else None, "delegation": self.token,
        }  # fmt: skip
        lease = LeaseClaims(**{**said, **wrong})
        if not wrong:
            device.device_id, device.license_id = lease.sub, lease.lic
            device.seq, device.prev, device.lease = lease.seq, lease.jti, lease
        token = device.sign(claims).decode()
        return DelegatedAct(request=token, lease=tokens.sign(lease, [self.key]))

    def books(self, act: DelegatedAct) -> Booked:
        """What the server says to it."""
        return self.shop.server.devices.book(self.relay, act)

    def enters(self, name: str) -> Computer:
        """A device that was activated here, and is booked."""
        device = Computer(self.shop, name)
        assert self.books(self.gives(device)).state == "booked"
        return device

    def reports(self, after: str | None = None) -> Any:
        """A report of this relay."""
        sync = new_id("syn", self.shop.clock(), os.urandom)
        return self.shop.admin.sync_relay(RelayReport(relay=self.relay, sync=sync, after=after))

    @property
    def record(self) -> Any:
        """What the publisher sees of it."""
        return self.shop.admin.show_budget(self.relay)

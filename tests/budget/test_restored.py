"""A restored server knows of budgets what its log told: what was given, and what was revoked."""

from __future__ import annotations

import io

import msgspec
from tests.attested.machines import Tee
from tests.attested.services.conftest import makers, shop, template
from tests.server.world import Shop

from modelseal.admin import PlanDraft
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.crypto.signing import SigningKey
from modelseal.license import attested, tokens
from modelseal.license.claims import RelayKey
from modelseal.license.plans import Plan, PlanEntitlement, RelayTerms
from modelseal.license.status import Status
from modelseal.server.services import open_server, restore
from modelseal.server.services.attesting import AttestedRequest
from modelseal.server.store import delegations, devices, licenses

__all__ = ["makers", "shop", "template"]
RELAY = "rly_019ca945-0a00-713e-aa37-c7c879c30fc9"


def test_what_was_delegated_and_revoked_after_the_backup_is_so_after_the_restore(shop, makers):
    terms = Plan(
        entitlements=[PlanEntitlement(id="face.swap")], seats=9,
        relay=RelayTerms(seats=2, renewals=2, max_seconds=20 * 86400),
    )  # fmt: skip
    shop.admin.create_plan(PlanDraft(name="relay", terms=terms))
    tee = Tee(shop, "relay", makers=makers)
    tee.activate(shop.license("relay").license_key)
    copy = io.BytesIO()
    shop.server.backup(copy)
    nonce = tee.nonce()
    claims = tee.request(
        "delegate", kem=tee.kem(KemPrivateKey.generate()), server_nonce=nonce.nonce, level=3,
        server_key=nonce.server_key, delegate=RelayKey(RELAY, dict(SigningKey.generate().jwk)),
    )  # fmt: skip
    token = tee.sign(claims).decode()
    sent = AttestedRequest(token, tee.evidence(attested.of(claims, token)), tee.beside)
    given = shop.server.devices.delegate(tee.device_id, sent)
    by, _kid = tokens.read_delegation(given.delegation, shop.trust)
    before = msgspec.structs.replace(shop.admin.revoke_budget(RELAY, "stolen"), event_id="")
    lost = list(shop.admin.export_events())
    shop.server.close()
    copy.seek(0)
    restore(shop.home, copy, lost=lost, replace=True, now=shop.clock)
    with open_server(shop.home, now=shop.clock) as server:
        again = Shop(shop.home, shop.clock, server)
        after = msgspec.structs.replace(again.admin.show_budget(RELAY), event_id="")
        assert msgspec.structs.replace(after, issued_at=before.issued_at) == before
        row = server.context.store.read(delegations.get, RELAY)
        assert row.reserved == 2
        assert server.context.store.read(licenses.get, row.license_id).reserved == 2
        assert (row.status_idx, row.status_value) == (by.status.idx, Status.REVOKED)
        listed = server.context.store.read(devices.statuses, row.status_list)
        assert (by.status.idx, int(Status.REVOKED)) in listed

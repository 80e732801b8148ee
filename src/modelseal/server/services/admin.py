"""``LocalAdmin``: the publisher's calls in process, as ``AdminApi`` promises them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from modelseal import admin as api
from modelseal.admin import LicenseState, Progress, Role
from modelseal.admin.api import FilePath
from modelseal.errors import Misuse
from modelseal.server.services.actors import LOCAL, Actor, Right
from modelseal.server.services.blobs import BlobWriter, is_digest
from modelseal.server.services.server import Server


class LocalAdmin:
    """See ``admin.AdminApi``. ``actor`` decides what may be done; None is the host's owner."""

    def __init__(self, server: Server, actor: Actor | None = None) -> None:
        self._server = server
        self._actor = actor or LOCAL

    def create_plan(self, draft: api.PlanDraft) -> api.PlanRecord:
        return self._server.plans.create(self._actor, api.checked(draft))

    def list_plans(self, cursor: str | None = None) -> api.Page[api.PlanRecord]:
        return self._server.plans.list(self._actor, cursor)

    def show_plan(self, plan: str) -> api.PlanRecord:
        return self._server.plans.show(self._actor, plan)

    def update_plan(self, plan: str, draft: api.PlanDraft) -> api.PlanRecord:
        return self._server.plans.update(self._actor, plan, api.checked(draft))

    def issue_license(self, wish: api.IssueLicense) -> api.IssuedLicense:
        return self._server.licenses.issue(self._actor, api.checked(wish))

    def list_licenses(
        self,
        cursor: str | None = None,
        customer: str | None = None,
        state: LicenseState | None = None,
    ) -> api.Page[api.LicenseRecord]:
        return self._server.licenses.list(self._actor, cursor, customer, state)

    def show_license(self, license_id: str) -> api.LicenseRecord:
        return self._server.licenses.show(self._actor, license_id)

    def change_license(self, license_id: str, change: api.LicenseChange) -> api.LicenseRecord:
        return self._server.licenses.change(self._actor, license_id, api.checked(change))

    def renew_license(
        self, license_id: str, change: api.LicenseChange | None = None
    ) -> api.LicenseRecord:
        return self._server.licenses.renew(
            self._actor, license_id, None if change is None else api.checked(change)
        )

    def suspend_license(self, license_id: str, reason: str = "") -> api.LicenseRecord:
        return self._server.licenses.suspend(self._actor, license_id, reason)

    def resume_license(self, license_id: str) -> api.LicenseRecord:
        return self._server.licenses.resume(self._actor, license_id)

    def revoke_license(self, license_id: str, reason: str = "") -> api.LicenseRecord:
        return self._server.licenses.revoke(self._actor, license_id, reason)

    def rekey_license(self, license_id: str) -> api.RekeyedLicense:
        return self._server.licenses.rekey(self._actor, license_id)

    def explain(self, which: str) -> api.Explanation:
        return self._server.explaining.explain(self._actor, which)

    def list_devices(
        self, license_id: str | None = None, cursor: str | None = None
    ) -> api.Page[api.DeviceRecord]:
        return self._server.inventory.list(self._actor, license_id, cursor)

    def show_device(self, device_id: str) -> api.DeviceRecord:
        return self._server.inventory.show(self._actor, device_id)

    def revoke_device(self, device_id: str, reason: str = "") -> api.DeviceRecord:
        return self._server.inventory.revoke(self._actor, device_id, reason)

    def respond(self, request: bytes) -> api.Responded:
        return self._server.airgap.respond(self._actor, request)

    def lease_code(self, device_id: str, further: bool = False) -> api.LeaseCode:
        return self._server.airgap.ahead.code(self._actor, device_id, further=further)

    def export_customer(self, customer: str) -> api.CustomerExport:
        return self._server.customers.export(self._actor, customer)

    def erase_customer(self, customer: str) -> api.ErasedCustomer:
        return self._server.customers.erase(self._actor, customer)

    def put_blob(self, path: FilePath, progress: Progress | None = None) -> str:
        return self._server.models.put_blob(self._actor, Path(os.fspath(path)), progress)

    def receive_blob(self, digest: str) -> BlobWriter | None:
        """Where to write a blob that is sent in pieces; None when it is there already."""
        self._actor.need(Right.MODELS)
        if not is_digest(digest):
            raise Misuse("a blob is named by its SHA-256 in hexadecimal")
        blobs = self._server.context.blobs
        return None if blobs.has(digest) else blobs.receive()

    def record_denied(self, call: str) -> None:
        """That a right was missing stands in the log; ``call`` is the template of an address."""
        self._server.tokens.record_denied(self._actor, call)

    def publish_model(self, wish: api.PublishModel) -> api.PublishedModel:
        return self._server.models.publish(self._actor, api.checked(wish))

    def list_models(self, cursor: str | None = None) -> api.Page[api.ModelRecord]:
        return self._server.models.list(self._actor, cursor)

    def show_model(self, model: str, release: int | None = None) -> api.ModelRecord:
        return self._server.models.show(self._actor, model, release)

    def withdraw_model(self, record_id: str, targets: bytes) -> api.ModelRecord:
        return self._server.models.withdraw(self._actor, record_id, targets)

    def catalog_state(self) -> api.CatalogState:
        self._actor.need(Right.READ)
        return self._server.catalog.state()

    def put_trust(self, trust: api.PutTrust) -> api.TrustState:
        return self._server.trusting.put(self._actor, trust)

    def trust_documents(self, after_root: int = 0) -> api.TrustDocuments:
        return self._server.keeping.documents(self._actor, after_root)

    def server_keys(self) -> api.ServerKeys:
        return self._server.keeping.show(self._actor)

    def make_keys(self, uses: Sequence[str]) -> api.ServerKeys:
        wish = api.checked(api.MakeKeys(uses=list(uses)))
        return self._server.keeping.make(self._actor, wish.uses)

    def rotate_kek(self, to: str | None = None) -> api.RewrappedKeys:
        wish = api.checked(api.RotateKek(to=to))
        return self._server.rekeying.rotate(self._actor, wish.to)

    def list_events(
        self, cursor: str | None = None, subject: str | None = None
    ) -> api.Page[api.EventRecord]:
        self._actor.need(Right.READ)
        return self._server.log.events(cursor, subject)

    def export_events(self) -> Iterator[bytes]:
        self._actor.need(Right.READ)
        return self._server.log.export(self._actor)

    def checkpoint(self) -> api.CheckpointRecord:
        self._actor.need(Right.READ)
        return self._server.log.checkpoint()

    def create_token(
        self, role: Role, expires_in_seconds: int = 90 * 86400, label: str = ""
    ) -> api.IssuedToken:
        return self._server.tokens.create(self._actor, role, expires_in_seconds, label)

    def list_tokens(self, cursor: str | None = None) -> api.Page[api.TokenRecord]:
        return self._server.tokens.list(self._actor, cursor)

    def revoke_token(self, token_id: str) -> api.TokenRecord:
        return self._server.tokens.revoke(self._actor, token_id)

"""``LocalAdmin``: the publisher's calls in process, as ``AdminApi`` promises them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from modelseal import admin as api
from modelseal.admin import LicenseState, Progress, Role
from modelseal.admin.api import FilePath
from modelseal.errors import Misuse
from modelseal.server.services.actors import LOCAL, Actor, Right
from modelseal.server.services.blobs import BlobWriter, is_digest
from modelseal.server.services.server import Server


class LocalAdmin:
    """See ``admin.AdminApi``. ``actor`` decides what may be done; None is the host's owner.

    Under the same ``idempotency_key`` what spends something is done once (``idempotency.once``).
    """

    def __init__(
        self, server: Server, actor: Actor | None = None, *, idempotency_key: str | None = None
    ) -> None:
        self._server = server
        self._actor = actor or LOCAL
        self._once = idempotency_key

    def create_plan(self, draft: api.PlanDraft) -> api.PlanRecord:
        return self._server.plans.create(self._actor, api.checked(draft))

    def list_plans(self, cursor: str | None = None) -> api.Page[api.PlanRecord]:
        return self._server.plans.list(self._actor, cursor)

    def show_plan(self, plan: str) -> api.PlanRecord:
        return self._server.plans.show(self._actor, plan)

    def update_plan(self, plan: str, draft: api.PlanDraft) -> api.PlanRecord:
        return self._server.plans.update(
            self._actor, plan, api.checked(draft), idempotency_key=self._once
        )

    def update_plan_version(
        self, plan: str, draft: api.PlanDraft, version: int | None
    ) -> api.PlanRecord:
        """``update_plan`` of the version that was read, or a ``Conflict``."""
        return self._server.plans.update(
            self._actor, plan, api.checked(draft), version=version, idempotency_key=self._once
        )

    def issue_license(self, wish: api.IssueLicense) -> api.IssuedLicense:
        if wish.idempotency_key is None and self._once is not None:
            wish = msgspec.structs.replace(wish, idempotency_key=self._once)
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
            self._actor, license_id, None if change is None else api.checked(change), self._once
        )

    def suspend_license(self, license_id: str, reason: str = "") -> api.LicenseRecord:
        return self._server.licenses.suspend(self._actor, license_id, reason)

    def resume_license(self, license_id: str) -> api.LicenseRecord:
        return self._server.licenses.resume(self._actor, license_id)

    def revoke_license(self, license_id: str, reason: str = "") -> api.LicenseRecord:
        return self._server.licenses.revoke(self._actor, license_id, reason)

    def rekey_license(self, license_id: str) -> api.RekeyedLicense:
        return self._server.licenses.rekey(self._actor, license_id, self._once)

    def explain(self, which: str) -> api.Explanation:
        return self._server.explaining.explain(self._actor, which)

    def show_attestation(self, event_id: str) -> api.Attestation:
        return self._server.verdicts.show(self._actor, event_id)

    def list_devices(
        self, license_id: str | None = None, cursor: str | None = None
    ) -> api.Page[api.DeviceRecord]:
        return self._server.inventory.list(self._actor, license_id, cursor)

    def show_device(self, device_id: str) -> api.DeviceRecord:
        return self._server.inventory.show(self._actor, device_id)

    def revoke_device(
        self, device_id: str, reason: str = "", tag: str | None = None
    ) -> api.DeviceRecord:
        """With ``tag`` that state of it (``inventory.tag_of``), or a ``Conflict``."""
        return self._server.inventory.revoke(self._actor, device_id, reason, tag)

    def respond(self, request: bytes) -> api.Responded:
        return self._server.airgap.respond(self._actor, request)

    def lease_code(self, device_id: str, further: bool = False) -> api.LeaseCode:
        return self._server.airgap.ahead.code(
            self._actor, device_id, further=further, idempotency_key=self._once
        )

    def end_session(self) -> api.EndedSession:
        """The session of the person who asks is over; ``NotFound`` where it is none."""
        return self._server.signin.close(self._actor)

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

    def list_products(self, cursor: str | None = None) -> api.Page[api.ProductRecord]:
        return self._server.trusting.products(self._actor, cursor)

    def show_product(self, product: str) -> api.ProductRecord:
        return self._server.trusting.product(self._actor, product)

    def catalog_state(self) -> api.CatalogState:
        self._actor.need(Right.READ)
        return self._server.catalog.state()

    def put_trust(self, trust: api.PutTrust) -> api.TrustState:
        return self._server.trusting.put(self._actor, trust)

    def trust_documents(self, after_root: int = 0) -> api.TrustDocuments:
        return self._server.keeping.documents(self._actor, after_root)

    def server_keys(self) -> api.ServerKeys:
        return self._server.keeping.show(self._actor)

    def make_keys(self, uses: Sequence[str], to: str | None = None) -> api.ServerKeys:
        wish = api.checked(api.MakeKeys(uses=list(uses), to=to))
        return self._server.keeping.make(self._actor, wish.uses, wish.to)

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
        return self._server.tokens.create(self._actor, role, expires_in_seconds, label, self._once)

    def list_tokens(self, cursor: str | None = None) -> api.Page[api.TokenRecord]:
        return self._server.tokens.list(self._actor, cursor)

    def revoke_token(self, token_id: str) -> api.TokenRecord:
        return self._server.tokens.revoke(self._actor, token_id)

    def create_webhook(self, wish: api.NewWebhook) -> api.IssuedWebhook:
        return self._server.webhooks.create(self._actor, api.checked(wish), self._once)

    def sync_relay(self, report: api.RelayReport) -> api.RelaySynced:
        return self._server.relays.sync(self._actor, api.checked(report))

    def relayed_leases(self, asked: api.AskRelayed) -> api.Relayed:
        return self._server.relayed.leases(self._actor, api.checked(asked))

    def list_relays(self, cursor: str | None = None) -> api.Page[api.RelayRecord]:
        return self._server.relays.list(self._actor, cursor)

    def list_budgets(self, cursor: str | None = None) -> api.Page[api.RelayBudget]:
        return self._server.budgets.list(self._actor, cursor)

    def show_budget(self, relay: str) -> api.RelayBudget:
        return self._server.budgets.show(self._actor, relay)

    def revoke_budget(self, relay: str, reason: str = "") -> api.RelayBudget:
        return self._server.budgets.revoke(self._actor, relay, reason)

    def restore_budget(self, relay: str) -> api.RelayBudget:
        return self._server.budgets.restore(self._actor, relay)

    def list_webhooks(self, cursor: str | None = None) -> api.Page[api.WebhookRecord]:
        return self._server.webhooks.list(self._actor, cursor)

    def show_webhook(self, webhook_id: str) -> api.WebhookRecord:
        return self._server.webhooks.show(self._actor, webhook_id)

    def change_webhook(
        self, webhook_id: str, change: api.WebhookChange, tag: str | None = None
    ) -> api.WebhookRecord:
        """With ``tag`` that state of it (``webhooks.tag_of``), or a ``Conflict``."""
        return self._server.webhooks.change(self._actor, webhook_id, api.checked(change), tag)

    def remove_webhook(self, webhook_id: str, tag: str | None = None) -> api.WebhookRecord:
        """As ``change_webhook``."""
        return self._server.webhooks.remove(self._actor, webhook_id, tag)

    def rotate_webhook(self, webhook_id: str) -> api.IssuedWebhook:
        return self._server.webhooks.rotate(self._actor, webhook_id, self._once)

    def test_webhook(self, webhook_id: str) -> api.ReplayedMessages:
        return self._server.webhooks.test(self._actor, webhook_id, self._once)

    def list_messages(
        self, webhook_id: str, state: api.MessageState | None = None, cursor: str | None = None
    ) -> api.Page[api.MessageRecord]:
        return self._server.webhooks.messages(self._actor, webhook_id, state, cursor)

    def replay_messages(
        self, webhook_id: str, event_ids: Sequence[str] | None = None
    ) -> api.ReplayedMessages:
        which = None if event_ids is None else list(event_ids)
        wish = api.checked(api.ReplayMessages(event_ids=which))
        return self._server.webhooks.replay(self._actor, webhook_id, wish.event_ids, self._once)

"""``AdminApi`` over HTTPS: the same acts as in process, on a server somewhere else.

The paths stand in ``docs/spec/protocol.md``; answers are the structs of ``modelseal.admin``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from modelseal import container
from modelseal import trust as trusts
from modelseal.admin import (
    AskLeaseCode,
    AskRelayed,
    Attestation,
    CatalogState,
    CheckpointRecord,
    CustomerExport,
    DeviceRecord,
    EndedSession,
    ErasedCustomer,
    EventRecord,
    Explanation,
    IssuedLicense,
    IssuedToken,
    IssuedWebhook,
    IssueLicense,
    LeaseCode,
    LicenseChange,
    LicenseRecord,
    LicenseState,
    MessageRecord,
    MessageState,
    ModelRecord,
    NewWebhook,
    Page,
    PlanDraft,
    PlanRecord,
    ProductRecord,
    PublishedModel,
    PublishModel,
    PutTrust,
    RekeyedLicense,
    RelayBudget,
    Relayed,
    RelayRecord,
    RelayReport,
    RelaySynced,
    ReplayedMessages,
    RequestFile,
    Responded,
    RewrappedKeys,
    Role,
    ServerKeys,
    TokenRecord,
    TrustDocuments,
    TrustState,
    WebhookChange,
    WebhookRecord,
)
from modelseal.admin.api import FilePath
from modelseal.desk.channel import Channel
from modelseal.desk.filesource import FileSource
from modelseal.errors import AnswerInvalid, NotFound, NotSealed

BASE = "/v1/admin"
Progress = Callable[[int, int], None]
T = TypeVar("T")
_STEP = 1 << 20


class RemoteAdmin:
    """See ``AdminApi``. ``trust`` is a ``trust.json`` whose TLS authority is believed, too."""

    def __init__(
        self, url: str, token: str, *, trust: bytes | None = None, ca: Path | None = None
    ) -> None:
        pinned = None if trust is None else trusts.parse(trust).tls_ca
        self._channel = Channel(url, token, pinned_ca=pinned, ca=ca)

    def create_plan(self, draft: PlanDraft) -> PlanRecord:
        """See ``AdminApi``."""
        return self._ask(PlanRecord, "POST", "/plans", body=draft)

    def list_plans(self, cursor: str | None = None) -> Page[PlanRecord]:
        """See ``AdminApi``."""
        return self._ask(Page[PlanRecord], "GET", "/plans", query={"cursor": cursor})

    def show_plan(self, plan: str) -> PlanRecord:
        """See ``AdminApi``."""
        return self._ask(PlanRecord, "GET", f"/plans/{_part(plan)}")

    def update_plan(self, plan: str, draft: PlanDraft) -> PlanRecord:
        """See ``AdminApi``."""
        return self._ask(PlanRecord, "PUT", f"/plans/{_part(plan)}", body=draft)

    def issue_license(self, wish: IssueLicense) -> IssuedLicense:
        """See ``AdminApi``."""
        return self._ask(IssuedLicense, "POST", "/licenses", body=wish)

    def list_licenses(
        self,
        cursor: str | None = None,
        customer: str | None = None,
        state: LicenseState | None = None,
    ) -> Page[LicenseRecord]:
        """See ``AdminApi``."""
        query = {"cursor": cursor, "customer": customer, "state": state and state.value}
        return self._ask(Page[LicenseRecord], "GET", "/licenses", query=query)

    def show_license(self, license_id: str) -> LicenseRecord:
        """See ``AdminApi``."""
        return self._ask(LicenseRecord, "GET", f"/licenses/{_part(license_id)}")

    def change_license(self, license_id: str, change: LicenseChange) -> LicenseRecord:
        """See ``AdminApi``."""
        return self._ask(LicenseRecord, "PATCH", f"/licenses/{_part(license_id)}", body=change)

    def renew_license(self, license_id: str, change: LicenseChange | None = None) -> LicenseRecord:
        """See ``AdminApi``."""
        return self._act(LicenseRecord, f"/licenses/{_part(license_id)}:renew", change or {})

    def suspend_license(self, license_id: str, reason: str = "") -> LicenseRecord:
        """See ``AdminApi``."""
        return self._act(
            LicenseRecord, f"/licenses/{_part(license_id)}:suspend", {"reason": reason}
        )

    def resume_license(self, license_id: str) -> LicenseRecord:
        """See ``AdminApi``."""
        return self._act(LicenseRecord, f"/licenses/{_part(license_id)}:resume", {})

    def revoke_license(self, license_id: str, reason: str = "") -> LicenseRecord:
        """See ``AdminApi``."""
        return self._act(LicenseRecord, f"/licenses/{_part(license_id)}:revoke", {"reason": reason})

    def rekey_license(self, license_id: str) -> RekeyedLicense:
        """See ``AdminApi``."""
        return self._act(RekeyedLicense, f"/licenses/{_part(license_id)}:rekey", {})

    def explain(self, which: str) -> Explanation:
        """See ``AdminApi``."""
        return self._ask(Explanation, "GET", f"/explanations/{_part(which)}")

    def show_attestation(self, event_id: str) -> Attestation:
        """See ``AdminApi``."""
        return self._ask(Attestation, "GET", f"/events/{_part(event_id)}/attestation")

    def list_devices(
        self, license_id: str | None = None, cursor: str | None = None
    ) -> Page[DeviceRecord]:
        """See ``AdminApi``."""
        query = {"license": license_id, "cursor": cursor}
        return self._ask(Page[DeviceRecord], "GET", "/devices", query=query)

    def show_device(self, device_id: str) -> DeviceRecord:
        """See ``AdminApi``."""
        return self._ask(DeviceRecord, "GET", f"/devices/{_part(device_id)}")

    def revoke_device(self, device_id: str, reason: str = "") -> DeviceRecord:
        """See ``AdminApi``."""
        return self._act(DeviceRecord, f"/devices/{_part(device_id)}:revoke", {"reason": reason})

    def respond(self, request: bytes) -> Responded:
        """See ``AdminApi``."""
        return self._act(Responded, "/leases:respond", RequestFile(request=request))

    def lease_code(self, device_id: str, further: bool = False) -> LeaseCode:
        """See ``AdminApi``."""
        return self._act(LeaseCode, "/leases:code", AskLeaseCode(device=device_id, further=further))

    def export_customer(self, customer: str) -> CustomerExport:
        """See ``AdminApi``."""
        return self._act(CustomerExport, "/customers:export", {"customer": customer})

    def erase_customer(self, customer: str) -> ErasedCustomer:
        """See ``AdminApi``."""
        return self._act(ErasedCustomer, "/customers:erase", {"customer": customer})

    def put_blob(self, path: FilePath, progress: Progress | None = None) -> str:
        """See ``AdminApi``. The file is read twice: its digest is its address."""
        with FileSource(Path(path)) as source:
            size = _sealed_bytes(source, Path(path))
            digest = container.file_digest(source, size)
            answer = self._channel.call(
                "PUT",
                f"{BASE}/blobs/{digest}",
                content=_pieces(source, size, progress),
                length_bytes=size,
            )
            source.check_unchanged()
        stored = _decode(answer, dict[str, Any]).get("digest")
        if stored != digest:
            raise AnswerInvalid("the server stored something else", server=self._channel.server)
        return digest

    def publish_model(self, wish: PublishModel) -> PublishedModel:
        """See ``AdminApi``."""
        return self._ask(PublishedModel, "POST", "/models", body=wish)

    def list_models(self, cursor: str | None = None) -> Page[ModelRecord]:
        """See ``AdminApi``."""
        return self._ask(Page[ModelRecord], "GET", "/models", query={"cursor": cursor})

    def show_model(self, model: str, release: int | None = None) -> ModelRecord:
        """See ``AdminApi``."""
        return self._ask(ModelRecord, "GET", f"/models/{_part(model)}", query={"release": release})

    def withdraw_model(self, record_id: str, targets: bytes) -> ModelRecord:
        """See ``AdminApi``."""
        return self._act(ModelRecord, f"/models/{_part(record_id)}:withdraw", {"targets": targets})

    def list_products(self, cursor: str | None = None) -> Page[ProductRecord]:
        """See ``AdminApi``."""
        return self._ask(Page[ProductRecord], "GET", "/products", query={"cursor": cursor})

    def show_product(self, product: str) -> ProductRecord:
        """See ``AdminApi``."""
        return self._ask(ProductRecord, "GET", f"/products/{_part(product)}")

    def catalog_state(self) -> CatalogState:
        """See ``AdminApi``."""
        return self._ask(CatalogState, "GET", "/catalog")

    def put_trust(self, trust: PutTrust) -> TrustState:
        """See ``AdminApi``."""
        return self._ask(TrustState, "PUT", "/trust", body=trust)

    def trust_documents(self, after_root: int = 0) -> TrustDocuments:
        """See ``AdminApi``."""
        return self._ask(TrustDocuments, "GET", "/trust", query={"after_root": after_root})

    def server_keys(self) -> ServerKeys:
        """See ``AdminApi``."""
        return self._ask(ServerKeys, "GET", "/keys")

    def make_keys(self, uses: Sequence[str], to: str | None = None) -> ServerKeys:
        """See ``AdminApi``."""
        wish = {"uses": list(uses)} if to is None else {"uses": list(uses), "to": to}
        return self._act(ServerKeys, "/keys", wish)

    def rotate_kek(self, to: str | None = None) -> RewrappedKeys:
        """See ``AdminApi``."""
        return self._act(RewrappedKeys, "/kek:rotate", {} if to is None else {"to": to})

    def list_events(
        self, cursor: str | None = None, subject: str | None = None
    ) -> Page[EventRecord]:
        """See ``AdminApi``."""
        query = {"cursor": cursor, "subject": subject}
        return self._ask(Page[EventRecord], "GET", "/events", query=query)

    def export_events(self) -> Iterator[bytes]:
        """See ``AdminApi``."""
        return self._channel.lines(f"{BASE}/events:export")

    def checkpoint(self) -> CheckpointRecord:
        """See ``AdminApi``."""
        return self._ask(CheckpointRecord, "GET", "/checkpoint")

    def create_token(
        self, role: Role, expires_in_seconds: int = 90 * 86400, label: str = ""
    ) -> IssuedToken:
        """See ``AdminApi``."""
        body = {"role": role.value, "expires_in_seconds": expires_in_seconds, "label": label}
        return self._ask(IssuedToken, "POST", "/tokens", body=body)

    def list_tokens(self, cursor: str | None = None) -> Page[TokenRecord]:
        """See ``AdminApi``."""
        return self._ask(Page[TokenRecord], "GET", "/tokens", query={"cursor": cursor})

    def revoke_token(self, token_id: str) -> TokenRecord:
        """See ``AdminApi``."""
        return self._act(TokenRecord, f"/tokens/{_part(token_id)}:revoke", {})

    def create_webhook(self, wish: NewWebhook) -> IssuedWebhook:
        """See ``AdminApi``."""
        return self._act(IssuedWebhook, "/webhooks", wish)

    def list_webhooks(self, cursor: str | None = None) -> Page[WebhookRecord]:
        """See ``AdminApi``."""
        return self._ask(Page[WebhookRecord], "GET", "/webhooks", query={"cursor": cursor})

    def show_webhook(self, webhook_id: str) -> WebhookRecord:
        """See ``AdminApi``."""
        return self._ask(WebhookRecord, "GET", f"/webhooks/{_part(webhook_id)}")

    def change_webhook(self, webhook_id: str, change: WebhookChange) -> WebhookRecord:
        """See ``AdminApi``."""
        return self._ask(WebhookRecord, "PATCH", f"/webhooks/{_part(webhook_id)}", body=change)

    def remove_webhook(self, webhook_id: str) -> WebhookRecord:
        """See ``AdminApi``."""
        return self._ask(WebhookRecord, "DELETE", f"/webhooks/{_part(webhook_id)}")

    def rotate_webhook(self, webhook_id: str) -> IssuedWebhook:
        """See ``AdminApi``."""
        return self._act(IssuedWebhook, f"/webhooks/{_part(webhook_id)}:rotate", {})

    def test_webhook(self, webhook_id: str) -> ReplayedMessages:
        """See ``AdminApi``."""
        return self._act(ReplayedMessages, f"/webhooks/{_part(webhook_id)}:test", {})

    def list_messages(
        self, webhook_id: str, state: MessageState | None = None, cursor: str | None = None
    ) -> Page[MessageRecord]:
        """See ``AdminApi``."""
        query = {"state": state and state.value, "cursor": cursor}
        path = f"/webhooks/{_part(webhook_id)}/messages"
        return self._ask(Page[MessageRecord], "GET", path, query=query)

    def replay_messages(
        self, webhook_id: str, event_ids: Sequence[str] | None = None
    ) -> ReplayedMessages:
        """See ``AdminApi``."""
        body = {} if event_ids is None else {"event_ids": list(event_ids)}
        return self._act(ReplayedMessages, f"/webhooks/{_part(webhook_id)}:replay", body)

    def sync_relay(self, report: RelayReport) -> RelaySynced:
        """See ``AdminApi``."""
        return self._act(RelaySynced, "/relays:sync", report)

    def relayed_leases(self, asked: AskRelayed) -> Relayed:
        """See ``AdminApi``."""
        return self._act(Relayed, "/relays:leases", asked)

    def list_relays(self, cursor: str | None = None) -> Page[RelayRecord]:
        """See ``AdminApi``."""
        return self._ask(Page[RelayRecord], "GET", "/relays", query={"cursor": cursor})

    def list_budgets(self, cursor: str | None = None) -> Page[RelayBudget]:
        """See ``AdminApi``."""
        return self._ask(Page[RelayBudget], "GET", "/budgets", query={"cursor": cursor})

    def show_budget(self, relay: str) -> RelayBudget:
        """See ``AdminApi``."""
        return self._ask(RelayBudget, "GET", f"/budgets/{_part(relay)}")

    def revoke_budget(self, relay: str, reason: str = "") -> RelayBudget:
        """See ``AdminApi``."""
        return self._act(RelayBudget, f"/budgets/{_part(relay)}:revoke", {"reason": reason})

    def restore_budget(self, relay: str) -> RelayBudget:
        """See ``AdminApi``."""
        return self._act(RelayBudget, f"/budgets/{_part(relay)}:restore", {})

    def close(self) -> None:
        """Connections are given back."""
        self._channel.close()

    def __enter__(self) -> RemoteAdmin:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def end_session(self) -> EndedSession:
        """The session whose token this is, is over."""
        return self._act(EndedSession, "/session:end", {})

    def _ask(self, kind: type[T], method: str, path: str, **more: Any) -> T:
        return _decode(self._channel.call(method, BASE + path, **more), kind)

    def _act(self, kind: type[T], path: str, body: object) -> T:
        return self._ask(kind, "POST", path, body=body)


def _decode(data: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(data, type=kind, strict=True)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise AnswerInvalid(f"not the answer that was asked for: {error}"[:200]) from None


def _part(text: str) -> str:
    """One part of a path, whatever is in it; ``NotFound`` for what would name another path."""
    if "/" in text or not text.strip("."):
        raise NotFound("nothing has such a name", name=text)
    return quote(text, safe="")


def _sealed_bytes(source: FileSource, path: Path) -> int:
    try:
        return container.parse(source).file_bytes
    except NotSealed as error:
        raise NotSealed(error.detail, path=str(path)) from None


def _pieces(source: FileSource, size: int, progress: Progress | None) -> Iterator[bytes]:
    for offset in range(0, size, _STEP):
        piece = bytearray(min(_STEP, size - offset))
        source.read_into(offset, memoryview(piece))
        yield bytes(piece)
        if progress is not None:
            progress(offset + len(piece), size)

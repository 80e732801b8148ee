"""``AdminApi``: every publisher-side act, one promise for both implementations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from modelseal.admin.airgap import LeaseCode, Responded
from modelseal.admin.catalog import (
    CatalogState,
    ModelRecord,
    ProductRecord,
    PublishedModel,
    PublishModel,
    PutTrust,
    TrustState,
)
from modelseal.admin.keys import RewrappedKeys, ServerKeys, TrustDocuments
from modelseal.admin.licenses import (
    DeviceRecord,
    Explanation,
    IssuedLicense,
    IssueLicense,
    LicenseChange,
    LicenseRecord,
    LicenseState,
    PlanDraft,
    PlanRecord,
    RekeyedLicense,
)
from modelseal.admin.records import (
    Attestation,
    CheckpointRecord,
    CustomerExport,
    ErasedCustomer,
    EventRecord,
    IssuedToken,
    Page,
    Role,
    TokenRecord,
)
from modelseal.admin.relays import (
    AskRelayed,
    RelayBudget,
    Relayed,
    RelayRecord,
    RelayReport,
    RelaySynced,
)
from modelseal.admin.webhooks import (
    IssuedWebhook,
    MessageRecord,
    MessageState,
    NewWebhook,
    ReplayedMessages,
    WebhookChange,
    WebhookRecord,
)

Progress = Callable[[int, int], None]
"""Called with bytes done and bytes in all."""


class FilePath(Protocol):
    """Whatever names a file, like ``pathlib.Path``."""

    def __fspath__(self) -> str:
        """The path as text."""
        ...


class AdminApi(Protocol):
    """Every call is durable when it returns and has its audit event in the same transaction.

    All calls may raise ``AccessDenied``, ``Misuse`` (odd arguments) and ``Unavailable``; those
    that name a thing raise ``NotFound`` when there is none. Ids are the server's; a plan may be
    named by its name too. Lists come in pages of at most 200, oldest first.
    """

    def create_plan(self, draft: PlanDraft) -> PlanRecord:
        """A new plan, version 1; ``Conflict`` when the name is taken by other terms."""
        ...

    def list_plans(self, cursor: str | None = None) -> Page[PlanRecord]:
        """The newest version of every plan."""
        ...

    def show_plan(self, plan: str) -> PlanRecord:
        """The newest version of one plan."""
        ...

    def update_plan(self, plan: str, draft: PlanDraft) -> PlanRecord:
        """The next version; licenses issued before keep theirs."""
        ...

    def issue_license(self, wish: IssueLicense) -> IssuedLicense:
        """A new license with a fresh license key."""
        ...

    def list_licenses(
        self,
        cursor: str | None = None,
        customer: str | None = None,
        state: LicenseState | None = None,
    ) -> Page[LicenseRecord]:
        """Licenses, of one customer or in one state where asked."""
        ...

    def show_license(self, license_id: str) -> LicenseRecord:
        """One license as it stands."""
        ...

    def change_license(self, license_id: str, change: LicenseChange) -> LicenseRecord:
        """The license after the change; devices learn it at their next renewal."""
        ...

    def renew_license(self, license_id: str, change: LicenseChange | None = None) -> LicenseRecord:
        """The license one plan period longer, or until the end that ``change`` names."""
        ...

    def suspend_license(self, license_id: str, reason: str = "") -> LicenseRecord:
        """Suspended until ``resume_license``."""
        ...

    def resume_license(self, license_id: str) -> LicenseRecord:
        """Active again; ``Conflict`` when it was revoked."""
        ...

    def revoke_license(self, license_id: str, reason: str = "") -> LicenseRecord:
        """Revoked for good: no lease is issued after this returned."""
        ...

    def rekey_license(self, license_id: str) -> RekeyedLicense:
        """A new license key in place of the old one; devices stay as they are."""
        ...

    def explain(self, which: str) -> Explanation:
        """The decision with this reference or event id, or a license's or device's newest one."""
        ...

    def show_attestation(self, event_id: str) -> Attestation:
        """The signed verdicts over evidence beside an event; ``NotFound`` where there are none."""
        ...

    def list_devices(
        self, license_id: str | None = None, cursor: str | None = None
    ) -> Page[DeviceRecord]:
        """Devices, of one license where asked."""
        ...

    def show_device(self, device_id: str) -> DeviceRecord:
        """One device as it stands."""
        ...

    def revoke_device(self, device_id: str, reason: str = "") -> DeviceRecord:
        """Revoked for good; its seat is free when its last lease has ended."""
        ...

    def respond(self, request: bytes) -> Responded:
        """The response to a device's request file, from the same decision as online."""
        ...

    def lease_code(self, device_id: str, further: bool = False) -> LeaseCode:
        """The code of the device's next lease, once ``decide`` said yes; ``NoNextLease``."""
        ...

    def export_customer(self, customer: str) -> CustomerExport:
        """All that is stored about the customer (reference, e-mail or ``cus_`` id)."""
        ...

    def erase_customer(self, customer: str) -> ErasedCustomer:
        """Licenses revoked, reference, labels, metadata and traits gone; ids and log remain."""
        ...

    def put_blob(self, path: FilePath, progress: Progress | None = None) -> str:
        """SHA-256 (hex) of the file, which the server now holds durably."""
        ...

    def publish_model(self, wish: PublishModel) -> PublishedModel:
        """The model in the catalog; the same again is answered with ``already``."""
        ...

    def list_models(self, cursor: str | None = None) -> Page[ModelRecord]:
        """Published models, withdrawn ones too."""
        ...

    def show_model(self, model: str, release: int | None = None) -> ModelRecord:
        """One model by record id, file id or model id (newest release unless told)."""
        ...

    def withdraw_model(self, record_id: str, targets: bytes) -> ModelRecord:
        """Out of the catalog and of later leases; ``targets`` is the next one without it."""
        ...

    def list_products(self, cursor: str | None = None) -> Page[ProductRecord]:
        """The products of the server: its workspace's one."""
        ...

    def show_product(self, product: str) -> ProductRecord:
        """One product by its name."""
        ...

    def catalog_state(self) -> CatalogState:
        """The current signed roles."""
        ...

    def put_trust(self, trust: PutTrust) -> TrustState:
        """The server works with the new trust; versions never go back."""
        ...

    def trust_documents(self, after_root: int = 0) -> TrustDocuments:
        """The signed trust in force, with the roots after version ``after_root``."""
        ...

    def server_keys(self) -> ServerKeys:
        """Every key of the server by its public half, oldest first."""
        ...

    def make_keys(self, uses: Sequence[str], to: str | None = None) -> ServerKeys:
        """New keys for ``uses``, that sign nothing until ``put_trust`` lists them.

        ``to`` is the key URI of the hardware, on the server's host, that makes and keeps them.

        Those that wait to be listed already are not made again.
        """
        ...

    def rotate_kek(self, to: str | None = None) -> RewrappedKeys:
        """Another key-encryption key wraps everything, and the old one is erased.

        ``to`` is its key URI on the server's host; None makes a key file. An unfinished rotation
        is finished first. ``Misuse`` when ``to`` is the key in force already.
        """
        ...

    def list_events(
        self, cursor: str | None = None, subject: str | None = None
    ) -> Page[EventRecord]:
        """Audit events in log order, of one subject id where asked."""
        ...

    def export_events(self) -> Iterator[bytes]:
        """The whole log as JSON lines, ready for ``audit verify``."""
        ...

    def checkpoint(self) -> CheckpointRecord:
        """The signed head after everything acknowledged so far was sequenced."""
        ...

    def create_token(
        self, role: Role, expires_in_seconds: int = 90 * 86400, label: str = ""
    ) -> IssuedToken:
        """A new admin token."""
        ...

    def list_tokens(self, cursor: str | None = None) -> Page[TokenRecord]:
        """Admin tokens without their secrets."""
        ...

    def revoke_token(self, token_id: str) -> TokenRecord:
        """The token opens nothing from now on."""
        ...

    def create_webhook(self, wish: NewWebhook) -> IssuedWebhook:
        """A new webhook with its secret; ``Misuse`` for an address that is never called."""
        ...

    def list_webhooks(self, cursor: str | None = None) -> Page[WebhookRecord]:
        """Webhooks without their secrets."""
        ...

    def show_webhook(self, webhook_id: str) -> WebhookRecord:
        """One webhook."""
        ...

    def change_webhook(self, webhook_id: str, change: WebhookChange) -> WebhookRecord:
        """The webhook after the change."""
        ...

    def remove_webhook(self, webhook_id: str) -> WebhookRecord:
        """The webhook as it was; it and what waited for it are gone."""
        ...

    def rotate_webhook(self, webhook_id: str) -> IssuedWebhook:
        """A new secret; the one before signs beside it until ``previous_ends_at``."""
        ...

    def test_webhook(self, webhook_id: str) -> ReplayedMessages:
        """One message is due: about this act."""
        ...

    def list_messages(
        self, webhook_id: str, state: MessageState | None = None, cursor: str | None = None
    ) -> Page[MessageRecord]:
        """What became of each event of a webhook, in one state where asked."""
        ...

    def replay_messages(
        self, webhook_id: str, event_ids: Sequence[str] | None = None
    ) -> ReplayedMessages:
        """The named messages, or all that were given up, are due again; ``NotFound``."""
        ...

    def sync_relay(self, report: RelayReport) -> RelaySynced:
        """What a relay did stands in the log, and how that follows its last report is said."""
        ...

    def relayed_leases(self, asked: AskRelayed) -> Relayed:
        """The codes of leases ahead that a relay may give out; what it gave out is noted."""
        ...

    def list_relays(self, cursor: str | None = None) -> Page[RelayRecord]:
        """Every relay that ever reported."""
        ...

    def list_budgets(self, cursor: str | None = None) -> Page[RelayBudget]:
        """Relays that give leases by themselves, and what of their budgets is spent."""
        ...

    def show_budget(self, relay: str) -> RelayBudget:
        """One of them; ``NotFound`` for a relay that never had a budget."""
        ...

    def revoke_budget(self, relay: str, reason: str = "") -> RelayBudget:
        """It gets no further budget, and whatever it gave is listed as revoked."""
        ...

    def restore_budget(self, relay: str) -> RelayBudget:
        """It may ask for a budget again, and what it gave is good again."""
        ...

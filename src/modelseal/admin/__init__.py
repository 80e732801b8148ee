"""What a publisher can ask of the license server: one protocol, structs in and structs out.

``AdminApi`` is implemented in process (``server.services.admin.LocalAdmin``) and over HTTPS
(``desk.remote.RemoteAdmin``); both answer the same. Pure: no clock, file, socket or database.
"""

from modelseal.admin._base import check_count, checked
from modelseal.admin.airgap import AskLeaseCode, LeaseCode, RequestFile, Responded
from modelseal.admin.api import AdminApi, Progress
from modelseal.admin.catalog import (
    CatalogState,
    ModelRecord,
    PublishedModel,
    PublishModel,
    PutTrust,
    SignedMetadata,
    TrustState,
)
from modelseal.admin.keys import (
    MakeKeys,
    RewrappedKeys,
    RotateKek,
    ServerKey,
    ServerKeys,
    TrustDocuments,
)
from modelseal.admin.licenses import (
    DeviceRecord,
    Explanation,
    IssuedLicense,
    IssueLicense,
    LicenseChange,
    LicenseRecord,
    LicenseState,
    MeterUse,
    PlanDraft,
    PlanRecord,
    RekeyedLicense,
    TraitShift,
)
from modelseal.admin.records import (
    CheckpointRecord,
    CustomerExport,
    ErasedCustomer,
    EventRecord,
    IssuedToken,
    Page,
    Role,
    TokenRecord,
)

__all__ = [
    "AdminApi",
    "AskLeaseCode",
    "CatalogState",
    "CheckpointRecord",
    "CustomerExport",
    "DeviceRecord",
    "ErasedCustomer",
    "EventRecord",
    "Explanation",
    "IssueLicense",
    "IssuedLicense",
    "IssuedToken",
    "LeaseCode",
    "LicenseChange",
    "LicenseRecord",
    "MeterUse",
    "LicenseState",
    "MakeKeys",
    "ModelRecord",
    "Page",
    "PlanDraft",
    "PlanRecord",
    "Progress",
    "PublishModel",
    "PublishedModel",
    "PutTrust",
    "RekeyedLicense",
    "RequestFile",
    "Responded",
    "RewrappedKeys",
    "Role",
    "RotateKek",
    "ServerKey",
    "ServerKeys",
    "SignedMetadata",
    "TokenRecord",
    "TraitShift",
    "TrustDocuments",
    "TrustState",
    "check_count",
    "checked",
]

"""Every error that leaves modelseal, as one tree on one screen.

``ModelsealError`` is the root; five trunks decide the exit code:

    Misuse (2)  Refused (3)  InvalidBytes (4)  Unavailable (5)  AssuranceNotReached (6)

and ``InternalError`` (1) is a bug of ours. Each class has a stable ``code``; the texts for
people live in ``modelseal.texts``, keyed by that code. Parameters are named values that the
texts may use; they never hold a secret or a raw hardware trait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from modelseal.texts import Text


class ModelsealError(Exception):
    """The root. ``code`` is stable, ``detail`` is one short technical English sentence.

    ``message``, ``reason`` and ``next_step`` are rendered from the catalogue at access, in the
    caller's language; ``reference`` is the eight characters by which support finds the decision.
    """

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1

    def __init__(self, detail: str = "", *, reference: str | None = None, **params: object) -> None:
        super().__init__(detail)
        self.detail = detail
        self.reference = reference
        self.params: dict[str, object] = params

    @property
    def message(self) -> str:
        """What happened, in one sentence for people."""
        return self._text().what

    @property
    def reason(self) -> str:
        """Why it happened, in one sentence for people."""
        return self._text().why

    @property
    def next_step(self) -> str:
        """What to do next, in one sentence for people."""
        return self._text().next_step

    def _text(self) -> Text:
        from modelseal import texts

        return texts.render(self.code, {"reference": self.reference, **self.params}, self.detail)

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}" if self.detail else self.code

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.detail, self.reference, self.params)


def _rebuild(
    cls: type[ModelsealError], detail: str, reference: str | None, params: dict[str, object]
) -> ModelsealError:
    error = cls(detail, reference=reference)
    error.params = params
    return error


def by_code(code: str) -> type[ModelsealError] | None:
    """The class whose stable code is ``code``; None for a code this release does not know."""
    pending: list[type[ModelsealError]] = [ModelsealError]
    while pending:
        cls = pending.pop()
        if cls.code == code:
            return cls
        pending.extend(cls.__subclasses__())
    return None


# fmt: off
class InternalError(ModelsealError): code = "internal_error"; exit_code = 1

# -- Misuse: the caller asked for something that makes no sense (exit 2) --------------------
class Misuse(ModelsealError): code = "misuse"; exit_code = 2
class LicenseKeyMistyped(Misuse): code = "license_key_mistyped"
class CodeMistyped(Misuse): code = "code_mistyped"
class PartsMissing(Misuse): code = "parts_missing"
class PartForeign(Misuse): code = "part_foreign"
class NoNextLease(Misuse): code = "no_next_lease"
class ConfigInvalid(Misuse): code = "config_invalid"
class RecipeInvalid(ConfigInvalid): code = "recipe_invalid"
class AppraisalPolicyInvalid(Misuse): code = "appraisal_policy_invalid"
class ClientAmbiguous(Misuse): code = "client_ambiguous"
class ClientClosed(Misuse): code = "client_closed"
class ExtraMissing(Misuse): code = "extra_missing"
class InputMissing(Misuse): code = "input_missing"
class OutputExists(Misuse): code = "output_exists"
class AnotherLicense(Misuse): code = "another_license"
class WorkspaceMissing(Misuse): code = "workspace_missing"
class WorkspaceExists(Misuse): code = "workspace_exists"
class DeskExposed(Misuse): code = "desk_exposed"
class NotFound(Misuse): code = "not_found"
class SignInOff(NotFound): code = "sign_in_off"
class Conflict(Misuse): code = "conflict"
class BudgetRefused(Conflict): code = "budget_refused"
class IdempotencyMismatch(Misuse): code = "idempotency_mismatch"
class ReaderClosed(Misuse): code = "reader_closed"
class SourceChanged(Misuse): code = "source_changed"
class SourceNotSealable(Misuse): code = "source_not_sealable"
class NotOptimisable(Misuse): code = "not_optimisable"

# -- Refused: understood, and the answer is no (exit 3) -------------------------------------
class Refused(ModelsealError): code = "refused"; exit_code = 3
class NotActivated(Refused): code = "not_activated"
class UnknownLicenseKey(Refused): code = "unknown_license_key"
class UnknownProduct(Refused): code = "unknown_product"
class LicenseNotYetValid(Refused): code = "license_not_yet_valid"
class LicenseExpired(Refused): code = "license_expired"
class LicenseSuspended(Refused): code = "license_suspended"
class LicenseRevoked(Refused): code = "license_revoked"
class LeaseExpired(Refused): code = "lease_expired"
class LeaseKeyEnded(LeaseExpired): code = "lease_key_ended"  # the hardware says so
class LeaseSuperseded(Refused): code = "lease_superseded"
class NotEntitled(Refused): code = "not_entitled"
class KeyNotInLease(Refused): code = "key_not_in_lease"
class TogetherMissing(Refused): code = "together_missing"
class ReleaseTooOld(Refused): code = "release_too_old"
class WrongDevice(Refused): code = "wrong_device"
class DeviceChanged(Refused): code = "device_changed"
class DeviceUnbound(Refused): code = "device_unbound"
class DeviceRevoked(Refused): code = "device_revoked"
class DeviceReturned(Refused): code = "device_returned"
class NoFreeSeat(Refused): code = "no_free_seat"
class ReplacePending(Refused): code = "replace_pending"
class RebindsUsedUp(Refused): code = "rebinds_used_up"
class Forked(Refused): code = "forked"
class ClockSetBack(Refused): code = "clock_set_back"
class EulaNotAccepted(Refused): code = "eula_not_accepted"
class PlatformNotAllowed(Refused): code = "platform_not_allowed"
class TrialUsed(Refused): code = "trial_used"
class MeterExceeded(Refused): code = "meter_exceeded"
class EgressRefused(Refused): code = "egress_refused"
class SealedFileKept(Refused): code = "sealed_file_kept"
class AccessDenied(Refused): code = "access_denied"
class CredentialInvalid(Refused): code = "credential_invalid"
class SignInRefused(CredentialInvalid): code = "sign_in_refused"
class SignInMalformed(SignInRefused): code = "sign_in_malformed"
class SignInAlgorithm(SignInRefused): code = "sign_in_algorithm"
class SignInKeyUnknown(SignInRefused): code = "sign_in_key_unknown"
class SignInSignature(SignInRefused): code = "sign_in_signature"
class SignInIssuer(SignInRefused): code = "sign_in_issuer"
class SignInAudience(SignInRefused): code = "sign_in_audience"
class SignInNonce(SignInRefused): code = "sign_in_nonce"
class SignInExpired(SignInRefused): code = "sign_in_expired"
class SignInReplayed(SignInRefused): code = "sign_in_replayed"
class SignInNotAllowed(Refused): code = "sign_in_not_allowed"  # somebody, but nobody here
class PassphraseWrong(Refused): code = "passphrase_wrong"
class KeyRefused(Refused): code = "key_refused"  # the store has the key and does not let it be used
class KeyPolicyFailed(KeyRefused): code = "key_policy_failed"
class KeyOfAnotherTpm(KeyRefused): code = "key_of_another_tpm"
class TpmCleared(KeyRefused): code = "tpm_cleared"

# -- InvalidBytes: corrupt, forged, wrong version, another publisher's (exit 4) --------------
class InvalidBytes(ModelsealError): code = "invalid_bytes"; exit_code = 4
class NotSealed(InvalidBytes): code = "not_sealed"
class CacheUseless(InvalidBytes): code = "cache_useless"
class ContainerVersion(InvalidBytes): code = "container_version"
class ContainerTruncated(InvalidBytes): code = "container_truncated"
class ContainerMalformed(InvalidBytes): code = "container_malformed"
class ContainerSignature(InvalidBytes): code = "container_signature"
class WrongPublisher(InvalidBytes): code = "wrong_publisher"
class WrongProduct(InvalidBytes): code = "wrong_product"
class ContainerDamaged(InvalidBytes): code = "container_damaged"  # the one code once a key is used
class TokenMalformed(InvalidBytes): code = "token_malformed"
class TokenTooLarge(InvalidBytes): code = "token_too_large"
class TokenType(InvalidBytes): code = "token_type"
class TokenHeader(InvalidBytes): code = "token_header"  # a member beside alg, kid, typ
class TokenAlgorithm(InvalidBytes): code = "token_algorithm"
class TokenKeyUnknown(InvalidBytes): code = "token_key_unknown"
class TokenSignature(InvalidBytes): code = "token_signature"
class TokenClaims(InvalidBytes): code = "token_claims"
class TokenIssuer(InvalidBytes): code = "token_issuer"
class TokenAudience(InvalidBytes): code = "token_audience"
class TokenNotYetValid(InvalidBytes): code = "token_not_yet_valid"
class TokenExpired(InvalidBytes): code = "token_expired"
class DelegationExceeded(InvalidBytes): code = "delegation_exceeded"
class DelegationOver(InvalidBytes): code = "delegation_over"
class SealedKeyInvalid(InvalidBytes): code = "sealed_key_invalid"  # HPKE opening failed
class WrappedKeyInvalid(InvalidBytes): code = "wrapped_key_invalid"  # KEK
class TrustMalformed(InvalidBytes): code = "trust_malformed"
class TrustSignature(InvalidBytes): code = "trust_signature"
class TrustRollback(InvalidBytes): code = "trust_rollback"
class TrustExpired(InvalidBytes): code = "trust_expired"
class CatalogInvalid(InvalidBytes): code = "catalog_invalid"
class DownloadDamaged(InvalidBytes): code = "download_damaged"
class AuditBroken(InvalidBytes): code = "audit_broken"
class StateDamaged(InvalidBytes): code = "state_damaged"
class BackupInvalid(InvalidBytes): code = "backup_invalid"
class AnswerInvalid(InvalidBytes): code = "answer_invalid"
class ResponseMalformed(InvalidBytes): code = "response_malformed"  # of an air gap
class ResponseReplayed(InvalidBytes): code = "response_replayed"
class ResponseForeign(InvalidBytes): code = "response_foreign"
class CodeUnknown(InvalidBytes): code = "code_unknown"
class RelayFileInvalid(InvalidBytes): code = "relay_file_invalid"
class PartDamaged(InvalidBytes): code = "part_damaged"
class EvidenceInvalid(InvalidBytes): code = "evidence_invalid"
class EndorsementBundleInvalid(InvalidBytes): code = "endorsement_bundle_invalid"
class EndorsementBundleExpired(InvalidBytes): code = "endorsement_bundle_expired"
class EndorsementBundleReplayed(InvalidBytes): code = "endorsement_bundle_replayed"

# -- Unavailable: could not be done now, nothing was decided (exit 5) ------------------------
class Unavailable(ModelsealError): code = "unavailable"; exit_code = 5
class ServerUnreachable(Unavailable): code = "server_unreachable"
class ServerFailed(Unavailable): code = "server_failed"
class AnswerUnsigned(Unavailable): code = "answer_unsigned"  # proxy, captive portal, plain 4xx
class CertificateInvalid(Unavailable): code = "certificate_invalid"
class ProviderUnavailable(Unavailable): code = "provider_unavailable"
class RateLimited(Unavailable): code = "rate_limited"
class StorageFailed(Unavailable): code = "storage_failed"
class StoreBehind(Unavailable): code = "store_behind"
class RequestReplayed(Unavailable): code = "request_replayed"
class EvidenceOutdated(Unavailable): code = "evidence_outdated"  # asked again with a fresh proof
class DiskFull(Unavailable): code = "disk_full"
class StateNotWritable(Unavailable): code = "state_not_writable"
class StateNotReadable(Unavailable): code = "state_not_readable"
class StateBusy(Unavailable): code = "state_busy"
class KeyStoreUnavailable(Unavailable): code = "key_store_unavailable"
class SecretNeeded(KeyStoreUnavailable): code = "secret_needed"
class TpmFailed(KeyStoreUnavailable): code = "tpm_failed"
class MemoryUnavailable(Unavailable): code = "memory_unavailable"
class RelayWaiting(Unavailable): code = "relay_waiting"  # the relay has the question
class RelayCannot(Unavailable): code = "relay_cannot"
class RelayBudgetSpent(RelayWaiting): code = "relay_budget_spent"
class RelaySeals(Unavailable): code = "relay_seals"  # asked again, sealed to the relay
class AddressInUse(Unavailable): code = "address_in_use"
class EvidenceUnavailable(Unavailable): code = "evidence_unavailable"

# -- AssuranceNotReached: genuine, but not enough (exit 6) -----------------------------------
class AssuranceNotReached(ModelsealError): code = "assurance_not_reached"; exit_code = 6
class LevelNotReached(AssuranceNotReached): code = "level_not_reached"
class EnforcementNotReached(AssuranceNotReached): code = "enforcement_not_reached"
class EvidenceRefused(AssuranceNotReached): code = "evidence_refused"  # of another machine
class MemoryNotReached(AssuranceNotReached): code = "memory_not_reached"
# fmt: on

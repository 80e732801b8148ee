"""Appraisal of evidence: pure, no clock, no network, one file per evidence kind.

``appraise(evidence, expected_report_data, endorsements, policy, now) -> AttestationResult``.
Roots are pinned in this package or by the policy, never taken from what is judged.
"""

import warnings

from modelseal.attest.verify.appraise import Evidence, appraise
from modelseal.attest.verify.endorsements import Endorsements
from modelseal.attest.verify.kinds import Case, Kind, Option
from modelseal.attest.verify.policy import Policy, PolicyFile, strict
from modelseal.attest.verify.result import AttestationResult, Submodule
from modelseal.attest.verify.steps import Finding, Ledger, NotGenuine, Status, Step

__all__ = [
    "AttestationResult",
    "Case",
    "Endorsements",
    "Evidence",
    "Finding",
    "Kind",
    "Ledger",
    "NotGenuine",
    "Option",
    "Policy",
    "PolicyFile",
    "Status",
    "Step",
    "Submodule",
    "appraise",
    "strict",
]

# AMD gives every VCEK the serial number 0, and forgers write odd names; cryptography reads both
# and warns, which is nothing for the operator to read.
warnings.filterwarnings("ignore", message="Parsed a serial number which wasn't positive")
warnings.filterwarnings("ignore", message="Attribute's length must be")

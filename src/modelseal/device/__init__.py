"""The device: its traits, what the server may know of them, how much may change, and the key file
that opens only where enough of them are. Pure; the traits are read by ``modelseal.collect``.
"""

from modelseal.device import drift, tolerance, wrapping
from modelseal.device.fingerprint import (
    OPERATOR,
    Enrolment,
    digest_for_server,
    enrol,
    is_operator,
    operator_digest,
    operator_moved,
)
from modelseal.device.tolerance import Match, check_bound, match
from modelseal.device.traits import (
    ENTROPY_BITS,
    MIN_LIVE_TRAITS,
    WEIGHTS,
    Confidence,
    MissingTrait,
    MissingWhy,
    TraitKind,
    TraitReading,
    Traits,
    TraitValue,
    gather,
    live_kinds,
)
from modelseal.device.wrapping import Unwrapped, WrappedSecret, rewrap, unwrap, wrap

__all__ = [
    "ENTROPY_BITS",
    "MIN_LIVE_TRAITS",
    "OPERATOR",
    "WEIGHTS",
    "Confidence",
    "Enrolment",
    "Match",
    "MissingTrait",
    "MissingWhy",
    "TraitKind",
    "TraitReading",
    "TraitValue",
    "Traits",
    "Unwrapped",
    "WrappedSecret",
    "check_bound",
    "digest_for_server",
    "drift",
    "enrol",
    "gather",
    "is_operator",
    "live_kinds",
    "match",
    "operator_digest",
    "operator_moved",
    "rewrap",
    "tolerance",
    "unwrap",
    "wrap",
    "wrapping",
]

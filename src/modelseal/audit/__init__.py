"""The audit log: a closed list of events in an append-only Merkle tree with signed heads. Pure.

event -> canonical bytes -> leaf -> tiles -> checkpoint;   export -> ``verify_export``
"""

from modelseal.audit import checkpoint, event, export, merkle, tiles
from modelseal.audit.checkpoint import Checkpoint
from modelseal.audit.event import Event, Personal, check_personal, commit, decode, encode
from modelseal.audit.kinds import EventKind
from modelseal.audit.merkle import Frontier, leaf_hash
from modelseal.audit.tiles import TileTree, grow
from modelseal.audit.verify import DeclaredRestore, Report, verify_export

__all__ = [
    "Checkpoint",
    "DeclaredRestore",
    "Event",
    "EventKind",
    "Frontier",
    "Personal",
    "Report",
    "TileTree",
    "check_personal",
    "checkpoint",
    "commit",
    "decode",
    "encode",
    "event",
    "export",
    "grow",
    "leaf_hash",
    "merkle",
    "tiles",
    "verify_export",
]

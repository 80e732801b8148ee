"""The counts of a relay bound to a chain in its TPM: no older copy of its folder gives anything.

Each act is noted with what the chain holds before it and with a seal that only the measured state
can make; then the chain takes the step that only this note gives, and only then the answer leaves.
A stop in between is made good; of several notes that were made upon one value of the chain only one
ever goes on. Normative: ``docs/spec/relay.md``, section 8.
"""

from __future__ import annotations

import hmac
import sqlite3
from dataclasses import dataclass, field

import msgspec

from modelseal.ids import Random
from modelseal.keys.tpm2 import chain
from modelseal.server.relay.box import note_in, noted_in
from modelseal.server.services.context import NotDelegated

_NOTE = "counted"
_ONCE_BYTES = 32
_KINDS = ("seats", "renewals")


class RolledBack(NotDelegated):
    """The folder is an older copy, or was altered: by itself the relay gives nothing from it."""


class _Counted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``before`` is what the chain held; ``seal`` says that the relay wrote this.

    ``once`` tells notes of the same counts apart.
    """

    before: bytes
    once: bytes
    seal: bytes


@dataclass(frozen=True, slots=True)
class Counting:
    """The chain at ``handle`` of the TPM of ``kek``, for one delegation and its secret."""

    kek: str
    handle: int
    delegation: str
    secret: bytes = field(repr=False)
    random: Random = field(repr=False)

    def settle(self, db: sqlite3.Connection) -> bytes:
        """What the chain holds: where the counts in ``db`` say, if need be by their last step.

        Within a transaction that nobody else is in. Raises ``RolledBack``, ``KeyStoreUnavailable``.
        """
        counted = self._read(db)
        held = chain.read(self.kek, self.handle)
        step = self._mac("step", db, counted.before, counted.once)
        after = chain.after(counted.before, step)
        if held == after:
            return after
        if held != counted.before:
            raise RolledBack("rolled_back")
        chain.extend(self.kek, self.handle, step)
        return after

    def begin(self, db: sqlite3.Connection) -> None:
        """As ``note``, whatever the counts were bound to before."""
        before = chain.read(self.kek, self.handle)
        if before is None:
            raise RolledBack("chain_gone")
        self.note(db, before)

    def note(self, db: sqlite3.Connection, before: bytes) -> None:
        """The counts in ``db`` are the newest once this is durable and ``settle`` was called.

        ``before`` is what the chain holds.
        """
        once = self.random(_ONCE_BYTES)
        counted = _Counted(before, once, self._mac("seal", db, before, once))
        note_in(db, _NOTE, msgspec.json.encode(counted).decode())

    def _read(self, db: sqlite3.Connection) -> _Counted:
        try:
            counted = msgspec.json.decode(noted_in(db, _NOTE) or "", type=_Counted)
        except msgspec.DecodeError:
            raise RolledBack("not_counted") from None
        seal = self._mac("seal", db, counted.before, counted.once)
        if not hmac.compare_digest(counted.seal, seal):
            raise RolledBack("altered")
        return counted

    def _mac(self, label: str, db: sqlite3.Connection, before: bytes, once: bytes) -> bytes:
        counts = [noted_in(db, f"spent_{kind}") or "0" for kind in _KINDS]
        said = msgspec.json.encode([label, self.delegation, before.hex(), once.hex(), *counts])
        return hmac.digest(self.secret, b"relay count " + said, "sha256")

"""The server's own private keys, wrapped by the key-encryption key. See ``folder.KeyFolder``."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from modelseal.crypto.hpke import KemOpener, KemPrivateKey
from modelseal.crypto.signing import Signer, SigningKey
from modelseal.errors import Misuse
from modelseal.keys.folder import KeyFolder
from modelseal.keys.provider import Ask, KeyProvider
from modelseal.trust import Trust, Use

PURPOSE = "online-key"
SIGNING_USES = (
    *("license", "lease", "status", "checkpoint", "attestation"),
    *("snapshot", "timestamp"),
)
ROOT_USES = ("snapshot", "timestamp")
"""Uses whose keys the TUF root names, not the key list."""
SEALING = "sealing"


class OnlineKeys(KeyFolder):
    """The online keys of the server ``server_id`` in ``folder``."""

    def __init__(
        self, folder: Path, provider: KeyProvider, *, server_id: str, ask: Ask | None = None
    ) -> None:
        super().__init__(folder, provider, server_id=server_id, purpose=PURPOSE, ask=ask)

    def add(
        self,
        use: str,
        key: SigningKey | KemPrivateKey,
        *,
        not_before: datetime,
        not_after: datetime | None = None,
        set_name: str | None = None,
    ) -> None:
        """Afterwards ``key`` is kept for ``use``; keys of one set sign together."""
        sealing = isinstance(key, KemPrivateKey)
        if sealing != (use == SEALING) or (not sealing and use not in SIGNING_USES):
            raise Misuse(f"no online key is of this kind for {use}")
        self.add_key(use, key, not_before=not_before, not_after=not_after, set_name=set_name)

    def signers(self, use: str, at: datetime, trust: Trust | None = None) -> list[Signer]:
        """The keys that sign for ``use`` at ``at``: all of them do.

        What ``trust`` lists decides: a key that is here but not listed yet signs nothing, and one
        that the list has ended neither. Without ``trust`` the newest set that its files call valid.
        Raises ``TokenKeyUnknown`` when there is none.
        """
        if trust is None:
            found = self.newest_set(use, at)
        elif use in ROOT_USES:
            found = self.keys_of(use, trust.role_kids(use))
        else:
            chosen = trust.signing_set(Use(use), self.kids(use), at)
            found = self.keys_of(use, [key.kid for key in chosen])
        return [key for key in found if isinstance(key, SigningKey)]

    def sealing_openers(self) -> dict[str, KemOpener]:
        """Every sealing key by key id, retired ones too: old publications still open."""
        entries = [entry for entry in self.entries() if entry.use == SEALING]
        keys = [self.open_key(entry) for entry in entries]
        return {key.kid: key for key in keys if isinstance(key, KemPrivateKey)}

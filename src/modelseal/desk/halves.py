"""Writing the two halves of a new workspace: everything secret wrapped, 0600, in 0700 folders."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

from modelseal import keys
from modelseal.desk.founding import Documents, Foundation
from modelseal.errors import OutputExists
from modelseal.keys import KeyProvider, OnlineKeys, files
from modelseal.keys.folder import KeyFolder
from modelseal.keys.provider import Ask
from modelseal.types import check_aware

DESK_PURPOSE = "desk-key"
RECOVERY_SECRET = "recovery-passphrase"
KEK = "file:kek.key"


def write_desk(
    folder: Path,
    founded: Foundation,
    passphrase: str,
    *,
    key: str,
    at: datetime,
    ask: Ask | None,
) -> None:
    """Afterwards ``folder`` is a desk: its keys wrapped by the key at the URI ``key``."""
    make_folders(folder, ("keys", "tuf", "models"))
    provider = keys.create(key, ask=ask, base=folder)
    server_id = founded.server_id
    kept = KeyFolder(folder / "keys", provider, server_id=server_id, purpose=DESK_PURPOSE)
    for new in founded.desk_keys:
        kept.add_key(new.use, new.key, not_before=founded.not_before, set_name=new.set)
    kept.add_secret(RECOVERY_SECRET, passphrase.encode(), not_before=founded.not_before)
    write_desk_settings(folder, founded.trust.product, server_id, key=key, at=at)
    write_desk_documents(folder, founded.documents)


def write_desk_settings(
    folder: Path, product: str, server_id: str, *, key: str, at: datetime
) -> None:
    """Afterwards ``desk.toml`` names the product, its server and the key URI of the desk."""
    text = (
        "# The publisher's desk. Everything secret in it is wrapped by this key.\n"
        f"product = {json.dumps(product)}\n"
        f"server_id = {json.dumps(server_id)}\n"
        f"key = {json.dumps(key)}\n"
        f"created_at = {check_aware(at).strftime('%Y-%m-%dT%H:%M:%SZ')}\n"
    )
    files.write_new(folder / "desk.toml", text.encode())


def write_desk_documents(folder: Path, documents: Documents) -> None:
    """Afterwards the desk holds what it signed last."""
    named = {
        "1.root.json": documents.root,
        "targets.json": documents.targets,
        "keys.json": documents.keys_role,
        "keys": documents.key_list,
    }
    for name, data in named.items():
        files.write_new(folder / "tuf" / name, data)


def write_server(
    folder: Path, founded: Foundation, *, listen: str, kek: str = KEK, ask: Ask | None = None
) -> None:
    """Afterwards ``folder`` is a server's half that works without the desk.

    Its keys are wrapped by the key-encryption key at ``kek``: a fresh one, or in a key store the
    one that is there.
    """
    make_folders(folder, ("keys", "tls", "blobs"))
    provider = _made(kek, folder, ask)
    online = OnlineKeys(folder / "keys", provider, server_id=founded.server_id)
    for new in founded.online_keys:
        online.add(new.use, new.key, not_before=founded.not_before, set_name=new.set)
    files.write_new(folder / "tls" / "server.pem", founded.certificate.certificate_pem)
    files.write_new(folder / "tls" / "server.key", founded.certificate.key_pem)
    write_server_settings(folder, kek=kek, listen=listen)


def _made(kek: str, folder: Path, ask: Ask | None) -> KeyProvider:
    try:
        return keys.create(kek, ask=ask, base=folder)
    except OutputExists:
        if kek.startswith("file:"):
            raise
        return keys.open_provider(kek, ask=ask, base=folder)


def write_server_settings(folder: Path, *, kek: str, listen: str) -> None:
    """Afterwards ``server.toml`` says where the key-encryption key is and where to listen."""
    text = (
        "# The license server. Flags and MODELSEAL_* variables override these lines.\n"
        f"kek = {json.dumps(kek)}\n"
        f"listen = {json.dumps(listen)}\n"
        '# database = "sqlite:///modelseal.db"\n'
        '# public_url = "https://licenses.example.com"\n'
    )
    files.write_new(folder / "server.toml", text.encode())


def make_folders(folder: Path, names: tuple[str, ...]) -> None:
    """Afterwards ``folder`` and the folders ``names`` in it exist, open to their owner only."""
    folder.mkdir(mode=0o700)
    for name in names:
        (folder / name).mkdir(mode=0o700)

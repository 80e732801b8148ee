"""Carrying the product's trust forward: the desk signs, the server takes over, the desk keeps.

In this order, so that a crash anywhere is mended by the next call: private keys are kept before
their public halves are signed; the server's answer is the moment at which the new trust is in
force; a desk that did not hear it catches up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from modelseal import strict_json
from modelseal import trust as trusts
from modelseal.admin import AdminApi, PutTrust, TrustDocuments
from modelseal.crypto.signing import SigningKey
from modelseal.desk import catalog
from modelseal.desk.founding import ROOT_LIFE, TARGETS_LIFE
from modelseal.desk.workspace import Workspace, read_document
from modelseal.keys import files
from modelseal.trust import KeyList, Trust, TrustedKey, keylist, metadata, writing
from modelseal.trust.metadata import Metadata
from modelseal.trust.writing import RoleKeys

ROOT_ROLES = ("root", "targets", "snapshot", "timestamp")
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be different: the listed ``keys``, and the key of each role in ``roles``.

    ``signers`` are the new private keys of the desk among ``roles``. ``renew``: every document is
    signed anew, aged or not.
    """

    keys: tuple[TrustedKey, ...] | None = None
    roles: Mapping[str, RoleKeys] = field(default_factory=dict)
    signers: Mapping[str, SigningKey] = field(default_factory=dict)
    renew: bool = False


def catch_up(workspace: Workspace, api: AdminApi) -> bool:
    """The workspace has the trust in force at the server; True when it was behind.

    A server that is behind (its database was restored) is left so; ``advance`` brings it forward.
    Raises the errors of ``trust.update`` but for expiry, which is mended here and not judged.
    """
    ours = workspace.trust
    theirs = api.trust_documents(ours.root_version)
    version = metadata.read(theirs.keys_role, "targets").version
    if not theirs.roots and version <= ours.keys_version:
        return False
    found = trusts.update(
        ours,
        roots=theirs.roots,
        targets=theirs.targets,
        keys_role=theirs.keys_role,
        key_list=theirs.key_list,
        now=_LONG_AGO,
    )
    _keep(workspace, theirs, found)
    return True


def advance(workspace: Workspace, api: AdminApi, change: Change, at: datetime) -> list[str]:
    """``change`` is in force at the server and kept here; the names of the documents signed anew.

    Documents beyond half their life are signed anew too, and a server that is behind is brought
    forward. The caller holds the desk's lock and caught up before.
    """
    served = api.catalog_state()
    signing = _Signing(workspace, change, at, catalog.current(workspace, served.targets.data))
    documents, names = signing.documents()
    ours = (workspace.trust.root_version, workspace.trust.keys_version)
    missing = _roots_lacking(workspace, api.trust_documents().roots)
    if not names and not missing and (served.root.version, served.keys.version) == ours:
        return []
    new = trusts.update(
        workspace.trust,
        roots=documents.roots,
        targets=documents.targets,
        keys_role=documents.keys_role,
        key_list=documents.key_list,
        now=at,
    )
    api.put_trust(
        PutTrust(
            roots=[*missing, *documents.roots],
            targets=documents.targets,
            keys_role=documents.keys_role,
            key_list=documents.key_list,
        )
    )
    _keep(workspace, documents, new)
    return names


def _roots_lacking(workspace: Workspace, served: Sequence[bytes]) -> list[bytes]:
    """The desk's roots from the first that the server lacks, but for the newest it has."""
    there = {metadata.read(root, "root").version for root in served}
    numbers = range(1, workspace.trust.root_version + 1)
    first = min((number for number in numbers if number not in there), default=None)
    if first is None:
        return []
    folder = workspace.desk / "tuf"
    wanted = [n for n in numbers if n >= first and n != max(there)]
    return [read_document(folder / f"{number}.root.json") for number in wanted]


class _Signing:
    """The documents of one change, each signed anew only where it must be."""

    def __init__(
        self, workspace: Workspace, change: Change, at: datetime, targets: Metadata
    ) -> None:
        self._workspace = workspace
        self._change = change
        self._at = at
        self._targets = targets
        self._root = metadata.read(workspace.trust.root_bytes, "root")

    def documents(self) -> tuple[TrustDocuments, list[str]]:
        """All of them, and the names of those that are new."""
        folder, change = self._workspace.desk / "tuf", self._change
        roots = [self._signed_root()] if self._needs("root", self._root, ROOT_LIFE) else []
        new_targets = self._needs("targets", self._targets, TARGETS_LIFE)
        targets = self._signed_targets() if new_targets else _bytes(self._targets)
        role = metadata.read(read_document(folder / "keys.json"), "targets")
        new_keys = change.keys is not None or self._needs("keys", role, TARGETS_LIFE)
        if new_keys:
            key_list, keys_role = self._signed_keys()
        else:
            key_list, keys_role = read_document(folder / "keys"), _bytes(role)
        documents = TrustDocuments(
            roots=roots, targets=targets, keys_role=keys_role, key_list=key_list
        )
        flags = {"root": bool(roots), "targets": new_targets, "keys": new_keys}
        return documents, [name for name, new in flags.items() if new]

    def _needs(self, name: str, document: Metadata, life: timedelta) -> bool:
        """True when the change or the document's age asks for a new one.

        The root names the keys of the targets, the targets name those of the key list.
        """
        named = {
            "root": {*ROOT_ROLES} & self._change.roles.keys(),
            "targets": {"targets", "keys"} & self._change.roles.keys(),
            "keys": {"keys"} & self._change.roles.keys(),
        }[name]
        aged = self._at >= document.expires_at - life / 2
        return bool(named) or aged or self._change.renew

    def _signed_root(self) -> bytes:
        current = metadata.top_level_roles(self._root)
        roles = {
            name: self._change.roles.get(name) or RoleKeys(role.jwks(), role.threshold)
            for name, role in current.items()
        }
        signed = writing.root(self._root.version + 1, self._at + ROOT_LIFE, roles)
        old = self._workspace.desk_signers("root", self._at)
        new = self._change.signers.get("root")
        return writing.sign(signed, old if new is None else [*old, new])

    def _signed_targets(self) -> bytes:
        role = metadata.delegated_role(self._targets, writing.KEYS_ROLE)
        keys = self._change.roles.get("keys") or RoleKeys(role.jwks(), role.threshold)
        listed = catalog.entries(self._targets)
        signed = writing.targets(self._targets.version + 1, self._at + TARGETS_LIFE, keys, listed)
        return writing.sign(signed, self._signers("targets"))

    def _signed_keys(self) -> tuple[bytes, bytes]:
        before = self._workspace.trust.key_list
        keys = before.keys if self._change.keys is None else self._change.keys
        version = before.version + 1
        content = keylist.write(
            KeyList(version, before.product, before.server_id, before.trait_salt, keys)
        )
        signed = writing.keys_role(version, self._at + TARGETS_LIFE, content)
        return content, writing.sign(signed, self._signers("keys"))

    def _signers(self, use: str) -> Sequence[SigningKey]:
        new = self._change.signers.get(use)
        return self._workspace.desk_signers(use, self._at) if new is None else [new]


def _bytes(document: Metadata) -> bytes:
    return strict_json.encode(document.document)


def _keep(workspace: Workspace, documents: TrustDocuments, new: Trust) -> None:
    """The desk's documents first and ``trust.json`` last: what it names is there."""
    folder = workspace.desk / "tuf"
    for data in documents.roots:
        number = metadata.read(data, "root").version
        files.replace(folder / f"{number}.root.json", data)
    own = read_document(catalog.path_of(workspace))
    if catalog.version_of(documents.targets) >= catalog.version_of(own):
        files.replace(catalog.path_of(workspace), documents.targets)
    files.replace(folder / "keys.json", documents.keys_role)
    files.replace(folder / "keys", documents.key_list)
    workspace.use_trust(new)

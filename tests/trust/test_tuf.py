"""Our small reader and python-tuf come to the same verdicts."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.formats import encode_canonical
from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import DownloadHTTPError, UnsignedMetadataError
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp
from tuf.ngclient import Updater
from tuf.ngclient._internal.trusted_metadata_set import TrustedMetadataSet
from tuf.ngclient.config import EnvelopeType
from tuf.ngclient.fetcher import FetcherInterface

from modelseal import trust as trusts
from modelseal.crypto.signing import SigningKey
from modelseal.errors import TrustMalformed, TrustRollback, TrustSignature
from modelseal.trust import metadata, writing
from modelseal.trust.canonical import canonical

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"]), max_size=8), inner, max_size=4
        )
    ),
    max_leaves=20,
)


@given(value=JSON)
def test_canonical_json_is_the_one_of_securesystemslib(value: Any) -> None:
    assert canonical(value) == encode_canonical(value).encode("utf-8")


@pytest.mark.parametrize("value", [1.5, b"x", {1: 2}, object(), "\ud800", {"a": [{1, 2}]}])
def test_what_has_no_canonical_form_is_malformed(value: object) -> None:
    with pytest.raises(TrustMalformed):
        canonical(value)


def test_nesting_has_a_limit() -> None:
    value: Any = 1
    for _ in range(40):
        value = [value]
    with pytest.raises(TrustMalformed):
        canonical(value)


def test_what_we_write_python_tuf_verifies_and_reads_the_same(product: Any) -> None:
    root = Metadata[Root].from_bytes(product.root())
    targets_bytes = product.targets(3, {"models/a/1/a.sealed": writing.target(7, "ab" * 32)})
    role_bytes = product.keys_role(product.key_list())
    snapshot_bytes = writing.sign(
        writing.snapshot(4, product.far, targets=targets_bytes, keys_role=role_bytes),
        product.signers["snapshot"],
    )
    timestamp_bytes = writing.sign(
        writing.timestamp(5, product.far, snapshot=snapshot_bytes), product.signers["timestamp"]
    )
    targets = Metadata[Targets].from_bytes(targets_bytes)
    role = Metadata[Targets].from_bytes(role_bytes)
    snapshot = Metadata[Snapshot].from_bytes(snapshot_bytes)
    timestamp = Metadata[Timestamp].from_bytes(timestamp_bytes)
    for name, document in (
        ("root", root),
        ("targets", targets),
        ("snapshot", snapshot),
        ("timestamp", timestamp),
    ):
        root.signed.verify_delegate(name, document.signed_bytes, document.signatures)
    targets.signed.verify_delegate("keys", role.signed_bytes, role.signatures)
    assert targets.signed.targets["models/a/1/a.sealed"].length == 7
    assert snapshot.signed.meta["targets.json"].version == 3
    snapshot.signed.meta["targets.json"].verify_length_and_hashes(targets_bytes)
    timestamp.signed.snapshot_meta.verify_length_and_hashes(snapshot_bytes)
    assert timestamp.signed.expires == product.far


def test_what_python_tuf_writes_we_verify(product: Any) -> None:
    signer = CryptoSigner.generate_ed25519()
    root = Root(expires=product.far)
    for name in ("root", "targets", "snapshot", "timestamp"):
        root.add_key(signer.public_key, name)
    document = Metadata(root)
    document.sign(signer)
    data = document.to_bytes()
    if signer.public_key.keyid != metadata.key_id(signer.public_key.to_dict()):
        pytest.fail("securesystemslib changed how it names keys")
    found = metadata.read(data, "root")
    found.verify(metadata.top_level_roles(found)["root"])
    assert (found.version, found.expires_at) == (1, product.far)


def _theirs(chain: list[bytes]) -> bool:
    """Whether python-tuf accepts ``chain``, each root following the one before it."""
    try:
        trusted = TrustedMetadataSet(chain[0], EnvelopeType.METADATA)
        for data in chain[1:]:
            trusted.update_root(data)
    except Exception:  # any refusal of theirs
        return False
    return True


def _ours(product: Any, chain: list[bytes], documents: dict[str, bytes]) -> bool:
    try:
        trust = trusts.compose(root=chain[0], **documents, tls_ca=None)
        trusts.update(trust, roots=chain[1:], **documents, now=product.now)
    except (TrustSignature, TrustMalformed, TrustRollback):
        return False
    return True


@pytest.mark.parametrize("signed_by", ["old and new", "old", "new", "nobody", "stranger"])
@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("threshold", [1, 2])
def test_root_chains_are_judged_as_python_tuf_judges_them(
    product: Any, signed_by: str, version: int, threshold: int
) -> None:
    product.signers["root"] = [SigningKey.generate() for _ in range(2)]
    product.thresholds["root"] = threshold
    first, documents = product.root(1), product.documents()
    old = list(product.signers["root"])
    product.signers["root"] = [SigningKey.generate() for _ in range(2)]
    new = list(product.signers["root"])
    roles = {name: product.role_keys(name) for name in ("root", "targets", "snapshot", "timestamp")}
    signers = {
        "old and new": old + new,
        "old": old,
        "new": new,
        "nobody": [],
        "stranger": [SigningKey.generate(), *new],
    }[signed_by]
    second = writing.sign(writing.root(version, product.far, roles), signers)
    chain = [first, second]
    assert _ours(product, chain, documents) is _theirs(chain)
    assert _theirs(chain) is (signed_by == "old and new" and version == 2)


@given(
    signing=st.sets(st.integers(0, 4)),
    listed=st.sets(st.integers(0, 4), min_size=1),
    data=st.data(),
)
def test_thresholds_are_counted_as_python_tuf_counts_them(
    ring: list[SigningKey], signing: set[int], listed: set[int], data: Any
) -> None:
    threshold = data.draw(st.integers(1, len(listed)))
    spoiled = data.draw(st.sets(st.integers(0, 4)))
    keys = writing.RoleKeys([ring[n].jwk for n in sorted(listed)], threshold)
    other = writing.RoleKeys([ring[0].jwk])
    roles = {"root": keys, "targets": other, "snapshot": other, "timestamp": other}
    far = trusts.keylist.from_numeric(4_000_000_000)
    raw = writing.sign(writing.root(1, far, roles), [ring[n] for n in sorted(signing)])
    document = json.loads(raw)
    for place, entry in enumerate(document["signatures"]):
        if place in spoiled:
            entry["sig"] = "00" + entry["sig"][2:]
    raw = json.dumps(document).encode()
    theirs = Metadata[Root].from_bytes(raw)
    try:
        theirs.signed.verify_delegate("root", theirs.signed_bytes, theirs.signatures)
        expected = True
    except UnsignedMetadataError:
        expected = False
    ours = metadata.read(raw, "root")
    try:
        ours.verify(metadata.top_level_roles(ours)["root"])
        found = True
    except TrustSignature:
        found = False
    assert found is expected


@pytest.fixture(scope="module")
def ring() -> list[SigningKey]:
    """Five keys."""
    return [SigningKey.generate() for _ in range(5)]


def test_one_key_under_two_names_does_not_meet_a_threshold_of_two(product: Any) -> None:
    """Stricter than python-tuf, which takes a key id for what it is."""
    document = json.loads(product.root())
    keys = document["signed"]["keys"]
    keyid = document["signed"]["roles"]["root"]["keyids"][0]
    keys["00" * 32] = keys[keyid]
    document["signed"]["roles"]["root"] = {"keyids": [keyid, "00" * 32], "threshold": 2}
    signature = product.signers["root"][0].sign(canonical(document["signed"])).hex()
    document["signatures"] = [{"keyid": k, "sig": signature} for k in (keyid, "00" * 32)]
    found = metadata.read(json.dumps(document).encode(), "root")
    with pytest.raises(TrustMalformed):
        metadata.top_level_roles(found)


def test_a_repeated_signature_is_malformed_and_counts_no_more_than_once(product: Any) -> None:
    document = json.loads(product.root())
    document["signatures"] *= 2
    with pytest.raises(TrustMalformed):
        metadata.read(json.dumps(document).encode(), "root")


class _Catalog(FetcherInterface):
    """A TUF repository in memory."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files

    def _fetch(self, url: str) -> Any:
        name = url.removeprefix("http://catalog/")
        if name not in self.files:
            raise DownloadHTTPError("not there", 404)
        return iter([self.files[name]])


def test_pythons_tuf_client_gets_the_key_list_from_the_same_documents(
    product: Any, tmp_path: Any
) -> None:
    """The list in ``trust.json`` is a real TUF target: ngclient downloads the same bytes."""
    later = product.far + timedelta(days=9000)
    key_list = product.key_list(2)
    targets = product.targets(2, expires_at=later)
    role = product.keys_role(key_list, 2, expires_at=later)
    snapshot = writing.sign(
        writing.snapshot(2, later, targets=targets, keys_role=role), product.signers["snapshot"]
    )
    timestamp = writing.sign(
        writing.timestamp(2, later, snapshot=snapshot), product.signers["timestamp"]
    )
    digest = json.loads(role)["signed"]["targets"]["keys"]["hashes"]["sha256"]
    first = product.root(expires_at=later)
    files = {
        "2.root.json": product.root(2, expires_at=later),
        "timestamp.json": timestamp,
        "2.snapshot.json": snapshot,
        "2.targets.json": targets,
        "2.keys.json": role,
        f"targets/{digest}.keys": key_list,
    }
    updater = Updater(
        str(tmp_path),
        "http://catalog/",
        str(tmp_path),
        "http://catalog/targets/",
        fetcher=_Catalog(files),
        bootstrap=first,
    )
    updater.refresh()
    info = updater.get_targetinfo("keys")
    assert info is not None
    with open(updater.download_target(info), "rb") as file:
        assert file.read() == key_list
    trust = trusts.compose(root=first, **product.documents(), tls_ca=None)
    new = trusts.update(
        trust,
        roots=[files["2.root.json"]],
        targets=targets,
        keys_role=role,
        key_list=key_list,
        now=product.now,
    )
    assert (new.root_version, new.keys_version) == (2, 2)

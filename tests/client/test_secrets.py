"""No secret on the disk, in the journal or on the screen."""

from __future__ import annotations

import pytest
from tests.client.activated import MODEL

from modelseal.crypto.hpke import KemPrivateKey
from modelseal.errors import (
    LicenseRevoked,
)
from modelseal.license import license_key


def test_no_key_lies_in_clear_on_the_disk(world, active, key):
    """Neither data keys, nor the KEM keys made on the way, nor the license key."""
    made = []
    original = KemPrivateKey.generate

    def generate():
        made.append(original())
        return made[-1]

    KemPrivateKey.generate = generate
    try:
        active.renew()
        active.renew()
    finally:
        KemPrivateKey.generate = original
    active.pull()
    content = b"".join(p.read_bytes() for p in world.state.rglob("*") if p.is_file())
    secrets = [*MODEL.keys.values(), *(k.to_bytes() for k in made), key.encode()]
    secrets += [k.to_bytes()[64:] for k in made] + [license_key.parse(key)]
    assert made
    assert all(secret not in content for secret in secrets)


def test_the_journal_tells_what_happened_without_secrets(world, active, key):
    world.server.license_of(key).state = "revoked"
    with pytest.raises(LicenseRevoked) as caught:
        active.renew()
    entries = active.journal.read()
    assert [e["kind"] for e in entries][:1] == ["activated"]
    refused = [e for e in entries if e["kind"] == "refused"]
    assert len(refused) == 1
    assert refused[0]["reference"] == caught.value.reference
    text = (world.state / "journal").read_text()
    assert key not in text
    for reading in world.traits.readings:
        assert reading.value.reveal().decode() not in text


def test_the_printed_client_shows_no_secret(active, key):
    assert key not in repr(active)
    assert "kem" not in repr(active.standing().held)

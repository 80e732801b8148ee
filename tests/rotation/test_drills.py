"""Drills: keys change while customers work, and nobody notices but a thief."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest
from tests.rotation.conftest import LEASE, Drill

from modelseal import trust as trusts
from modelseal.admin import AdminApi, PutTrust
from modelseal.client import trusting
from modelseal.crypto.signing import SigningKey
from modelseal.desk import rotating
from modelseal.errors import InvalidBytes, ModelsealError, TokenKeyUnknown, TrustSignature
from modelseal.license import jws, tokens
from modelseal.license.claims import LeaseClaims, StatusListClaims
from modelseal.trust import KeyList, Use, keylist, writing
from modelseal.types import to_numeric

SECOND = timedelta(seconds=1)


def kid_of(token: str) -> str:
    return jws.parse(token, max_bytes=1 << 20).signatures[0].kid


def lease_token(drill: Drill, name: str) -> str:
    return (drill.folder / name / "lease.jwt").read_text()


def old_key(drill: Drill, use: Use) -> SigningKey:
    """The private key that signed for ``use`` on the first day: what a thief has."""
    first = trusts.parse((drill.folder / "shipped.json").read_bytes()).keys(use)[0].kid
    (key,) = drill.desk.online_keys.keys_of(use.value, [first])
    assert isinstance(key, SigningKey)
    return key


def test_signing_keys_change_under_running_customers(drill: Drill, api: AdminApi) -> None:
    """The next lease is by the new key, older ones run on to their end, nobody is refused."""
    early, late = drill.activated("early"), drill.activated("late")
    before = kid_of(lease_token(drill, "early"))
    ended = late.status().lease.expires_at
    done = rotating.rotate(drill.desk, api, now=drill.now)
    assert not done.resumed
    assert {(key.use, key.state) for key in done.keys} == {
        (use.value, state) for use in rotating.SIGNING for state in ("new", "ending")
    }
    assert drill.opens(early) and drill.opens(late)
    early.renew()
    after = kid_of(lease_token(drill, "early"))
    assert after != before
    assert drill.opens(early)
    assert early.trust.keys_version == drill.desk.trust.keys_version == 3
    listed = {key.kid: key for key in drill.desk.trust.keys(Use.LEASE)}
    assert listed[after].not_after is None
    assert timedelta(0) <= listed[before].not_after - ended < 5 * SECOND
    new = drill.activated("new")
    assert kid_of(lease_token(drill, "new")) == after and drill.opens(new)
    assert drill.opens(late) and late.trust.keys_version == 1
    late.renew()
    assert kid_of((drill.folder / "late" / "license.jwt").read_text()) != kid_of(
        lease_token(drill, "late")
    )
    assert late.status().state == "ACTIVE" and drill.opens(late)


def test_every_signature_of_the_server_is_by_the_new_keys(drill: Drill, api: AdminApi) -> None:
    """License, lease, status list and checkpoint, from the running server and after a restart."""
    rotating.rotate(drill.desk, api, now=drill.now)
    newest = {use: drill.desk.trust.keys(use)[-1].kid for use in rotating.SIGNING}
    for turn in ("running", "restarted"):
        drill.activated(turn)
        assert kid_of(lease_token(drill, turn)) == newest[Use.LEASE]
        assert kid_of((drill.folder / turn / "license.jwt").read_text()) == newest[Use.LICENSE]
        listed = drill.server.services.statuses.token(1).decode()
        assert kid_of(listed) == newest[Use.STATUS]
        claims = tokens.read(listed, StatusListClaims, drill.desk.trust, now=drill.now)
        assert claims.iss == drill.desk.server_id
        drill.server.stop()
        drill.server.start()
    note = drill.server.admin.checkpoint().note
    from modelseal.audit import checkpoint
    from modelseal.crypto.signing import VerifyKey

    public = drill.desk.trust.keys(Use.CHECKPOINT)[-1]
    checkpoint.verify(note, [VerifyKey.from_jwk(public.jwk, public.alg)])


def test_a_retired_key_is_refused_after_its_last_lease_and_before_it_for_longer_ones(
    drill: Drill, api: AdminApi
) -> None:
    """A thief with the old key can write any time into a lease; none outlives the key."""
    drill.activated("laptop")
    stolen = old_key(drill, Use.LEASE)
    genuine = tokens.read(lease_token(drill, "laptop"), LeaseClaims, drill.desk.trust)
    rotating.rotate(drill.desk, api, now=drill.now)
    trust = drill.desk.trust
    (listed,) = (key for key in trust.keys(Use.LEASE) if key.kid == stolen.kid)
    assert listed.not_after is not None
    end = to_numeric(listed.not_after)
    good = tokens.sign(msgspec.structs.replace(genuine, exp=end), [stolen])
    assert tokens.read(good, LeaseClaims, trust).exp == end
    for forged in ({"exp": end + 1}, {"iat": end - 9, "nbf": end - 9, "exp": end + 86400,
                   "renew_after_at": end}):  # fmt: skip
        token = tokens.sign(msgspec.structs.replace(genuine, **forged), [stolen])
        with pytest.raises(TokenKeyUnknown):
            tokens.read(token, LeaseClaims, trust)
    with pytest.raises(TokenKeyUnknown):
        tokens.read(good, LeaseClaims, trust, now=listed.not_after)
    assert tokens.read(good, LeaseClaims, trust, now=listed.not_after - SECOND)


def test_a_lease_of_the_thief_gives_a_client_that_heard_of_it_nothing(
    drill: Drill, api: AdminApi
) -> None:
    """It is over when the old key ends, and until then it brings no key of any model."""
    laptop = drill.activated("laptop")
    stolen = old_key(drill, Use.LEASE)
    genuine = tokens.read(lease_token(drill, "laptop"), LeaseClaims, drill.desk.trust)
    rotating.rotate(drill.desk, api, now=drill.now)
    laptop.renew()
    held = lease_token(drill, "laptop")
    long = genuine.iat + 300 * 86400
    forged = tokens.sign(msgspec.structs.replace(genuine, exp=long, seq=99), [stolen])
    (drill.folder / "laptop" / "lease.jwt").write_text(forged)
    with pytest.raises(ModelsealError):
        drill.opens(laptop)
    assert laptop._core.held().lease.exp < long
    (drill.folder / "laptop" / "lease.jwt").write_text(held)
    assert drill.opens(laptop)


def test_a_device_offline_through_two_rotations_of_root_and_signing_recovers(
    drill: Drill, api: AdminApi
) -> None:
    """It opens with what it has until its lease ends, then one renewal brings all of it."""
    away = drill.activated("away")
    for _ in range(2):
        rotating.rotate_root(drill.desk, api, now=drill.now)
        rotating.rotate(drill.desk, api, now=drill.now)
    assert drill.desk.trust.root_version == 3
    assert drill.opens(away) and away.trust.root_version == 1
    drill.forward(LEASE + timedelta(days=1))
    assert away.status().state == "EXPIRED"
    away.renew()
    assert drill.opens(away)
    assert away.trust.root_version == 3
    assert away.trust.keys_version == drill.desk.trust.keys_version
    pulled = away.pull(drill.folder / "models")
    assert [model.name for model in pulled.models] == ["swap.onnx"]


def test_an_app_shipped_with_the_first_trust_activates_after_all_rotations(
    drill: Drill, api: AdminApi
) -> None:
    rotating.rotate_root(drill.desk, api, now=drill.now)
    rotating.rotate(drill.desk, api, [*rotating.SIGNING, Use.SEALING], now=drill.now)
    rotating.rotate_root(drill.desk, api, now=drill.now)
    fresh = drill.activated("fresh")
    assert drill.opens(fresh)
    fresh.pull(drill.folder / "models")
    assert fresh.trust.root_version == 3
    shipped_new = drill.client("other", trust=drill.server.trust)
    shipped_new.activate(drill.license_key)
    assert drill.opens(shipped_new)


def test_root_and_everything_below_it_has_new_keys_and_the_old_ones_sign_nothing(
    drill: Drill, api: AdminApi
) -> None:
    """A list that the old keys of the desk signed is refused by server and client alike."""
    roles = ("root", "targets", "keys", "snapshot", "timestamp")
    first = trusts.parse((drill.folder / "shipped.json").read_bytes())
    thief = {use: drill.desk.desk_signers(use, drill.now) for use in ("targets", "keys")}
    rotating.rotate_root(drill.desk, api, now=drill.now)
    new = drill.desk.trust
    assert new.root_version == 2
    assert all(set(new.role_kids(r)).isdisjoint(first.role_kids(r)) for r in roles)
    evil = SigningKey.generate()
    version = new.keys_version + 1
    entry = keylist.trusted(Use.LEASE, evil.verify_key(), "evil", not_before=drill.now)
    known = new.key_list
    content = keylist.write(
        KeyList(version, known.product, known.server_id, known.trait_salt, (*known.keys, entry))
    )
    far = drill.now + timedelta(days=900)
    role = writing.sign(writing.keys_role(version, far, content), thief["keys"])
    entries = {}
    keys = writing.RoleKeys([key.jwk for key in thief["keys"]])
    targets = writing.sign(writing.targets(99, far, keys, entries), thief["targets"])
    forged = PutTrust(roots=[], targets=targets, keys_role=role, key_list=content)
    with pytest.raises(TrustSignature):
        api.put_trust(forged)
    with pytest.raises(TrustSignature):
        trusts.update(new, roots=[], targets=targets, keys_role=role, key_list=content,
                      now=drill.now)  # fmt: skip
    served = api.catalog_state()
    kept_targets = PutTrust(roots=[], targets=served.targets.data, keys_role=role, key_list=content)
    with pytest.raises(TrustSignature):
        api.put_trust(kept_targets)


def test_publishing_goes_on_after_every_rotation(drill: Drill, api: AdminApi) -> None:
    laptop = drill.activated("laptop")
    rotating.rotate_root(drill.desk, api, now=drill.now)
    rotating.rotate(drill.desk, api, [*rotating.SIGNING, Use.SEALING, Use.PUBLISHER], now=drill.now)
    second = drill.publish("other.onnx")
    laptop.pull(drill.folder / "models")
    assert drill.opens(laptop, second) and drill.opens(laptop)
    assert (drill.folder / "models" / "other.onnx").is_file()


def test_a_publisher_key_is_retired_once_its_models_are_resealed(
    drill: Drill, api: AdminApi
) -> None:
    """Old models go on to open while both are listed; the retired key's open no more."""
    from modelseal.desk import publishing, sealing

    laptop = drill.activated("laptop")
    old = drill.desk.trust.keys(Use.PUBLISHER)[0].kid
    rotating.rotate(drill.desk, api, [Use.PUBLISHER], now=drill.now)
    laptop.pull(drill.folder / "models")
    assert drill.opens(laptop)
    newer = sealing.reseal(drill.desk, drill.sealed, drill.folder / "two.sealed")
    publishing.publish(drill.desk, api, newer.path)
    publishing.withdraw(drill.desk, api, "swap", release=1)
    rotating.retire(drill.desk, api, old[:12], now=drill.now)
    assert old not in {key.kid for key in drill.desk.trust.keys(Use.PUBLISHER)}
    pulled = laptop.pull(drill.folder / "models")
    assert [model.release for model in pulled.models] == [2]
    from modelseal import container
    from modelseal.container import BytesSource

    first = container.parse(BytesSource(drill.sealed.read_bytes()))
    with pytest.raises(InvalidBytes):
        first.verify_signatures(laptop.trust.publisher_keys(), product="facefusion")


def test_at_once_ends_what_the_old_key_signed(drill: Drill, api: AdminApi) -> None:
    """After a theft: whoever hears of it needs a new lease and gets it by asking."""
    laptop = drill.activated("laptop")
    stolen = lease_token(drill, "laptop")
    rotating.rotate(drill.desk, api, [Use.LEASE], at_once=True, now=drill.now)
    with pytest.raises(TokenKeyUnknown):
        tokens.read(stolen, LeaseClaims, drill.desk.trust)
    laptop.renew()
    assert drill.opens(laptop)


def test_a_device_that_hears_of_it_by_pulling_gets_its_new_lease_by_itself(
    drill: Drill, api: AdminApi
) -> None:
    """Its lease is over when its key ends; everything else is as after any lease's end."""
    laptop, other = drill.activated("laptop"), drill.activated("other")
    rotating.rotate(drill.desk, api, [Use.LEASE], at_once=True, now=drill.now)
    drill.forward(2 * SECOND)
    laptop.pull(drill.folder / "models")
    assert laptop.status().state == "ACTIVE" and drill.opens(laptop)
    trusting.refresh(other._core)
    assert other.status().state == "EXPIRED"
    assert drill.opens(other)
    assert other.status().state == "ACTIVE"


def test_every_rotation_stands_in_the_log(drill: Drill, api: AdminApi) -> None:
    rotating.rotate(drill.desk, api, now=drill.now)
    rotating.rotate_root(drill.desk, api, now=drill.now)
    api.rotate_kek()
    kinds = [event.kind for event in api.list_events().items]
    assert kinds.count("key_rotated") == 2
    assert kinds.count("trust_changed") == 3
    assert kinds.count("keys_rewrapped") == 1

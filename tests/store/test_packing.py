"""What a device's row packs comes out as it went in, and what nobody knows is just not found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.server.world import Computer, Shop

from modelseal import ids
from modelseal.crypto import jwk as jwks
from modelseal.crypto.signing import SigningKey
from modelseal.device import OPERATOR
from modelseal.device.traits import TraitKind
from modelseal.errors import InternalError, Misuse, NotFound
from modelseal.license.claims import TraitDigest
from modelseal.server.store import devices, packing
from modelseal.strict_json import b64u

UUID = "0190a5e2-7b1c-7f3a-9c1d-0242ac120002"
HOSTILE = (
    "", "dev_", f"dev_{UUID.upper()}", f"dev_{UUID[:-1]}", f"DEV_{UUID}", f"xyz_{UUID}",
    f"dev-{UUID}", f"dev_{UUID.replace('-', '')}----", "../../etc/passwd", "\x00", "a" * 15,
    "\ud800", f"dev_{UUID}\x00", f"dev_{UUID[:-1]}٣",
)  # fmt: skip


def test_every_kind_of_id_and_of_trait_has_its_number() -> None:
    assert frozenset(packing.PREFIXES) == ids.PREFIXES
    assert len(set(packing.PREFIXES)) == len(packing.PREFIXES)
    assert set(packing.KINDS) == {*map(str, TraitKind), OPERATOR}


@pytest.mark.parametrize(("prefix", "size"), [("dev", 16), ("rly", 17), ("den", 17)])
def test_an_id_takes_its_bytes_and_comes_out_as_it_was(prefix: str, size: int) -> None:
    packed = packing.pack_id(f"{prefix}_{UUID}", "dev")
    assert len(packed) == size
    assert packing.unpack_id(packed, "dev") == f"{prefix}_{UUID}"


@given(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=64)))
def test_a_text_that_is_no_id_is_kept_whole_and_is_like_no_id(text: str) -> None:
    packed = packing.pack_id(text, "dev")
    assert len(packed) > 17
    assert packing.unpack_id(packed, "dev") == text


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_a_hostile_id_is_not_found_in_any_store(shop: Shop, number: int) -> None:
    text = HOSTILE[number]
    read = shop.server.context.store.read
    assert read(devices.get, text) is None and read(devices.get, text, text) is None
    assert read(devices.by_key, text, text) is None and read(devices.of_license, text) == []
    with pytest.raises(NotFound):
        shop.admin.show_device(text)
    with pytest.raises(NotFound):
        shop.admin.show_license(text)


@pytest.mark.parametrize("alg", ["Ed25519", "ES256", "ML-DSA-65"])
def test_a_key_of_any_kind_comes_out_with_its_thumbprint(alg: str) -> None:
    key = SigningKey.generate(alg)
    packed = packing.pack_key(key.kid, dict(key.jwk))
    assert packing.unpack_jwk(packed) == key.jwk
    assert packing.unpack_jkt(packed) == key.kid == jwks.thumbprint(key.jwk)
    assert len(packed) == 33 or alg != "Ed25519"


def test_a_thumbprint_without_its_key_is_kept() -> None:
    jkt = b64u(bytes(range(32)))
    packed = packing.pack_key(jkt, {})
    assert packing.unpack_jwk(packed) == {} and packing.unpack_jkt(packed) == jkt


@given(
    st.lists(
        st.builds(
            TraitDigest,
            kind=st.one_of(st.sampled_from(packing.KINDS), st.text(min_size=1, max_size=64)),
            digest=st.integers(0, 2**32 - 1),
            confidence=st.sampled_from(["high", "low"]),
            privileged=st.booleans(),
        ),
        max_size=12,
    )
)
def test_traits_come_out_in_their_order(traits: list[TraitDigest]) -> None:
    assert packing.unpack_traits(packing.pack_traits(traits)) == tuple(traits)


def test_known_traits_take_five_bytes_and_what_is_cut_is_told() -> None:
    packed = packing.pack_traits([TraitDigest("mac", 7), TraitDigest("cpu_class", 8, "low")])
    assert len(packed) == 10
    for size in (1, 4, 9):
        with pytest.raises(InternalError):
            packing.unpack_traits(packed[:size])
    with pytest.raises(InternalError):
        packing.unpack_traits(bytes([62]) + bytes(4))


def test_a_key_that_was_made_to_have_the_mark_of_another_is_refused(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.plan()
    issued = shop.license(seats=2)
    device = Computer(shop)
    device.activate(issued.license_key)
    read = shop.server.context.store.read
    found = read(devices.by_key, issued.license_id, device.key.kid)
    assert found is not None and found.device_id == device.device_id
    real = packing.mark
    monkeypatch.setattr(packing, "mark", lambda text: real(device.key.kid))
    with pytest.raises(Misuse):
        Computer(shop, "other").activate(issued.license_key)
    assert shop.admin.show_license(issued.license_id).seats_used == 1
    device.renew()

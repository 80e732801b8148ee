"""The identity that an operator gives stands beside the traits and is none of them."""

from __future__ import annotations

from tests.device.world import LAPTOP, SALT, cheap, noise, reading

from modelseal import device
from modelseal.device import Traits


def test_a_name_is_told_from_another_and_between_products_not_at_all() -> None:
    one = device.operator_digest(b"render-0", SALT)
    assert one == device.operator_digest(b"render-0", SALT)
    assert one.digest != device.operator_digest(b"render-1", SALT).digest
    assert one.digest != device.operator_digest(b"render-0", bytes(32)).digest
    assert (one.kind, one.confidence, one.privileged) == ("operator", "low", False)


def test_a_name_neither_binds_nor_matches_and_is_known_for_what_it_is() -> None:
    traits = device.enrol(Traits(tuple(LAPTOP)), SALT).digests
    named = [device.operator_digest(b"render-0", SALT)]
    assert device.is_operator(named) and not device.is_operator(traits)
    alone = device.match(named, named)
    assert (alone.score, alone.live, alone.unbound, alone.moved) == (0.0, 0, True, ())
    assert device.match(traits, [*traits, *named]) == device.match(traits, traits)


def test_instances_named_apart_are_told_apart_and_a_missing_name_tells_nothing() -> None:
    zero, one = ([device.operator_digest(name, SALT)] for name in (b"render-0", b"render-1"))
    assert device.operator_moved(zero, one)
    assert not device.operator_moved(zero, zero)
    assert not device.operator_moved(zero, []) and not device.operator_moved([], one)


def test_a_trait_read_twice_alike_is_tried_once() -> None:
    wrapped = device.wrap(b"secret", LAPTOP, random=noise(), stretch=cheap)
    twice = [*LAPTOP, reading("machine_id")]
    opened = device.wrapping.unwrap_and_compare(wrapped.data, twice, stretch=cheap)
    assert opened.secret == b"secret"

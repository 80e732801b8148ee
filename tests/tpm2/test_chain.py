"""A chain in a TPM moves on and never back, whoever owns the TPM."""

from __future__ import annotations

import pytest
from tests.tpm import SwTpm

from modelseal.errors import KeyStoreUnavailable
from modelseal.keys.tpm2 import chain
from modelseal.tpm2.chip import nv
from modelseal.tpm2.wire.codes import NvAttribute


def uri(tpm: SwTpm) -> str:
    return f"tpm2://{tpm.address}"


def test_a_chain_holds_the_hash_of_its_steps_also_after_a_power_cut(own: SwTpm) -> None:
    handle = chain.make(uri(own), b"relay", b"first")
    held = chain.after(bytes(chain.SIZE), b"first")
    assert chain.read(uri(own), handle) == held
    for step in (b"second", b"third" * 10):
        chain.extend(uri(own), handle, step)
        held = chain.after(held, step)
        assert chain.read(uri(own), handle) == held
    own.kill()
    own.start()
    assert chain.read(uri(own), handle) == held


def test_a_second_chain_of_the_same_name_is_another_one(own: SwTpm) -> None:
    first, second = (chain.make(uri(own), b"relay", b"x") for _ in range(2))
    assert first != second
    chain.extend(uri(own), first, b"y")
    assert chain.read(uri(own), first) != chain.read(uri(own), second)


def test_one_that_is_erased_or_of_another_kind_is_none(own: SwTpm) -> None:
    handle = chain.make(uri(own), b"relay", b"x")
    value = chain.read(uri(own), handle)
    chain.erase(uri(own), handle)
    assert value is not None and chain.read(uri(own), handle) is None
    with own.connect() as tpm:  # its owner writes the very value
        nv.write(tpm, nv.define(tpm, handle, chain.SIZE, nv.OUR_VALUE), value)
    assert chain.read(uri(own), handle) is None
    with own.connect() as tpm:
        nv.undefine(tpm, nv.read_index(tpm, handle))
        index = nv.define(tpm, handle, chain.SIZE, nv.OUR_CHAIN)
        assert not index.attributes & NvAttribute.WRITTEN
    assert chain.read(uri(own), handle) is None
    chain.erase(uri(own), handle)
    chain.erase(uri(own), handle)
    with pytest.raises(KeyStoreUnavailable):
        chain.extend(uri(own), handle, b"z")


def test_a_tpm_that_is_gone_is_said_by_name(own: SwTpm) -> None:
    handle = chain.make(uri(own), b"relay", b"x")
    own.kill()
    for act in (
        lambda: chain.read(uri(own), handle),
        lambda: chain.extend(uri(own), handle, b"y"),
        lambda: chain.make(uri(own), b"relay", b"x"),
    ):
        with pytest.raises(KeyStoreUnavailable):
            act()

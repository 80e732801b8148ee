"""Providers over a key store: few calls, working keys that end, and stores that lie."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from modelseal import cbor
from modelseal.errors import KeyStoreUnavailable, ModelsealError, WrappedKeyInvalid
from modelseal.keys import layered
from modelseal.keys.layered import LayeredProvider
from modelseal.keys.provider import GuardedProvider
from modelseal.keys.working import MAX_KEPT, WorkingKeys
from modelseal.memory import SecretBytes
from modelseal.testing.keys import raising
from modelseal.types import Level

CONTEXT: dict[str, str | int | bytes] = {"purpose": "data-key", "product": "p", "section": 3}


class Store:
    """A key store in memory. ``lie`` gets each honest answer to ``unwrap_key``."""

    kind = "memory"
    level = Level.L0

    def __init__(self, name: bytes = b"one") -> None:
        self.identity = name
        self.key = AESGCM(name.ljust(32, b"."))
        self.calls: list[tuple[str, dict[str, str]]] = []
        self.lie: Callable[[bytes], Any] = lambda honest: honest
        self.wrap_lie: Callable[[bytes], Any] = lambda honest: honest

    def wrap_key(self, key: bytes, bound: Any) -> bytes:
        """The key under a random nonce."""
        self.calls.append(("wrap", dict(bound)))
        nonce = os.urandom(12)
        made = nonce + self.key.encrypt(nonce, key, cbor.encode(dict(bound)))
        return self.wrap_lie(made)  # type: ignore[no-any-return]

    def unwrap_key(self, wrapped: bytes, bound: Any) -> bytes:
        """The key again."""
        self.calls.append(("unwrap", dict(bound)))
        try:
            plain = self.key.decrypt(wrapped[:12], wrapped[12:], cbor.encode(dict(bound)))
        except (InvalidTag, ValueError):
            raise WrappedKeyInvalid("not mine") from None
        return self.lie(plain)  # type: ignore[no-any-return]

    def describe(self) -> dict[str, object]:
        """Nothing more."""
        return {}


def over(store: Store, cache_seconds: float = 60, store_seconds: float = 5) -> Any:
    return GuardedProvider(
        LayeredProvider("memory:x", store, cache_seconds=cache_seconds, store_seconds=store_seconds)
    )


VALUES = st.text(max_size=20) | st.integers(0, 9) | st.binary(max_size=8)


@given(
    plaintext=st.binary(min_size=1, max_size=300),
    context=st.dictionaries(st.text(max_size=8), VALUES, min_size=1, max_size=4),
)
def test_what_is_wrapped_opens_again_on_another_day(plaintext: bytes, context: Any) -> None:
    store = Store()
    wrapped = over(store).wrap(plaintext, context)
    assert over(store).unwrap(wrapped, context) == plaintext
    assert layered.owner(wrapped) is not None


def test_many_rows_take_two_calls_to_wrap_and_one_to_open() -> None:
    store = Store()
    provider = over(store)
    rows = [provider.wrap(bytes([n]) * 32, {**CONTEXT, "section": n}) for n in range(50)]
    assert [name for name, _ in store.calls] == ["wrap", "unwrap"]
    again = over(store)
    for n, row in enumerate(rows):
        assert again.unwrap(row, {**CONTEXT, "section": n}) == bytes([n]) * 32
    assert [name for name, _ in store.calls] == ["wrap", "unwrap", "unwrap"]


def test_without_a_cache_the_store_is_asked_each_time() -> None:
    store = Store()
    provider = over(store, cache_seconds=0)
    wrapped = provider.wrap(b"k" * 32, CONTEXT)
    provider.unwrap(wrapped, CONTEXT)
    assert [name for name, _ in store.calls] == ["wrap", "unwrap", "unwrap"]


def test_the_store_is_shown_purpose_product_and_server_and_nothing_else() -> None:
    store = Store()
    over(store).wrap(b"k", {**CONTEXT, "server": "srv_1", "file": b"\x01" * 32})
    assert store.calls[0][1] == {"purpose": "data-key", "product": "p", "server": "srv_1"}


def test_a_working_key_of_one_product_opens_nothing_of_another() -> None:
    store = Store()
    provider = over(store)
    wrapped = provider.wrap(b"k", CONTEXT)
    with pytest.raises(WrappedKeyInvalid):
        provider.unwrap(wrapped, {**CONTEXT, "product": "q"})


def test_what_another_stores_key_wrapped_is_not_mine() -> None:
    wrapped = over(Store(b"one")).wrap(b"k", CONTEXT)
    assert not over(Store(b"two")).owns(wrapped)
    with pytest.raises(WrappedKeyInvalid):
        over(Store(b"two")).unwrap(wrapped, CONTEXT)


LIES: dict[str, Callable[[bytes], Any]] = {
    "too short": lambda honest: honest[:-1],
    "too long": lambda honest: honest + b"\0",
    "empty": lambda honest: b"",
    "None": lambda honest: None,
    "text": lambda honest: honest.hex(),
    "KeyError": raising(KeyError("x")),
    "another key": lambda honest: bytes(32),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
@pytest.mark.parametrize("cache_seconds", [0, 60])
def test_a_store_that_lies_wraps_nothing_and_opens_nothing(lie: Any, cache_seconds: int) -> None:
    honest, liar = Store(), Store()
    liar.lie = lie
    with pytest.raises(ModelsealError):
        over(liar, cache_seconds).wrap(b"k" * 32, CONTEXT)
    with pytest.raises(ModelsealError):
        over(liar).unwrap(over(honest).wrap(b"k" * 32, CONTEXT), CONTEXT)


@pytest.mark.parametrize("lie", [lambda _: b"", lambda _: bytes(9000), lambda _: None])
def test_a_store_that_does_not_wrap_is_found_out(lie: Any) -> None:
    store = Store()
    store.wrap_lie = lie
    with pytest.raises(KeyStoreUnavailable):
        over(store).wrap(b"k" * 32, CONTEXT)


def test_a_store_that_hangs_is_unavailable_within_its_limit() -> None:
    store, stuck = Store(), threading.Event()
    wrapped = over(store).wrap(b"k", CONTEXT)
    store.lie = lambda honest: stuck.wait() and honest
    with pytest.raises(KeyStoreUnavailable, match="no answer within"):
        over(store, store_seconds=0.05).unwrap(wrapped, CONTEXT)
    stuck.set()


def test_an_envelope_of_absurd_lengths_is_nobodys() -> None:
    head = layered.MAGIC + bytes([1]) + bytes(16)
    for length in (0, 1, 8193, 65535):
        data = head + length.to_bytes(2, "little") + bytes(min(length, 9000)) + bytes(40)
        assert layered.owner(data) is None
    assert layered.owner(head + b"\x01\0" + bytes(1 + 32 + 16)) == bytes(16)
    assert layered.owner(head + b"\x01\0" + bytes(1 + 32 + 16 + (1 << 20) + 1)) is None


class Clock:
    """A clock that stands."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_working_key_is_kept_for_its_time_and_wiped_when_it_ends() -> None:
    clock = Clock()
    kept = WorkingKeys(60, clock)
    secret = SecretBytes(b"w" * 32)
    seen = secret.view
    kept.keep({"purpose": "p"}, b"wrapped", secret, newest=True)
    del secret
    assert kept.find({"purpose": "p"}, b"wrapped") is not None
    assert kept.find({"purpose": "q"}, b"wrapped") is None
    assert kept.newest({"purpose": "p"}) is not None
    clock.now += 60
    kept.expire()
    assert kept.find({"purpose": "p"}, b"wrapped") is None and len(kept) == 0
    assert kept.newest({"purpose": "p"}) is None
    seen.release()
    kept.wipe()


def test_the_timer_wipes_though_nobody_asks() -> None:
    kept = WorkingKeys(0.05)
    with kept._guard:
        kept.keep({}, b"w", SecretBytes(b"w" * 32))
        timer = kept._timer
    assert timer is not None and timer.daemon
    while timer is not None:
        timer.join()
        with kept._guard:
            timer = kept._timer
    assert not kept._kept


def test_only_so_many_working_keys_are_kept() -> None:
    kept = WorkingKeys(60)
    for number in range(MAX_KEPT + 5):
        kept.keep({}, number.to_bytes(2, "big"), SecretBytes(b"w" * 32))
    assert len(kept) == MAX_KEPT
    assert kept.find({}, (0).to_bytes(2, "big")) is None
    kept.wipe()
    assert len(kept) == 0


def test_forgetting_makes_the_store_be_asked_again() -> None:
    store = Store()
    provider = over(store)
    wrapped = provider.wrap(b"k", CONTEXT)
    provider.forget()
    assert provider.unwrap(wrapped, CONTEXT) == b"k"
    assert [name for name, _ in store.calls] == ["wrap", "unwrap", "unwrap"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_begins_with_nothing() -> None:
    kept = WorkingKeys(60)
    kept.keep({}, b"w", SecretBytes(b"w" * 32))
    pid = os.fork()
    if pid == 0:
        os._exit(0 if len(kept) == 0 and kept._timer is None else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert len(kept) == 1
    kept.wipe()

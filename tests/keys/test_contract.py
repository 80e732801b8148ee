"""The contract of ``KeyProvider``, run over every provider there is, real or fake."""

from __future__ import annotations

import base64
import copy
import json
import logging
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from modelseal.errors import InvalidBytes, Misuse, WrappedKeyInvalid
from modelseal.keys import KeyProvider, file
from modelseal.keys.layered import shown
from modelseal.types import Level

Opener = Callable[[str], KeyProvider]
CONTEXT: dict[str, str | int | bytes] = {
    "purpose": "data-key",
    "file": b"\x01" * 32,
    "section": 3,
}


@pytest.mark.parametrize("plaintext", [b"x", b"k" * 32, bytes(5000)])
def test_unwrapping_gives_back_what_was_wrapped(provider_of: Opener, plaintext: bytes) -> None:
    wrapped = provider_of("a").wrap(plaintext, CONTEXT)
    assert provider_of("a").unwrap(wrapped, CONTEXT) == plaintext
    assert plaintext == b"x" or plaintext not in wrapped


def test_wrapping_the_same_twice_gives_different_bytes(provider_of: Opener) -> None:
    provider = provider_of("a")
    assert provider.wrap(b"k" * 32, CONTEXT) != provider.wrap(b"k" * 32, CONTEXT)


@pytest.mark.parametrize(
    "other",
    [
        {**CONTEXT, "section": 4},
        {**CONTEXT, "section": "3"},
        {**CONTEXT, "file": b"\x02" * 32},
        {**CONTEXT, "more": 1},
        {"purpose": "data-key"},
    ],
)
def test_nothing_opens_under_another_context(
    provider_of: Opener, other: dict[str, str | int | bytes]
) -> None:
    provider = provider_of("a")
    wrapped = provider.wrap(b"k" * 32, CONTEXT)
    with pytest.raises(WrappedKeyInvalid):
        provider.unwrap(wrapped, other)


def test_the_order_of_the_context_does_not_matter(provider_of: Opener) -> None:
    provider = provider_of("a")
    wrapped = provider.wrap(b"k" * 32, CONTEXT)
    assert provider.unwrap(wrapped, dict(reversed(CONTEXT.items()))) == b"k" * 32


@pytest.mark.parametrize("bad", [{}, {"a": 1.5}, {"a": True}, {"a": None}, {1: "a"}])
def test_an_empty_or_odd_context_is_misuse(provider_of: Opener, bad: dict[str, str]) -> None:
    provider = provider_of("a")
    with pytest.raises(Misuse):
        provider.wrap(b"k", bad)
    with pytest.raises(Misuse):
        provider.unwrap(provider.wrap(b"k", CONTEXT), bad)


def test_nothing_is_not_wrapped(provider_of: Opener) -> None:
    with pytest.raises(Misuse):
        provider_of("a").wrap(b"", CONTEXT)


def test_what_another_key_wrapped_is_not_mine_and_does_not_open(provider_of: Opener) -> None:
    mine, other = provider_of("a"), provider_of("b")
    wrapped = mine.wrap(b"k" * 32, CONTEXT)
    assert mine.owns(wrapped) is True
    assert other.owns(wrapped) is False
    with pytest.raises(WrappedKeyInvalid):
        other.unwrap(wrapped, CONTEXT)


@pytest.mark.parametrize("garbage", [b"", b"x", bytes(200), b"\x89MSW1\r\n\x1a", bytes(3_000_000)])
def test_garbage_is_not_mine_and_is_refused(provider_of: Opener, garbage: bytes) -> None:
    provider = provider_of("a")
    assert provider.owns(garbage) is False
    with pytest.raises(InvalidBytes):
        provider.unwrap(garbage, CONTEXT)


def test_no_altered_byte_and_no_cut_opens(provider_of: Opener) -> None:
    provider = provider_of("a")
    wrapped = provider.wrap(b"k" * 32, CONTEXT)
    last = len(wrapped)
    every = last if last < 160 else 60  # of long ones both ends, and every seventh byte between
    places = {*range(every), *range(every, last, 7), *range(max(0, last - 60), last)}
    for place in sorted(places):
        altered = bytearray(wrapped)
        altered[place] ^= 1
        with pytest.raises(InvalidBytes):
            provider.unwrap(bytes(altered), CONTEXT)
    for size in range(0, last, 7 if last < 160 else 31):
        with pytest.raises(InvalidBytes):
            provider.unwrap(wrapped[:size], CONTEXT)
    with pytest.raises(InvalidBytes):
        provider.unwrap(wrapped + b"\0", CONTEXT)


def test_a_provider_says_what_it_is_and_shows_no_secret(provider_of: Opener) -> None:
    provider = provider_of("a")
    shown = dict(provider.describe())
    assert {"kind", "uri", "key_id", "level"} <= shown.keys()
    assert shown["uri"] == provider.uri and shown["level"] == int(provider.level)
    assert provider.level in set(Level)
    assert json.dumps(shown)
    assert provider.uri in repr(provider)


def test_a_provider_of_a_real_key_is_neither_pickled_nor_copied(tmp_path: Path) -> None:
    inner = file.create("file:a.key", base=tmp_path)
    with pytest.raises(TypeError):
        pickle.dumps(inner)
    with pytest.raises(TypeError):
        copy.deepcopy(inner)


def test_many_threads_may_use_one_provider_at_once(provider_of: Opener) -> None:
    provider = provider_of("a")

    def work(number: int) -> bool:
        context = {**CONTEXT, "section": number}
        secret = bytes([number]) * 32
        return provider.unwrap(provider.wrap(secret, context), context) == secret

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(work, range(18)))


def test_no_library_logs_what_is_wrapped_or_what_wraps_it(
    provider_of: Opener, caplog: pytest.LogCaptureFixture
) -> None:
    """Even where a program writes down all that its libraries have to say."""
    caplog.set_level(logging.DEBUG)
    provider = provider_of("a")
    seen: list[bytes] = []
    store = getattr(getattr(provider, "_inner", None), "_store", None)
    if store is not None:
        provider.forget()
        provider.wrap(b"k" * 32, CONTEXT)
    wrapped = provider.wrap(b"a secret that nobody writes down", CONTEXT)
    if store is not None:
        start = 9 + 16
        length = int.from_bytes(wrapped[start : start + 2], "little")
        made = wrapped[start + 2 : start + 2 + length]
        seen.append(store.unwrap_key(made, shown(CONTEXT)))
    for secret in (*seen, b"a secret that nobody writes down"):
        forms = (secret.hex(), base64.b64encode(secret).decode(), repr(secret)[2:-1],
                 base64.urlsafe_b64encode(secret).decode().rstrip("="))  # fmt: skip
        assert not any(form in caplog.text for form in forms)

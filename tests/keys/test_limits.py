"""A key store that hangs ends in an error, and a person who types does not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from modelseal.errors import KeyStoreUnavailable, PassphraseWrong
from modelseal.keys import limits
from modelseal.keys.provider import GuardedProvider
from modelseal.testing.keys import FakeKeyProvider, LyingKeyProvider

CONTEXT = {"purpose": "test"}
pytestmark = pytest.mark.filterwarnings("ignore::modelseal.testing.keys.FakeKeyProviderWarning")


@pytest.fixture
def stuck() -> Iterator[threading.Event]:
    """What hangs waits for this; it goes on when the test is over."""
    event = threading.Event()
    yield event
    event.set()


class Slow(LyingKeyProvider):
    """A provider that does not answer in time."""

    limit_seconds = 0.05


def test_a_provider_that_hangs_is_unavailable_at_its_limit(stuck: threading.Event) -> None:
    wrapped = FakeKeyProvider("liar").wrap(b"k" * 32, CONTEXT)
    slow = GuardedProvider(Slow(unwrap_lie=lambda honest: stuck.wait() and honest))
    with pytest.raises(KeyStoreUnavailable, match="no answer within"):
        slow.unwrap(wrapped, CONTEXT)


def test_a_provider_without_a_limit_of_its_own_has_the_common_one() -> None:
    assert GuardedProvider(FakeKeyProvider())._seconds == limits.DEFAULT_SECONDS


def test_when_too_much_hangs_nothing_more_is_begun(stuck: threading.Event) -> None:
    begun: list[int] = []

    def hang() -> bool:
        begun.append(1)
        return stuck.wait()

    for _ in range(limits.MAX_UNFINISHED + 3):
        with pytest.raises(KeyStoreUnavailable):
            limits.run(hang, 0.001)
    assert len(begun) <= limits.MAX_UNFINISHED


def test_the_person_is_asked_in_the_callers_thread_and_may_take_time() -> None:
    asked: list[tuple[str, str]] = []
    typed = threading.Event()

    def ask(prompt: str) -> str:
        asked.append((prompt, threading.current_thread().name))
        typed.wait(5.2)  # longer than the limit
        return "secret"

    def act(ask_person: Any) -> str:
        return str(ask_person("PIN: ")) + "!"

    assert limits.run_asking(act, 5.0, ask) == "secret!"
    assert asked == [("PIN: ", threading.current_thread().name)]


def test_what_a_person_refuses_to_type_ends_the_call() -> None:
    def ask(_prompt: str) -> str:
        raise PassphraseWrong("no")

    with pytest.raises(PassphraseWrong):
        limits.run_asking(lambda person: person and person("PIN: "), 60.0, ask)
    assert limits.run_asking(lambda person: person, 60.0, None) is None


def test_an_error_in_the_call_is_the_callers() -> None:
    def fails() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        limits.run(fails, 60.0)
    assert limits.run(lambda: 7, None) == 7

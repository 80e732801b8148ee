"""Everything that reads bytes from outside, fuzzed: shortly here, long in ``make fuzz``."""

from __future__ import annotations

import importlib.util
import random
from pathlib import Path

import pytest
from fuzz.__main__ import fuzz

from fuzz import harness
from modelseal.errors import ContainerMalformed, InternalError, Misuse

needs_atheris = pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None,
    reason="needs atheris: pip install --require-hashes -r requirements/more.txt",
)


@pytest.mark.parametrize("name", harness.names())
def test_every_parser_accepts_some_seed_and_refuses_what_is_made_of_seeds(name: str) -> None:
    """A harness whose seeds are all refused would fuzz nothing but the first check."""
    parser, rng = harness.load(name), random.Random(name)
    seeds = [seed[: parser.max_bytes] for seed in parser.seeds()]
    assert sum(parser.judge(seed) for seed in seeds)  # judges every one
    for _ in range(60):
        data = bytearray(rng.choice(seeds) + rng.choice(seeds)[: rng.randrange(64)])
        for _ in range(rng.randrange(1, 5)):
            if data:
                data[rng.randrange(len(data))] = rng.randrange(256)
        parser.judge(bytes(data[: rng.randrange(parser.max_bytes + 1)]))


@needs_atheris
def test_a_short_guided_run_over_all_parsers_finds_nothing(tmp_path: Path) -> None:
    assert len(b"." * (1 << 30)) > 0  # what the starting process once held is not the fuzzer's
    name, code, said = fuzz(harness.EVERY, 0, 800, tmp_path)
    assert code == 0 and "DONE" in said, said[-3000:]
    assert not list((tmp_path / name).glob("finding-*"))


@pytest.mark.parametrize("error", [ValueError, InternalError, Misuse, AssertionError, MemoryError])
def test_what_is_no_refusal_is_a_finding(error: type[BaseException]) -> None:
    """Refusals say no; anything else is told."""

    def refuse(_data: bytes) -> None:
        raise ContainerMalformed("no")

    def fail(_data: bytes) -> None:
        raise error

    assert not harness.Harness("refuses", list, refuse).judge(b"")
    assert harness.Harness("accepts", list, bytes).judge(b"")
    with pytest.raises(error):
        harness.Harness("fails", list, fail).judge(b"")


@needs_atheris
@pytest.mark.soak
@pytest.mark.parametrize("name", harness.names())
def test_a_minute_of_each_parser_finds_nothing(name: str, tmp_path: Path) -> None:
    _, code, said = fuzz(name, 60, 0, tmp_path)
    assert code == 0, said[-3000:]

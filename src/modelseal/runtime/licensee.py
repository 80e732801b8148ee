"""The client as ``Licensee``: the law is asked for every section, keys live for one load."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from modelseal.container import SealedModel, SectionInfo, VerifiedModel
from modelseal.errors import KeyNotInLease, LevelNotReached, ModelsealError
from modelseal.license.decide import Decision
from modelseal.license.facts import SectionFacts
from modelseal.memory import Arena
from modelseal.runtime.ports import Keys, strongest
from modelseal.types import MemoryProtection

if TYPE_CHECKING:
    from modelseal.client import Client, Standing


class ClientLicensee:
    """See ``ports.Licensee``."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._noted: set[tuple[MemoryProtection, bool]] = set()

    def verify(self, model: SealedModel) -> VerifiedModel:
        """See ``ports.Licensee``."""
        trust = self.client.trust
        least = self.client.min_release(model.model)
        return model.verify_signatures(
            trust.publisher_keys(), product=trust.product, min_release=least
        )

    def pinned(self) -> object:
        """See ``ports.Licensee``."""
        return self.client.trust

    def look(self) -> ClientLook:
        """See ``ports.Licensee``."""
        return ClientLook(self.client)

    @contextlib.contextmanager
    def data_keys(self, model: VerifiedModel, sections: Sequence[int]) -> Iterator[Keys]:
        """See ``ports.Licensee``."""
        try:
            secrets = self.client.keys_for(model.file_id, sections)
        except KeyNotInLease:  # proved for the lease before this one, or for a time that is over
            self.look().authorize(model, sections)
            if not self.client.proved_level(model.file_id):
                raise
            secrets = self.client.keys_for(model.file_id, sections)
        try:
            yield {section: secret.view for section, secret in secrets.items()}
        finally:
            for secret in secrets.values():
                secret.close()

    def recorded(self, seen: os.stat_result, leaf_hash: bytes) -> bool:
        """See ``ports.Licensee``."""
        return self.client.was_verified(seen, leaf_hash)

    def record(self, seen: os.stat_result, leaf_hash: bytes) -> None:
        """See ``ports.Licensee``."""
        self.client.note_verified(seen, leaf_hash)

    def reached(self, protection: MemoryProtection, *, swap_safe: bool) -> None:
        """See ``ports.Licensee``."""
        if (protection, swap_safe) not in self._noted:
            self._noted.add((protection, swap_safe))
            self.client.note_memory(protection, swap_safe=swap_safe)

    def note(self, kind: str, reason: str, path: str | None) -> None:
        """See ``ports.Licensee``."""
        with contextlib.suppress(Exception):
            self.client.journal.write(kind, reason=reason, path=path)

    def refusal(self, error: ModelsealError) -> None:
        """See ``ports.Licensee``."""
        self.client.refusal(error)


class ClientLook:
    """See ``ports.Look``."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._allowed: set[tuple[bytes, int]] = set()

    @functools.cached_property
    def _standing(self) -> Standing:
        return self._client.standing()

    def authorize(self, model: VerifiedModel, sections: Sequence[int]) -> None:
        """See ``ports.Look``."""
        wanted = [model.section(section) for section in sections if section]
        for section in wanted:
            self._judge(model, section)
        if not wanted:
            self._judge_any(model)

    def memory(self) -> MemoryProtection:
        """See ``ports.Look``."""
        license_ = self._standing.license
        return MemoryProtection.NONE if license_ is None else MemoryProtection(license_.memory)

    def stops_now(self) -> bool:
        """See ``ports.Look``."""
        license_ = self._standing.license
        return license_ is not None and license_.on_expiry == "stop_now"

    def _judge(self, model: VerifiedModel, section: SectionInfo) -> None:
        if (model.file_id, section.id) in self._allowed:
            return
        name = model.model
        least = max(self._client.min_release(name), self._standing.min_release(name))
        facts = _facts(model, section, least)
        memory = strongest({section.memory, self.memory()})
        if memory is MemoryProtection.SECRET:
            memory = best_protection()
        level = self._client.proved_level(model.file_id)
        decision = self._standing.decide(facts, memory=str(memory), level=level)
        if decision.code == LevelNotReached.code and self._client.may_prove(_needed(decision)):
            level = self._client.prove(model, _needed(decision)).level
            decision = self._standing.decide(facts, memory=str(memory), level=level)
        if not decision.allowed:
            denial = self._standing.denial
            raise decision.error(None if denial is None else denial.reference)
        self._allowed.add((model.file_id, section.id))

    def _judge_any(self, model: VerifiedModel) -> None:
        """Some section may be opened; else the refusal of the first one."""
        refusal: ModelsealError | None = None
        for section in model.sections[1:]:
            try:
                self._judge(model, section)
            except ModelsealError as error:
                refusal = refusal or error
            else:
                return
        if refusal is not None:
            raise refusal


def _needed(decision: Decision) -> int:
    """The level that a refusal names."""
    return int(str(decision.params["needed"]).removeprefix("L"))


def _facts(model: VerifiedModel, section: SectionInfo, min_release: int) -> SectionFacts:
    groups = () if section.entitlement is None else section.entitlement.alternatives
    return SectionFacts(
        product=model.product,
        model=model.model,
        alternatives=tuple(tuple(sorted(group)) for group in groups),
        min_level=int(section.level),
        memory=section.memory.value,
        release=model.release,
        min_release=min_release,
    )


@functools.cache
def best_protection() -> MemoryProtection:
    """The best memory protection this process can reach, tried once with one page."""
    with Arena(4096, MemoryProtection.SECRET) as page:
        return page.reached

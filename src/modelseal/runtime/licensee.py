"""The client as ``Licensee``: the law is asked for every section, keys live for one load."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from modelseal.container import SealedModel, SectionInfo, VerifiedModel
from modelseal.errors import ModelsealError
from modelseal.license.facts import SectionFacts
from modelseal.memory import Arena
from modelseal.runtime.ports import Keys
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

    def authorize(self, model: VerifiedModel, sections: Sequence[int]) -> None:
        """See ``ports.Licensee``."""
        standing = self.client.standing()
        wanted = [model.section(section) for section in sections if section]
        for section in wanted:
            self._judge(standing, model, section)
        if not wanted:
            self._judge_any(standing, model)

    @contextlib.contextmanager
    def data_keys(self, model: VerifiedModel, sections: Sequence[int]) -> Iterator[Keys]:
        """See ``ports.Licensee``."""
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

    def refusal(self, error: ModelsealError) -> None:
        """See ``ports.Licensee``."""
        self.client.refusal(error)

    def _judge(self, standing: Standing, model: VerifiedModel, section: SectionInfo) -> None:
        facts = _facts(model, section, self.client.min_release(model.model))
        memory = best_protection() if section.memory is MemoryProtection.SECRET else section.memory
        decision = standing.decide(facts, memory=str(memory))
        if not decision.allowed:
            denial = standing.denial
            raise decision.error(None if denial is None else denial.reference)

    def _judge_any(self, standing: Standing, model: VerifiedModel) -> None:
        """Some section may be opened; else the refusal of the first one."""
        refusal: ModelsealError | None = None
        for section in model.sections[1:]:
            try:
                self._judge(standing, model, section)
            except ModelsealError as error:
                refusal = refusal or error
            else:
                return
        if refusal is not None:
            raise refusal


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

"""Asking both forms of a model when it is sealed: only equal answers let the optimised one pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelseal.errors import NotOptimisable

from . import answers, optimised, options
from .answers import Question
from .head import Head

_THREADS = (1, 2, 4)


def plain_options(ort: Any, threads: int = 1) -> Any:
    """Options of a program that sets none but the number of threads."""
    made = ort.SessionOptions()
    made.intra_op_num_threads, made.inter_op_num_threads = threads, 1
    made.log_severity_level = 4
    return made


class Asked:
    """The model at ``path`` and its optimised form ``made`` over memory that ``gather`` fills."""

    def __init__(self, ort: Any, path: Path, made: Head, gather: Callable[[], memoryview]) -> None:
        self._ort, self._path, self._made, self._gather = ort, path, made, gather
        self._memory = gather()

    def complete(self, seed: bytes, *, keeps: bool) -> Head | None:
        """The head with question and answers, one for each that differs by number of threads.

        None when the optimised form answers otherwise, or ``keeps`` some weights and does not use
        them where they are. Raises ``NotOptimisable`` when the model has no steady answer.
        """
        question = self._question(self._plain(_THREADS[0]), seed)
        found = set()
        for threads in _THREADS:
            plain = self._plain(threads)
            said = {answers.answer(plain, question) for _ in range(2)}
            if len(said) != 1 or None in said:
                raise self._cannot("its answers are not always the same bits")
            if answers.answer(self._optimised(threads), question) not in said:
                return None
            found |= {each for each in said if each is not None}
        if self._made.direct and keeps and self._is_copied(question, found):
            return None
        return replace(self._made, question=question, answers=tuple(sorted(found)))

    def _question(self, session: Any, seed: bytes) -> Question:
        """The first question that the model can be asked."""
        for question in answers.questions(session, seed):
            try:
                if answers.answer(session, question) is not None:
                    return question
            except Exception:  # noqa: BLE001, S112 - sizes that do not fit; others may
                continue
        raise self._cannot("no input was found that it answers")

    def _is_copied(self, question: Question, found: set[bytes]) -> bool:
        """Whether the runtime has copies of the weights: seen by erasing those it was given."""
        session = self._optimised(_THREADS[0])
        self._memory[:] = bytes(len(self._memory))
        return answers.answer(session, question) in found

    def _plain(self, threads: int) -> Any:
        given = plain_options(self._ort, threads)
        return self._ort.InferenceSession(str(self._path), given, providers=[options.CPU])

    def _optimised(self, threads: int) -> Any:
        """As a load makes it."""
        made, memory = self._made, self._memory
        graph = bytes(memory[made.graph_offset :][: made.graph_bytes])
        mine = optimised.settings(
            self._ort, plain_options(self._ort, threads), made, memory.toreadonly()
        )
        session = self._ort.InferenceSession(graph, mine, providers=[options.CPU])
        if made.erased:
            optimised.erase(made, memory)
            optimised.keep(session._sess, memory)
            self._memory = self._gather()
        return session

    def _cannot(self, reason: str) -> NotOptimisable:
        return NotOptimisable(reason, path=str(self._path))

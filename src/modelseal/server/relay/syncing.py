"""The two ways to synchronise: a relay that has a line, and a courier with files for another.

Questions first, then documents, then models, the report last: what is reported was done. A stop at
any moment is made good by the next sync; the server gives the same answer to the same question.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from modelseal.admin import (
    AskRelayed,
    EndedLeases,
    GivenLeases,
    HeldLeases,
    Relayed,
    RelayReport,
    RelayState,
    RelaySynced,
)
from modelseal.admin.relays import MAX_HELD
from modelseal.errors import NotFound, RelayFileInvalid
from modelseal.ids import Random
from modelseal.server.relay import ahead, carrying, documents
from modelseal.server.relay.box import MAX_WANTED, Box, Document, Question, Reply, Sent
from modelseal.server.relay.carrying import Line
from modelseal.server.relay.files import MAX_BYTES, AnswerFile, Asked, Paper, QuestionFile, Told
from modelseal.server.relay.given import Given
from modelseal.server.relay.giving import Giving

_FILE_BYTES = MAX_BYTES * 3 // 4
_FILE_ACTS = 4096


class Office(Protocol):
    """Where a relay reports; a relay's token opens nothing else."""

    def sync_relay(self, report: RelayReport) -> RelaySynced:
        """See ``AdminApi``."""
        ...

    def relayed_leases(self, asked: AskRelayed) -> Relayed:
        """See ``AdminApi``."""
        ...


@dataclass(frozen=True, slots=True)
class Synced:
    """What a sync did. ``state`` None: the report is still to be acknowledged."""

    answers: int
    documents: int
    models: int
    failed: int = 0
    event_id: str | None = None
    state: RelayState | None = None


def over_line(
    box: Box,
    line: Line,
    office: Office,
    *,
    models: bool,
    now: datetime,
    random: Random,
    giving: Giving | None = None,
) -> Synced:
    """The relay and the server agree: what waited is answered, what is held is current.

    What was given by a budget is booked first. Raises ``Unavailable`` errors; what was done until
    then stands.
    """
    answers = papers = 0

    def settle(asked: Question, reply: Reply | None) -> None:
        nonlocal answers
        _settle(box, asked.sent, reply)
        if giving is not None and reply is not None:
            giving.follow(reply)
        answers += reply is not None

    failed = tell_acts(box, line)
    failed += carrying.carry_all(line, _waiting(box), settle)
    box.keep_leases(_told_of(office, box.about.relay, box.held()))

    def keep(document: Document) -> None:
        nonlocal papers
        papers += box.put(document)

    carrying.bring(line, box.paths(), box.wanted(), keep)
    brought = []
    if models:
        brought = carrying.bring_models(line, _listed(box), box.models, box.digests())
    made = box.report(now, random, giving.serves() if giving else ())
    synced = office.sync_relay(made)
    box.acknowledged(made.sync, synced, now)
    _heard(box, synced)
    return Synced(answers, papers, len(brought), failed, synced.event_id, synced.state)


def tell_acts(box: Box, line: Line) -> int:
    """The server was told what was given by itself; at how many acts it failed."""
    given = Given(box)
    return carrying.carry_all(line, given.each(), lambda a, reply: given.booked(a.sent, reply))


def question(box: Box, now: datetime, random: Random, giving: Giving | None = None) -> QuestionFile:
    """What the courier takes along; written again before an answer came, all of it again.

    No more questions than their answers fit in one file; the newest wait for the next one. What was
    given by a budget stands before them.
    """
    about = box.about
    return QuestionFile(
        relay=about.relay,
        server=about.server,
        product=about.product,
        report=box.report(now, random, giving.serves() if giving else ()),
        questions=[
            Asked(q.jkt, q.nonce, q.method, q.path, q.token)
            for q in (*Given(box).acts(_FILE_ACTS), *box.questions(_FILE_BYTES))
        ],
        held=box.paths(),
        wanted=box.wanted(),
        models=box.digests(),
        leases=box.held(),
    )


def answer(file: QuestionFile, line: Line, office: Office, models: Path | None) -> AnswerFile:
    """The courier's act at the server: ``file`` is answered; new models lie in ``models``.

    Raises ``Unavailable`` errors; the same file may be answered again, with the same answers.
    """
    told: list[Told] = []
    papers: dict[str, Document] = {}
    wanted = set(file.wanted)
    held = {each.base: each for each in file.leases}

    def tell(asked: Question, reply: Reply | None) -> None:
        told.append(_told(asked.sent, reply))
        if reply is not None:
            wanted.update(carrying.named_in(reply))
            base = ahead.base_of(reply.body) if reply.final else None
            if base is not None and reply.device is not None:
                held.setdefault(base, HeldLeases(device=reply.device, base=base))

    questions = (Question(q.jkt, q.nonce, q.method, q.path, q.token) for q in file.questions)
    carrying.carry_all(line, questions, tell)
    leases = _told_of(office, file.relay, list(held.values()))

    def keep(document: Document) -> None:
        papers[document.path] = document

    carrying.bring(line, frozenset(file.held), sorted(wanted), keep)
    brought = []
    if models is not None:
        listed = _models(papers[path].body for path in papers if path.endswith(".targets.json"))
        brought = carrying.bring_models(line, listed, models, frozenset(file.models))
    synced = office.sync_relay(file.report)
    return AnswerFile(
        relay=file.relay,
        server=file.server,
        product=file.product,
        sync=file.report.sync,
        event_id=synced.event_id,
        state=synced.state,
        stopped=synced.stopped,
        budget=synced.budget,
        answers=told,
        documents=[Paper(each.path, each.media, each.body) for each in papers.values()],
        models=brought,
        found=synced.found,
        ahead=leases.ahead,
        given=leases.given,
        ended=leases.ended,
    )


def take_in(
    box: Box, file: AnswerFile, models: Path, now: datetime, giving: Giving | None = None
) -> Synced:
    """What the courier brought waits for the devices; the same file may be taken in again.

    Raises ``RelayFileInvalid`` for another relay's, ``DownloadDamaged`` for a damaged model.
    """
    if (file.relay, file.server, file.product) != (
        box.about.relay, box.about.server, box.about.product,
    ):  # fmt: skip
        raise RelayFileInvalid("it is for another relay")
    held = box.digests()
    for digest in file.models:
        if digest not in held:
            _take_model(models / digest, digest, box)
    awaited = box.awaits(file.sync)  # an older file would bring back what has ended since
    for told in file.answers:
        sent = Sent(told.jkt, told.nonce, told.path, told.sent)
        reply = None
        if told.status:
            reply = Reply(told.status, told.media, told.body, told.final, told.device)
        if carrying.is_act(told.path):
            Given(box).booked(sent, reply)
            continue
        _settle(box, sent, reply)
        if giving is not None and reply is not None and awaited:
            giving.follow(reply)
    if awaited:
        box.keep_leases(Relayed(ahead=file.ahead, given=file.given, ended=file.ended))
    papers = [Document(each.path, each.media, each.body) for each in file.documents]
    count = sum(box.put(each) for each in papers if documents.is_document(each.path))
    synced = RelaySynced(
        event_id=file.event_id,
        state=file.state,
        found=file.found,
        stopped=file.stopped,
        budget=file.budget,
    )
    known = box.acknowledged(file.sync, synced, now)
    if known:
        _heard(box, synced)
    done = (sum(bool(told.status) for told in file.answers), count, len(file.models))
    return Synced(*done, 0, file.event_id, file.state) if known else Synced(*done)


def _waiting(box: Box) -> Iterator[Question]:
    """What waits, in the order of ``Box.questions``, one in memory at a time."""
    with box.reading() as db:
        keys = db.execute("SELECT jkt, nonce FROM questions ORDER BY known DESC, at, rowid")
        found = keys.fetchall()
    for key in found:
        with box.reading() as db:
            row = db.execute(
                "SELECT jkt, nonce, method, path, token FROM questions WHERE jkt = ? AND nonce = ?",
                key,
            ).fetchone()
        if row is not None:
            yield Question(*row)


def _heard(box: Box, synced: RelaySynced) -> None:
    """What the server said of the budget: whom to leave alone, and whether it forgot acts."""
    given = Given(box)
    given.stop(synced.stopped)
    if synced.state is RelayState.BEHIND:
        given.tell_again()


def _told_of(office: Office, relay: str, held: Sequence[HeldLeases]) -> Relayed:
    """What the server says about what a relay holds; nothing from an older one."""
    most, given, ended = 0, list[GivenLeases](), list[EndedLeases]()
    pages = [held[at : at + MAX_HELD] for at in range(0, len(held), MAX_HELD)] or [[]]
    for page in pages:
        try:
            told = office.relayed_leases(AskRelayed(relay=relay, held=list(page)))
        except NotFound:
            break
        most, given, ended = told.ahead, given + told.given, ended + told.ended
    return Relayed(ahead=most, given=given, ended=ended)


def _settle(box: Box, sent: Sent, reply: Reply | None) -> None:
    box.settle(sent, reply)
    if reply is not None:
        for path in carrying.named_in(reply):
            box.want(path, MAX_WANTED)


def _told(sent: Sent, reply: Reply | None) -> Told:
    found = reply or Reply(0, "", b"", final=False)
    return Told(
        sent.jkt, sent.nonce, sent.path, sent.digest,
        found.status, found.media, found.body, found.final, found.device,
    )  # fmt: skip


def _take_model(path: Path, digest: str, box: Box) -> None:
    if not path.is_file():
        raise RelayFileInvalid("a sealed model that it names does not lie beside it",
                               path=str(path))  # fmt: skip
    with path.open("rb") as file:
        pieces = iter(lambda: file.read(1 << 20), b"")
        carrying.keep_model(pieces, digest, box.models)


def _listed(box: Box) -> list[str]:
    found = []
    for path in box.paths():
        if path.endswith(".targets.json"):
            document = box.document(path)
            found.append(b"" if document is None else document.body)
    return _models(found)


def _models(targets: object) -> list[str]:
    digests: set[str] = set()
    for body in targets:  # type: ignore[attr-defined]
        with contextlib.suppress(ValueError, LookupError, TypeError, AttributeError):
            digests.update(documents.models_of(body))
    return sorted(digests)

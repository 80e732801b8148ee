"""What a relay reports, and what it keeps of what devices asked."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from tests.server.world import START, Clock

from modelseal.admin import RelayReport, RelayState, RelaySynced, Role
from modelseal.client.transport import Answer
from modelseal.desk import workspace as workspaces
from modelseal.errors import (
    AccessDenied,
    DiskFull,
    InputMissing,
    InternalError,
    Misuse,
    OutputExists,
    RateLimited,
    ServerFailed,
)
from modelseal.license.claims import ClockReading, RequestClaims, TraitDigest
from modelseal.server.relay import box as boxes
from modelseal.server.relay import carrying
from modelseal.server.relay.box import Box, Question, Reply
from modelseal.server.services import LocalAdmin, open_server
from modelseal.server.services.actors import Actor

RELAY = "rly_019ca945-0a00-713e-aa37-c7c879c30fc9"


@pytest.fixture
def box(tmp_path: Path):
    boxes.make(tmp_path / "r", server="srv_1", product="p", now=START, random=os.urandom)
    with Box(tmp_path / "r") as made:
        yield made


def claims(*digests: int, nonce: str = "n") -> RequestClaims:
    kinds = ("smbios_uuid", "machine_id", "disk_serial", "mac")
    traits = [TraitDigest(kind=k, digest=d) for k, d in zip(kinds, digests, strict=False)]
    return RequestClaims(
        iss="j", aud="srv_1", product="p", jti="req_1", iat=0, op="renew", nonce=nonce, jwk={},
        clock=ClockReading(wall=0, monotonic_seconds=0), sub="dev_1", traits=traits,
    )  # fmt: skip


def question(nonce: str = "n", token: bytes = b"t", jkt: str = "j") -> Question:
    return Question(jkt, nonce, "PUT", "/v1/leases/dev_1", token)


ANSWER = Reply(200, "application/json", b'{"lease": "x"}', final=True, device="dev_1")


def test_one_answer_to_two_computers_is_reported_by_the_devices_name(box):
    mine, other = claims(1, 2, 3, 4), claims(5, 6, 7, 8)
    assert box.ask(question(), mine, START) is None
    box.settle(question().sent, ANSWER)
    assert box.ask(question(), mine, START) == ANSWER
    assert box.ask(question(), claims(1, 2, 3, 9), START) == ANSWER  # another network card
    assert box.counts()["doubles"] == 0
    assert box.ask(question(), other, START) == ANSWER
    report = box.report(START, os.urandom)
    assert (report.doubles, report.double_count) == (["dev_1"], 1)
    assert (report.handed, report.repeated, report.carried) == (1, 2, 1)
    assert box.report(START, os.urandom) == report  # until it is acknowledged
    assert box.ask(question(), other, START) is None  # the server is asked from now on


def test_an_answer_that_ends_nothing_is_handed_out_once(box):
    behind = Reply(503, "application/problem+json", b"{}", final=False)
    box.ask(question(), claims(1, 2, 3), START)
    box.settle(question().sent, behind)
    assert box.ask(question(), claims(1, 2, 3), START) == behind
    assert box.ask(question(token=b"u"), claims(1, 2, 3), START) is None
    box.settle(question().sent, None)  # about the sending before: the newer one stays
    assert [each.token for each in box.questions()] == [b"u"]


def test_the_next_question_ends_the_answer_before_it(box):
    box.ask(question(), claims(1, 2, 3), START)
    box.settle(question().sent, ANSWER)
    assert box.ask(question(), claims(1, 2, 3), START) == ANSWER
    assert box.ask(question("m"), claims(1, 2, 3, nonce="m"), START) is None
    assert box.ask(question(), claims(1, 2, 3), START) is None
    assert {each.nonce for each in box.questions()} == {"m", "n"}


def test_strangers_do_not_fill_a_relay_up(box, monkeypatch):
    monkeypatch.setattr(boxes, "MAX_UNKNOWN", 2)
    box.ask(question(), claims(1), START)
    box.settle(question().sent, ANSWER)
    for name in ("a", "b"):
        box.ask(question(jkt=name), claims(1), START)
    with pytest.raises(DiskFull):
        box.ask(question(jkt="c"), claims(1), START)
    assert box.ask(question("m"), claims(1), START) is None  # known from an answer
    for number in range(9):
        box.ask(question(f"m{number}"), claims(1), START + timedelta(seconds=number))
    assert sum(each.jkt == "j" for each in box.questions()) == boxes.MAX_OF_ONE


def test_a_relay_is_made_once_and_opened_where_it_is(box, tmp_path):
    with pytest.raises(OutputExists):
        boxes.make(tmp_path / "r", server="s", product="p", now=START, random=os.urandom)
    with pytest.raises(InputMissing):
        Box(tmp_path / "none")


def test_the_server_says_how_a_report_follows_the_last_one(tmp_path):
    home = tmp_path / "shop"
    workspaces.init(home, "facefusion", now=START, random=os.urandom)
    with open_server(home, now=Clock()) as server:
        admin = LocalAdmin(server, Actor("token:t", Role.RELAY))

        def sync(name: str, after: str | None, relay: str = RELAY):
            return admin.sync_relay(RelayReport(relay=relay, sync=name, after=after))

        first = sync("syn_1", None)
        assert first.state is RelayState.FIRST
        again = sync("syn_1", None)
        assert (again.state, again.event_id) == (RelayState.AGAIN, first.event_id)
        second = sync("syn_2", first.event_id)
        assert second.state is RelayState.FOLLOWS
        assert sync("syn_3", first.event_id).state is RelayState.APART
        assert sync("syn_4", None).state is RelayState.APART
        lost = "evt_019ca945-0a00-713e-aa37-c7c879c30fc9"
        assert sync("syn_5", lost).state is RelayState.BEHIND
        other = sync("syn_1", None, RELAY[:-1] + "0")
        assert other.state is RelayState.FIRST
        events = LocalAdmin(server).list_events(subject=RELAY).items
        assert [each.kind for each in events] == ["relay_synced"] * 5
        with pytest.raises(Misuse):
            sync("syn_1", None, "dev_019ca945-0a00-713e-aa37-c7c879c30fc9")
        for act in (admin.list_tokens, admin.list_events, admin.server_keys, admin.list_licenses):
            with pytest.raises(AccessDenied):
                act()
        with pytest.raises(AccessDenied):
            LocalAdmin(server, Actor("token:t", Role.SUPPORT)).sync_relay(
                RelayReport(relay=RELAY, sync="syn_9")
            )
    assert msgspec.json.encode(first)


def test_what_was_asked_for_in_vain_is_asked_for_once(box):
    for number in range(100):
        box.want(f"/v1/status-lists/{number}", 64)
    assert len(box.wanted()) == 64
    report = box.report(START, os.urandom)
    synced = RelaySynced(event_id="evt_1", state=RelayState.FIRST)
    assert not box.acknowledged("syn_other", synced, START)
    assert box.acknowledged(report.sync, synced, START)
    assert box.wanted() == []
    assert box.report(START, os.urandom).after == "evt_1"


class Line:
    """A license server that says one thing."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)

    def exchange(self, *_asked: object, **_more: object) -> Answer:
        return self.answers.pop(0)


def problem(status: int, code: str, **headers: str) -> Answer:
    body = msgspec.json.encode({"code": code, "title": "t", "status": status})
    return Answer(status, {"content-type": "application/problem+json", **headers}, body)


def test_what_the_server_says_decides_what_becomes_of_a_question():
    def said(status: int, code: str) -> Reply | None:
        return carrying.carry(Line(problem(status, code)), question())

    assert said(409, "request_replayed") is None
    for status, code in ((409, "evidence_outdated"), (503, "store_behind"), (404, "not_found")):
        found = said(status, code)
        assert found is not None and not found.final, code
    for status, code, error in (
        (503, "storage_failed", ServerFailed),
        (500, "internal_error", InternalError),
        (429, "rate_limited", RateLimited),
    ):
        with pytest.raises(error):
            said(status, code)
    page = Answer(200, {"content-type": "text/html"}, b"<title>portal</title>")
    with pytest.raises(ServerFailed):
        carrying.carry(Line(page), question())


def test_a_sync_waits_where_the_server_wants_that_and_passes_over_what_fails():
    ok = Answer(200, {"content-type": "application/json"}, b'{"lease": "x"}')
    busy = problem(429, "rate_limited", **{"retry-after": "7"})
    line = Line(problem(500, "internal_error"), busy, ok)
    kept: list[Reply | None] = []
    slept: list[float] = []
    asked = [question("a"), question("b")]
    failed = carrying.carry_all(line, asked, lambda _q, r: kept.append(r), slept.append)
    assert (failed, slept, [each and each.final for each in kept]) == (1, [7], [True])

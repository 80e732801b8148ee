"""What a relay reports, and what it keeps of what devices asked."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from tests.server.world import START, Clock

from modelseal.admin import (
    EndedLeases,
    GivenLeases,
    LeasePlace,
    Relayed,
    RelayReport,
    RelayState,
    RelaySynced,
    Role,
)
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
from modelseal.server.relay import ahead, carrying
from modelseal.server.relay import box as boxes
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


def held(box: Box, *starts: int) -> None:
    """The box holds leases ahead of the device, each from a day on for two days."""
    with box.writing() as db:
        ahead.note(db, "j", "dev_1", "lea_1")
    places = [
        LeasePlace(place=n, starts_at=START + timedelta(days=day),
                   ends_at=START + timedelta(days=day + 2), code=f"code {n}")
        for n, day in enumerate(starts, start=1)
    ]  # fmt: skip
    known = GivenLeases(device="dev_1", base="lea_1", places=places)
    stranger = GivenLeases(device="dev_2", base="lea_2", places=places)
    box.keep_leases(Relayed(ahead=2, given=[known, stranger]))


def code(box: Box, at: float, asks: RequestClaims | None = None, **how: str) -> str | None:
    """What the relay gives to the device's question so many days later."""
    asked = Question(how.get("jkt", "j"), "n", "PUT", how.get("path", "/v1/leases/dev_1"), b"t")
    found = box.ask(asked, asks or claims(1, 2, 3, 4), START + timedelta(days=at))
    return None if found is None else msgspec.json.decode(found.body)["next_code"]


def test_a_lease_ahead_is_given_out_in_its_time_to_its_device_for_a_renewal(box):
    """Every time the same, and counted once; of two that run the later one."""
    held(box, 1, 2)
    assert [code(box, day) for day in (0, 0.99, 1, 1.9, 2, 3.9, 4)] == [
        None, None, "code 1", "code 1", "code 2", "code 2", None,
    ]  # fmt: skip
    assert code(box, 1, jkt="k") is None
    assert code(box, 1, path="/v1/devices/dev_1:return") is None
    [told] = box.held()
    assert (told.released, told.released_at) == (2, START + timedelta(days=2))
    assert box.counts()["released"] == 2 and box.counts()["ahead"] == 2
    assert len(box.questions()) == 2  # the question itself waits


def test_one_lease_ahead_for_two_computers_is_reported_by_the_devices_name(box):
    held(box, 0)
    assert code(box, 0) == code(box, 0) == "code 1"
    assert box.counts()["doubles"] == 0
    assert code(box, 0, claims(5, 6, 7, 8)) == "code 1"
    report = box.report(START, os.urandom)
    assert (report.doubles, report.double_count, report.released) == (["dev_1"], 1, 1)


def test_what_has_ended_is_gone_and_what_was_given_out_of_it_is_told_once_more(box):
    held(box, 0, 1)
    ended = [EndedLeases(device="dev_1", base="lea_1", released=0)]
    assert code(box, 0) == "code 1"  # while the answer was on its way
    box.keep_leases(Relayed(ahead=2, ended=ended))
    assert code(box, 0) is None and code(box, 1) is None
    assert [(each.known, each.released) for each in box.held()] == [(True, 1)]
    box.keep_leases(Relayed(ahead=2, ended=[msgspec.structs.replace(ended[0], released=1)]))
    assert box.held() == []


def test_a_file_of_questions_holds_what_its_answers_leave_room_for(box):
    for number in range(4):
        box.ask(question(f"m{number}", b"x" * 1000), claims(1), START + timedelta(seconds=number))
    assert len(box.questions()) == 4
    one = (32 << 10) + 8 * 1000
    assert [each.nonce for each in box.questions(2 * one)] == ["m0", "m1"]


def test_a_relay_of_an_older_release_learns_of_leases_ahead(box, tmp_path):
    with box.writing() as db:
        db.execute("DROP TABLE held")
        db.execute("DROP TABLE places")
    with Box(tmp_path / "r") as again:
        held(again, 0)
        assert code(again, 0) == "code 1"

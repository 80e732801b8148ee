"""A client written from `docs/spec/` alone lives with the real server over HTTPS."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from modelseal.admin import LicenseChange

from . import log, opened, tokens
from .device import Device
from .download import Download
from .market import MAY_OPEN, Market, lose_reply, pull, refusal
from .market import market as open_market
from .wire import Wire


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    with open_market(tmp_path_factory.mktemp("market")) as found:
        yield found


@pytest.fixture
def device(market: Market, tmp_path: Path) -> Iterator[Device]:
    with market.device(tmp_path / "laptop") as found:
        yield found


def test_the_second_client_shares_no_code_with_the_first() -> None:
    files = [p for p in Path(__file__).parent.glob("*.py") if not p.name.startswith("test_")]
    client = [path for path in files if path.name != "market.py"]
    assert len(client) > 15
    for path in client:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = [a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names]
        names += [n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
        assert not [n for n in names if n.split(".")[0] in ("modelseal", "tests", "market")], path


@pytest.mark.parametrize("plan", sorted(MAY_OPEN))
def test_what_a_plan_grants_opens_to_the_plain_bytes_and_nothing_else_does(
    market: Market, device: Device, tmp_path: Path, plan: str
) -> None:
    key, _ = market.issue(plan)
    assert device.lookup(key)["plan"] == plan
    device.activate(key)
    pulled = pull(device, tmp_path / "models")
    if plan == "online":
        assert device.lease and device.lease["keys"] == []
        assert refusal(lambda: opened.open_all(device, pulled)).code == "key_not_in_lease"
        device.release([])
    found = opened.open_all(device, pulled)
    assert found.keys() == MAY_OPEN[plan] == {name for name in found if found[name]}
    assert all(found[name] == market.plain[name] for name in found)


def test_a_release_brings_the_sections_that_were_named_and_no_others(
    market: Market, device: Device
) -> None:
    device.activate(market.issue("online")[0])
    device.refresh()
    (file,) = [target.file_id for target in device.catalog.targets() if target.model == "duo"]
    for named, brought in (([2], {2}), ([0, 1, 9], {0, 1}), ([], {0, 1, 2})):
        device.release([(file, named)])
        assert {section for _, section in device.released} == brought
    device.release([(bytes(32), [])])
    assert device.released == {}


def test_a_lost_reply_is_asked_for_again_and_is_the_same_lease(
    market: Market, device: Device
) -> None:
    key, _ = market.issue("trial")
    lose_reply(device, lambda: device.activate(key))
    assert device.lease is None
    device.activate(key)
    first = device.lease
    assert first and first["seq"] == 1
    lose_reply(device, device.renew)
    device.renew()
    second = device.lease
    assert second and (second["seq"], second["prev"]) == (2, first["jti"])
    assert device.data_keys()[0]


def test_a_restart_between_question_and_answer_loses_nothing(
    market: Market, device: Device, tmp_path: Path
) -> None:
    device.activate(market.issue("trial")[0])
    lose_reply(device, device.renew)
    with market.device(tmp_path / "laptop") as after:
        after.renew()
        assert after.lease and after.lease["seq"] == 2 and after.granted() == {"face.swap"}


def test_a_denial_is_carried_out_and_the_next_lease_ends_it(market: Market, device: Device) -> None:
    key, license_id = market.issue("trial")
    device.activate(key)
    assert device.listed() == 0
    market.server.admin.suspend_license(license_id, "late")
    assert device.listed() == 2
    denied = refusal(device.renew)
    assert (denied.code, denied.params) == ("license_suspended", {"why": "late"})
    assert device.denial and (device.denial["state"], device.denial["seq"]) == ("SUSPENDED", 2)
    assert device.lease is None
    assert refusal(device.granted).code == "license_suspended"
    market.server.admin.resume_license(license_id)
    device.renew()
    assert device.lease and device.lease["seq"] == 3 and device.granted() == {"face.swap"}
    market.server.admin.change_license(license_id, LicenseChange(plan="pro"))
    device.renew()
    assert device.granted() == {"face.swap", "face.restore"}
    market.server.admin.revoke_license(license_id, "chargeback")
    assert refusal(device.renew).code == "license_revoked"
    assert device.denial and device.denial["state"] == "REVOKED"


def test_a_seat_is_one_device_s_until_it_is_given_back(
    market: Market, device: Device, tmp_path: Path
) -> None:
    key, _ = market.issue("trial")
    device.activate(key, label="Li's laptop")
    with market.device(tmp_path / "other") as other:
        refused = refusal(lambda: other.activate(key))
        assert refused.code == "no_free_seat"
        assert [d["label"] for d in refused.params["devices"]] == ["Li's laptop"]
        lose_reply(device, device.give_back)
        given, again = device.give_back(), device.give_back()
        assert again == given and device.lease is None and device.license is None
        other.activate(key)
        assert refusal(device.renew).code == "device_returned"
        assert refusal(lambda: device.activate(key)).code == "no_free_seat"


def test_an_open_renewal_and_a_return_are_one_question(market: Market, device: Device) -> None:
    device.activate(market.issue("trial")[0])
    lose_reply(device, device.renew)
    assert device.give_back()["seat_free_at"]


def test_two_copies_of_one_activation_are_found(
    market: Market, device: Device, tmp_path: Path
) -> None:
    key, _ = market.issue("trial")
    device.activate(key)
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in (tmp_path / "laptop").iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    device.renew()
    with market.device(copy) as thief:
        assert refusal(thief.renew).code == "forked"
        assert refusal(device.renew).code == "forked"
        device.activate(key)
        assert device.granted() == {"face.swap"} and thief.denial


def test_a_lease_held_when_its_keys_are_ended_is_over_then_and_is_no_answer_any_more(
    market: Market, device: Device
) -> None:
    answer = device.activate(market.issue("trial")[0])
    now, keys = device.clock(), device.keys
    keys.keys = [
        replace(key, not_after=now + 60) if key.use == "lease" else key for key in keys.keys
    ]
    assert device.lease and device.lease["exp"] == now + 60
    again = refusal(lambda: tokens.read(answer["lease"], "lease+jwt", keys, now))
    assert again.code == "token_key_unknown"


def test_an_answer_to_another_question_changes_nothing(market: Market, device: Device) -> None:
    device.activate(market.issue("trial")[0])

    class Replaying(Wire):
        def __init__(self, wire: Wire, answer: dict[str, Any]) -> None:
            self.http, self.answer = wire.http, answer

        def ask(self, *_question: Any) -> dict[str, Any]:
            return self.answer

    wire, before = device.wire, device.lease
    answer = device.renew()
    assert device.lease != before
    kept = device.lease
    device.wire = Replaying(wire, answer)
    assert refusal(device.renew).code == "answer_invalid"
    assert device.lease == kept
    device.wire = wire
    device.renew()
    assert device.lease and kept and device.lease["seq"] == kept["seq"] + 1


def test_a_download_goes_on_where_it_was_cut_and_takes_no_altered_byte(
    market: Market, device: Device, tmp_path: Path
) -> None:
    device.activate(market.issue("trial")[0])
    device.refresh()
    (target,) = [t for t in device.catalog.targets() if t.model == "swap"]
    url = f"/v1/blobs/{target.sha256}"
    data = device.wire.http.get(url).content
    asked: list[str | None] = []

    def mirror(body: bytes) -> httpx.Client:
        def answer(request: httpx.Request) -> httpx.Response:
            asked.append(request.headers.get("range"))
            return httpx.Response(200, stream=httpx.ByteStream(body))

        return httpx.Client(base_url="https://mirror", transport=httpx.MockTransport(answer))

    pinned = device.keys.publishers()
    download = Download(target, tmp_path, pinned, device.keys.product)
    with mirror(data[:400_000]) as cut:
        assert refusal(lambda: download.run(cut, url)).code == "unavailable"
    have = download.part.stat().st_size
    altered = data[:500_000] + bytes([data[500_000] ^ 1]) + data[500_001:]
    with mirror(altered) as liar:
        again = Download(target, tmp_path, pinned, device.keys.product)
        assert refusal(lambda: again.run(liar, url)).code == "download_damaged"
        assert asked == [None, f"bytes={have}-"] and have > 200_000
        assert again.part.read_bytes() == data[:have] and not again.final.exists()
    last = Download(target, tmp_path, pinned, device.keys.product)
    assert last.run(device.wire.http, url).read_bytes() == data
    wrong = Download(replace(target, file_id=bytes(32)), tmp_path, pinned, device.keys.product)
    assert refusal(lambda: wrong.run(device.wire.http, url)).code == "download_damaged"


def test_the_event_of_an_answer_stands_in_the_signed_log(market: Market, device: Device) -> None:
    answer = device.activate(market.issue("trial")[0])
    market.server.admin.checkpoint()  # sequences what waits
    keys = device.keys.of("checkpoint", device.clock())
    head = log.checkpoint(device.wire.get("/v1/log/checkpoint", "text/plain"), keys)
    index, leaf = log.event(device.wire, answer["event_id"])
    assert index is not None
    tiles = log.Log(device.wire, head)
    assert tiles.proves(index, leaf)
    assert not tiles.proves(index - 1, leaf) and not tiles.proves(index, bytes(32))
    assert refusal(lambda: log.checkpoint(b"x\n1\n\n\xe2\x80\x94 x AAAA\n", keys)).code

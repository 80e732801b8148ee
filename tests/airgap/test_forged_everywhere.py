"""Thousands of forged tokens at every door: the running server, the state folder, the response.

Forgeries are truly signed, by the device for the server and by the server's own key for the
device: whoever has no key does not even get this far.
"""

from __future__ import annotations

import json
import shutil
import ssl
import warnings
from collections import Counter

import httpx
import msgspec
import pytest
from tests.license.fuzzing import claims, headers, spellings
from tests.server.world import Clock, Computer, Shop

from modelseal import errors
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.license import air_gap, tokens
from modelseal.license.claims import LeaseClaims, LicenseClaims
from modelseal.strict_json import unb64u
from modelseal.testing.server import RunningServer

JWT = {"Content-Type": "application/jwt"}
EVERY = 3
"""Every third forgery of the table: each door costs milliseconds, the parser alone is tested whole
in ``tests/license``."""


def forged(token, key):
    """Forgeries of a good compact token, truly signed by ``key``."""
    head, body = (json.loads(unb64u(part)) for part in token.split(".")[:2])
    every = [*claims(head, body, key), *headers(head, body, key), *spellings(token)]
    return [(name, each) for name, each in every[::EVERY] if each != token]


def test_the_running_server_answers_each_forged_request_with_a_code(tmp_path):
    clock = Clock()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        server = RunningServer(tmp_path, now=clock)
    with server:
        shop = Shop(server.home, clock, server.services)
        shop.plan("basic", "face.swap", seats=1000)
        issued = shop.license()
        device = Computer(shop)
        good = device.activation(issued.license_key, KemPrivateKey.generate()).decode()
        context = ssl.create_default_context(cadata=shop.trust.tls_ca)
        codes: Counter[str] = Counter()
        with httpx.Client(base_url=server.url, verify=context, timeout=300) as http:
            for name, token in forged(good, device.key):
                body = token.encode("utf-8", "surrogatepass")
                clock.pass_(seconds=10)
                answer = http.post("/v1/devices", content=body, headers=JWT)
                told = answer.json()
                assert answer.status_code < 500, (name, told)
                if answer.status_code >= 400:
                    assert answer.headers["content-type"] == "application/problem+json", name
                    assert "Traceback" not in answer.text and len(answer.text) < 20_000, name
                codes[told.get("code", "answered")] += 1
            assert http.post("/v1/devices", content=good, headers=JWT).status_code in (200, 201)
    assert "internal_error" not in codes
    assert {"token_malformed", "token_header", "token_algorithm", "token_claims"} <= set(codes)
    assert codes["answered"] < sum(codes.values()) / 4


@pytest.fixture
def active(gap, shop):
    """A device that opens its model, and has asked for more."""
    shop.plan()
    device = gap()
    device.round(shop.license().license_key)
    return device


@pytest.mark.parametrize(("name", "use"), [("lease", "lease"), ("license", "license")])
def test_a_forged_token_in_the_state_folder_gives_our_errors_and_the_good_one_works_again(
    active, shop, name, use
):
    place = active.state / f"{name}.jwt"
    good = place.read_text()
    key = shop.server.context.signers(use, shop.clock())[0]
    codes: Counter[str] = Counter()
    for told, token in forged(good, key):
        place.write_bytes(token.encode("utf-8", "surrogatepass"))
        active.restart()
        try:
            codes[str(active.client.status().state)] += 1
        except errors.ModelsealError as error:
            assert error.code == "state_damaged" or error.code.startswith("token_"), told
            codes[error.code] += 1
    assert codes["state_damaged"] > sum(codes.values()) / 2
    place.write_text(good)
    active.restart()
    assert active.client.status().state == "ACTIVE" and active.opens()


def test_a_forged_token_in_a_response_is_refused_and_nothing_is_stored(active, shop):
    data = active.answer(active.ask())
    response = air_gap.decode(data)
    key = shop.server.context.signers("lease", shop.clock())[0]
    before, kept = active.snapshot(), active.state.with_name("kept")
    shutil.copytree(active.state, kept)
    for told, token in forged(response.lease, key):
        try:
            altered = air_gap.encode(msgspec.structs.replace(response, lease=token))
        except UnicodeError:
            continue  # what cannot be written into a response at all
        try:
            active.take(altered)
        except errors.ModelsealError as error:
            assert error.exit_code == 4, (told, error)
            assert active.snapshot() == before, told
        else:  # it says something else, and the server's own key stands for it
            found = tokens.read(token, LeaseClaims, shop.trust)
            assert found.request_nonce == response.nonce and found.seq > 1, told
            shutil.rmtree(active.state)
            shutil.copytree(kept, active.state)
            active.restart()
    active.take(data)
    assert active.opens()


def test_the_tables_are_what_they_say(shop):
    """A token that is not changed is read: the forgeries fail for what was changed in them."""
    shop.plan()
    device = Computer(shop)
    lease = device.activate(shop.license().license_key)
    key = shop.server.context.signers("lease", shop.clock())[0]
    again = tokens.sign(lease, [key])
    assert tokens.read(again, LeaseClaims, shop.trust) == lease
    assert isinstance(device.license, LicenseClaims)

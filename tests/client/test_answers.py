"""What an HTTP answer means: only a signed denial denies."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelseal import errors
from modelseal.client import answers
from modelseal.client.answers import SignedRefusal
from modelseal.client.transport import Answer
from modelseal.errors import AnswerUnsigned, ModelsealError, RateLimited, Refused, ServerFailed

SERVER = "https://license.example.com"
PROBLEM = "application/problem+json"


def _read(status, media_type, body, **headers):
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    return answers.read(
        Answer(status, {"content-type": media_type, **headers}, body), server=SERVER
    )


def test_a_json_object_with_a_good_status_is_the_answer():
    assert _read(201, "application/json; charset=utf-8", {"a": 1}) == {"a": 1}


@pytest.mark.parametrize(
    ("status", "media_type", "body", "saw"),
    [
        (200, "text/html", b"<html><title>Hotel &amp; Login</title>", "titled 'Hotel & Login'"),
        (511, "text/html", b"<title>Sign in</title>", "titled 'Sign in'"),
        (200, "application/json", b"[1]", "application/json"),
        (200, "application/json", b"{", "application/json"),
        (403, "text/plain", b"no", "text/plain"),
        (404, "", b"", "nameless"),
        (403, PROBLEM, b"<html>", PROBLEM),
    ],
)
def test_a_page_of_somebody_else_changes_nothing_and_is_described(status, media_type, body, saw):
    with pytest.raises(AnswerUnsigned) as caught:
        _read(status, media_type, body)
    assert saw in caught.value.params["saw"]
    assert caught.value.params["status"] == status
    assert caught.value.params["server"] == SERVER


def test_a_redirect_is_named_without_its_query():
    with pytest.raises(AnswerUnsigned) as caught:
        _read(302, "text/html", b"", location="https://portal.example/login?session=secret")
    assert caught.value.params["saw"] == "a redirect to https://portal.example/login"


def test_a_refusal_without_a_signature_refuses_nothing():
    for code in ("license_revoked", "no_free_seat", "level_not_reached"):
        with pytest.raises(AnswerUnsigned) as caught:
            _read(403, PROBLEM, {"code": code, "title": "x"})
        assert not isinstance(caught.value, Refused)
        assert code in caught.value.params["saw"]


def test_a_problem_with_a_denial_is_handed_on_unbelieved():
    found = _read(403, PROBLEM, {"code": "license_revoked", "denial": "x.y.z"})
    assert isinstance(found, SignedRefusal)
    assert found.denial == "x.y.z"


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_server_in_trouble_is_unavailable(status):
    with pytest.raises(ServerFailed) as caught:
        _read(status, "text/html", b"Bad gateway")
    assert caught.value.params["status"] == status


def test_other_problems_keep_their_code_reference_and_parameters():
    with pytest.raises(errors.StoreBehind) as caught:
        _read(503, PROBLEM, {"code": "store_behind", "reference": "ABCDEFGH", "params": {"x": 1}})
    assert caught.value.reference == "ABCDEFGH"
    assert caught.value.params["x"] == 1
    with pytest.raises(errors.IdempotencyMismatch):
        _read(409, PROBLEM, {"code": "idempotency_mismatch"})


def test_a_bug_of_the_server_is_the_servers_and_not_ours():
    with pytest.raises(ServerFailed) as caught:
        _read(500, PROBLEM, {"code": "internal_error", "reference": "ABCDEFGH"})
    assert caught.value.reference == "ABCDEFGH"


def test_a_limit_says_how_long_to_wait():
    with pytest.raises(RateLimited) as caught:
        _read(429, PROBLEM, {"code": "rate_limited"}, **{"retry-after": "7"})
    assert caught.value.params["retry_after_seconds"] == 7
    with pytest.raises(RateLimited) as caught:
        _read(429, "text/plain", b"", **{"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"})
    assert caught.value.params["retry_after_seconds"] is None


@given(
    st.integers(100, 599),
    st.sampled_from(["application/json", PROBLEM, "text/html", "x"]),
    st.binary(max_size=200)
    | st.dictionaries(
        st.sampled_from(["code", "params", "denial", "reference", "detail", "status"]),
        st.none() | st.text() | st.integers() | st.dictionaries(st.text(), st.text()),
    ),
)
def test_whatever_comes_is_an_object_a_signed_refusal_or_an_error_of_ours(status, kind, body):
    try:
        found = _read(status, kind, body)
    except ModelsealError as error:
        assert not isinstance(error, Refused)
    else:
        assert isinstance(found, (dict, SignedRefusal))

"""People sign in by an OpenID Connect provider: what opens a session, and what never does."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import shutil
import time
from datetime import UTC, datetime, timedelta

import httpx
import msgspec
import pytest
from tests.oidc import CLIENT, KINDS, Provider

from modelseal.admin import Role
from modelseal.desk import workspace
from modelseal.errors import ConfigInvalid, CredentialInvalid
from modelseal.server.services import config as configs
from modelseal.server.services import open_server, restore, signin
from modelseal.strict_json import b64u
from modelseal.testing.server import RunningServer

pytestmark = pytest.mark.filterwarnings("ignore::modelseal.testing.server.RunningServerWarning")


class Clock:
    ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


class Place:
    """A server with ``[sign_in]`` and its provider."""

    def __init__(self, folder) -> None:
        self.provider = Provider(folder)
        self.clock = Clock()
        home = folder / "shop"
        workspace.init(home, "facefusion", now=self.clock(), random=os.urandom)
        (home / "server" / "provider-ca.pem").write_bytes(self.provider.ca.read_bytes())
        with (home / "server" / "server.toml").open("a") as toml:
            toml.write(
                f"""
[sign_in]
issuer = "{self.provider.issuer}"
client_id = "{CLIENT}"
ca = "provider-ca.pem"
allowed_domains = ["example.com"]
roles = {{ sealers = "owner", helpers = "support", readers = "auditor" }}
"""
            )
        self.server = RunningServer(folder, now=self.clock)
        trust = json.loads(self.server.trust.read_bytes())
        context = httpx.create_ssl_context()
        context.load_verify_locations(cadata=trust["tls_ca"])
        self.http = httpx.Client(base_url=self.server.url, verify=context, timeout=300)

    def fresh(self) -> None:
        """As after a start: no limits used up, no keys kept, the device grant off."""
        self.clock.ahead = timedelta()
        services = self.server.services
        services.devices.limiter._buckets.clear()
        held = services.signin
        config = signin.settings(services.context.config.sign_in, {})
        held._config = config
        held._provider = signin.Provider(config, services.context.folder, self.clock)
        self.provider.claims, self.provider.alg, self.provider.jwks_status = {}, "RS256", 200
        self.provider.asked.clear()

    def sent(self, token: str, proof: bytes | None) -> httpx.Response:
        body = {"id_token": token} | ({} if proof is None else {"proof": b64u(proof)})
        return self.http.post("/v1/sign-in", json=body)

    def signed_in(self, **claims) -> dict[str, object]:
        proof = os.urandom(32)
        answer = self.sent(self.provider.token(nonce=nonce(proof), **claims), proof)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def asks(self, token: object, path: str = "/v1/admin/licenses") -> httpx.Response:
        return self.http.get(path, headers={"Authorization": f"Bearer {token}"})

    def events(self, kind: str):
        return [e for e in self.server.admin.list_events().items if e.kind == kind]

    def close(self) -> None:
        self.http.close()
        self.server.stop()
        self.provider.close()


def nonce(proof: bytes) -> str:
    return b64u(hashlib.sha256(b"modelseal sign-in v1\n" + proof).digest())


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    place = Place(tmp_path_factory.mktemp("oidc"))
    yield place
    place.close()


@pytest.fixture
def place(kept):
    kept.fresh()
    return kept


@pytest.mark.parametrize("alg", sorted(KINDS))
def test_an_id_token_opens_a_session_of_the_mapped_role(place, alg):
    place.provider.alg = alg
    session = place.signed_in(sub=f"of {alg}")
    assert session["role"] == "owner" and str(session["person"]).startswith("per_")
    assert place.asks(session["token"]).status_code == 200
    assert "li@example.com" not in json.dumps(session)


def unsigned(token: str) -> str:
    head = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').rstrip(b"=").decode()
    return f"{head}.{token.split('.')[1]}."


def shared_secret(place: Place, token: str) -> str:
    """Signed by HMAC under the provider's public key, as PEM."""
    head = b64u(b'{"alg":"HS256","kid":"RS256-1","typ":"JWT"}')
    body = token.split(".")[1]
    pem = place.provider.keys["RS256"].as_pem(private=False)
    return f"{head}.{body}.{b64u(hmac.digest(pem, f'{head}.{body}'.encode(), 'sha256'))}"


def changed(token: str, old: bytes, new: bytes) -> str:
    head, body, signature = token.split(".")
    raw = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
    assert old in raw
    return f"{head}.{b64u(raw.replace(old, new, 1))}.{signature}"


FORGERIES = {
    "another issuer": ("sign_in_issuer", lambda p, n: p.provider.token(nonce=n, iss="https://x")),
    "issuer with a slash": (
        "sign_in_issuer",
        lambda p, n: p.provider.token(nonce=n, iss=p.provider.issuer + "/"),
    ),
    "another audience": ("sign_in_audience", lambda p, n: p.provider.token(nonce=n, aud="other")),
    "several audiences, no party": (
        "sign_in_audience",
        lambda p, n: p.provider.token(nonce=n, aud=[CLIENT, "other"]),
    ),
    "another client's token": (
        "sign_in_audience",
        lambda p, n: p.provider.token(nonce=n, aud=[CLIENT, "other"], azp="other"),
    ),
    "no audience": ("sign_in_audience", lambda p, n: p.provider.token(nonce=n, aud=None)),
    "another nonce": ("sign_in_nonce", lambda p, n: p.provider.token(nonce=n[::-1])),
    "no nonce": ("sign_in_nonce", lambda p, n: p.provider.token()),
    "over": (
        "sign_in_expired",
        lambda p, n: p.provider.token(nonce=n, exp=int(time.time()) - 61),
    ),
    "too old": (
        "sign_in_expired",
        lambda p, n: p.provider.token(nonce=n, iat=int(time.time()) - 661),
    ),
    "of the future": (
        "sign_in_expired",
        lambda p, n: p.provider.token(nonce=n, iat=int(time.time()) + 90),
    ),
    "not yet": (
        "sign_in_expired",
        lambda p, n: p.provider.token(nonce=n, nbf=int(time.time()) + 90),
    ),
    "no end": ("sign_in_malformed", lambda p, n: p.provider.token(nonce=n, exp=None)),
    "an end that is true": ("sign_in_malformed", lambda p, n: p.provider.token(nonce=n, exp=True)),
    "half a character": (
        "sign_in_malformed",
        lambda p, n: changed(p.provider.token(nonce=n), b"li@", rb"\ud800@"),
    ),
    "nobody": ("sign_in_malformed", lambda p, n: p.provider.token(nonce=n, sub="")),
    "unsigned": ("sign_in_algorithm", lambda p, n: unsigned(p.provider.token(nonce=n))),
    "shared secret": (
        "sign_in_algorithm",
        lambda p, n: shared_secret(p, p.provider.token(nonce=n)),
    ),
    "a key for another algorithm": (
        "sign_in_algorithm",
        lambda p, n: p.provider.token(nonce=n, header={"kid": "ES256-1"}),
    ),
    "an access token": (
        "sign_in_malformed",
        lambda p, n: p.provider.token(nonce=n, header={"typ": "at+jwt"}),
    ),
    "its own key": (
        "sign_in_malformed",
        lambda p, n: p.provider.token(nonce=n, header={"jwk": {"kty": "RSA"}}),
    ),
    "an unknown key": (
        "sign_in_key_unknown",
        lambda p, n: p.provider.token(nonce=n, key=KINDS["RS256"]("mine")),
    ),
    "no key named": (
        "sign_in_key_unknown",
        lambda p, n: p.provider.token(nonce=n, header={"kid": None}),
    ),
    "a forged key under a known name": (
        "sign_in_signature",
        lambda p, n: p.provider.token(nonce=n, key=KINDS["RS256"]("RS256-1")),
    ),
    "a changed role": (
        "sign_in_signature",
        lambda p, n: changed(
            p.provider.token(nonce=n, groups=["readers"]), b'["readers"]', b'["sealers"]'
        ),
    ),
    "a claim twice": (
        "sign_in_malformed",
        lambda p, n: changed(p.provider.token(nonce=n), b'{"iss"', b'{"sub":"eve","iss"'),
    ),
    "four parts": ("sign_in_malformed", lambda p, n: p.provider.token(nonce=n) + ".x"),
    "no group": ("sign_in_not_allowed", lambda p, n: p.provider.token(nonce=n, groups=None)),
    "another group": ("sign_in_not_allowed", lambda p, n: p.provider.token(nonce=n, groups=["x"])),
    "another domain": (
        "sign_in_not_allowed",
        lambda p, n: p.provider.token(nonce=n, email="li@example.com.evil.org"),
    ),
    "an unverified address": (
        "sign_in_not_allowed",
        lambda p, n: p.provider.token(nonce=n, email_verified="true"),
    ),
}


@pytest.mark.parametrize("forgery", sorted(FORGERIES))
def test_every_forgery_is_refused_by_its_own_code_and_logged(place, forgery):
    code, make = FORGERIES[forgery]
    before, proof = len(place.events("sign_in_refused")), os.urandom(32)
    answer = place.sent(make(place, nonce(proof)), proof)
    assert answer.json()["code"] == code, answer.text
    assert answer.status_code == (403 if code == "sign_in_not_allowed" else 401)
    events = place.events("sign_in_refused")
    assert len(events) == before + 1 and events[-1].params["code"] == code
    assert answer.json()["reference"] == events[-1].reference
    assert "li@example" not in str(events[-1])


def test_an_id_token_opens_one_session(place):
    proof = os.urandom(32)
    token = place.provider.token(nonce=nonce(proof))
    assert place.sent(token, proof).status_code == 201
    again = place.sent(token, proof)
    assert (again.status_code, again.json()["code"]) == (401, "sign_in_replayed")


def test_a_stolen_id_token_opens_nothing_without_the_proof(place):
    token = place.provider.token(nonce=nonce(os.urandom(32)))
    for proof in (None, os.urandom(32)):
        assert place.sent(token, proof).json()["code"] == "sign_in_nonce"


def test_a_device_grant_counts_only_where_it_is_allowed(place):
    token = place.provider.token()
    assert place.sent(token, None).json()["code"] == "sign_in_nonce"
    held = place.server.services.signin
    held._config = msgspec.structs.replace(held._config, device=True)
    assert place.sent(token, None).status_code == 201
    stolen = place.provider.token(nonce=nonce(os.urandom(32)))
    assert place.sent(stolen, None).json()["code"] == "sign_in_nonce"


def test_a_role_is_held_to_its_rights_and_a_session_makes_no_tokens_for_support(place):
    session = place.signed_in(sub="helper", groups=["helpers", "readers"])
    assert session["role"] == "support"
    assert place.asks(session["token"], "/v1/admin/tokens").json()["code"] == "access_denied"


def test_new_keys_of_the_provider_count_after_half_a_minute_and_it_is_not_asked_more(place):
    place.signed_in()
    place.provider.rotate("RS256")
    asked = place.provider.asked.count("/keys")
    for _ in range(3):
        proof = os.urandom(32)
        answer = place.sent(place.provider.token(nonce=nonce(proof)), proof)
        assert answer.json()["code"] == "sign_in_key_unknown"
    assert place.provider.asked.count("/keys") == asked
    place.clock.ahead = timedelta(seconds=31)
    place.signed_in()
    assert place.provider.asked.count("/keys") == asked + 1


def test_a_provider_that_is_down_is_503_and_running_sessions_go_on(place):
    session = place.signed_in()
    place.clock.ahead = timedelta(seconds=1500)  # the keys still count, then no longer
    assert place.asks(session["token"]).status_code == 200
    place.fresh()
    place.provider.jwks_status = 500
    proof = os.urandom(32)
    answer = place.sent(place.provider.token(nonce=nonce(proof)), proof)
    assert (answer.status_code, answer.json()["code"]) == (503, "provider_unavailable")
    assert answer.headers["retry-after"] and place.asks(session["token"]).status_code == 200


def test_a_session_ends_by_standing_idle_by_its_end_by_sign_out_and_by_revocation(place):
    idle, used, out, revoked = (place.signed_in(sub=f"person {n}") for n in range(4))
    place.clock.ahead = timedelta(seconds=1700)
    assert place.asks(used["token"]).status_code == 200
    place.clock.ahead = timedelta(seconds=1900)
    assert place.asks(idle["token"]).status_code == 401
    assert place.asks(used["token"]).status_code == 200
    place.clock.ahead = timedelta()
    headers = {"Authorization": f"Bearer {out['token']}"}
    assert place.http.post("/v1/admin/session:end", json={}, headers=headers).status_code == 200
    assert place.asks(out["token"]).status_code == 401
    place.server.admin.revoke_token(str(revoked["token_id"]))
    assert place.asks(revoked["token"]).status_code == 401
    for step in range(1, 20):
        place.clock.ahead = timedelta(seconds=1600 * step)
        place.asks(used["token"])
    assert place.asks(used["token"]).status_code == 401
    assert place.events("signed_out")[-1].subjects["person"] == out["person"]


def test_another_role_or_none_ends_the_sessions_a_person_had(place):
    first = place.signed_in(sub="moved")
    second = place.signed_in(sub="moved", groups=["readers"])
    assert place.asks(first["token"]).status_code == 401
    assert place.asks(second["token"]).status_code == 200
    proof = os.urandom(32)
    gone = place.provider.token(nonce=nonce(proof), sub="moved", groups=[])
    assert place.sent(gone, proof).status_code == 403
    assert place.asks(second["token"]).status_code == 401
    assert place.events("sign_in_refused")[-1].params["ended"] == 1


def test_a_restore_of_the_store_ends_every_session(place, tmp_path):
    session, home = place.signed_in(sub="restored"), tmp_path / "shop"
    with (tmp_path / "backup").open("wb") as out:
        place.server.services.backup(out)
    shutil.copytree(place.server.home, home, ignore=shutil.ignore_patterns("modelseal.db*"))
    with (tmp_path / "backup").open("rb") as file:
        restore(home, file)
    with open_server(home) as server, pytest.raises(CredentialInvalid):
        server.tokens.authenticate(str(session["token"]))
    assert place.asks(session["token"]).status_code == 200


def test_a_token_of_a_program_is_no_session(place):
    made = place.server.admin.create_token(Role.OWNER, 3600, "shop")
    headers = {"Authorization": f"Bearer {made.token}"}
    answer = place.http.post("/v1/admin/session:end", json={}, headers=headers)
    assert answer.status_code == 404 and place.asks(made.token).status_code == 200


def test_the_log_names_people_by_a_pseudonym(place):
    session = place.signed_in(sub="li")
    event = place.events("signed_in")[-1]
    assert event.subjects == {"token": session["token_id"], "person": session["person"]}
    assert event.params["personal"] == {"email": "li@example.com"}  # beside the leaf, erasable
    assert place.signed_in(sub="li")["person"] == session["person"]
    assert place.signed_in(sub="liu")["person"] != session["person"]


def test_guessing_is_slowed_down(place):
    """Thirty guesses are free; the rest come faster than one in five seconds."""
    codes: list[int] = []
    while 429 not in codes:
        codes.append(place.sent("x.y.z", os.urandom(32)).status_code)
        assert len(codes) < 600
    assert set(codes) == {401, 429}


@pytest.mark.parametrize(
    "odd",
    [
        {"issuer": "http://id.example.com"}, {"issuer": "https://li@id.example.com"},
        {"issuer": "https://id.example.com/?a=b"}, {"jwks_uri": "http://id.example.com/keys"},
        {"roles": {}}, {"roles": {"a": Role.RELAY}},
        {"client_id": ""}, {"scopes": ["email"]}, {"algorithms": []},
    ],
)  # fmt: skip
def test_an_odd_configuration_is_refused_at_the_start(odd):
    good = configs.SignInConfig("https://id.example.com", "c", {"a": Role.OWNER})
    assert signin.settings(good, {}) == good
    assert signin.settings(good, {"MODELSEAL_SIGN_IN_CLIENT_ID": "d"}).client_id == "d"
    with pytest.raises(ConfigInvalid):
        signin.settings(msgspec.structs.replace(good, **odd), {})


def test_the_environment_can_say_it_all_or_stand_above_the_file():
    said = {
        "MODELSEAL_SIGN_IN_ISSUER": "https://id.example.com",
        "MODELSEAL_SIGN_IN_CLIENT_ID": "c",
        "MODELSEAL_SIGN_IN_ROLES": "cn=owners,ou=shop=owner; helpdesk=support",
    }
    roles = {"cn=owners,ou=shop": Role.OWNER, "helpdesk": Role.SUPPORT}
    made = configs.SignInConfig("https://id.example.com", "c", roles)
    assert signin.settings(None, said) == made
    file = configs.SignInConfig("https://old.example.com", "b", {"a": Role.OWNER}, device=True)
    assert signin.settings(file, said) == msgspec.structs.replace(made, device=True)
    assert signin.settings(None, {}) is None
    for name in said:
        with pytest.raises(ConfigInvalid):
            signin.settings(None, {name: said[name]})
    for odd in ("owners", "=owner", "owners=king", "owners=owner;"):
        with pytest.raises(ConfigInvalid):
            signin.settings(None, {**said, "MODELSEAL_SIGN_IN_ROLES": odd})


def test_a_server_without_sign_in_says_so(tmp_path):
    with RunningServer(tmp_path) as server:
        trust = json.loads(server.trust.read_bytes())
        context = httpx.create_ssl_context()
        context.load_verify_locations(cadata=trust["tls_ca"])
        answer = httpx.get(f"{server.url}/v1/sign-in", verify=context, timeout=300)
        assert (answer.status_code, answer.json()["code"]) == (404, "sign_in_off")

"""The license server in memory: a ``Transport`` that speaks the protocol.

Real tokens, real HPKE and a real TUF catalog; it can lose requests, lose replies or be replaced by
something else. The same client runs against the real server in ``test_end_to_end.py``.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import msgspec
from tests.client.fake_rows import Device, License
from tests.client.publisher import (
    LEASE_SECONDS,
    PRODUCT,
    SERVER_ID,
    SERVER_URL,
    START,
    Clock,
    Published,
    foundation,
    serve,
)

from modelseal import strict_json
from modelseal.client.transport import Answer, Stream
from modelseal.crypto.hpke import KemPublicKey
from modelseal.crypto.signing import SigningKey
from modelseal.desk import founding
from modelseal.errors import ServerUnreachable
from modelseal.ids import new_id, reference
from modelseal.license import bundle, lease_keys, license_key, status, tokens
from modelseal.license.claims import (
    BundleRef,
    Confirmation,
    DenialClaims,
    Entitlement,
    LeaseClaims,
    LicenseClaims,
    ReleaseClaims,
    StatusListClaims,
    StatusRef,
)
from modelseal.license.lease_keys import Binding
from modelseal.license.license_key import KeyBinding
from modelseal.strict_json import b64u
from modelseal.trust import KeyList, Use, keylist, writing
from modelseal.types import to_numeric


@dataclass
class FakeServer:
    """See the module. ``hooks`` are called as ``hook(when, method, path)`` and may raise."""

    clock: Clock
    founded: founding.Foundation = field(default_factory=foundation)
    enforcement: str = "software"
    lease_seconds: int = LEASE_SECONDS
    bundled: bool = False
    eula: str | None = None
    licenses: dict[bytes, License] = field(default_factory=dict)
    devices: dict[str, Device] = field(default_factory=dict)
    models: list[Published] = field(default_factory=list)
    bundles: dict[str, bytes] = field(default_factory=dict)
    instead: Callable[[str, str], Answer | None] | None = None
    hooks: list[Callable[[str, str, str], None]] = field(default_factory=list)
    down: bool = False
    asked: list[tuple[str, str]] = field(default_factory=list)
    list_number: int = 0
    blob_stream: Callable[[bytes, dict[str, str]], Stream] | None = None
    version: int = 1
    requests: list[Any] = field(default_factory=list)
    roots: dict[int, bytes] = field(default_factory=dict)
    root_key: Any = None
    key_list: bytes = b""
    keys_version: int = 1
    role_key: Any = None
    targets_key: Any = None
    online: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        keys = {n.use: n.key for n in (*self.founded.desk_keys, *self.founded.online_keys)}
        self.root_key, self.role_key, self.targets_key = keys["root"], keys["keys"], keys["targets"]
        self.online = keys
        self.key_list = self.founded.documents.key_list

    # -- what the publisher does

    def issue(self, *entitlements: str, seats: int = 1) -> str:
        key = license_key.generate(os.urandom)
        self.licenses[license_key.parse(key)] = License(
            self._id("lic"), list(entitlements or ("face.swap",)), seats
        )
        return key

    def license_of(self, key: str) -> License:
        return self.licenses[license_key.parse(key)]

    def publish(self, *models: Published) -> None:
        self.models.extend(models)
        self.version += 1

    def rotate_signing(self) -> None:
        """New lease, license and status keys, listed beside the old ones."""
        known = keylist.read(self.key_list)
        fresh = {use: SigningKey.generate() for use in ("lease", "license", "status")}
        self.keys_version += 1
        added = tuple(
            keylist.trusted(
                Use(use), key.verify_key(), f"{use}-{self.keys_version}",
                not_before=START - timedelta(days=1),
            )
            for use, key in fresh.items()
        )  # fmt: skip
        self.online = {**self.online, **fresh}
        self.key_list = keylist.write(
            KeyList(self.keys_version, known.product, known.server_id, known.trait_salt,
                    (*known.keys, *added))
        )  # fmt: skip
        self.version += 1

    def rotate_root(self) -> None:
        """New keys for root and targets; the new root is signed by the old one too."""
        old, self.root_key = self.root_key, SigningKey.generate()
        self.targets_key = SigningKey.generate()
        self.version += 1
        number = max(self.roots, default=1) + 1
        roles = {"root": self.root_key, "targets": self.targets_key}
        roles |= {name: self.online[name] for name in ("snapshot", "timestamp")}
        signed = writing.root(
            number, START + timedelta(days=900),
            {name: writing.RoleKeys([key.jwk]) for name, key in roles.items()},
        )  # fmt: skip
        self.roots[number] = writing.sign(signed, [old, self.root_key])

    # -- the transport

    def exchange(
        self, method: str, path: str, *, body: bytes | None = None,
        headers: Any = None, seconds: float = 0, max_bytes: int = 0,
    ) -> Answer:  # fmt: skip
        self._before(method, path)
        answer = self.instead(method, path) if self.instead else None
        if answer is None:
            answer = self._answer(method, path, body)
        self._hook("after", method, path)
        return answer

    @contextlib.contextmanager
    def stream(self, url: str, *, headers: Any = None) -> Iterator[Stream]:
        path = url.removeprefix(SERVER_URL)
        self._before("GET", path)
        if path.startswith("/v1/blobs/") and self.instead is None:
            data = next((m.data for m in self.models if path.endswith(m.digest)), None)
            if data is not None:
                yield (self.blob_stream or serve)(data, dict(headers or {}))
                return
        answer = self.instead("GET", path) if self.instead else None
        answer = answer or self._answer("GET", path, None)
        yield Stream(answer.status, answer.headers, iter([answer.body]))

    def close(self) -> None:
        pass

    def _before(self, method: str, path: str) -> None:
        self.asked.append((method, path))
        if self.down:
            raise ServerUnreachable("connection refused", server=SERVER_URL)
        self._hook("before", method, path)

    def _hook(self, when: str, method: str, path: str) -> None:
        for hook in list(self.hooks):
            hook(when, method, path)

    # -- the protocol

    def _answer(self, method: str, path: str, body: bytes | None) -> Answer:
        if path.startswith("/v1/status-lists/"):
            token = self._status_list().encode()
            return Answer(200, {"content-type": "application/statuslist+jwt"}, token)
        if path.startswith("/v1/bundles/"):
            return Answer(
                200, {"content-type": "application/octet-stream"}, self.bundles[path[12:]]
            )
        if path.startswith("/v1/catalog/"):
            return self._catalog(path.removeprefix("/v1/catalog/"))
        if path.startswith("/v1/blobs/") and path.endswith("/urls"):
            return Answer(200, {"content-type": "application/json"}, b'{"urls":[]}')
        assert body is not None, path
        if path in ("/v1/devices", "/v1/licenses:lookup", "/v1/trials"):
            claims = tokens.read_request(body, server_id=SERVER_ID, jwk=None)
            self.requests.append(claims)
            return self._activate(claims) if path == "/v1/devices" else self._lookup(claims)
        known = self.devices[
            next(part for part in path.split("/") if part.startswith("dev_")).split(":")[0]
        ]
        claims = tokens.read_request(body, server_id=SERVER_ID, jwk=known.jwk)
        self.requests.append(claims)
        if path.endswith("/key-releases"):
            return self._release(known, claims)
        if path.endswith(":return"):
            return self._return(known, claims)
        return self._renew(known, claims)

    def _key_of(self, claims: Any) -> License | None:
        opener = self.online["sealing"]
        binding = KeyBinding(SERVER_ID, PRODUCT, claims.iss, claims.nonce)
        return self.licenses.get(license_key.open_key(claims.license_key, opener, binding))

    def _activate(self, claims: Any) -> Answer:
        lic = self._key_of(claims)
        if lic is None:
            return self._deny(claims, None, "unknown_license_key")
        if self.eula is not None and claims.eula != self.eula:
            return self._deny(claims, None, "eula_not_accepted", {"digest": self.eula})
        if lic.state != "active":
            return self._deny(claims, None, f"license_{lic.state}")
        mine = next((d for d in self.devices.values() if d.jkt == claims.iss), None)
        if mine is not None and mine.nonce == claims.nonce and mine.answer is not None:
            return self._again(mine, claims)
        holders = [d for d in self.devices.values() if d.license is lic and d.state == "active"]
        others = [d for d in holders if d is not mine]
        if len(others) >= lic.seats:
            replaced = next((d for d in others if d.device_id == claims.replace), None)
            if replaced is None:
                told = [{"device_id": d.device_id, "label": d.label or ""} for d in others]
                names = [f"{d.label}, {d.device_id}" for d in others]
                params = {"seats": lic.seats, "holders": names, "devices": told}
                return self._deny(claims, None, "no_free_seat", params)
            replaced.state = "returned"
        if mine is None:
            mine = Device(
                self._id("dev"), claims.iss, dict(claims.jwk), lic, claims.label, len(self.devices)
            )
            self.devices[mine.device_id] = mine
        mine.state, mine.license = "active", lic
        return self._lease(mine, claims, 201)

    def _renew(self, mine: Device, claims: Any) -> Answer:
        if mine.nonce == claims.nonce and mine.answer is not None:
            return self._again(mine, claims)
        if mine.state == "returned":
            return self._deny(claims, mine, "device_returned", state="RETURNED")
        if mine.license.state != "active":
            state = {"revoked": "REVOKED", "suspended": "SUSPENDED", "expired": "EXPIRED"}
            named = mine.license.state
            return self._deny(claims, mine, f"license_{named}", state=state[named])
        if claims.seq > mine.seq:
            body = b'{"code":"store_behind"}'
            return Answer(503, {"content-type": "application/problem+json"}, body)
        again = (mine.nonce, mine.asked_seq) == (claims.nonce, claims.seq)  # its denial was lost
        if mine.state == "forked" or (claims.seq != mine.seq and not again):
            mine.state = "forked"
            return self._deny(claims, mine, "forked", state="FORKED")
        return self._lease(mine, claims, 200)

    def _return(self, mine: Device, claims: Any) -> Answer:
        if claims.seq != mine.seq:
            return self._deny(claims, mine, "forked", state="FORKED")
        mine.state = "returned"
        return _json(200, {"event_id": self._id("evt"), "seat_free_at": self.clock.at.isoformat()})

    def _release(self, mine: Device, claims: Any) -> Answer:
        if mine.license.state != "active":
            return self._deny(claims, mine, f"license_{mine.license.state}", state="REVOKED")
        if claims.seq < mine.seq:
            return self._deny(claims, mine, "lease_superseded", state="EXPIRED")
        now = to_numeric(self.clock.at)
        files = {wish.file for wish in claims.want}
        granted = [m for m in self._granted(mine.license) if b64u(m.file_id) in files]
        keys = {(m.file_id, s): k for m in granted for s, k in m.keys.items()}
        base: dict[str, Any] = dict(self._common(mine, claims, now), exp=now + 3600)
        base.update(jti=self._id("evt"), lease=mine.lease_id, seq=mine.seq)
        binding = Binding(
            "release", PRODUCT, mine.license.license_id, mine.device_id, mine.lease_id, mine.seq,
            now + 3600, 0, mine.jkt, claims.nonce,
        )  # fmt: skip
        ref = None
        if self.bundled:
            keys, ref = self._bundle(keys, mine.license)
        sealed = [lease_keys.seal(keys, _kem(claims), binding)] if keys else []
        token = self._sign(ReleaseClaims(**base, keys=sealed, level=0, bundle=ref), "lease")
        return _json(200, {"release": token, "event_id": self._id("evt")})

    def _lookup(self, claims: Any) -> Answer:
        if claims.op == "trial":
            key = self.issue("face.swap")
            mine = Device(
                self._id("dev"), claims.iss, dict(claims.jwk), self.license_of(key), None,
                len(self.devices),
            )  # fmt: skip
            self.devices[mine.device_id] = mine
            answer = self._lease(mine, claims, 201)
            return _json(
                201, {**strict_json.decode(answer.body, max_bytes=1 << 20), "license_key": key}
            )
        lic = self._key_of(claims)
        if lic is None:
            return self._deny(claims, None, "unknown_license_key")
        holders = [
            {
                "device_id": d.device_id,
                "label": d.label,
                "last_contact_at": self.clock.at.isoformat(),
            }
            for d in self.devices.values()
            if d.license is lic and d.state == "active"
        ]
        eula = None if self.eula is None else {"digest": self.eula, "uri": None}
        return _json(200, {
            "product": PRODUCT, "plan": lic.plan, "license_expires_at": None, "seats": lic.seats,
            "holders": holders, "eula": eula, "event_id": self._id("evt"),
            "license_id": lic.license_id,
        })  # fmt: skip

    # -- tokens

    def _lease(self, mine: Device, claims: Any, http: int) -> Answer:
        now = to_numeric(self.clock.at)
        mine.asked_seq, mine.seq = claims.seq, mine.seq + 1
        if claims.op in ("activate", "trial"):
            mine.seq = max(mine.seq, claims.seq + 1)
        lic = mine.license
        mine.lease_id, mine.lease_exp = self._id("lea"), now + self.lease_seconds
        keys = {(m.file_id, s): k for m in self._granted(lic) for s, k in m.keys.items()}
        ref = None
        if self.enforcement == "online":
            keys = {}
        elif self.bundled:
            keys, ref = self._bundle(keys, lic)
        binding = Binding(
            "lease", PRODUCT, lic.license_id, mine.device_id, mine.lease_id, mine.seq,
            mine.lease_exp, 0, mine.jkt,
        )  # fmt: skip
        sealed = [] if not keys else [lease_keys.seal(keys, _kem(claims), binding)]
        base = self._common(mine, claims, now)
        lease = LeaseClaims(
            **base, jti=mine.lease_id, pv=1, nbf=now, exp=mine.lease_exp,
            renew_after_at=now + self.lease_seconds // 3, seq=mine.seq,
            ent=[Entitlement(id=e) for e in lic.entitlements], enforcement=self.enforcement,
            keys=sealed, level=0, prev=claims.prev, bundle=ref, status=self._status(mine),
        )  # fmt: skip
        lic.jti = self._id("lic")
        right = LicenseClaims(
            iss=SERVER_ID, aud=PRODUCT, sub=lic.license_id, jti=lic.jti, iat=now, nbf=now,
            exp=now + 400 * 86400, product=PRODUCT, plan=lic.plan, pv=1,
            ent=[Entitlement(id=e) for e in lic.entitlements], cnf=Confirmation(mine.jkt),
            lease_max_seconds=self.lease_seconds, status=self._status(mine),
        )  # fmt: skip
        body = {"lease": self._sign(lease, "lease"), "event_id": self._id("evt")}
        body["license"] = self._sign(right, "license")
        if http == 201:
            body["device_id"] = mine.device_id
        mine.nonce, mine.answer = claims.nonce, (http, body)
        return _json(http, body)

    def _bundle(self, keys: Any, lic: License) -> tuple[Any, BundleRef]:
        secret = os.urandom(32)
        data = bundle.seal_bundle(
            keys, product=PRODUCT, license=lic.license_id, bundle_key=secret, random=os.urandom
        )
        digest = hashlib.sha256(data).digest()
        self.bundles[digest.hex()] = data
        return {(digest, -1): secret}, BundleRef(b64u(digest))

    def _again(self, mine: Device, claims: Any) -> Answer:
        """The same answer: the same KEM key is in the request, so the same bytes do."""
        assert mine.answer is not None
        assert mine.asked_seq == claims.seq
        return _json(*mine.answer)

    def _deny(
        self, claims: Any, mine: Device | None, code: str, params: Any = None,
        state: str = "NOT_ACTIVATED",
    ) -> Answer:  # fmt: skip
        if mine is not None:
            mine.seq += 1
            mine.nonce, mine.answer, mine.asked_seq = claims.nonce, None, claims.seq
        event = self._id("evt")
        denial = DenialClaims(
            iss=SERVER_ID, aud=PRODUCT, product=PRODUCT, iat=to_numeric(self.clock.at),
            sub=claims.iss if mine is None else mine.device_id, jti=self._id("evt"),
            seq=0 if mine is None else mine.seq, request_nonce=claims.nonce,
            cnf=Confirmation(claims.iss), code=code, state=state, erase=mine is not None,
            reference=reference(event), params=params or {},
        )  # fmt: skip
        body = {
            "type": "about:blank", "title": code, "status": 403, "code": code,
            "reference": reference(event), "event_id": event, "denial": self._sign(denial, "lease"),
        }  # fmt: skip
        return Answer(403, {"content-type": "application/problem+json"}, strict_json.encode(body))

    def _common(self, mine: Device, claims: Any, now: int) -> dict[str, Any]:
        return {
            "iss": SERVER_ID, "aud": PRODUCT, "sub": mine.device_id,
            "lic": mine.license.license_id, "product": PRODUCT, "iat": now,
            "request_nonce": claims.nonce, "cnf": Confirmation(mine.jkt),
        }  # fmt: skip

    def _status(self, mine: Device) -> StatusRef:
        return StatusRef(idx=mine.idx, uri=f"{SERVER_URL}/v1/status-lists/1")

    def _status_list(self) -> str:
        self.list_number += 1
        now = to_numeric(self.clock.at)
        said = {"revoked": status.Status.REVOKED, "suspended": status.Status.SUSPENDED}
        values = {
            d.idx: said[d.license.state] for d in self.devices.values() if d.license.state in said
        }
        claims = StatusListClaims(
            iss=SERVER_ID, sub=f"{SERVER_URL}/v1/status-lists/1", iat=now, exp=now + 600, ttl=300,
            number=self.list_number, status_list=status.body(status.pack(values, 64)),
        )  # fmt: skip
        return self._sign(claims, "status")

    def _sign(self, claims: Any, use: str) -> str:
        return tokens.sign(claims, [self.online[use]])

    def _granted(self, lic: License) -> list[Published]:
        granted = set(lic.entitlements)
        return [m for m in self.models if granted & set(m.sections[1])]

    def _id(self, prefix: str) -> str:
        return new_id(prefix, self.clock.at, os.urandom)

    # -- the catalog

    def _catalog(self, name: str) -> Answer:
        keys = self.online
        later = START + timedelta(days=365)
        entries = {
            f"models/{m.model}/{m.release}/{m.name}.sealed": writing.target(
                len(m.data), m.digest, {"modelseal": {
                    "product": PRODUCT, "model": m.model, "model_version": "1.0",
                    "release": m.release, "min_release": m.min_release, "name": m.name,
                    "file_id": b64u(m.file_id), "entitlements": m.sections, "size": len(m.data),
                    **({} if m.crc32 is None else {"crc32": m.crc32}),
                }},
            )
            for m in self.models
        }  # fmt: skip
        role = writing.RoleKeys([self.role_key.jwk])
        targets, keys_role = self.founded.documents.targets, self.founded.documents.keys_role
        if self.version > 1:
            targets = writing.sign(
                writing.targets(self.version, later, role, entries), [self.targets_key]
            )
        if self.keys_version > 1:
            signed = writing.keys_role(self.keys_version, later, self.key_list)
            keys_role = writing.sign(signed, [self.role_key])
        snapshot = writing.sign(
            writing.snapshot(self.version, later, targets=targets, keys_role=keys_role),
            [keys["snapshot"]],
        )
        timestamp = writing.sign(
            writing.timestamp(self.version, later, snapshot=snapshot), [keys["timestamp"]]
        )
        files = {
            "timestamp.json": timestamp,
            f"{self.version}.snapshot.json": snapshot,
            f"{self.version}.targets.json": targets,
            f"{self.keys_version}.keys.json": keys_role,
            f"targets/{hashlib.sha256(self.key_list).hexdigest()}.keys": self.key_list,
            **{f"{number}.root.json": data for number, data in self.roots.items()},
        }
        if name not in files:
            return Answer(404, {"content-type": "application/problem+json"}, b"{}")
        return Answer(200, {"content-type": "application/json"}, files[name])


def _json(status_: int, value: Any) -> Answer:
    body = msgspec.json.encode(value)
    return Answer(status_, {"content-type": "application/json"}, body)


def _kem(claims: Any) -> KemPublicKey:
    key = claims.kem[0]
    return KemPublicKey({"kty": "AKP", "alg": key.suite, "pub": key.pub})

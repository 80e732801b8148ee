"""Makes ``vectors/protocol/``: one device's life at a real license server, byte for byte.

    python tools/make_protocol_vectors.py          write what the server answers now
    python tools/make_protocol_vectors.py --check  fail when that differs from what is stored

The server is the real application on a workspace restored from ``workspace.backup``, called without
a socket; its clock and its randomness are given. HPKE draws its own randomness, so a stored
ciphertext is kept as long as it opens to the same keys for the same purpose; everything else,
signatures included, is the same bytes every time. Keys, trust, model and backup are made once.
Second opinion: ``tests/protocol/independent_device.py``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import httpx
import msgspec

from modelseal.admin import IssueLicense, PlanDraft
from modelseal.crypto.hpke import SUITE, KemPrivateKey
from modelseal.crypto.signing import SigningKey
from modelseal.desk import backup, publishing, sealing
from modelseal.desk import workspace as workspaces
from modelseal.desk.halves import RECOVERY_SECRET
from modelseal.errors import InvalidBytes
from modelseal.ids import new_id
from modelseal.keys.passphrase import Work
from modelseal.license import lease_keys, license_key, tokens
from modelseal.license.claims import (
    ClockReading,
    DenialClaims,
    KemKey,
    LeaseClaims,
    LicenseClaims,
    ReleaseClaims,
    RequestClaims,
    SealedKeys,
    SealedText,
    TraitDigest,
)
from modelseal.license.lease_keys import Binding
from modelseal.license.license_key import KeyBinding
from modelseal.license.plans import Plan, PlanEntitlement
from modelseal.server.app import create_app
from modelseal.server.services import LocalAdmin, Server, open_server
from modelseal.strict_json import b64u
from modelseal.types import to_numeric

FOLDER = Path(__file__).resolve().parent.parent / "vectors" / "protocol"
START = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
JWT = "application/jwt"
TOKENS = {"license": LicenseClaims, "lease": LeaseClaims, "denial": DenialClaims,
          "release": ReleaseClaims}  # fmt: skip
_TRAITS = (("smbios_uuid", 1), ("machine_id", 2), ("disk_serial", 3), ("mac", 4))
_PKCS8 = bytes.fromhex("302e020100300506032b657004220420")  # RFC 8410: an Ed25519 seed follows
_QUICK = Work(memory_kib=8 * 1024, iterations=1, lanes=1)


class Draws:
    """Randomness that is the same every time: SHAKE256 over a name and a count."""

    def __init__(self) -> None:
        self.name, self._count = "start", 0

    def start(self, name: str) -> None:
        """From here on the bytes are those of ``name``."""
        self.name, self._count = name, 0

    def __call__(self, size: int) -> bytes:
        self._count += 1
        return hashlib.shake_256(f"modelseal {self.name} {self._count}".encode()).digest(size)


class Device:
    """A device with fixed keys. It keeps what ``docs/spec/state-folder.md`` says, in memory."""

    def __init__(self, name: str, known: dict[str, Any]) -> None:
        self.name = name
        self.key = SigningKey.from_pkcs8(_PKCS8 + _fixed(f"{name} signing", 32))
        self.server_id, self.product = known["server_id"], known["product"]
        self.device_id: str | None = None
        self.license_id: str | None = None
        self.seq, self.prev = 0, None

    def claims(self, op: str, question: str, at: datetime, **more: Any) -> RequestClaims:
        """What the device asks; the same ``question`` has the same nonce and KEM key."""
        kem = kem_of(question)
        draws = Draws()
        draws.start(f"{question} {to_numeric(at)}")
        known: dict[str, Any] = {
            "iss": self.key.kid,
            "aud": self.server_id,
            "product": self.product,
            "jti": new_id("req", at, draws),
            "iat": to_numeric(at),
            "op": op,
            "nonce": b64u(_fixed(f"{question} nonce", 32)),
            "jwk": dict(self.key.jwk),
            "clock": ClockReading(wall=to_numeric(at), monotonic_seconds=3600),
            "sub": self.device_id,
            "lic": self.license_id,
            "seq": self.seq,
            "prev": self.prev,
            "kem": [] if op == "lookup" else [KemKey(suite=SUITE, pub=kem.jwk["pub"])],
            "traits": [TraitDigest(kind=k, digest=d, confidence="high") for k, d in _TRAITS],
            "enforcement": ["online", "software"],
        }
        return RequestClaims(**{**known, **more})

    def take(self, found: dict[str, Any]) -> None:
        """The newest answer is what the device holds."""
        claims = found.get("lease") or found.get("denial")
        if claims is None or claims["seq"] == 0:
            return
        self.device_id, self.seq, self.prev = claims["sub"], claims["seq"], claims["jti"]
        self.license_id = claims.get("lic", self.license_id)


class Exchange:
    """The calls of one making, each with the stored one of the same name where there is one."""

    def __init__(
        self, server: Server, keys: dict[str, Any], draws: Draws, stored: Any, clock: list[datetime]
    ) -> None:
        self.now = START
        self.clock = clock
        self.steps: list[dict[str, Any]] = []
        self._server, self._draws, self._stored = server, draws, stored
        self._sealing = KemPrivateKey(_raw(keys["server"]["sealing"]))
        self._app = create_app(server, ticking=False)

    def ask(
        self, name: str, device: Device, op: str, method: str, path: str, *,
        question: str | None = None, typed: str | None = None, **more: Any,
    ) -> None:  # fmt: skip
        """One device call; ``question`` names what is asked again after a lost reply."""
        self._draws.start(name)
        claims = device.claims(op, question or name, self.now, **more)
        if typed is not None:
            sealed = self._sealed_key(name, typed, claims)
            claims = msgspec.structs.replace(claims, license_key=sealed)
        token = tokens.sign(claims, [device.key])
        path = path.format(device=device.device_id)
        headers = {"Content-Type": JWT, "Accept": "application/json, application/problem+json",
                   "Idempotency-Key": claims.nonce}  # fmt: skip
        step = self._call(name, method, path, headers, token)
        step |= {"device": device.name, "claims": msgspec.to_builtins(claims)}
        if claims.kem:
            step["kem"] = question or name
        self._settle(step, question or name)
        device.take(step["tokens"])

    def fetch(self, name: str, path: str) -> None:
        """One call that everybody may make."""
        self._draws.start(name)
        self._call(name, "GET", path, {}, "")

    def _call(
        self, name: str, method: str, path: str, headers: dict[str, str], body: str
    ) -> dict[str, Any]:
        async def call() -> httpx.Response:
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=transport, base_url="https://server") as client:
                return await client.request(method, path, headers=headers, content=body.encode())

        self.clock[0] = self.now
        answer = anyio.run(call)
        shown = ("content-type", "cache-control", "retry-after")
        step = {
            "name": name,
            "at": self.now.isoformat().replace("+00:00", "Z"),
            "request": {"method": method, "path": path, "headers": headers, "body": body},
            "answer": {
                "status": answer.status_code,
                "headers": {n: answer.headers[n] for n in shown if n in answer.headers},
                "body": answer.text,
            },
        }
        self.steps.append(step)
        self.now += timedelta(seconds=1)
        return step

    def _settle(self, step: dict[str, Any], question: str) -> None:
        """Stored ciphertexts that are as good stand in the answer; it is shown read and opened."""
        body = json.loads(step["answer"]["body"])
        step["tokens"], step["keys"] = {}, []
        for member in TOKENS.keys() & body.keys():
            claims = tokens.read(body[member], TOKENS[member], self._server.context.trust)
            if isinstance(claims, (LeaseClaims, ReleaseClaims)):
                claims = self._with_stored_keys(step, member, claims, kem_of(question))
                again = tokens.sign(claims, self._server.context.signers("lease", self.clock[0]))
                step["answer"]["body"] = step["answer"]["body"].replace(body[member], again)
            step["tokens"][member] = msgspec.to_builtins(claims)

    def _with_stored_keys(
        self, step: dict[str, Any], member: str, claims: Any, kem: KemPrivateKey
    ) -> Any:
        kept: list[SealedKeys] = []
        stored = self._stored.get(step["name"], {}).get("tokens", {}).get(member, {})
        for sealed, old in zip(claims.keys, [*stored.get("keys", []), None], strict=False):
            binding = binding_of(claims, sealed.level)
            opened = lease_keys.open_keys(sealed, kem, binding)
            kept.append(_if_same(old, opened, kem, binding) or sealed)
            step["keys"] += [[f.hex(), s, key.hex()] for (f, s), key in sorted(opened.items())]
            step["info"] = binding.info().hex()
        return msgspec.structs.replace(claims, keys=kept)

    def _sealed_key(self, name: str, text: str, claims: RequestClaims) -> SealedText:
        binding = KeyBinding(claims.aud, claims.product, claims.iss, claims.nonce)
        old = self._stored.get(name, {}).get("claims", {}).get("license_key")
        if old is not None:
            sealed = msgspec.convert(old, SealedText)
            try:
                opened = license_key.open_key(sealed, self._sealing, binding)
            except InvalidBytes:
                opened = b""
            if opened == license_key.parse(text):  # another one was issued this time
                return sealed
        return license_key.seal(text, self._sealing.public_key(), binding)


def make() -> dict[str, Any]:
    """The exchange as the server makes it now."""
    keys = json.loads((FOLDER / "keys.json").read_text("utf-8"))
    path = FOLDER / "exchange.json"
    old = json.loads(path.read_text("utf-8")) if path.exists() else {"steps": []}
    draws = Draws()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "shop"
        passphrase = keys["backup_passphrase"]
        backup.restore_backup(FOLDER / "workspace.backup", passphrase, home, now=START - DAY)
        clock = [START - DAY]
        with open_server(home, now=lambda: clock[0], random=draws) as server:
            stored = {step["name"]: step for step in old["steps"]}
            exchange = Exchange(server, keys, draws, stored, clock)
            issued = dict(_setup(home, server, draws))
            for days in _live(exchange, LocalAdmin(server), keys, issued):
                exchange.now = clock[0] = START + days * DAY
    return {"license_keys": issued, "steps": exchange.steps}


def _setup(home: Path, server: Server, draws: Draws) -> Iterator[tuple[str, str]]:
    """A published model, two plans and a license of each."""
    admin = LocalAdmin(server)
    draws.start("publish")
    with workspaces.open(home) as desk:
        publishing.publish(desk, admin, FOLDER / "swap.sealed", now=START - DAY)
    for name, enforcement in (("pro", "software"), ("kiosk", "online")):
        draws.start(f"license {name}")
        entitlements = [PlanEntitlement(id="face.swap")]
        terms = Plan(entitlements=entitlements, enforcement=enforcement)
        admin.create_plan(PlanDraft(name=name, terms=terms))
        wish = IssueLicense(plan=name, customer="li@example.com", expires_in_seconds=365 * 86400)
        yield name, admin.issue_license(wish).license_key


def _live(
    exchange: Exchange, admin: LocalAdmin, keys: dict[str, Any], issued: dict[str, str]
) -> Iterator[float]:
    """One life; what is yielded is the time from then on, in days."""
    laptop, kiosk = Device("laptop", keys), Device("kiosk", keys)
    activate, renew = ("activate", "POST", "/v1/devices"), ("renew", "PUT", "/v1/leases/{device}")
    pro, label = issued["pro"], "Li's laptop"
    exchange.ask("lookup", laptop, "lookup", "POST", "/v1/licenses:lookup", typed=pro)
    exchange.ask("activate", laptop, *activate, typed=pro, label=label)
    laptop.seq, laptop.prev, held = 0, None, (laptop.device_id, laptop.license_id)
    laptop.device_id = laptop.license_id = None
    yield 0.001
    exchange.ask("activate again", laptop, *activate, question="activate", typed=pro, label=label)
    assert (laptop.device_id, laptop.license_id) == held
    yield 3
    exchange.ask("renew", laptop, *renew)
    exchange.fetch("status list", exchange.steps[-1]["tokens"]["lease"]["status"]["uri"])
    yield 6
    admin.suspend_license(laptop.license_id or "", "chargeback")
    exchange.ask("renew, suspended", laptop, *renew)
    exchange.fetch("status list, suspended", "/v1/status-lists/1")
    yield 7
    admin.resume_license(laptop.license_id or "")
    exchange.ask("renew, resumed", laptop, *renew)
    yield 8
    exchange.ask("return", laptop, "return", "POST", "/v1/devices/{device}:return")
    exchange.ask("renew, returned", laptop, *renew)
    yield 9
    exchange.ask("activate, online", kiosk, *activate, typed=issued["kiosk"])
    exchange.ask("release", kiosk, "release", "POST", "/v1/devices/{device}/key-releases")


def binding_of(claims: LeaseClaims | ReleaseClaims, level: int) -> Binding:
    """What the keys in ``claims`` are sealed for (``docs/spec/tokens.md``, section 10)."""
    released = isinstance(claims, ReleaseClaims)
    return Binding(
        "release" if released else "lease", claims.product, claims.lic, claims.sub,
        claims.lease if isinstance(claims, ReleaseClaims) else claims.jti, claims.seq, claims.exp,
        level, claims.cnf.jkt, claims.request_nonce if released else None,
    )  # fmt: skip


def kem_of(question: str) -> KemPrivateKey:
    """The KEM key whose public half stands in ``question``."""
    return KemPrivateKey(_fixed(f"{question} kem", 96))


def _if_same(
    old: Any, opened: dict[tuple[bytes, int], bytes], kem: KemPrivateKey, binding: Binding
) -> SealedKeys | None:
    if old is None:
        return None
    sealed = msgspec.convert(old, SealedKeys)
    try:
        return sealed if lease_keys.open_keys(sealed, kem, binding) == opened else None
    except InvalidBytes:
        return None


def make_once() -> None:
    """Keys, trust, sealed model and backup of a fresh workspace."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    draws = Draws()
    with tempfile.TemporaryDirectory() as folder:
        home, plain = Path(folder) / "shop", Path(folder) / "swap.onnx"
        with workspaces.init(home, "facefusion", now=START, random=draws) as desk:
            plain.write_bytes(_fixed("model", 5000))
            sealed = FOLDER / "swap.sealed"
            sealed.unlink(missing_ok=True)
            sealing.seal_paths(
                desk, [plain], sealed, entitlements=["face.swap"], chunk_bytes=65536, now=START
            )
            target = FOLDER / "workspace.backup"
            target.unlink(missing_ok=True)
            backup.backup(desk, target, now=START, work=_QUICK)
            target.chmod(0o644)
            (FOLDER / "trust.json").write_bytes(desk.trust.raw)
            online = desk.online_keys
            known = {
                "note": "test keys, worth nothing",
                "server_id": desk.server_id,
                "product": desk.product,
                "backup_passphrase": desk.desk_keys.secret(RECOVERY_SECRET).decode(),
                "server": {e.use: b64u(online.private_bytes(e)) for e in online.entries()},
            }
    _write("keys.json", known)


def _with_device_keys(keys: dict[str, Any], exchange: dict[str, Any]) -> dict[str, Any]:
    devices = {name: Device(name, keys).key for name in ("laptop", "kiosk")}
    questions = {step["kem"] for step in exchange["steps"] if "kem" in step}
    return {
        **keys,
        "devices": {n: {"pkcs8": b64u(k.to_pkcs8()), "kid": k.kid} for n, k in devices.items()},
        "kem": {name: b64u(kem_of(name).to_bytes()) for name in questions},
    }


def _fixed(name: str, size: int) -> bytes:
    return hashlib.shake_256(f"modelseal vector {name}".encode()).digest(size)


def _raw(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _text(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=True, sort_keys=True) + "\n"


def _write(name: str, value: Any) -> None:
    (FOLDER / name).write_text(_text(value), "utf-8")


def main() -> int:
    """Writes the exchange, or with ``--check`` says whether it is the stored one."""
    if not (FOLDER / "keys.json").exists():
        make_once()
    made = make()
    if "--check" in sys.argv:
        return int(_text(made) != (FOLDER / "exchange.json").read_text("utf-8"))
    _write("exchange.json", made)
    _write("keys.json", _with_device_keys(json.loads((FOLDER / "keys.json").read_text()), made))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

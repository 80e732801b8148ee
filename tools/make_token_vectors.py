"""Makes ``vectors/tokens/``: fixed keys, one token of every kind, one per refusal, sealed things.

    python tools/make_token_vectors.py

Origin of every vector: this script over ``modelseal.license``. Keys come from ``keys.json`` when it
is there, so that Ed25519 and RS256 tokens are the same bytes every time; ES256, ML-DSA-65 and HPKE
draw randomness and are made anew. Second opinion: ``joserfc`` and plain ``cryptography``
(``tests/license/test_vectors.py``).
"""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.license import delegations, world  # noqa: E402
from tests.license.forgeries import tables  # noqa: E402
from tests.license.test_decide import PAIRS, facts  # noqa: E402

from modelseal.attest.verify import tpm2  # noqa: E402
from modelseal.crypto.hpke import SUITE, KemPrivateKey  # noqa: E402
from modelseal.crypto.hpke_p256 import P256PublicKey, point_jwk  # noqa: E402
from modelseal.crypto.signing import SigningKey  # noqa: E402
from modelseal.license import attested, bundle, lease, lease_keys, license_key, tokens  # noqa: E402
from modelseal.license.claims import KeyWish  # noqa: E402
from modelseal.license.decide import decide  # noqa: E402
from modelseal.license.lease import Phase, Word  # noqa: E402
from modelseal.license.lease_keys import Binding  # noqa: E402
from modelseal.license.license_key import KeyBinding  # noqa: E402
from modelseal.strict_json import b64u  # noqa: E402
from modelseal.tpm2.wire.codes import Hierarchy  # noqa: E402

FOLDER = ROOT / "vectors" / "tokens"
ALGORITHMS = ("Ed25519", "ES256", "RS256", "ML-DSA-65")
FILE = bytes(range(32))
# RFC 8032, section 7.1, test 1: a key that everybody knows
_OTHER = bytes.fromhex(
    "302e020100300506032b657004220420"
    "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
)


def main() -> None:
    """Writes every file."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    keys, device, kem = _keys()
    _write("valid.json", {"trust": _trust(), "tokens": _valid(keys, device, kem)})
    _write("refused.json", {"trust": _trust(), "tokens": _refused(keys, device)})
    _write("sealed.json", _sealed(kem))
    _write("hardware.json", _hardware(kem))
    _write("attested.json", _attested(device, kem))
    _write("delegated.json", _delegated(keys["Ed25519"]))
    _write("license_keys.json", _license_keys())
    _write("states.json", _states())
    _write("decisions.json", _decisions())


def _keys() -> tuple[dict[str, SigningKey], SigningKey, KemPrivateKey]:
    path = FOLDER / "keys.json"
    if path.exists():
        stored = json.loads(path.read_text("utf-8"))
        found = {n: SigningKey.from_pkcs8(_bytes(k["pkcs8"])) for n, k in stored["signing"].items()}
        return found, found.pop("device"), KemPrivateKey(_bytes(stored["kem"]["private"]))
    found = {alg: SigningKey.generate(alg) for alg in ALGORITHMS}
    found["device"], kem = SigningKey.generate(), KemPrivateKey.generate()
    signing = {
        name: {"alg": k.alg, "kid": k.kid, "jwk": k.jwk, "pkcs8": b64u(k.to_pkcs8())}
        for name, k in found.items()
    }
    private = {"kid": kem.kid, "jwk": kem.jwk, "private": b64u(kem.to_bytes())}
    _write("keys.json", {"note": "test keys, worth nothing", "signing": signing, "kem": private})
    return found, found.pop("device"), kem


def _trust() -> dict[str, Any]:
    """Each set may sign every kind; in ``refused.json`` the first set alone is trusted."""
    return {
        "product": world.PRODUCT,
        "server_id": world.SERVER,
        "sets": [["Ed25519"], ["ES256"], ["RS256"], ["Ed25519", "ML-DSA-65"]],
        "valid_from": world.IAT - world.DAY,
        "valid_until": world.IAT + 3650 * world.DAY,
    }


def _valid(keys: dict[str, SigningKey], device: SigningKey, kem: KemPrivateKey) -> list[Any]:
    rows = []
    for names in _trust()["sets"]:
        for claims in world.every_claims(device.kid):
            token = tokens.sign(claims, [keys[name] for name in names])
            rows.append(_row(f"{claims.TYP} {'+'.join(names)}", names, token, claims))
    for claims in (
        world.request_claims(device, kem),
        world.request_claims(device, kem, op="renew", sub=world.DEVICE, lic=world.LICENSE, seq=3),
    ):
        token = tokens.sign(claims, [device])
        rows.append(_row(f"request+jwt {claims.op}", ["device"], token, claims))
    return rows


def _row(name: str, signers: list[str], token: str, claims: Any) -> dict[str, Any]:
    plain = msgspec.to_builtins(claims)
    return {"name": name, "typ": claims.TYP, "signers": signers, "token": token, "claims": plain}


def _refused(keys: dict[str, SigningKey], device: SigningKey) -> list[Any]:
    other = SigningKey.from_pkcs8(_OTHER)
    single, hybrid = tables(
        keys["Ed25519"], keys["ML-DSA-65"], rsa=keys["RS256"], other=other, device=device
    )
    return [
        {"name": name, "hybrid": table is hybrid, "token": token, "code": code}
        for table in (single, hybrid)
        for name, (token, code) in table.items()
        if isinstance(token, str)
    ]


def _delegated(server: SigningKey) -> dict[str, Any]:
    """What a relay signed by a delegation of the Ed25519 key, and what is refused of it."""
    by = tokens.sign(world.delegation_claims(delegations.JKT), [server])
    return {
        "relay": {"kid": world.RELAY_KEY.kid, "pkcs8": b64u(world.RELAY_KEY.to_pkcs8())},
        "delegation": by,
        "lease": delegations.lease(by),
        "license": delegations.license_(by),
        "refused": [
            {"name": name, "token": token, "code": code}
            for name, (token, code) in delegations.table(server).items()
        ],
    }


def _hardware(kem: KemPrivateKey) -> dict[str, Any]:
    """A lease key of a TPM, but with its private half: the point of scalar 7 and others like it."""
    lease, ak = _point(7), _point(9)
    jwk = point_jwk(lease.x, lease.y)
    limits = [(1_000_000, 3), (2**53 - 1, 2**32 - 1)]
    binding = Binding(
        "lease", world.PRODUCT, world.LICENSE, world.DEVICE, world.LEASE, 1,
        world.IAT + 7 * world.DAY, 2, "j" * 43,
    )  # fmt: skip
    keys = {(FILE, 0): b"0" * 32, (FILE, 7): b"7" * 32}
    sealed = lease_keys.seal(keys, kem.public_key(), binding, P256PublicKey(jwk))
    key = tpm2.LeaseKey(lease, *limits[0])
    public = tpm2.lease_public(key)
    known = tpm2.attestation_public(ak)
    said = {"server": world.SERVER, "product": world.PRODUCT, "jkt": "j" * 43}
    said |= {"nonce": world.NONCE, "kem": kem.kid}
    return {
        "suite": lease_keys.HARDWARE_SUITE,
        "lease_key": {"scalar": 7, "jwk": jwk, "thumbprint": sealed.recipient},
        "policies": [[*pair, tpm2.lease_policy(*pair).hex()] for pair in limits],
        "public": public.to_bytes().hex(),
        "name": public.name.hex(),
        "qualified_name": tpm2.primary_name(public, Hierarchy.OWNER).hex(),
        "ak": {
            "scalar": 9,
            "jwk": point_jwk(ak.x, ak.y),
            "public": known.to_bytes().hex(),
            "name": known.name.hex(),
            "qualified_name": tpm2.primary_name(known, Hierarchy.ENDORSEMENT).hex(),
        },
        "bound": {"to": said, "digest": tpm2.lease_bound(**said).hex()},
        "sealed": {
            "binding": {n: v for n, v in _fields(binding).items() if v is not None},
            "info": binding.info().hex(),
            "outer_info": binding.outer_info(kem.kid).hex(),
            "sealed": msgspec.to_builtins(sealed),
            "keys": [[f.hex(), s, k.hex()] for (f, s), k in sorted(keys.items())],
        },
    }


def _attested(device: SigningKey, kem: KemPrivateKey) -> dict[str, Any]:
    """One question of an attested key release, what its evidence binds, and keys that came."""
    claims = world.request_claims(
        device, kem, op=attested.OP, sub=world.DEVICE, lic=world.LICENSE, seq=3, level=4,
        server_nonce=b64u(bytes(range(32))), server_key="k" * 43, license_key=None,
        want=[KeyWish(b64u(b"\xee" * 32), [1, 0]), KeyWish(b64u(FILE), [7])],
    )  # fmt: skip
    token = tokens.sign(claims, [device])
    transcript = attested.of(claims, token)
    binding = Binding(
        "attested-release", world.PRODUCT, world.LICENSE, world.DEVICE, world.LEASE, 3,
        world.IAT + world.DAY, 4, device.kid, claims.nonce, transcript.digest, b"r" * 32,
    )  # fmt: skip
    keys = {(FILE, 7): b"7" * 32, (b"\xee" * 32, 0): b"0" * 32, (b"\xee" * 32, 1): b"1" * 32}
    sealed = lease_keys.seal(keys, kem.public_key(), binding)
    return {
        "request": token,
        "transcript": transcript.encoded.hex(),
        "bound": {kind: transcript.bound(kind).hex() for kind in ("snp", "tpm2")},
        "sealed": {
            "binding": {
                name: value.hex() if isinstance(value, bytes) else value
                for name, value in _fields(binding).items()
            },
            "info": binding.info().hex(),
            "sealed": msgspec.to_builtins(sealed),
            "keys": [[f.hex(), s, k.hex()] for (f, s), k in sorted(keys.items())],
        },
    }


def _point(scalar: int) -> tpm2.Point:
    at = ec.derive_private_key(scalar, ec.SECP256R1()).public_key().public_numbers()
    return tpm2.Point(at.x.to_bytes(32, "big"), at.y.to_bytes(32, "big"))


def _sealed(kem: KemPrivateKey) -> dict[str, Any]:
    binding = Binding(
        "lease", world.PRODUCT, world.LICENSE, world.DEVICE, world.LEASE, 1,
        world.IAT + 7 * world.DAY, 0, "j" * 43,
    )  # fmt: skip
    contents = {(FILE, 0): b"0" * 32, (FILE, 7): b"7" * 32, (b"\xff" * 32, -1): b"b" * 32}
    rows = []
    for label, nonce in (("lease", None), ("release", world.NONCE)):
        bound = Binding(**{**_fields(binding), "label": label, "nonce": nonce})
        sealed = lease_keys.seal(contents, kem.public_key(), bound)
        rows.append(
            {
                "binding": {n: v for n, v in _fields(bound).items() if v is not None},
                "info": bound.info().hex(),
                "sealed": msgspec.to_builtins(sealed),
                "keys": [[f.hex(), s, k.hex()] for (f, s), k in sorted(contents.items())],
            }
        )
    key_binding = KeyBinding(world.SERVER, world.PRODUCT, "j" * 43, world.NONCE)
    raw = bytes(range(10))
    text = license_key.format_key(raw)
    data = bundle.seal_bundle(
        {(FILE, 1): b"1" * 32, (FILE, 2): b"2" * 32},
        product=world.PRODUCT,
        license=world.LICENSE,
        bundle_key=b"B" * 32,
        random=lambda count: b"N" * count,
        variants={(FILE, 9): [(b"l" * 16, b"v" * 32), (b"m" * 16, b"w" * 32)]},
    )
    return {
        "suite": SUITE,
        "keys": rows,
        "license_key": {
            "binding": _fields(key_binding),
            "info": key_binding.info().hex(),
            "text": text,
            "raw": raw.hex(),
            "sealed": msgspec.to_builtins(license_key.seal(text, kem.public_key(), key_binding)),
        },
        "bundle": {
            "product": world.PRODUCT,
            "license": world.LICENSE,
            "bundle_key": (b"B" * 32).hex(),
            "data": data.hex(),
            "keys": [[FILE.hex(), 1, "31" * 32], [FILE.hex(), 2, "32" * 32]],
            "variants": [[FILE.hex(), 9, [["6c" * 16, "76" * 32], ["6d" * 16, "77" * 32]]]],
        },
    }


def _license_keys() -> dict[str, Any]:
    raws = [bytes(10), b"\xff" * 10, bytes(range(10)), bytes.fromhex("0123456789abcdef0123")]
    good = license_key.format_key(raws[3])
    groups = good.split("-")
    wrong = {
        "one wrong symbol": (good[:-1] + ("0" if good[-1] != "0" else "1"), 4),
        "two neighbours exchanged": (
            "-".join([groups[0], groups[1][1] + groups[1][0] + groups[1][2:], *groups[2:]]),
            1,
        ),
        "two groups exchanged": ("-".join([groups[0], groups[2], groups[1], *groups[3:]]), 1),
        "a letter that is no symbol": (good[:4] + "U" + good[5:], 1),
        "too short": (good[:-1], None),
        "too long": (good + "0", None),
        "empty": ("", None),
    }
    return {
        "valid": [{"raw": raw.hex(), "text": license_key.format_key(raw)} for raw in raws],
        "typed": [
            {"typed": good.lower(), "raw": raws[3].hex()},
            {"typed": good[3:].replace("-", " "), "raw": raws[3].hex()},
            {"typed": good.replace("0", "O").replace("1", "l"), "raw": raws[3].hex()},
        ],
        "mistyped": [{"name": n, "typed": t, "group": g} for n, (t, g) in wrong.items()],
    }


def _states() -> list[Any]:
    return [
        {"said_last": word.value, "life": phase.value, "state": lease.TABLE[word, phase].value}
        for word in Word
        for phase in Phase
    ]


def _decisions() -> list[Any]:
    rows = []
    for case in PAIRS:
        action, _, change = case.values
        asked = facts(action, **change)
        found = decide(asked)
        rows.append(
            {
                "name": case.id,
                "facts": asked.to_builtins(),
                "code": found.code,
                "step": found.step,
                "params": found.params,
            }
        )
    return rows


def _fields(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__struct_fields__}


def _write(name: str, value: Any) -> None:
    text = json.dumps(value, indent=1, ensure_ascii=True, sort_keys=True)
    (FOLDER / name).write_text(text + "\n", "utf-8")


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


if __name__ == "__main__":
    main()

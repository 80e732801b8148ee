"""A second reader of sealed models, written from ``docs/spec/sealed-model.md`` alone.

It shares no code with the package and uses only cryptography, cbor2 and blake3. It is for vectors:
it holds everything in memory. ``read_case`` plays one case of the manifest.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import itertools
import json
import re
import struct
import unicodedata

import cbor2
from blake3 import blake3
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, hpke
from cryptography.hazmat.primitives.asymmetric import ed25519, mldsa, mlkem, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MAGIC = bytes.fromhex("894d534c310d0a1a")
CLOSED = {"signer", "signature", "recovery", "together"}
NAME = re.compile(r"[a-z0-9][a-z0-9_-]*(\.[a-z0-9][a-z0-9_-]*)*")
KIND = re.compile(r"[a-z][a-z0-9_-]{0,31}")
DEVICES = {"con", "prn", "aux", "nul"} | {f"{p}{d}" for p in ("com", "lpt") for d in "0123456789¹²³"}


class Refusal(Exception):
    def __init__(self, code, why=""):
        super().__init__(f"{code}: {why}")
        self.code = code


def need(condition, code, why=""):
    if not condition:
        raise Refusal(code, why)


def whole(value, low, high):
    return type(value) is int and low <= value <= high


def octets(value, low, high=None):
    return type(value) is bytes and low <= len(value) <= (high or low)


def text(value, high):
    return type(value) is str and 1 <= len(value) <= high


def clean(value):
    good = all(unicodedata.category(c) not in ("Cc", "Cs", "Zl", "Zp") for c in value)
    return good and unicodedata.normalize("NFC", value) == value


def label(value):
    return text(value, 128) and value == value.strip() and not set("/\\") & set(value) and clean(value)


def plain_type(value, depth=0):
    if depth > 16:
        return False
    if isinstance(value, list):
        return all(plain_type(v, depth + 1) for v in value)
    if isinstance(value, dict):
        return all(type(k) in (int, str) and plain_type(v, depth + 1) for k, v in value.items())
    return value is None or type(value) in (int, bool, str, bytes)


def decode(data, code):
    try:
        value = cbor2.CBORDecoder(io.BytesIO(data)).decode()
        same = plain_type(value) and cbor2.dumps(value, canonical=True) == data
    except Exception as error:
        raise Refusal(code, f"CBOR {type(error).__name__}") from None
    need(same, code, "not deterministic")
    return value


def critical(value, known, code, version_code):
    """The map's crit: well-formed and known."""
    need(type(value) is dict and all(type(k) is str for k in value), code, "no map")
    if "crit" not in value:
        return
    names = value["crit"]
    need(type(names) is list and names and all(type(n) is str for n in names), code, "crit")
    need(names == sorted(set(names)) and set(names) <= value.keys() - {"crit"}, code, "crit")
    need(set(names) <= set(known.split()), version_code, "unknown critical member")


def closed(value, names):
    return type(value) is dict and sorted(value) == sorted(names.split())


def thumbprint(jwk):
    raw = json.dumps(jwk, sort_keys=True, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(hashlib.sha256(raw).digest()).rstrip(b"=").decode()


class Reader:
    def __init__(self, data):
        self.data = data
        self._prologue()
        self.header = decode(data[128 : self.signatures_at], "container_malformed")
        self._header()
        self._signatures()
        self.salt = hashlib.sha256(data[:128]).digest()
        self.gaps = {}

    def hash(self, data):
        return blake3(data).digest() if self.suite == 1 else hashlib.sha256(data).digest()

    def _prologue(self):
        data, bad = self.data, "container_malformed"
        need(data[:8] == MAGIC, "not_sealed")
        need(len(data) >= 128, "container_truncated")
        (version, self.suite, self.chunk, self.file_id, self.plain_size, self.size, header_at,
         header_size, signatures_size, self.signatures_at, self.leaves_at, self.data_at,
         self.section_count, self.stored_count) = struct.unpack_from("<HHI32sQQQIIQQQII", data, 8)  # fmt: skip
        need(version == 1 and self.suite in (1, 2), "container_version")
        need(not any(data[112:128]), bad)
        need(self.chunk in [1 << n for n in range(16, 24)], bad)
        need(1 <= header_size <= 1 << 20 and 1 <= signatures_size <= 65536, bad)
        need(1 <= self.section_count <= 1024, bad)
        need(self.section_count <= self.stored_count <= 4194304 and self.size < 1 << 63, bad)
        need(header_at == 128 and self.signatures_at == 128 + header_size, bad)
        need(self.leaves_at == self.signatures_at + signatures_size, bad)
        need(32 * self.stored_count <= self.data_at - self.leaves_at <= 84 * self.stored_count, bad)
        tags = 16 * self.stored_count
        need(tags <= self.size - self.data_at <= tags + self.chunk * self.stored_count, bad)
        need(self.plain_size <= self.size, bad)
        need(len(data) >= self.size, "container_truncated")
        need(len(data) in (self.size, self.size + 4), bad, "bytes follow")

    def _header(self):
        header, bad = self.header, "container_malformed"
        need(type(header) is dict and all(type(k) is str for k in header), bad, "header no map")
        need(whole(header.get("min_reader"), 1, 2**32), bad, "min_reader")
        need(header["min_reader"] <= 1, "container_version", "min_reader")
        critical(header, "product model model_version release created_at min_reader leaf_hash signers recovery sections", bad, "container_version")  # fmt: skip
        need(all(label(header.get(n)) for n in ("product", "model", "model_version")), bad, "label")
        need(whole(header.get("release"), 0, 2**53 - 1), bad, "release")
        need(whole(header.get("created_at"), 0, 253402300799), bad, "created_at")
        need(octets(header.get("leaf_hash"), 32), bad, "leaf_hash")
        signers = header.get("signers")
        need(type(signers) is list and 1 <= len(signers) <= 8, bad, "signers")
        for signer in signers:
            need(closed(signer, "alg kid"), bad, "signer")
            need(text(signer["alg"], 32) and text(signer["kid"], 128), bad, "signer")
        need(len({(s["alg"], s["kid"]) for s in signers}) == len(signers), bad, "signer twice")
        recovery = header.get("recovery")
        need(closed(recovery, "kid ct"), bad, "recovery")
        need(text(recovery["kid"], 128) and octets(recovery["ct"], 1, 1 << 20), bad, "recovery")
        need(type(header.get("sections")) is list and header["sections"], bad, "sections")
        for number, section in enumerate(header["sections"]):
            self._section(number, section)
        self._geometry()

    def _section(self, number, s):
        bad = "container_malformed"
        critical(s, "id kind first count stored stored_last bytes commitment source level memory entitlement together", bad, "container_version")  # fmt: skip
        kind = s.get("kind")
        need(type(kind) is str and KIND.fullmatch(kind), bad, "kind")
        need((kind == "index") == (number == 0), bad, "kind index")
        need(type(s.get("id")) is int and s["id"] == number, bad, "id")
        need(whole(s.get("first"), 0, 1 << 22) and whole(s.get("count"), 1, 1 << 22), bad, "counts")
        need(whole(s.get("bytes"), 0, 1 << 36 if number else 1 << 26), bad, "bytes")
        need(octets(s.get("commitment"), 32), bad, "commitment")
        need(s.get("source") in ("lease", "bundle") and whole(s.get("level"), 0, 5), bad, "source")
        need(s.get("memory") in ("none", "locked", "secret"), bad, "memory")
        if kind == "variant":
            last, n = s.get("stored_last"), s["count"] - 1
            need(s["source"] == "bundle" and whole(last, 2, 16), bad, "variant")
            need(whole(s.get("stored"), 2 * n + last, 16 * n + last), bad, "stored")
        if number == 0:
            need("entitlement" not in s and "together" not in s and s["source"] == "lease", bad)
            return
        texts = s.get("entitlement")
        need(type(texts) is list and 1 <= len(texts) <= 64, bad, "entitlement")
        for item in texts:
            need(type(item) is str, bad, "entitlement")
            names = item.split("+")
            need(names == sorted(set(names)) and len(names) <= 16, bad, "entitlement names")
            need(all(NAME.fullmatch(n) and len(n) <= 64 for n in names), bad, "entitlement name")
        need(texts == sorted(set(texts)), bad, "entitlement order")
        if "together" in s:
            need(type(s["together"]) is list and 1 <= len(s["together"]) <= 8, bad, "together")
            for other in s["together"]:
                need(closed(other, "model secret_hash"), bad, "together")
                need(label(other["model"]) and octets(other["secret_hash"], 32), bad, "together")
            need(len({o["model"] for o in s["together"]}) == len(s["together"]), bad, "together")

    def _geometry(self):
        """``self.places[section][n]`` is offset and size of its n-th stored chunk."""
        bad, sections = "container_malformed", self.header["sections"]
        need(len(sections) == self.section_count, bad, "section count")
        offset, stored, records, self.places = self.data_at, 0, 0, []
        for s in sections:
            need(s["count"] == max(1, -(-s["bytes"] // self.chunk)), bad, "count")
            need(s["first"] == stored and s["count"] <= self.stored_count, bad, "first")
            n, last = (s["stored"], s["stored_last"]) if s["kind"] == "variant" else (s["count"], 1)
            need(stored + n <= self.stored_count, bad, "stored")
            rest = s["bytes"] - (s["count"] - 1) * self.chunk
            sizes = [self.chunk + 16] * (n - last) + [rest + 16] * last
            starts = itertools.accumulate(sizes, initial=offset)
            self.places.append(list(zip(starts, sizes, strict=False)))
            offset, stored = offset + sum(sizes), stored + n
            records += n if s["kind"] == "variant" else 0
        need((offset, stored) == (self.size, self.stored_count), bad, "file size")
        need(sum(s["bytes"] for s in sections) == self.plain_size, bad, "plaintext size")
        need(self.data_at - self.leaves_at == 32 * stored + 52 * records, bad, "leaf table size")

    def _signatures(self):
        bad, signers = "container_malformed", self.header["signers"]
        self.signatures = decode(self.data[self.signatures_at : self.leaves_at], bad)
        need(type(self.signatures) is list and len(self.signatures) == len(signers), bad)
        for entry, signer in zip(self.signatures, signers, strict=True):
            need(closed(entry, "alg kid sig") and octets(entry["sig"], 1, 16384), bad, "signature")
            need((entry["alg"], entry["kid"]) == (signer["alg"], signer["kid"]), bad, "signature")

    def verify(self, pinned, product, min_release):
        keys = {}
        for jwk in pinned:
            raw = base64.urlsafe_b64decode((jwk.get("x") or jwk["pub"]) + "==")
            if jwk["kty"] == "OKP":
                found = "Ed25519", ed25519.Ed25519PublicKey.from_public_bytes(raw)
            else:
                found = "ML-DSA-65", mldsa.MLDSA65PublicKey.from_public_bytes(raw)
            keys[found[0], thumbprint(jwk)] = found[1]
        ours = [s for s in self.signatures if (s["alg"], s["kid"]) in keys]
        need(ours, "wrong_publisher")
        need({s["alg"] for s in ours} == {alg for alg, _ in keys}, "container_signature", "missing")
        digest = hashlib.sha512(self.data[: self.signatures_at]).digest()
        message = b"modelseal v1 sealed model signature\0" + digest
        for s in ours:
            try:
                keys[s["alg"], s["kid"]].verify(s["sig"], message)
            except InvalidSignature:
                raise Refusal("container_signature", s["alg"]) from None
        need(product in (None, self.header["product"]), "wrong_product")
        need(self.header["release"] >= min_release, "release_too_old")

    def hkdf(self, ikm, info):
        return HKDF(hashes.SHA256(), 32, self.salt, info).derive(ikm)

    def committed(self, key, info, expected):
        good = len(key) == 32 and hmac.compare_digest(self.hkdf(key, info), expected)
        need(good, "container_damaged", "commitment")

    def leaf(self, stored):
        table = self.data[self.leaves_at : self.data_at]
        need(self.hash(table) == self.header["leaf_hash"], "container_damaged", "leaf table")
        return table[32 * stored : 32 * stored + 32]

    def records(self, number):
        self.leaf(0)
        s, bad = self.header["sections"][number], "container_damaged"
        before = [x for x in self.header["sections"][:number] if x["kind"] == "variant"]
        at = self.leaves_at + 32 * self.stored_count + 52 * sum(x["stored"] for x in before)
        raw = self.data[at : at + 52 * s["stored"]]
        need(self.hash(raw) == s["commitment"], bad, "records")
        found = list(struct.iter_unpack("<I16s32s", raw))
        order = [(index, name) for index, name, _ in found]
        need(order == sorted(set(order)), bad, "records order")
        counts = [sum(1 for r in found if r[0] == index) for index in range(s["count"])]
        need(sum(counts) == len(found) and all(2 <= c <= 16 for c in counts), bad, "records count")
        need(counts[-1] == s["stored_last"], bad, "records last")
        return found

    def open_section(self, number, data_key, together, bundle):
        s = self.header["sections"][number]
        variant = s["kind"] == "variant"
        if variant:
            records = self.records(number)
        else:
            self.committed(data_key, b"modelseal v1 commitment", s["commitment"])
        secrets = b""
        for other in s.get("together", []):
            secret = together.get(other["model"], b"")
            made = hashlib.sha256(b"modelseal v1 together secret\0" + secret).digest()
            need(made == other["secret_hash"], "together_missing")
            secrets += secret
        out = b""
        for index in range(s["count"]):
            if variant:
                name, key = bundle[index]
                found = [n for n, r in enumerate(records) if r[:2] == (index, name)]
                need(found, "container_damaged", "no such variant")
                place = struct.pack("<II", number, index) + name
                info = b"modelseal v1 variant commitment" + place
                self.committed(key, info, records[found[0]][2])
                n, info = found[0], b"modelseal v1 variant chunk key" + place
            else:
                n, name, key = index, b"", data_key
                info = b"modelseal v1 chunk key" + struct.pack("<I", number)
            offset, size = self.places[number][n]
            stored = self.data[offset : offset + size]
            need(self.hash(stored) == self.leaf(s["first"] + n), "container_damaged", "leaf")
            nonce = bytes([index == s["count"] - 1, 0, 0, 0]) + struct.pack("<Q", index)
            aad = MAGIC + struct.pack("<II", number, s["first"] + n) + name
            try:
                out += AESGCM(self.hkdf(key + secrets, info)).decrypt(nonce, stored, aad)
            except InvalidTag:
                raise Refusal("container_damaged", "tag") from None
        gaps = self.gaps.get(number, [])
        need(not any(out[p] for a, b in gaps for p in range(a, b)), "container_damaged", "padding")
        return out

    def read_index(self, plain):
        bad = "container_damaged"
        need(len(plain) >= 8 and len(plain) % 4096 == 0, bad, "index length")
        size = struct.unpack_from("<Q", plain)[0]
        need(0 <= len(plain) - 8 - size < 4096 and not any(plain[8 + size :]), bad, "index padding")
        index = decode(plain[8 : 8 + size], bad)
        critical(index, "typ version entries names secret", bad, bad)
        need(index.get("typ") == "modelseal-index" and index.get("version") == 1, bad, "typ")
        need(type(index.get("entries")) is list and index["entries"], bad, "entries")
        sections = self.header["sections"]
        names = index.get("names", {1: "x"})
        need(type(names) is dict and names, bad, "names")
        for n, name in names.items():
            need(whole(n, 1, len(sections) - 1) and label(name), bad, "names")
        need("secret" not in index or octets(index["secret"], 32), bad, "secret")
        files, folders, inside = set(), set(), {n: [] for n in range(1, len(sections))}
        for entry in index["entries"]:
            self._entry(entry, inside)
            folded = unicodedata.normalize("NFC", entry["name"].casefold())
            need(folded not in files, bad, "name twice")
            files.add(folded)
            folders |= {folded[:at] for at, c in enumerate(folded) if c == "/"}
        need(not files & folders, bad, "file and folder")
        for number, extents in inside.items():
            end, self.gaps[number] = 0, []
            for _, offset, length, *_ in sorted(extents, key=lambda x: x[1:3]):
                need(offset % (self.chunk if length >= self.chunk else 64) == 0, bad, "alignment")
                need(0 <= offset - end < self.chunk, bad, "overlap or gap")
                self.gaps[number].append((end, offset))
                end = offset + length
            need(extents and end == sections[number]["bytes"], bad, "end of section")
        return index

    def _entry(self, entry, inside):
        bad, end = "container_damaged", 0
        critical(entry, "name role extents", bad, bad)
        name, extents = entry.get("name"), entry.get("extents")
        need(type(name) is str and clean(name) and len(name.encode()) <= 1024, bad, "name")
        parts = name.split("/")
        need(not set("\\:") & set(name) and len(parts) <= 32, bad, "name")
        for part in parts:
            need(part not in ("", ".", "..") and part[-1] not in ". ", bad, "name part")
            need(len(part.encode()) <= 255, bad, "name part")
            need(part.split(".")[0].rstrip(" ").casefold() not in DEVICES, bad, "device name")
        role = entry.get("role", "aux")
        need(type(role) is str and KIND.fullmatch(role) and role != "file", bad, "role")
        need(type(extents) is list and extents, bad, "extents")
        for extent in extents:
            need(type(extent) is list and len(extent) == 5 and octets(extent[4], 32), bad, "extent")
            need(all(whole(n, 0, 2**63 - 1) for n in extent[:4]), bad, "extent")
            need(extent[0] in inside and extent[3] == end, bad, "extent place")
            need(extent[2] or len(extents) == 1, bad, "empty extent")
            inside[extent[0]].append(extent)
            end += extent[2]

    def check_leaves(self, holes):
        for s, places in zip(self.header["sections"], self.places, strict=True):
            for n, (offset, size) in enumerate(places):
                stored = self.data[offset : offset + size]
                hole = holes and s["kind"] == "variant" and not any(stored)
                need(hole or self.hash(stored) == self.leaf(s["first"] + n), "container_damaged")

    def recover(self, private, kid):
        kem = mlkem.MLKEM768PrivateKey.from_seed_bytes(private[:64])
        ecdh = x25519.X25519PrivateKey.from_private_bytes(private[64:])
        h = self.header
        bound = {n: h[n] for n in ("product", "model", "release")}
        bound |= {"file_id": self.file_id, "prologue": self.salt, "kid": kid}
        info = cbor2.dumps(["modelseal", "sealed-model recovery", bound], canonical=True)
        suite = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
        key = hpke.MLKEM768X25519PrivateKey(kem, ecdh)
        return decode(suite.decrypt(h["recovery"]["ct"], key, info), "container_damaged")


def read_case(data, case, keys):
    """The files that the case's keys open, by name; raises ``Refusal``."""
    reader = Reader(data)
    pinned = [keys[name] for name in case["trust"]]
    reader.verify(pinned, case["product"], case.get("min_release", 0))
    data_keys = {int(n): bytes.fromhex(key) for n, key in case["data_keys"].items()}
    together = {model: bytes.fromhex(s) for model, s in case.get("together", {}).items()}
    bundle = {
        int(n): [(bytes.fromhex(a), bytes.fromhex(b)) for a, b in pairs]
        for n, pairs in case.get("bundle_keys", {}).items()
    }
    index = reader.read_index(reader.open_section(0, data_keys[0], {}, None))
    plain = {
        n: reader.open_section(n, data_keys.get(n), together, bundle.get(n))
        for n in sorted((data_keys.keys() | bundle.keys()) - {0})
    }
    files = {}
    for entry in index["entries"]:
        if {extent[0] for extent in entry["extents"]} <= plain.keys():
            pieces = [plain[x[0]][x[1] : x[1] + x[2]] for x in entry["extents"]]
            for piece, extent in zip(pieces, entry["extents"], strict=True):
                need(blake3(piece).digest() == extent[4], "container_damaged", "digest")
            files[entry["name"]] = b"".join(pieces)
    reader.check_leaves(case.get("holes", False))
    return files, reader

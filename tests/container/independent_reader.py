"""A second reader of sealed models, written from ``docs/spec/sealed-model.md`` alone.

It shares no code with the package: cryptography, cbor2 and blake3 only, everything in memory.
"""

import hashlib
import re
import struct
import unicodedata
from itertools import accumulate, pairwise

import cbor2
from blake3 import blake3
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.constant_time import bytes_eq
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MAGIC, SIGNED = b"\x89MSL1\r\n\x1a", b"modelseal v1 sealed model signature\0"
BAD, VERSION, DAMAGED = "container_malformed", "container_version", "container_damaged"
DEVICE = "con|prn|aux|nul|(com|lpt)[0-9¹²³]"


class Refusal(Exception):
    """Its one argument is the code."""


def need(code, *conditions):
    if not all(conditions):
        raise Refusal(code)


def fit(of, low, high, item=lambda part: True):
    """A check: the type, then the value or the length within the range, then every item."""
    return lambda value: (
        type(value) is of
        and low <= (value if of is int else len(value)) <= high
        and (of is not list or all(map(item, value)))
    )


def text(pattern, high):
    return lambda value: (
        fit(str, 1, high)(value)
        and re.fullmatch(pattern, value) is not None
        and unicodedata.is_normalized("NFC", value)
        and not any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in value)
    )


def closed(**members):
    return lambda value: (
        type(value) is dict
        and value.keys() == members.keys()
        and all(fits(value[name]) for name, fits in members.items())
    )


def entitlement(value):
    names = value.split("+") if type(value) is str else []
    known = all(map(text(r"[a-z0-9][a-z0-9_-]*(\.[a-z0-9][a-z0-9_-]*)*", 64), names))
    return known and names == sorted(set(names)) and 1 <= len(names) <= 16


# fmt: off
ANY, LONE, COUNT, HASH = 1 << 26, (True, "lease", True), fit(int, 0, 1 << 22), fit(bytes, 32, 32)
ALG, KID, KIND = fit(str, 1, 32), fit(str, 1, 128), text("[a-z][a-z0-9_-]*", 32)
LABEL, PATH = text(r"(?=\S)[^/\\]+(?<=\S)", 128), text(r"[^\\:]+", 1024)
SIGNER, SIGNATURE = closed(alg=ALG, kid=KID), closed(alg=ALG, kid=KID, sig=fit(bytes, 1, 16384))
HEADER = {
    "product": LABEL, "model": LABEL, "model_version": LABEL, "release": fit(int, 0, 2**53 - 1),
    "created_at": fit(int, 0, 253402300799), "min_reader": fit(int, 1, 2**32), "leaf_hash": HASH,
    "signers": fit(list, 1, 8, SIGNER), "sections": fit(list, 1, 1024),
    "recovery": closed(kid=KID, ct=fit(bytes, 1, 1 << 20)),
}
SECTION = {
    "id": COUNT, "kind": KIND, "first": COUNT, "count": fit(int, 1, 1 << 22), "stored?": COUNT,
    "stored_last?": fit(int, 2, 16), "bytes": fit(int, 0, 1 << 36), "commitment": HASH,
    "source": ["lease", "bundle"].__contains__, "level": fit(int, 0, 5),
    "memory": ["none", "locked", "secret"].__contains__,
    "entitlement?": fit(list, 1, 64, entitlement),
    "together?": fit(list, 1, 8, closed(model=LABEL, secret_hash=HASH)),
}
INDEX = {"typ": ["modelseal-index"].__contains__, "version": fit(int, 1, 1),
         "entries": fit(list, 1, ANY), "secret?": HASH,
         "names?": lambda names: fit(dict, 1, ANY)(names) and all(map(LABEL, names.values()))}
ENTRY = {"name": PATH, "extents": fit(list, 1, ANY, fit(list, 5, 5)), "role?": KIND}
# fmt: on


def plain(value, depth=0):
    if type(value) is dict:
        return all(type(k) in (int, str) for k in value) and plain([*value.values()], depth)
    if type(value) is list:
        return depth < 16 and all(plain(item, depth + 1) for item in value)
    return value is None or type(value) in (int, bool, str, bytes)


def decode(data, code):
    try:
        value = cbor2.loads(data)
        same = plain(value) and cbor2.dumps(value, canonical=True) == data
    except Exception:
        raise Refusal(code) from None
    need(code, same)
    return value


def check(value, members, code, version_code):
    """An open map: ``crit`` is well-formed and known, then each known member fits."""
    need(code, type(value) is dict and all(type(name) is str for name in value))
    known = {name.rstrip("?"): fits for name, fits in members.items()}
    if "crit" in value:
        names = value["crit"]
        need(code, fit(list, 1, ANY, fit(str, 0, ANY))(names))
        need(code, names == sorted(set(names)), set(names) <= value.keys() - {"crit"})
        need(version_code, set(names) <= known.keys())
    need(code, all(name in value for name in members if not name.endswith("?")))
    need(code, all(fits(value[name]) for name, fits in known.items() if name in value))


class Reader:
    def __init__(self, data):
        self.data, self.gaps = data, {}
        self.prologue(data)
        self.salt = hashlib.sha256(data[:128]).digest()
        self.header = decode(data[128 : self.signatures_at], BAD)
        self.check_header(self.header)
        self.places = self.geometry(self.header["sections"])
        self.signatures = decode(data[self.signatures_at : self.leaves_at], BAD)
        need(BAD, fit(list, 1, 8, SIGNATURE)(self.signatures))
        made_by = [{"alg": s["alg"], "kid": s["kid"]} for s in self.signatures]
        need(BAD, made_by == self.header["signers"])

    def hash(self, data):
        return blake3(data).digest() if self.suite == 1 else hashlib.sha256(data).digest()

    def prologue(self, data):
        need("not_sealed", data[:8] == MAGIC)
        need("container_truncated", len(data) >= 128)
        fields = struct.unpack_from("<HHI32sQQQIIQQQII", data, 8)
        version, self.suite, self.chunk, self.file_id, self.plain_size, self.size, at = fields[:7]
        header, signatures, self.signatures_at, self.leaves_at, self.data_at, *counts = fields[7:]
        self.counts = counts
        need(VERSION, version == 1 and self.suite in (1, 2))
        table, body, stored = self.data_at - self.leaves_at, self.size - self.data_at, counts[1]
        need(BAD, not any(data[112:128]), self.chunk in [1 << n for n in range(16, 24)])
        need(BAD, 1 <= header <= 1 << 20, 1 <= signatures <= 65536, 1 <= counts[0] <= 1024)
        need(BAD, counts[0] <= stored <= 4194304, at == 128, self.signatures_at == 128 + header)
        need(BAD, self.leaves_at == self.signatures_at + signatures)
        need(BAD, 32 * stored <= table <= 84 * stored, self.plain_size <= self.size < 1 << 63)
        need(BAD, 16 * stored <= body <= (16 + self.chunk) * stored)
        need("container_truncated", len(data) >= self.size)
        need(BAD, len(data) in (self.size, self.size + 4))

    def check_header(self, header):
        need(BAD, type(header) is dict and all(type(name) is str for name in header))
        need(BAD, HEADER["min_reader"](header.get("min_reader")))
        need(VERSION, header["min_reader"] == 1)
        check(header, HEADER, BAD, VERSION)
        need(BAD, len({(*s.items(),) for s in header["signers"]}) == len(header["signers"]))
        for number, s in enumerate(header["sections"]):
            check(s, SECTION, BAD, VERSION)
            need(BAD, s["id"] == number, ("entitlement" in s) == (number > 0))
            need(BAD, (s["kind"] == "index") == (number == 0))
            need(BAD, number or ("together" not in s, s["source"], s["bytes"] <= ANY) == LONE)
            texts, models = s.get("entitlement", []), [x["model"] for x in s.get("together", [])]
            need(BAD, texts == sorted(set(texts)), len(set(models)) == len(models))
            if s["kind"] == "variant":
                last, n = s.get("stored_last", 99), s["count"] - 1
                counted = fit(int, 2 * n + last, 16 * n + last)(s.get("stored"))
                need(BAD, s["source"] == "bundle", last <= 16, counted)

    def geometry(self, sections):
        """The place of every stored chunk, section by section."""
        places, offset, stored, records = [], self.data_at, 0, 0
        need(BAD, len(sections) == self.counts[0])
        for s in sections:
            count = max(1, -(-s["bytes"] // self.chunk))
            need(BAD, s["count"] == count, s["first"] == stored)
            n, last = (s["stored"], s["stored_last"]) if s["kind"] == "variant" else (s["count"], 1)
            need(BAD, stored + n <= self.counts[1])
            rest = s["bytes"] - (s["count"] - 1) * self.chunk
            sizes = [self.chunk + 16] * (n - last) + [rest + 16] * last
            places.append([slice(*p) for p in pairwise(accumulate(sizes, initial=offset))])
            offset, stored = offset + sum(sizes), stored + n
            records += n if s["kind"] == "variant" else 0
        need(BAD, (offset, stored) == (self.size, self.counts[1]))
        need(BAD, sum(s["bytes"] for s in sections) == self.plain_size)
        need(BAD, self.data_at - self.leaves_at == 32 * stored + 52 * records)
        return places

    def verify(self, keys, product, min_release):
        """``keys``: the pinned public keys by algorithm and thumbprint."""
        ours = [s for s in self.signatures if (s["alg"], s["kid"]) in keys]
        need("wrong_publisher", ours)
        need("container_signature", {s["alg"] for s in ours} == {alg for alg, _ in keys})
        digest = hashlib.sha512(self.data[: self.signatures_at]).digest()
        try:
            for s in ours:
                keys[s["alg"], s["kid"]].verify(s["sig"], SIGNED + digest)
        except InvalidSignature:
            raise Refusal("container_signature") from None
        need("wrong_product", product in (None, self.header["product"]))
        need("release_too_old", self.header["release"] >= min_release)

    def hkdf(self, ikm, info, expected=None):
        made = HKDF(hashes.SHA256(), 32, self.salt, b"modelseal v1 " + info).derive(ikm)
        need(DAMAGED, expected is None or (len(ikm) == 32 and bytes_eq(made, expected)))
        return AESGCM(made)

    def leaf(self, stored):
        table = self.data[self.leaves_at : self.data_at]
        need(DAMAGED, self.hash(table) == self.header["leaf_hash"])
        return table[32 * stored :][:32]

    def records(self, number):
        self.leaf(0)
        s, before = self.header["sections"][number], self.header["sections"][:number]
        before = sum(x["stored"] for x in before if x["kind"] == "variant")
        at = self.leaves_at + 32 * self.counts[1] + 52 * before
        raw = self.data[at : at + 52 * s["stored"]]
        need(DAMAGED, self.hash(raw) == s["commitment"])
        found = list(struct.iter_unpack("<I16s32s", raw))
        order = [record[:2] for record in found]
        counts = [sum(1 for index, _ in order if index == n) for n in range(s["count"])]
        need(DAMAGED, order == sorted(set(order)), all(2 <= n <= 16 for n in counts))
        need(DAMAGED, sum(counts) == len(found), counts[-1] == s["stored_last"])
        return found

    def open_section(self, number, data_key, together, bundle):
        s, secrets, out = self.header["sections"][number], b"", b""
        records = self.records(number) if s["kind"] == "variant" else None
        if records is None:
            self.hkdf(data_key, b"commitment", s["commitment"])
        for other in s.get("together", []):
            secrets += (secret := together.get(other["model"], b""))
            made = hashlib.sha256(b"modelseal v1 together secret\0" + secret).digest()
            need("together_missing", made == other["secret_hash"])
        for index in range(s["count"]):
            n, name, key, info = index, b"", data_key, b"chunk key" + struct.pack("<I", number)
            if records is not None:
                name, key = bundle[index]
                n = next((n for n, r in enumerate(records) if r[:2] == (index, name)), None)
                need(DAMAGED, n is not None)
                place = struct.pack("<II", number, index) + name
                self.hkdf(key, b"variant commitment" + place, records[n][2])
                info = b"variant chunk key" + place
            stored = self.data[self.places[number][n]]
            need(DAMAGED, self.hash(stored) == self.leaf(s["first"] + n))
            nonce = bytes([index == s["count"] - 1, 0, 0, 0]) + struct.pack("<Q", index)
            aad = MAGIC + struct.pack("<II", number, s["first"] + n) + name
            try:
                out += self.hkdf(key + secrets, info).decrypt(nonce, stored, aad)
            except InvalidTag:
                raise Refusal(DAMAGED) from None
        need(DAMAGED, not any(any(out[low:high]) for low, high in self.gaps.get(number, [])))
        return out

    def read_index(self, body):
        need(DAMAGED, len(body) >= 8 and len(body) % 4096 == 0)
        size = struct.unpack_from("<Q", body)[0]
        need(DAMAGED, 0 <= len(body) - 8 - size < 4096, not any(body[8 + size :]))
        index, sections = decode(body[8 : 8 + size], DAMAGED), self.header["sections"]
        check(index, INDEX, DAMAGED, DAMAGED)
        need(DAMAGED, all(map(fit(int, 1, len(sections) - 1), index.get("names", ()))))
        inside = {n: [] for n in range(1, len(sections))}
        for entry in index["entries"]:
            check(entry, ENTRY, DAMAGED, DAMAGED)
            parts, end = entry["name"].split("/"), 0
            need(DAMAGED, len(entry["name"].encode()) <= 1024)
            need(DAMAGED, len(parts) <= 32, entry.get("role") != "file")
            for part in parts:
                need(DAMAGED, part[-1:] not in ("", ".", " "), len(part.encode()) <= 255)
                need(DAMAGED, not re.fullmatch(DEVICE, part.split(".")[0].rstrip(" ").casefold()))
            for x in entry["extents"]:
                need(DAMAGED, HASH(x[4]), all(map(fit(int, 0, 2**63 - 1), x[:4])))
                need(DAMAGED, x[0] in inside, x[3] == end, x[2] or len(entry["extents"]) == 1)
                inside[x[0]].append(x)
                end += x[2]
        folded = [unicodedata.normalize("NFC", e["name"].casefold()) for e in index["entries"]]
        folders = {name[:at] for name in folded for at, char in enumerate(name) if char == "/"}
        need(DAMAGED, len(set(folded)) == len(folded), not folders & set(folded))
        for number, extents in inside.items():
            end, self.gaps[number] = 0, []
            for _, offset, length, *_ in sorted(extents, key=lambda extent: extent[1:3]):
                step = self.chunk if length >= self.chunk else 64
                need(DAMAGED, offset % step == 0, 0 <= offset - end < self.chunk)
                self.gaps[number].append((end, offset))
                end = offset + length
            need(DAMAGED, extents and end == sections[number]["bytes"])
        return index

    def check_leaves(self, holes):
        for s, places in zip(self.header["sections"], self.places, strict=True):
            for n, stored in enumerate(self.data[place] for place in places):
                hole = holes and s["kind"] == "variant" and not any(stored)
                need(DAMAGED, hole or self.hash(stored) == self.leaf(s["first"] + n))

"""One device: what it asks and what it makes of the answers (protocol.md, section 4)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import datakeys, questions, tokens
from .catalog import Catalog
from .datakeys import DataKeys, Variants
from .encoding import Clock, Refused, b64u, expect, refuse, unb64u
from .folder import Claims, Folder
from .trust import KeyList, Trust
from .wire import Wire

_BAD = "answer_invalid"


class Device:
    """A client with a folder of its own."""

    def __init__(self, folder: Path, trust: Trust, wire: Wire, clock: Clock) -> None:
        self.folder, self.wire, self.clock = Folder(folder), wire, clock
        self.catalog = Catalog(wire, self.folder.trust(trust))
        self.state, self.key = self.folder.state, self.folder.key
        self.released: DataKeys = {}

    @property
    def keys(self) -> KeyList:
        """The key list in force."""
        return self.catalog.trust.keys

    def refresh(self) -> None:
        """The catalog as it is now; the trust moved forward and kept."""
        self.catalog.refresh(self.clock())
        self.folder.keep_trust(self.catalog.trust)

    def _read(self, text: str, kind: str) -> Claims:
        """A token that just came; for a key the trust does not list the catalog is asked once."""
        try:
            return tokens.read(text, kind, self.keys, self.clock())
        except Refused as refusal:
            if refusal.code != "token_key_unknown":
                raise
        self.refresh()
        return tokens.read(text, kind, self.keys, self.clock())

    @property
    def license(self) -> Claims | None:
        """The license token held."""
        return self.folder.held("license", self.keys)

    @property
    def lease(self) -> Claims | None:
        """The lease held."""
        return self.folder.held("lease", self.keys)

    @property
    def denial(self) -> Claims | None:
        """The denial that counts more than the lease."""
        return self.folder.held("denial", self.keys)

    # Asking

    def _open_question(self, op: str) -> Claims:
        """The pending question, or a fresh one that is stored before anything is sent.

        From one place in the chain there is one nonce and one KEM key, whatever is asked.
        """
        last = self.denial or self.lease or self.state.get("place")
        pending = self.state.get("pending") or questions.fresh(op, last)
        self.state["pending"] = {**pending, "op": op}
        self.folder.save()
        return dict(self.state["pending"])

    def _claims(self, question: Claims, **more: Any) -> Claims:
        return questions.claims(question, self.key, self.keys, self.clock(), **more)

    def _place(self) -> Claims:
        return {"sub": self.state.get("device_id"), "lic": (self.license or {}).get("sub")}

    def _ask(self, method: str, path: str, claims: Claims, status: int = 200) -> Claims:
        token = self.key.token(claims).encode()
        return self._told(claims, method, path, token, claims["nonce"], status)

    def _ask_json(self, method: str, path: str, claims: Claims, body: bytes) -> Claims:
        """As `_ask`, with the request inside a JSON body."""
        return self._told(claims, method, path, body, claims["nonce"], 200, "application/json")

    def _told(self, claims: Claims, *question: Any) -> Claims:
        try:
            return self.wire.ask(*question)
        except Refused as refusal:
            denial = refusal.params.get("denial")
            if isinstance(denial, str):
                self._denied(denial, claims)
            raise

    def _address(self) -> str:
        return str(self.state.get("device_id") or refuse("not_activated", "no device id"))

    def lookup(self, license_key: str) -> Claims:
        """What a license key is for. Changes nothing."""
        question = questions.fresh("lookup", None)
        sealed = questions.sealed_license_key(
            license_key, question, self.key, self.keys, self.clock()
        )
        claims = self._claims(question, license_key=sealed)
        return self._ask("POST", "/v1/licenses:lookup", claims)

    def activate(self, license_key: str, **more: Any) -> Claims:
        """A seat, a license and a lease; the same again after a lost reply."""
        question = self._open_question("activate")
        sealed = questions.sealed_license_key(
            license_key, question, self.key, self.keys, self.clock()
        )
        known = questions.traits(self.keys.trait_salt)
        claims = self._claims(question, license_key=sealed, **known, **more)
        answer = self._ask("POST", "/v1/devices", claims, 201)
        expect(answer.get("license"), _BAD, "no license token")
        self._accept(answer, question, answer.get("device_id"))
        return answer

    def renew(self, **more: Any) -> Claims:
        """The next lease."""
        question, device = self._open_question("renew"), self._address()
        known = questions.traits(self.keys.trait_salt)
        claims = self._claims(question, **self._place(), **known, **more)
        try:
            answer = self._ask("PUT", f"/v1/leases/{device}", claims)
        except Refused as refusal:
            if refusal.code != "store_behind" or not self.state.get("lease"):
                raise
            shown = claims | {"lease_token": self.state["lease"]}
            answer = self._ask("PUT", f"/v1/leases/{device}", shown)
        self._accept(answer, question, device)
        return answer

    def release(self, want: list[tuple[bytes, list[int]]], **more: Any) -> Claims:
        """Keys for this run under the lease in force; they stay in memory."""
        lease = self.lease or refuse("not_activated", "no lease")
        question = questions.fresh("release", lease)
        wishes = [{"file": b64u(file), "sections": parts} for file, parts in want]
        claims = self._claims(question, **self._place(), want=wishes or None, **more)
        answer = self._ask("POST", f"/v1/devices/{self._address()}/key-releases", claims)
        token = self._read(answer["release"], "release+jwt")
        self._mine(token, question, self._address())
        same = (token["seq"], token["lease"]) == (lease["seq"], lease["jti"])
        expect(same, _BAD, "a release under another lease")
        kem = questions.kem_of(question)
        self.released = datakeys.opened(token, kem, question["nonce"])
        if token.get("bundle"):
            data = self.wire.bundle(token["bundle"]["digest"])
            datakeys.bundle(data, token["bundle"]["digest"], self.released, token)
        return token

    def give_back(self) -> Claims:
        """The seat is given back; lease, license and keys are erased after the answer.

        The place in the chain is kept: whoever asks again names it.
        """
        question = self._open_question("return")
        claims = self._claims(question, **self._place())
        answer = self._ask("POST", f"/v1/devices/{self._address()}:return", claims)
        expect(isinstance(answer.get("event_id"), str), "answer_unsigned", "no event")
        last = self.denial or self.lease or self.state.get("place") or {}
        self.state["place"] = {"seq": last.get("seq", 0), "jti": last.get("jti")}
        self.folder.forget("license", "lease", "kem", "bundle", "denial", "pending")
        self.folder.save()
        self.released = {}
        return answer

    # Being answered

    def _mine(self, token: Claims, question: Claims, device: str | None) -> None:
        expect(token["request_nonce"] == question["nonce"], _BAD, "of another question")
        expect(token["cnf"]["jkt"] == self.key.kid, _BAD, "for another device key")
        expect(device is None or token["sub"] == device, _BAD, "for another device")

    def _denied(self, text: str, claims: Claims) -> None:
        """A verified denial is stored and carried out, and is what is raised."""
        try:
            denial = self._read(text, "denial+jwt")
        except Refused as error:
            raise Refused("answer_unsigned", f"not signed: {error}") from error
        if claims["op"] == "attest":
            self._mine(denial, claims, self.key.kid)
            expect((denial["seq"], denial["erase"]) == (0, False), _BAD, "a link of the chain")
        elif claims["op"] in ("activate", "trial", "lookup"):
            self._mine(denial, claims, None)
            expect(denial["seq"] == 0, _BAD, "a link of the chain for a first call")
            if claims["op"] != "lookup" and not (self.lease or self.denial):
                self.folder.forget("pending")
        else:
            self._mine(denial, claims, self._address())
            expect(denial["seq"] > claims.get("seq", 0), _BAD, "seq")
            self.state["denial"] = text
            self.folder.forget("pending")
            if denial["erase"]:
                self.folder.forget("lease", "kem", "bundle")
            self.released = {}
        self.folder.save()
        raise Refused(denial["code"], denial["reference"], denial.get("params", {}))

    def _accept(self, answer: Claims, question: Claims, device: str | None) -> None:
        """Every check first; then license, lease and key, and the question is forgotten."""
        lease = self._read(answer["lease"], "lease+jwt")
        self._mine(lease, question, device)
        expect(lease["seq"] > question["seq"], _BAD, "seq")
        text = answer.get("license")
        license_ = self._read(text, "license+jwt") if text else self.license
        expect((license_ or {}).get("sub") == lease["lic"], _BAD, "license and lease differ")
        expect((license_ or {})["cnf"]["jkt"] == self.key.kid, _BAD, "another's license")
        self.folder.forget("bundle", "denial", "pending", "place")
        if lease.get("bundle"):
            self.state["bundle"] = b64u(self.wire.bundle(lease["bundle"]["digest"]))
        self.state |= {"lease": answer["lease"], "kem": question["kem"], "device_id": lease["sub"]}
        if text:
            self.state["license"] = text
        self.folder.save()

    # Using

    def data_keys(self) -> tuple[DataKeys, Variants]:
        """The keys of lease and release, and the variants of the lease's bundle."""
        lease = self.lease or refuse("not_activated", "no lease")
        found = datakeys.opened(lease, questions.kem_of(self.state))
        variants: Variants = {}
        if lease.get("bundle"):
            data = unb64u(self.state["bundle"], "state_damaged")
            variants = datakeys.bundle(data, lease["bundle"]["digest"], found, lease)
        return found | self.released, variants

    def granted(self) -> set[str]:
        """What may be opened now."""
        if self.denial:
            raise Refused(self.denial["code"], self.denial["reference"])
        lease = self.lease or refuse("not_activated", "no lease")
        floor = max(self.clock(), lease["iat"])
        return datakeys.granted(self.license or refuse("not_activated", ""), lease, floor)

    def listed(self) -> int | None:
        """What the status list says about the license."""
        status = (self.lease or refuse("not_activated", "no lease"))["status"]
        token = self.wire.status_list(status["uri"])
        claims = self._read(token, "statuslist+jwt")
        expect(claims["sub"] == status["uri"], "token_claims", "another list")
        expect(claims["number"] >= self.state.get("number", 0), "token_claims", "an older list")
        expect(self.clock() < claims["exp"], "token_claims", "the list has ended")
        self.state["number"] = claims["number"]
        self.folder.save()
        return tokens.StatusList(claims).entry(status["idx"])

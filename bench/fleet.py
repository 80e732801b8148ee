"""Devices that ask by hand and load from a process of its own, so that both cost little."""

from __future__ import annotations

import asyncio
import os
import random
import ssl
import time
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec

from modelseal.crypto.hpke import SUITE, KemPrivateKey
from modelseal.crypto.signing import SigningKey
from modelseal.ids import new_id
from modelseal.license import jws, license_key, tokens
from modelseal.license.claims import ClockReading, KemKey, RequestClaims, TraitDigest
from modelseal.license.license_key import KeyBinding
from modelseal.strict_json import b64u
from modelseal.trust import Trust, parse

KINDS = ("smbios_uuid", "board_serial", "disk_serial", "mac", "machine_id", "cpu_class")
JWT = "application/jwt"


class Device:
    """A device with one signing key and one KEM key, which is all that the server sees."""

    def __init__(self, trust: Trust, number: int) -> None:
        self._trust, self._key = trust, SigningKey.generate()
        self._kem = KemPrivateKey.generate()
        self._traits = [TraitDigest(kind=k, digest=number * 97 + n) for n, k in enumerate(KINDS)]
        self.device_id: str | None = None
        self._license: str | None = None
        self._seq, self._prev = 0, None

    def activation(self, key: str) -> bytes:
        """A request for the first lease."""
        nonce = b64u(os.urandom(32))
        binding = KeyBinding(self._trust.server_id, self._trust.product, self._key.kid, nonce)
        sealed = license_key.seal(key, self._trust.sealing_key(_now()), binding)
        return self._ask("activate", nonce, license_key=sealed)

    def renewal(self) -> bytes:
        """A request for the next lease."""
        return self._ask("renew", b64u(os.urandom(32)))

    def take(self, lease: str) -> None:
        """The lease that answered the newest request; its signature is for others to judge."""
        claims = jws.parse(lease, max_bytes=tokens.MAX_BYTES).payload
        self.device_id, self._license = claims["sub"], claims["lic"]
        self._seq, self._prev = claims["seq"], claims["jti"]

    def _ask(self, op: str, nonce: str, **more: Any) -> bytes:
        at = int(time.time())
        claims = RequestClaims(
            iss=self._key.kid, aud=self._trust.server_id, product=self._trust.product,
            jti=new_id("req", _now(), os.urandom), iat=at, op=op, nonce=nonce,
            jwk=dict(self._key.jwk), clock=ClockReading(wall=at, monotonic_seconds=1),
            sub=self.device_id, lic=self._license, seq=self._seq, prev=self._prev,
            traits=self._traits, enforcement=["online", "software"],
            kem=[KemKey(suite=SUITE, pub=self._kem.jwk["pub"])], **more,
        )  # fmt: skip
        return tokens.sign(claims, [self._key]).encode()


def _now() -> datetime:
    return datetime.now(UTC)


class Load:
    """HTTP/1.1 by hand over kept connections; ``waits`` are the seconds each answer took."""

    def __init__(self, url: str, tls: ssl.SSLContext | None, at_once: int) -> None:
        host, _, port = url.split("//")[1].rstrip("/").partition(":")
        self._host, self._port, self._at_once = host, int(port), at_once
        self._kept: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._tls = tls if url.startswith("https:") else None
        self.waits: list[float] = []

    async def all(
        self, asks: list[tuple[str, str, bytes]], *, rate: float | None = None, fresh: bool = False
    ) -> list[bytes]:
        """The answers in order. ``rate``: arrivals at random by this mean, else one after another
        on each connection. ``fresh``: a new connection for each question.
        """
        self.waits = []
        answers: list[bytes] = [b""] * len(asks)
        queue: asyncio.Queue[tuple[int, float]] = asyncio.Queue()
        ended = (-1, 0.0)

        async def worker() -> None:
            while (item := await queue.get()) != ended:
                number, due = item
                began = due or time.perf_counter()
                link = await self._link(fresh)
                answers[number] = await self._ask(link, *asks[number])
                self.waits.append(time.perf_counter() - began)
                if fresh:
                    link[1].close()
                else:
                    self._kept.append(link)

        workers = [asyncio.create_task(worker()) for _ in range(self._at_once)]
        for number in range(len(asks)):
            if rate is not None:
                await asyncio.sleep(random.expovariate(rate))
            queue.put_nowait((number, 0.0 if rate is None else time.perf_counter()))
        for _ in workers:
            queue.put_nowait(ended)
        await asyncio.gather(*workers)
        return answers

    async def _link(self, fresh: bool) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._kept and not fresh:
            return self._kept.pop()
        return await asyncio.open_connection(self._host, self._port, ssl=self._tls)

    async def _ask(
        self, link: tuple[asyncio.StreamReader, asyncio.StreamWriter], method: str, path: str,
        body: bytes,
    ) -> bytes:  # fmt: skip
        reader, writer = link
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: {self._host}\r\n"
            f"Content-Type: {JWT}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        told = await reader.readuntil(b"\r\n\r\n")
        length = int(told.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        answer = await reader.readexactly(length)
        if told.split(b" ", 2)[1] not in (b"200", b"201"):
            raise SystemExit(f"{method} {path}: {told[:60]!r} {answer[:300]!r}")
        return answer

    def close(self) -> None:
        """Every connection ends."""
        for _reader, writer in self._kept:
            writer.close()
        self._kept = []


def ask(pipe: Connection, home: str, url: str, plain: bool, key: str, devices: int) -> None:
    """A load process: obeys ``(what, options)`` from ``pipe`` until it is told None."""
    trust = parse((Path(home) / "trust.json").read_bytes())
    tls = None if plain else ssl.create_default_context(cadata=trust.tls_ca)
    fleet = [Device(trust, n) for n in range(devices)]
    asyncio.run(_obey(pipe, fleet, url, tls, key))


async def _obey(
    pipe: Connection, fleet: list[Device], url: str, tls: ssl.SSLContext | None, key: str
) -> None:
    while (told := await asyncio.to_thread(pipe.recv)) is not None:
        what, options = told
        at_once = options.pop("at_once")
        load = Load(url, tls, at_once)
        asked = [
            ("POST", "/v1/devices", device.activation(key))
            if what == "activate"
            else ("PUT", f"/v1/leases/{device.device_id}", device.renewal())
            for device in fleet
        ]
        pipe.send("ready")
        await asyncio.to_thread(pipe.recv)
        began, cpu = time.perf_counter(), time.process_time()
        answers = await load.all(asked, **options)
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu
        for device, answer in zip(fleet, answers, strict=True):
            device.take(msgspec.json.decode(answer)["lease"])
        load.close()
        pipe.send({"wall": wall, "cpu": cpu, "waits": sorted(load.waits)})

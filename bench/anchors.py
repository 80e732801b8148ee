"""The same endpoint as one would write it with FastAPI, PyJWT and an async ORM, and a bare one.

The anchor verifies the request's signature with the device's stored key, checks the license, gives
a fresh signed lease and writes lease and event in one durable transaction. It seals no keys, hashes
no tree and decides nothing, so it does less than what it is compared with.
"""

from __future__ import annotations

import json
import os
import ssl
import threading
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bench import meter
from bench.fleet import Load
from modelseal.desk import tls

PAYLOAD_BYTES = 1600
NEW_CONNECTION = "Starlette, bare JSON, a new TLS connection each"


def x25519_seal() -> Callable[[], object]:
    """One HPKE seal without the post-quantum half."""
    from cryptography.hazmat.primitives import hpke
    from cryptography.hazmat.primitives.asymmetric import x25519

    suite = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
    public = x25519.X25519PrivateKey.generate().public_key()
    return lambda: suite.encrypt(bytes(200), public, info=b"info")


def _run(app: Any, pipe: Connection, tls: tuple[str, str] | None = None) -> None:
    import socket

    import uvicorn

    bound = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, log_config=None, access_log=False, http="h11", ssl_certfile=tls and tls[0],
        ssl_keyfile=tls and tls[1],
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    while not server.started:
        if not thread.is_alive():
            raise SystemExit("the anchor did not start")
        time.sleep(0.01)
    pipe.send(f"{'https' if tls else 'http'}://127.0.0.1:{bound.getsockname()[1]}")
    meter.obey(pipe)
    server.should_exit = True
    thread.join(30)


def starlette_json(tls: tuple[str, str] | None, pipe: Connection) -> None:
    """A bare Starlette endpoint: JSON in, JSON out, nothing kept."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    async def renew(request: Request) -> JSONResponse:
        return JSONResponse({"lease": "x" * PAYLOAD_BYTES, "took": len(await request.body())})

    _run(Starlette(routes=[Route("/v1/leases/{device_id}", renew, methods=["PUT"])]), pipe, tls)


def fastapi_orm(url: str, keys: str, pipe: Connection) -> None:
    """FastAPI, PyJWT and SQLAlchemy's async ORM over the database ``url``."""
    import jwt
    from cryptography.hazmat.primitives.asymmetric import ed25519
    from fastapi import FastAPI, HTTPException, Request
    from sqlalchemy import ForeignKey, Integer, String, event
    from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
    from sqlalchemy.orm import DeclarativeBase, mapped_column

    class Base(DeclarativeBase):
        pass

    class License(Base):
        __tablename__ = "anchor_licenses"
        license_id = mapped_column(String, primary_key=True)
        state = mapped_column(String)
        seats = mapped_column(Integer)

    class Device(Base):
        __tablename__ = "anchor_devices"
        device_id = mapped_column(String, primary_key=True)
        license_id = mapped_column(String, ForeignKey("anchor_licenses.license_id"))
        public = mapped_column(String)
        seq = mapped_column(Integer)
        lease_exp = mapped_column(Integer)

    class Event(Base):
        __tablename__ = "anchor_events"
        event_id = mapped_column(String, primary_key=True)
        device_id = mapped_column(String)
        body = mapped_column(String)

    engine = create_async_engine(url)
    if url.startswith("sqlite"):

        @event.listens_for(engine.sync_engine, "connect")
        def _durable(connection: Any, _record: Any) -> None:
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=15000"):
                connection.execute(f"PRAGMA {pragma}")

    sessions = async_sessionmaker(engine, class_=AsyncSession)
    signer = ed25519.Ed25519PrivateKey.generate()
    publics: dict[str, str] = json.loads(Path(keys).read_text())

    async def begin(_app: FastAPI) -> Any:
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        async with sessions() as session, session.begin():
            session.add(License(license_id="lic", state="active", seats=100_000))
            await session.flush()  # no relationship says that devices come after it
            session.add_all(
                Device(device_id=name, license_id="lic", public=public, seq=1, lease_exp=0)
                for name, public in publics.items()
            )

    from contextlib import asynccontextmanager

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> Any:
        await begin(app)
        yield
        await engine.dispose()

    app = FastAPI(lifespan=lifespan)

    async def renew(device_id: str, request: Request) -> dict[str, str]:
        async with sessions() as session, session.begin():
            device = await session.get(Device, device_id)
            if device is None:
                raise HTTPException(404)
            public = ed25519.Ed25519PublicKey.from_public_bytes(bytes.fromhex(device.public))
            claims = jwt.decode(await request.body(), public, algorithms=["EdDSA"])
            known = await session.get(License, device.license_id)
            if known is None or known.state != "active":
                raise HTTPException(403)
            now = int(time.time())
            device.seq += 1
            device.lease_exp = now + 3600
            lease = {"sub": device_id, "seq": device.seq, "iat": now, "exp": device.lease_exp,
                     "nonce": claims["nonce"], "keys": "x" * PAYLOAD_BYTES}  # fmt: skip
            told = json.dumps({"kind": "lease_renewed", "device": device_id, "seq": device.seq})
            session.add(Event(event_id=str(uuid.uuid4()), device_id=device_id, body=told))
            return {"lease": jwt.encode(lease, signer, algorithm="EdDSA")}

    renew.__annotations__ = {"device_id": str, "request": Request, "return": dict[str, str]}
    app.put("/v1/leases/{device_id}")(renew)
    _run(app, pipe)


def requests(place: Path, devices: int) -> tuple[str, list[tuple[str, str, bytes]]]:
    """The file of the devices' public keys and a renewal of each, as long as a real one."""
    import jwt
    from cryptography.hazmat.primitives.asymmetric import ed25519

    publics, asked = {}, []
    for number in range(devices):
        key = ed25519.Ed25519PrivateKey.generate()
        publics[f"dev{number}"] = key.public_key().public_bytes_raw().hex()
        claims = {"sub": f"dev{number}", "nonce": os.urandom(32).hex(), "kem": "x" * 1622}
        token = jwt.encode(claims, key, algorithm="EdDSA").encode()
        asked.append(("PUT", f"/v1/leases/dev{number}", token))
    file = place / "anchor-keys.json"
    file.write_text(json.dumps(publics))
    return str(file), asked


def measure(
    place: Path, options: Any, bench: Any, postgres: str | None, *more: tuple[str, Any, tuple[Any]]
) -> dict[str, Any]:
    """CPU of the serving process per answer, by anchor."""
    import asyncio

    file, asked = requests(place, options.devices)
    trusted, pair = _certificate(place)
    anchors: list[tuple[str, Any, tuple[Any, ...]]] = [
        *more,
        ("Starlette, bare JSON", starlette_json, (None,)),
        (NEW_CONNECTION, starlette_json, (pair,)),
        ("FastAPI, PyJWT, async ORM, SQLite", fastapi_orm,
         (f"sqlite+aiosqlite:///{place / 'anchor.db'}", file)),
    ]  # fmt: skip
    if postgres is not None:
        url = postgres.replace("postgresql://", "postgresql+psycopg://")
        anchors.append(("FastAPI, PyJWT, async ORM, PostgreSQL", fastapi_orm, (url, file)))
    found = {}
    for name, target, args in anchors:
        running = bench(target, args)
        try:
            spent = []
            for _ in range(options.rounds):
                load = Load(running.url, trusted, options.at_once)
                before = running.cpu()
                asyncio.run(_all(load, asked, fresh=name == NEW_CONNECTION))
                spent.append(1e6 * (running.cpu() - before) / len(asked))
            found[name] = {"cpu_us": sorted(spent)[len(spent) // 2]}
        finally:
            running.close()
    return found


async def _all(load: Load, asked: list[tuple[str, str, bytes]], *, fresh: bool) -> None:
    await load.all(asked, fresh=fresh)
    load.close()


def _certificate(place: Path) -> tuple[ssl.SSLContext, tuple[str, str]]:
    """A context that trusts it, and the files of a P-256 certificate for loopback and its key."""
    authority = tls.create_authority("bench", not_before=datetime.now(UTC))
    made = authority.issue(["127.0.0.1"], not_before=datetime.now(UTC))
    certificate, key = place / "anchor.pem", place / "anchor.key"
    certificate.write_bytes(made.certificate_pem)
    key.write_bytes(made.key_pem)
    trusted = ssl.create_default_context(cadata=authority.certificate_pem.decode())
    return trusted, (str(certificate), str(key))

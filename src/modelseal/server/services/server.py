"""``open_server``: the services of one workspace, opened over its store and keys."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

import msgspec
from sqlalchemy import Connection

from modelseal import structs
from modelseal.audit import EventKind
from modelseal.keys import Ask, KeyRing, OnlineKeys
from modelseal.server.services import (
    anomalies,
    backing,
    granting,
    licensing,
    proving,
    recorder,
    signin,
    tokens,
    trials,
    trusted,
)
from modelseal.server.services import config as configs
from modelseal.server.services import database as databases
from modelseal.server.services.about import About
from modelseal.server.services.actors import LOCAL, Actor
from modelseal.server.services.airgap import AirGap
from modelseal.server.services.blobs import Blobs
from modelseal.server.services.bucket import BucketBlobs, place_of
from modelseal.server.services.budgets import Budgets
from modelseal.server.services.calls import DeviceCalls
from modelseal.server.services.catalog import Catalog
from modelseal.server.services.context import Context
from modelseal.server.services.customers import Customers
from modelseal.server.services.delivering import Courier
from modelseal.server.services.explaining import Explaining
from modelseal.server.services.inventory import Inventory
from modelseal.server.services.keeping import Keeping
from modelseal.server.services.licensing import Licensing
from modelseal.server.services.log import Log
from modelseal.server.services.models import Models
from modelseal.server.services.plans import Plans
from modelseal.server.services.rekeying import Rekeying
from modelseal.server.services.relayed import RelayedLeases
from modelseal.server.services.relays import Relays
from modelseal.server.services.signin import SignIn
from modelseal.server.services.statuses import StatusLists
from modelseal.server.services.tokens import Tokens
from modelseal.server.services.trusting import Trusting
from modelseal.server.services.verdicts import Verdicts
from modelseal.server.services.webhooks import Webhooks
from modelseal.server.store import schema
from modelseal.server.store.engine import Store

FOLDER = "server"
_SECRETS = (
    licensing.KEY_SECRET,
    tokens.SECRET,
    granting.BUNDLE_SECRET,
    trials.KEY_SECRET,
    proving.SECRET,
    anomalies.NETWORKS_SECRET,
    signin.SECRET,
)


@dataclass(frozen=True, slots=True)
class Server:
    """The services of one workspace. Close it when done; use it from any thread."""

    context: Context
    devices: DeviceCalls
    airgap: AirGap
    plans: Plans
    licenses: Licensing
    inventory: Inventory
    customers: Customers
    models: Models
    catalog: Catalog
    trusting: Trusting
    keeping: Keeping
    rekeying: Rekeying
    statuses: StatusLists
    log: Log
    tokens: Tokens
    signin: SignIn
    explaining: Explaining
    verdicts: Verdicts
    webhooks: Webhooks
    relays: Relays
    relayed: RelayedLeases
    budgets: Budgets
    courier: Courier
    about: About

    def close(self) -> None:
        """Every connection is given back."""
        self.courier.close()
        self.context.store.close()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def tick(self) -> None:
        """What is due by itself: events get their place in the log, the catalog stays fresh."""
        self.log.sequence_if_elected()
        _ = self.context.trust  # a trust that another process put in force counts from now on
        self.catalog.refresh()
        self.budgets.release_ended()

    def retire(self) -> None:
        """This process gives its office as sequencer back; all that is waiting has its place."""
        self.courier.close()
        self.log.retire()

    def backup(self, out: BinaryIO, actor: Actor = LOCAL) -> backing.BackedUp:
        """One consistent state of the store in ``out``, while it is used."""
        return backing.backup(self.context, actor, out)

    def ready(self) -> None:
        """Returns when store, keys and catalog work and all processes have served; ``Unavailable``
        otherwise.
        """
        self.about.check_complete()
        self.context.store.ping()
        now = self.context.now()
        for use in ("license", "lease", "status"):
            self.context.signers(use, now)


def open_server(
    home: Path | str,
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    random: Callable[[int], bytes] = os.urandom,
    ask: Ask | None = None,
    database: str | None = None,
    public_url: str | None = None,
    migrate_store: bool = True,
) -> Server:
    """The services of the workspace at ``home``; its desk may be absent.

    ``database`` and ``public_url`` are URLs in place of the configured ones.

    A store of an older schema is migrated forward unless ``migrate_store`` is False. Raises
    ``WorkspaceMissing``, ``ConfigInvalid``, ``KeyStoreUnavailable``, ``StorageFailed``.
    """
    context = _context(
        Path(home), now=now, random=random, ask=ask, database=database, public_url=public_url
    )
    try:
        if migrate_store:
            schema.migrate(context.store)
        else:
            schema.check(context.store)
        structs.prepare()
        context.store.write(_found, context)
        for name in _SECRETS:
            context.secret(name)
        context.blobs.sweep(context.now() - timedelta(days=1))
        return _assemble(context)
    except BaseException:
        context.store.close()
        raise


def _context(
    home: Path,
    *,
    now: Callable[[], datetime],
    random: Callable[[int], bytes],
    ask: Ask | None,
    database: str | None,
    public_url: str | None = None,
) -> Context:
    folder = home / FOLDER
    pinned = trusted.read_pinned(home)
    config = configs.load(folder)
    config = msgspec.structs.replace(config, public_url=public_url or config.public_url)
    provider = KeyRing(lambda: configs.kek_uris(folder), ask=ask, base=folder)
    store = Store(databases.address(config, folder, database), folder)
    return Context(
        home=home,
        folder=folder,
        config=config,
        store=store,
        provider=provider,
        online=OnlineKeys(folder / "keys", provider, server_id=pinned.server_id, ask=ask),
        blobs=_blobs(config, folder / "blobs", random),
        trusted=trusted.TrustRoom(pinned, store),
        clock=now,
        random=random,
    )


def _blobs(
    config: configs.ServerConfig, folder: Path, random: Callable[[int], bytes]
) -> Blobs | BucketBlobs:
    if config.blobs is None:
        return Blobs(folder, random)
    place = place_of(
        config.blobs,
        endpoint=config.blobs_endpoint,
        region=config.blobs_region,
        presign_seconds=config.blobs_presign_seconds,
    )
    return BucketBlobs(place, folder, random)


def _found(tx: Connection, context: Context) -> None:
    """A new store holds the pinned trust, and its log begins with that."""
    pinned, now = context.trusted.pinned, context.now()
    if trusted.seed(tx, pinned):
        recorder.record(
            tx, recorder.fresh(context, now), EventKind.SERVER_INITIALISED, at=now,
            actor="system", subjects={},
            params={"product": pinned.product, "server": pinned.server_id},
        )  # fmt: skip


def _assemble(context: Context) -> Server:
    models = Models(context)
    licenses = Licensing(context)
    catalog = Catalog(context)
    log = Log(context)
    keeping = Keeping(context)
    lists = StatusLists(context)
    webhooks = Webhooks(context)
    airgap = AirGap(context, models, keeping, lists)
    relayed = RelayedLeases(context, airgap.ahead)
    devices = DeviceCalls(context, models, licenses, relayed)
    return Server(
        context=context,
        devices=devices,
        airgap=airgap,
        plans=Plans(context),
        licenses=licenses,
        inventory=Inventory(context),
        customers=Customers(context),
        models=models,
        catalog=catalog,
        trusting=Trusting(context, catalog),
        keeping=keeping,
        rekeying=Rekeying(context, models),
        statuses=lists,
        log=log,
        tokens=Tokens(context),
        signin=SignIn(context, devices.limiter),
        explaining=Explaining(context),
        verdicts=Verdicts(context),
        webhooks=webhooks,
        relays=Relays(context),
        relayed=relayed,
        budgets=Budgets(context),
        courier=Courier(context, webhooks),
        about=About(context, log),
    )


def migrate(home: Path | str, database: str | None = None) -> str:
    """The workspace's database has this release's schema; its version."""
    folder = Path(home) / FOLDER
    store = Store(databases.address(configs.load(folder), folder, database), folder)
    try:
        return schema.migrate(store)
    finally:
        store.close()


def restore(
    home: Path | str,
    file: BinaryIO,
    *,
    lost: Sequence[bytes] | None = None,
    replace: bool = False,
    database: str | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    random: Callable[[int], bytes] = os.urandom,
    ask: Ask | None = None,
) -> backing.Restored:
    """The workspace's database is what the backup in ``file`` holds; see ``backing.restore``."""
    context = _context(Path(home), now=now, random=random, ask=ask, database=database)
    try:
        return backing.restore(context, file, lost=lost, replace=replace)
    finally:
        context.store.close()

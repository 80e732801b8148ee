"""Other keys in place of the ones in force. Each call can be repeated after a crash anywhere.

A new key is listed beside the old one first; then the server signs with it; then the old one gets
its end: the moment at which the last thing ends that it signed (``docs/adr/0046``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec

from modelseal.admin import AdminApi, ServerKey, ServerKeys
from modelseal.attest.verify import bundle
from modelseal.crypto import hpke
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.crypto.signing import SigningKey
from modelseal.desk import lock, trusting
from modelseal.desk.founding import CLOCK_MARGIN
from modelseal.desk.listing import DESK_ROLES, number
from modelseal.desk.trusting import Change
from modelseal.desk.workspace import Workspace
from modelseal.errors import CatalogInvalid, Conflict, Misuse, NotFound
from modelseal.keys.folder import PrivateKey
from modelseal.keys.online import ROOT_USES
from modelseal.trust import DESK_USES, TrustedKey, Use, keylist
from modelseal.trust.writing import RoleKeys
from modelseal.types import check_aware, from_numeric, to_numeric

SIGNING = (Use.LICENSE, Use.LEASE, Use.STATUS, Use.CHECKPOINT, Use.ATTESTATION)
ROTATABLE = (*SIGNING, Use.SEALING, *DESK_USES)


class RotatedKey(msgspec.Struct, frozen=True):
    """A key: ``new``, ``ending`` (at ``not_after``, None for as long as it is listed), ``gone``."""

    use: str
    alg: str
    kid: str
    state: str
    not_after: datetime | None = None


class Rotated(msgspec.Struct, frozen=True):
    """What is in force now. ``resumed``: an interrupted rotation was ended, none begun."""

    keys: list[RotatedKey]
    root_version: int
    keys_version: int
    resumed: bool


class CatalogSigned(msgspec.Struct, frozen=True):
    """The documents that were signed anew (root, targets, keys); none when none was due."""

    signed: list[str]
    root_version: int
    keys_version: int


def rotate(
    workspace: Workspace,
    api: AdminApi,
    uses: Iterable[Use] = SIGNING,
    *,
    at_once: bool = False,
    to: str | None = None,
    now: datetime | None = None,
) -> Rotated:
    """New keys for ``uses``; the old ones end when the last thing ends that they signed.

    ``to`` is the key URI of hardware on the server's host that makes and keeps the new ones.
    ``at_once`` ends the old ones now: what they signed counts no longer for whoever hears of it. A
    publisher key has no end: models that it signed go on to open until ``retire``. Leases and
    loads go on.
    Raises ``Misuse``, the errors of ``trust.update``, and ``Unavailable``.
    """
    at = check_aware(now or datetime.now(UTC))
    wanted = list(dict.fromkeys(uses))
    if not wanted or not set(wanted) <= set(ROTATABLE):
        raise Misuse(f"--key is one of {', '.join(ROTATABLE)}")
    if to is not None and not set(wanted) <= set(SIGNING):
        raise Misuse(f"--to is for the server's signing keys: {', '.join(SIGNING)}")
    with lock.exclusive(workspace.desk / "tuf"):
        before = {key.kid for key in workspace.trust.key_list.keys}
        running = {key.kid for key in workspace.trust.key_list.keys if key.valid_at(at)}
        behind = trusting.catch_up(workspace, api)
        pending = [use for use in wanted if not _is_half_done(workspace, use)]
        if behind and Use.PUBLISHER in pending:
            heard = {key.kid for key in workspace.trust.keys(Use.PUBLISHER)} - before
            pending = [use for use in pending if use is not Use.PUBLISHER or not heard]
        if pending:
            added = _listed_next(workspace, api, pending, at, to)
            keys = (*workspace.trust.key_list.keys, *added)
            trusting.advance(workspace, api, Change(keys=keys), at)
        _end_old(workspace, api, wanted, at_once=at_once, at=at)
    return _rotated(workspace, wanted, running, at, resumed=len(pending) < len(wanted))


def rotate_root(workspace: Workspace, api: AdminApi, *, now: datetime | None = None) -> Rotated:
    """Root N + 1 with new keys for all four roles and the key list, signed by N and by itself.

    Apps follow the chain from the root they were shipped with at their next contact.
    """
    at = check_aware(now or datetime.now(UTC))
    with lock.exclusive(workspace.desk / "tuf"):
        before = workspace.trust.root_version
        trusting.catch_up(workspace, api)
        resumed = workspace.trust.root_version > before
        if not resumed:
            made = api.make_keys(ROOT_USES)
            fresh = {use: _own_next(workspace, use, ("Ed25519",), at)[0] for use in DESK_ROLES}
            signers = {use: key for use, key in fresh.items() if isinstance(key, SigningKey)}
            roles = {use: RoleKeys([key.jwk]) for use, key in signers.items()}
            for use in ROOT_USES:
                roles[use] = RoleKeys([key.jwk for key in _waiting(made, use)])
            trusting.advance(workspace, api, Change(roles=roles, signers=signers), at)
    named = [(use, kid) for use in (*DESK_ROLES, *ROOT_USES)
             for kid in workspace.trust.role_kids(use)]  # fmt: skip
    return Rotated(
        keys=[RotatedKey(use, "Ed25519", kid, "new") for use, kid in named],
        root_version=workspace.trust.root_version,
        keys_version=workspace.trust.keys_version,
        resumed=resumed,
    )


def rotate_recovery(workspace: Workspace, *, now: datetime | None = None) -> Rotated:
    """Models sealed from now on can be recovered with a new key; older ones with the old one."""
    at = check_aware(now or datetime.now(UTC))
    with lock.exclusive(workspace.desk / "tuf"):
        mine = [entry for entry in workspace.desk_keys.entries() if entry.use == "recovery"]
        last = max((number(entry.set) for entry in mine), default=0)
        key = KemPrivateKey.generate()
        start = max([at, *(entry.not_before + timedelta(seconds=1) for entry in mine)])
        workspace.desk_keys.add_key(
            "recovery", key, not_before=start, set_name=f"recovery-{last + 1}"
        )
    made = [RotatedKey("recovery", hpke.SUITE, key.kid, "new")]
    trust = workspace.trust
    return Rotated(made, trust.root_version, trust.keys_version, resumed=False)


def retire(
    workspace: Workspace, api: AdminApi, which: str, *, now: datetime | None = None
) -> Rotated:
    """The listed key whose id begins with ``which`` ends now, with its whole set.

    A publisher key is taken off the list: models that only it signed open no longer, wherever the
    new list was heard. Raises ``NotFound``, and ``Conflict`` for the last key of its use.
    """
    at = check_aware(now or datetime.now(UTC))
    with lock.exclusive(workspace.desk / "tuf"):
        trusting.catch_up(workspace, api)
        listed = workspace.trust.key_list.keys
        found = {(key.use, key.set) for key in listed if key.kid.startswith(which)}
        if len(found) != 1 or len(which) < 8:
            raise NotFound("name one listed key by at least 8 characters of its id", id=which)
        ((use, name),) = found
        others = [k for k in listed if k.use == use and k.set != name and k.not_after is None]
        own = workspace.desk_keys.kids(use.value) if use in DESK_USES else frozenset()
        held = [key for key in others if use not in DESK_USES or key.kid in own]
        if use not in ROTATABLE or not held:
            raise Conflict("the last key of its use cannot be retired; rotate it first")
        gone = [key for key in listed if (key.use, key.set) == (use, name)]
        if use is Use.PUBLISHER:
            for key in gone:  # off the list it would pass for one that waits to be listed
                workspace.desk_keys.erase_key(use, key.kid)
            keys = tuple(key for key in listed if key not in gone)
        else:
            keys = tuple(_ended(key, at) if key in gone else key for key in listed)
        trusting.advance(workspace, api, Change(keys=keys), at)
    trust = workspace.trust
    shown = [RotatedKey(k.use, k.alg, k.kid, "gone") for k in gone]
    return Rotated(shown, trust.root_version, trust.keys_version, resumed=False)


def sign_catalog(
    workspace: Workspace,
    api: AdminApi,
    *,
    everything: bool = False,
    now: datetime | None = None,
) -> CatalogSigned:
    """The signed documents live half their life and more; ``everything`` signs all of them anew.

    Root, targets and the key list are the desk's; the server signs snapshot and timestamp itself.
    """
    at = check_aware(now or datetime.now(UTC))
    with lock.exclusive(workspace.desk / "tuf"):
        trusting.catch_up(workspace, api)
        signed = trusting.advance(workspace, api, Change(renew=everything), at)
    trust = workspace.trust
    return CatalogSigned(signed, trust.root_version, trust.keys_version)


def _is_half_done(workspace: Workspace, use: Use) -> bool:
    """True when a new set is listed and the old one has no end yet: a rotation stopped between."""
    return use is not Use.PUBLISHER and len(_open_sets(workspace, use)) > 1


def _open_sets(workspace: Workspace, use: Use) -> list[str]:
    """The sets of ``use`` without an end, in the order of the list."""
    open_ended = (key.set for key in workspace.trust.keys(use) if key.not_after is None)
    return list(dict.fromkeys(open_ended))


def _listed_next(
    workspace: Workspace, api: AdminApi, uses: Sequence[Use], at: datetime, to: str | None = None
) -> list[TrustedKey]:
    """The list entries of fresh keys for ``uses``, whose private halves are kept already."""
    added = []
    online = [use for use in uses if use not in DESK_USES]
    made = api.make_keys([use.value for use in online], to) if online else None
    for use in online:
        for key in _waiting(made, use.value) if made is not None else []:
            found = TrustedKey(use, key.alg, key.kid, key.jwk, key.not_before, None, key.set)
            added.append(found)
    for use in (use for use in DESK_USES if use in uses):
        algorithms = _own_algorithms(workspace, use, at)
        for own, name, start in _own_set(workspace, use.value, algorithms, at):
            if isinstance(own, SigningKey):
                added.append(keylist.trusted(use, own.verify_key(), name, not_before=start))
    return added


def _own_algorithms(workspace: Workspace, use: Use, at: datetime) -> tuple[str, ...]:
    """Those of the set in force; a workspace from before there were bundles lists none for them."""
    if use is Use.ENDORSEMENT and not workspace.trust.keys(use):
        return ("Ed25519",)
    held = workspace.desk_keys.kids(use.value)
    return tuple(key.alg for key in workspace.trust.signing_set(use, held, at))


def _waiting(made: ServerKeys, use: str) -> list[ServerKey]:
    """The set that the server just made, or had waiting."""
    found = [key for key in made.keys if key.use == use and not key.listed]
    if not found:
        raise CatalogInvalid(f"the server made no {use} key")
    name = max((key.set for key in found), key=number)
    return [key for key in found if key.set == name]


def _own_next(
    workspace: Workspace, use: str, algorithms: Sequence[str], at: datetime
) -> list[PrivateKey]:
    return [key for key, _name, _start in _own_set(workspace, use, algorithms, at)]


def _own_set(
    workspace: Workspace, use: str, algorithms: Sequence[str], at: datetime
) -> list[tuple[PrivateKey, str, datetime]]:
    """A set of the desk's that nothing names yet: the one a crash left, else a fresh one."""
    mine = [entry for entry in workspace.desk_keys.entries() if entry.use == use]
    if use in DESK_USES:
        names = [key.set for key in workspace.trust.keys(Use(use))]
    else:
        named = set(workspace.trust.role_kids(use))
        names = [entry.set for entry in mine if entry.kid in named]
    last = max(map(number, names), default=0)
    name = f"{use}-{last + 1}"
    waiting = {entry.alg: entry for entry in mine if entry.set == name}
    start = from_numeric(to_numeric(at - CLOCK_MARGIN))
    found: list[tuple[PrivateKey, str, datetime]] = []
    for alg in algorithms:
        entry = waiting.get(alg)
        if entry is not None:
            found.append((workspace.desk_keys.open_key(entry), name, entry.not_before))
            continue
        key = SigningKey.generate(alg)
        workspace.desk_keys.add_key(use, key, not_before=start, set_name=name)
        found.append((key, name, start))
    return found


def _end_old(
    workspace: Workspace, api: AdminApi, uses: Sequence[Use], *, at_once: bool, at: datetime
) -> None:
    """Every set of ``uses`` but the newest has its end."""
    known = api.server_keys()
    ends = {
        Use.LICENSE: known.leases_end_at,
        Use.LEASE: known.leases_end_at,
        Use.STATUS: known.lists_end_at,
        Use.ENDORSEMENT: known.at + bundle.MAX_LIFE,
    }
    keys = list(workspace.trust.key_list.keys)
    newest = {key.use: key.set for key in keys}
    for place, key in enumerate(keys):
        if key.use not in uses or key.use is Use.PUBLISHER or key.set == newest[key.use]:
            continue
        if at_once and key.valid_at(known.at):
            keys[place] = _ended(key, known.at)
        elif key.not_after is None:
            keys[place] = _ended(key, ends.get(key.use, known.at))
    if tuple(keys) != workspace.trust.key_list.keys:
        trusting.advance(workspace, api, Change(keys=tuple(keys)), at)


def _ended(key: TrustedKey, end: datetime) -> TrustedKey:
    """``key`` with its end at ``end``, in whole seconds and never before that moment."""
    seconds = from_numeric(to_numeric(end))
    later = seconds if seconds >= end else seconds + timedelta(seconds=1)
    return replace(key, not_after=later)


def _rotated(
    workspace: Workspace, uses: Sequence[Use], running: set[str], at: datetime, *, resumed: bool
) -> Rotated:
    """The new keys and those that counted before (``running``) or still do."""
    trust, shown = workspace.trust, []
    for use in uses:
        newest = trust.keys(use)[-1].set
        for key in trust.keys(use):
            state = "new" if key.set == newest else "ending"
            if key.not_after is None or key.not_after > at or key.kid in running:
                shown.append(RotatedKey(use.value, key.alg, key.kid, state, key.not_after))
    return Rotated(shown, trust.root_version, trust.keys_version, resumed=resumed)

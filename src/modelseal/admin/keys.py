"""The server's own keys as the admin calls show them, and what their rotation answers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import Meta

from modelseal.admin._base import Answered, Asked

USES = (
    *("license", "lease", "status", "checkpoint", "attestation"),
    *("sealing", "snapshot", "timestamp"),
)
"""What the server has keys for."""
Use = Annotated[str, Meta(pattern=f"^({'|'.join(USES)})$")]
Uri = Annotated[str, Meta(min_length=1, max_length=1024)]


class ServerKey(Answered, frozen=True):
    """A key of the server by its public half. ``not_before`` is when it may be listed from.

    ``listed`` is False for a key that was made and that nothing signed in the desk names yet.
    """

    use: str
    alg: str
    kid: str
    set: str
    not_before: datetime
    jwk: dict[str, str]
    listed: bool


class ServerKeys(Answered, frozen=True):
    """Every key the server has. ``at`` is the server's time.

    ``leases_end_at`` is when the last lease ends that is out now, ``lists_end_at`` when the last
    status list does. ``kek`` is the URI of the key-encryption key, ``kek_id`` names the key itself;
    ``kek_old`` are keys from which it has not yet taken over everything.
    """

    at: datetime
    keys: list[ServerKey]
    leases_end_at: datetime
    lists_end_at: datetime
    kek: str
    kek_id: str
    kek_old: list[str]


class MakeKeys(Asked, frozen=True):
    """New keys for these uses, in the algorithms of the ones in force.

    ``to`` is the key URI of the hardware that makes and keeps them; none: the server, in files.
    """

    uses: Annotated[list[Use], Meta(min_length=1, max_length=len(USES))]
    to: Uri | None = None


class TrustDocuments(Answered, frozen=True):
    """The signed trust in force: the roots after one version, and the three parts below them."""

    roots: list[bytes]
    targets: bytes
    keys_role: bytes
    key_list: bytes


class RotateKek(Asked, frozen=True):
    """``to`` is the key URI of the next key-encryption key; none takes a fresh key file."""

    to: Uri | None = None


class RewrappedKeys(Answered, frozen=True):
    """Afterwards ``kek`` wraps everything. ``resumed``: an unfinished rotation was ended first.

    ``rows`` of the store and key ``files`` were rewrapped. ``kept`` are old keys that only their
    owner can erase.
    """

    kek: str
    kek_id: str
    previous: list[str]
    rows: int
    files: int
    kept: list[str]
    resumed: bool
    event_id: str

"""``server.toml``: what the server half of a workspace says about itself."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from modelseal.admin import Role
from modelseal.errors import ConfigInvalid, WorkspaceMissing
from modelseal.keys import files

FILE = "server.toml"
_KEK_LINES = re.compile(r"^[ \t]*(?:kek|kek_old)[ \t]*=.*\n?", re.MULTILINE)


class SignInConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table ``[sign_in]``: people sign in at ``issuer`` as users of the client ``client_id``.

    ``roles`` says which value of the claim ``role_claim`` (members of members by dots) gives which
    role; without one nobody is let in. ``allowed_domains`` (of verified e-mail addresses) and
    ``allowed_groups`` (values of the same claim) let in fewer. ``audience`` is ``client_id`` unless
    named, ``jwks_uri`` what the issuer tells, ``ca`` a PEM file beside ``server.toml``.
    """

    issuer: str
    client_id: str
    roles: dict[str, Role]
    audience: str | None = None
    role_claim: str = "groups"
    allowed_domains: list[str] = []
    allowed_groups: list[str] = []
    algorithms: list[Literal["RS256", "ES256", "EdDSA", "Ed25519"]] = msgspec.field(
        default_factory=lambda: ["RS256", "ES256", "EdDSA"]
    )
    scopes: list[str] = msgspec.field(default_factory=lambda: ["openid", "email", "profile"])
    session_seconds: Annotated[int, msgspec.Meta(ge=60, le=86400)] = 28800
    idle_seconds: Annotated[int, msgspec.Meta(ge=60, le=86400)] = 1800
    device: bool = False
    jwks_uri: str | None = None
    ca: str | None = None


class ServerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of ``server.toml``; flags and ``MODELSEAL_*`` variables stand above it.

    ``kek`` is the key URI of the key-encryption key; those in ``kek_old`` still open while it takes
    over from them. ``database`` holds no password: ``database_password_file`` names where it is.
    ``tpm_roots`` is the folder with the root certificates of the TPM makers that are believed,
    ``attestation_policy`` the file that says which evidence is good enough. The signed results of
    judging it, which name chips, are kept for ``attestation_results_days``.
    ``blobs`` is a bucket (``s3://NAME/PREFIX``) at ``blobs_endpoint``, in place of the folder; its
    own addresses are given to devices for ``blobs_presign_seconds``, 0 for never.
    ``webhook_networks`` are private networks that webhooks may lie in, none by default.
    ``metrics_networks`` are those that ``/metrics`` answers, in place of all that are no address of
    the Internet.
    ``log`` is the form of what the process says; ``telemetry`` sends traces (OpenTelemetry).
    ``heartbeats_per_second``: the mean that one process expects; it lets in at most twice as many.
    ``workers`` is how many processes share the address.
    ``sign_in`` lets people in by an OpenID Connect provider.
    """

    kek: str = "file:kek.key"
    kek_old: list[str] = []
    database: str = "sqlite:///modelseal.db"
    database_password_file: str | None = None
    public_url: str | None = None
    listen: str = "127.0.0.1:8443"
    behind_proxy: list[str] = []
    tpm_roots: str = "endorsements/tpm2"
    attestation_policy: str = "attestation-policy.json"
    attestation_results_days: Annotated[int, msgspec.Meta(ge=1, le=36500)] = 400
    webhook_networks: list[str] = []
    metrics_networks: list[str] = []
    blobs: str | None = None
    blobs_endpoint: str | None = None
    blobs_region: str = "us-east-1"
    blobs_presign_seconds: int = 3600
    log: Literal["text", "json"] = "text"
    telemetry: bool = False
    heartbeats_per_second: float | None = None
    workers: int = 1
    sign_in: SignInConfig | None = None


def load(folder: Path) -> ServerConfig:
    """The configuration in ``folder`` (``SHOP/server``).

    Raises ``WorkspaceMissing`` without a file and ``ConfigInvalid`` for an odd one.
    """
    path = folder / FILE
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
        config = msgspec.convert(raw, ServerConfig, strict=True)
    except FileNotFoundError:
        raise WorkspaceMissing("there is no server half here", path=str(folder)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise ConfigInvalid(f"{FILE}: {error}", path=str(path)) from None
    except OSError as error:
        raise ConfigInvalid(f"{FILE}: {type(error).__name__}", path=str(path)) from None
    mean = config.heartbeats_per_second
    if mean is not None and not 0.01 <= mean <= 1e6:
        raise ConfigInvalid(f"{FILE}: heartbeats_per_second is 0.01 to 1000000", path=str(path))
    return config


def kek_uris(folder: Path) -> list[str]:
    """The key URIs of the key-encryption keys, the one that wraps first."""
    config = load(folder)
    return [config.kek, *config.kek_old]


def set_kek(folder: Path, kek: str, kek_old: list[str]) -> None:
    """Afterwards ``server.toml`` names these key-encryption keys; its other lines are as before.

    Raises ``ConfigInvalid``, and changes nothing, where its form does not allow that.
    """
    path, before = folder / FILE, load(folder)
    lines = f"kek = {json.dumps(kek)}\n"
    if kek_old:
        lines += f"kek_old = {json.dumps(kek_old)}\n"
    text = lines + _KEK_LINES.sub("", path.read_text("utf-8"))
    wanted = msgspec.structs.replace(before, kek=kek, kek_old=kek_old)
    try:
        good = msgspec.convert(tomllib.loads(text), ServerConfig, strict=True) == wanted
    except (tomllib.TOMLDecodeError, msgspec.ValidationError):
        good = False
    if not good:
        raise ConfigInvalid(f"{FILE}: write kek and kek_old on one line each", path=str(path))
    files.replace(path, text.encode())

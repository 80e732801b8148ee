"""A new certificate for the server from the workspace's own authority, which apps trust already."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from cryptography import x509

from modelseal.crypto.signing import SigningKey
from modelseal.desk import tls
from modelseal.desk.founding import CLOCK_MARGIN
from modelseal.desk.tls import Authority
from modelseal.desk.workspace import Workspace, read_document
from modelseal.errors import ConfigInvalid, InputMissing, Misuse
from modelseal.keys import files
from modelseal.trust import Use
from modelseal.types import check_aware


class Certified(msgspec.Struct, frozen=True):
    """A certificate for ``hosts`` and its key, in the files ``certificate`` and ``key``."""

    hosts: list[str]
    not_after: datetime
    certificate: str
    key: str


def rotate_tls(
    workspace: Workspace,
    *,
    hosts: Sequence[str] = (),
    output: Path | None = None,
    now: datetime | None = None,
) -> Certified:
    """Key and certificate of the server are new; a running server uses them after a restart.

    ``hosts`` default to those of the certificate in use; ``output`` is a folder to write to
    instead of the server's half, which is somewhere else. Raises ``ConfigInvalid`` when the
    server's certificate is not from this workspace's authority.
    """
    at = check_aware(now or datetime.now(UTC))
    authority = _authority(workspace)
    folder = workspace.server / "tls" if output is None else output
    if output is None and not workspace.has_server:
        raise Misuse("the server's half is elsewhere; name a folder for the files with --output")
    names = list(hosts) or _hosts(workspace.server / "tls" / "server.pem")
    made = authority.issue(names, not_before=at - CLOCK_MARGIN)
    key, certificate = folder / "server.key", folder / "server.pem"
    if output is None:
        files.replace(key, made.key_pem)
        files.replace(certificate, made.certificate_pem)
    else:
        files.write_new(key, made.key_pem)
        files.write_new(certificate, made.certificate_pem)
    ends = x509.load_pem_x509_certificate(made.certificate_pem).not_valid_after_utc
    return Certified(names, ends, str(certificate), str(key))


def _authority(workspace: Workspace) -> Authority:
    pinned = workspace.trust.tls_ca
    for key in workspace.trust.keys(Use.TLS):
        if pinned is not None and tls.matches(pinned, key.jwk):
            (own,) = workspace.desk_keys.keys_of("tls", [key.kid])
            if isinstance(own, SigningKey):
                return Authority(own, pinned.encode("ascii"))
    raise ConfigInvalid("trust.json names no authority of this workspace for HTTPS")


def _hosts(path: Path) -> list[str]:
    try:
        certificate = x509.load_pem_x509_certificate(read_document(path))
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound, InputMissing):
        raise Misuse("name the server's hosts with --host", path=str(path)) from None
    return [
        *found.get_values_for_type(x509.DNSName),
        *(str(address) for address in found.get_values_for_type(x509.IPAddress)),
    ]

"""The server's certificate: served, looked at again while it serves, and how long it still holds.

A new pair on the disk counts for new connections within seconds. A pair that does not fit, because
only half of it is written yet, is left alone until it does.
"""

from __future__ import annotations

import logging
import ssl
import threading
from datetime import datetime
from pathlib import Path

from cryptography import x509

from modelseal.errors import CertificateInvalid

LOOK_SECONDS = 5.0
_log = logging.getLogger("modelseal.server")
_Seen = tuple[tuple[int, int, int], ...]


def files(folder: Path) -> tuple[Path, Path]:
    """Certificate and key of the server half at ``folder``; ``CertificateInvalid``."""
    certificate, key = folder / "tls" / "server.pem", folder / "tls" / "server.key"
    for path in (certificate, key):
        if not path.is_file():
            raise CertificateInvalid("the server has no certificate", path=str(path))
    return certificate, key


def ends_at(certificate: Path) -> datetime | None:
    """When the first certificate in the file ends; None for a file that holds none."""
    try:
        return x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc
    except (OSError, ValueError):
        return None


class Certificates:
    """The pair in two files, in force for who connects by ``context`` while ``watch`` runs."""

    def __init__(self, certificate: Path, key: Path, context: ssl.SSLContext) -> None:
        self._files = certificate, key
        self._context = context
        self._seen = self._look()
        self.ends_at = ends_at(certificate)

    def watch(self, stop: threading.Event) -> None:
        """Until ``stop``: what changes on the disk is in force."""
        while not stop.wait(LOOK_SECONDS):
            self.refresh()

    def refresh(self) -> bool:
        """True when another pair was put in force."""
        now = self._look()
        if now is None or now == self._seen:
            return False
        certificate, key = self._files
        try:
            trial = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            trial.load_cert_chain(certificate, key)
        except (OSError, ssl.SSLError) as error:
            _log.warning("the new certificate is not usable yet: %s", type(error).__name__)
            return False
        # One handshake would see half a pair if this one were loaded into the context that serves.
        self._context.sni_callback = lambda each, _name, _context: setattr(each, "context", trial)
        self._seen, self.ends_at = now, ends_at(certificate)
        _log.info("a new certificate is in force")
        return True

    def _look(self) -> _Seen | None:
        try:
            found = [path.stat() for path in self._files]
        except OSError:
            return None
        return tuple((each.st_ino, each.st_mtime_ns, each.st_size) for each in found)

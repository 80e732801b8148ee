"""The roots of TPM makers that this server believes: certificates in a folder of its own.

Whoever can write there decides which TPMs count, so nothing is ever fetched into it.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from cryptography import x509

from modelseal.attest.verify import tpm2_chain
from modelseal.errors import EvidenceInvalid

MAX_FILES = 512
MAX_FILE_BYTES = 16 * 1024 * 1024
_ROOTS = frozenset({".pem", ".crt", ".cer", ".der"})
_CRLS = frozenset({".crl"})
_log = logging.getLogger("modelseal.server")
_Stamp = tuple[tuple[str, int, int], ...]


class TpmRoots:
    """The certificates and revocation lists in ``folder``, read anew when one of them changed.

    A folder that is not there, and a file that cannot be read, pin nothing: fewer TPMs count then.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._guard = threading.Lock()
        self._stamp: _Stamp = ()
        self._roots: tuple[x509.Certificate, ...] = ()
        self._digests: frozenset[bytes] = frozenset()
        self._crls: tuple[x509.CertificateRevocationList, ...] = ()

    @property
    def certificates(self) -> tuple[x509.Certificate, ...]:
        """What ends a path."""
        self._refresh()
        return self._roots

    @property
    def crls(self) -> tuple[x509.CertificateRevocationList, ...]:
        """The revocation lists."""
        self._refresh()
        return self._crls

    def holds(self, digest: bytes) -> bool:
        """True when the root with this SHA-256 is still pinned."""
        self._refresh()
        return digest in self._digests

    def _refresh(self) -> None:
        with self._guard:
            stamp = self._look()
            if stamp == self._stamp:
                return
            roots: list[x509.Certificate] = []
            crls: list[x509.CertificateRevocationList] = []
            for name, _, _ in stamp:
                path = self._folder / name
                try:
                    if path.suffix.lower() in _CRLS:
                        crls.append(_crl(_read(path)))
                    else:
                        roots += tpm2_chain.pinned([_read(path)])
                except (OSError, ValueError, EvidenceInvalid) as error:
                    # one damaged file must not keep every device from its lease
                    _log.error("%s pins nothing: %s", path, type(error).__name__)
            self._roots, self._crls = tuple(roots), tuple(crls)
            self._digests = frozenset(map(tpm2_chain.root_digest, roots))
            self._stamp = stamp

    def _look(self) -> _Stamp:
        found = []
        try:
            for path in sorted(self._folder.iterdir())[:MAX_FILES]:
                if path.suffix.lower() in _ROOTS | _CRLS:
                    stat = path.stat()
                    found.append((path.name, stat.st_mtime_ns, stat.st_size))
        except OSError:
            return ()
        return tuple(found)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise EvidenceInvalid("longer than any list of a maker")
    return data


def _crl(data: bytes) -> x509.CertificateRevocationList:
    pem = b"-----BEGIN" in data
    return x509.load_pem_x509_crl(data) if pem else x509.load_der_x509_crl(data)

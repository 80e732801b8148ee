"""How uvicorn serves an application of ours: its limits, and TLS where there is a certificate."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import uvicorn

from modelseal.errors import CertificateInvalid
from modelseal.server.http.protocol import MAX_CONNECTIONS, Protocol

GRACE_SECONDS = 20
KEEP_ALIVE_SECONDS = 15


def configuration(app: Any, tls: tuple[Path, Path] | None, **more: Any) -> uvicorn.Config:
    """``app`` over TLS 1.2 or later by the certificate and key ``tls``, without them over HTTP.

    ``more`` goes to uvicorn. Raises ``CertificateInvalid``.
    """
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
        limit_concurrency=MAX_CONNECTIONS,
        ssl_certfile=str(tls[0]) if tls else None,
        ssl_keyfile=str(tls[1]) if tls else None,
        ws="none",
        http=Protocol,
        **more,
    )
    try:
        config.load()
    except (OSError, ssl.SSLError) as error:
        raise CertificateInvalid(
            f"the server's certificate cannot be used: {type(error).__name__}"
        ) from None
    if config.ssl is not None:
        config.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
        config.ssl.num_tickets = 0  # a ticket costs a sixth of a handshake, and nobody resumes
    return config

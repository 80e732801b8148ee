"""Running the service: a socket, TLS 1.3 with a key of this process, a graceful stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import uvicorn

from modelseal import listening, structs
from modelseal.attest.collect import Collector
from modelseal.errors import Misuse, Unavailable
from modelseal.inference.app import Bounds, Service
from modelseal.inference.batching import Limits
from modelseal.inference.models import Model
from modelseal.inference.proving import ChannelKey, Prover

GRACE_SECONDS = 30
KEEP_ALIVE_SECONDS = 60
MAX_CONNECTIONS = 1024


class Running:
    """One service: bound at once, served by ``run`` (this thread) until ``stop`` or a signal.

    ``models`` are opened by then, so whoever is answered at all is answered by opened models.
    """

    def __init__(
        self,
        models: Sequence[Model],
        collectors: Sequence[Collector],
        *,
        listen: str = "127.0.0.1:8444",
        endorsements: Sequence[bytes] = (),
        limits: Limits | None = None,
        bounds: Bounds | None = None,
        on_ready: Callable[[str], None] = lambda _url: None,
    ) -> None:
        if len({model.name for model in models}) != len(models) or not models:
            raise Misuse("a service needs models, each under a name of its own")
        host, port = listening.address(listen)
        self.key = ChannelKey.generate(datetime.now(UTC))
        file_ids = {model.name: model.file_id for model in models}
        prover = Prover(self.key, collectors, file_ids, endorsements=endorsements)
        self._socket = listening.bind(host, port)
        self.url = listening.url(self._socket, host, "https")
        self._service = Service(models, prover, limits=limits, bounds=bounds)
        try:
            self._uvicorn = listening.Uvicorn(self._config(), lambda: on_ready(self.url))
            structs.prepare()
        except BaseException:
            self.close()
            raise

    def run(self) -> None:
        """Serves until told to stop; what is under way is answered then."""
        self._uvicorn.run(sockets=[self._socket])
        if not self._uvicorn.started:
            raise Unavailable("the service did not start")

    def stop(self) -> None:
        """What is under way is answered, then ``run`` returns."""
        self._uvicorn.should_exit = True

    def close(self) -> None:
        """The socket is given back and the models' threads have ended."""
        self._socket.close()
        self._service.close()

    def _config(self) -> uvicorn.Config:
        config = uvicorn.Config(
            self._service,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=GRACE_SECONDS,
            limit_concurrency=MAX_CONNECTIONS,
            ws="none",
            loop="asyncio",
            http="h11",
        )
        config.load()
        config.ssl = self.key.context()
        return config

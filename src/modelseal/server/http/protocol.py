"""HTTP/1.1 as uvicorn speaks it, with an end to waiting and refusals that are problem documents.

A peer that says nothing, or one letter now and then, is left; when the house is full, whoever keeps
it waiting longest goes first. What is no HTTP gets the problem that everything else gets. Plain
renewals, which are most of all that comes, are read without h11 (``plain``).
"""

from __future__ import annotations

import asyncio
import functools
from collections import OrderedDict
from typing import Any

import h11
from uvicorn.protocols.http.flow_control import service_unavailable
from uvicorn.protocols.http.h11_impl import H11Protocol

from modelseal.server.http import plain, problems
from modelseal.server.http.cycle import PlainCycle
from modelseal.server.http.heads import TOO_LARGE, Connection

REQUEST_SECONDS = 10
"""How long a connection may be open, and a begun request line, until its headers are there."""
DRAIN_SECONDS = 5
"""How long what is left of a body may come after its answer."""
READING_SECONDS = 60
"""How long a peer may take nothing of an answer that waits for it."""
MAX_CONNECTIONS = 2048
_SPARE = 64


class Protocol(H11Protocol):
    """One connection."""

    _until: asyncio.TimerHandle | None = None
    _taken: asyncio.TimerHandle | None = None
    _waiting: OrderedDict[Protocol, None]
    _plain: PlainCycle | None = None
    """The answer under way of which h11 knows nothing."""
    _may_be_plain = False

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.conn: Connection = Connection()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        more = self.root_path or getattr(self.config, "reset_contextvars", False)
        self._may_be_plain = not more  # what plain renewals would need besides, and nobody sets
        self._waiting = _waiting_at(self.server_state)
        limit = self.limit_concurrency or MAX_CONNECTIONS
        while len(self.connections) > limit - _SPARE and self._waiting:
            slowest, _ = self._waiting.popitem(last=False)
            slowest.leave()
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._waiting.pop(self, None)
        self._stop_waiting()
        self._stop_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._plain is not None:  # more than was asked for; it waits for its turn
            self._plain.held += data
            self.flow.pause_reading()
            return
        if self._may_be_plain and data.startswith(plain.BEGINNING) and self._is_idle:
            asked = plain.read(data)
            if asked is not None:
                self._renew(asked, data)
                return
        if self._until is None and self.conn.their_state is h11.IDLE:
            self._wait()
        super().data_received(data)
        drained = self._answered and self.conn.their_state is h11.SEND_BODY
        if self.conn.their_state is not h11.IDLE and not drained:
            self._stop_waiting()
        if self.conn.their_state in (h11.DONE, h11.MUST_CLOSE):
            self._waiting.pop(self, None)
        else:
            self._waiting.setdefault(self)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stop_writing()
        self._taken = self.loop.call_later(READING_SECONDS, self.leave)

    def resume_writing(self) -> None:
        self._stop_writing()
        super().resume_writing()

    def on_response_complete(self) -> None:
        unread = self.conn.their_state is h11.SEND_BODY
        held, self._plain = None if self._plain is None else self._plain.held, None
        super().on_response_complete()
        if held and not self.transport.is_closing():
            self.conn.receive_data(bytes(held))
            self.handle_events()
        if self.transport.is_closing():
            return
        self._waiting.setdefault(self)
        if unread:  # answered before the body was there: the rest is read, but not for long
            self._stop_waiting()
            self._until = self.loop.call_later(DRAIN_SECONDS, self.leave)

    @property
    def _is_idle(self) -> bool:
        conn, idle = self.conn, h11.IDLE
        if conn.our_state is not idle or conn.their_state is not idle:
            return False
        return not conn.trailing_data[0] and not self.transport.is_closing()

    def _renew(self, asked: plain.Plain, data: bytes) -> None:
        """What uvicorn does when a request is whole, for one that h11 has not seen."""
        self._unset_keepalive_if_required()
        self._stop_waiting()
        self._waiting.pop(self, None)
        path = asked.path.decode("ascii")
        self.headers = asked.headers
        self.scope = {
            "type": "http",
            "asgi": {"version": self.config.asgi_version, "spec_version": "2.3"},
            "http_version": "1.1",
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,  # type: ignore[typeddict-item]
            "method": "PUT",
            "root_path": "",
            "path": path,
            "raw_path": asked.path,
            "query_string": b"",
            "headers": asked.headers,
            "state": self.app_state.copy(),
        }
        limit, app = self.limit_concurrency, self.app
        if limit is not None and (len(self.connections) >= limit or len(self.tasks) >= limit):
            self.logger.warning("Exceeded concurrency limit.")
            app = service_unavailable
        self.cycle = self._plain = PlainCycle(
            asked,
            functools.partial(self._tell_h11, data),
            scope=self.scope,
            conn=self.conn,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            on_response=self.on_response_complete,
        )
        task = self.loop.create_task(self.cycle.run_asgi(app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def _tell_h11(self, data: bytes) -> None:
        """h11 stands where it would stand, had it read the request and what came after it."""
        held, self._plain = b"" if self._plain is None else self._plain.held, None
        self.conn.receive_data(data)
        for _part in ("head", "body", "end"):
            self.conn.next_event()
        if held:
            self.conn.receive_data(bytes(held))

    @property
    def _answered(self) -> bool:
        return self.cycle is not None and self.cycle.response_complete

    def send_400_response(self, msg: str) -> None:
        """The refusal of what is no HTTP, and the end of the connection.

        A body that cannot be read to its end is refused too, where nothing was answered yet: what
        was to answer it finds that the client has gone.
        """
        if self.conn.our_state is h11.SEND_RESPONSE and self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        elif self.conn.our_state is not h11.IDLE:
            self.transport.close()
            return
        status = self.conn.refused_as
        said = TOO_LARGE.get(status, "this is no HTTP request that can be read")
        self._send(problems.refused(status, said))

    def _unsupported_upgrade_warning(self) -> None:
        """Whoever asks for another protocol goes on with this one, and fills no log."""

    def leave(self) -> None:
        """The connection is gone, whatever it was doing."""
        self.transport.abort()

    def _late(self) -> None:
        """No request came in time."""
        if self.conn.our_state is h11.IDLE and self.conn.trailing_data[0]:
            self._send(problems.refused(408, "the request took too long"))
        self.leave_soon()

    def leave_soon(self) -> None:
        """The connection is gone once what was written is sent, or a second from now."""
        self.transport.close()
        self.loop.call_later(1, self.transport.abort)

    def _send(self, answer: Any) -> None:
        headers = [
            (b"content-type", problems.MEDIA_TYPE.encode()),
            (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"),
            (b"content-length", str(len(answer.content)).encode()),
            (b"connection", b"close"),
        ]
        for event in (
            h11.Response(status_code=answer.status_code, headers=headers, reason=b"Refused"),
            h11.Data(data=answer.content),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _wait(self) -> None:
        self._stop_waiting()
        self._until = self.loop.call_later(REQUEST_SECONDS, self._late)
        self._waiting.setdefault(self)

    def _stop_waiting(self) -> None:
        if self._until is not None:
            self._until.cancel()
            self._until = None

    def _stop_writing(self) -> None:
        if self._taken is not None:
            self._taken.cancel()
            self._taken = None


def _waiting_at(state: Any) -> OrderedDict[Protocol, None]:
    """The connections of one server whose peer has something to say, the oldest first."""
    found: OrderedDict[Protocol, None] | None = getattr(state, "waiting", None)
    if found is None:
        found = state.waiting = OrderedDict()
    return found


__all__ = ["MAX_CONNECTIONS", "READING_SECONDS", "REQUEST_SECONDS", "Protocol"]

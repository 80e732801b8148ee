"""What may stand between a device and its server: proxies, portals, lines that break."""

from __future__ import annotations

import contextlib
import http.server
import socket
import threading
from collections.abc import Iterator


class Portal(http.server.BaseHTTPRequestHandler):
    """A hotel's login page, whatever is asked; it tunnels nothing."""

    def do_GET(self):
        body = b"<html><title>Hotel WiFi</title></html>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_PUT = do_GET  # noqa: N815

    def log_message(self, *args):
        pass


class Forbidding(Portal):
    """A company's proxy that says no, and how."""

    def do_CONNECT(self):
        self.send_error(403, "Blocked by policy")

    do_GET = do_POST = do_PUT = do_CONNECT  # noqa: N815


class Tunnel(Portal):
    """A proxy that tunnels; ``server.cuts`` lists after how many bytes the next lines break."""

    def do_CONNECT(self):
        host, _, port = self.path.rpartition(":")
        cut = self.server.cuts.pop(0) if self.server.cuts else None
        self.server.tunnels += 1
        with socket.create_connection((host, int(port)), 10) as far:
            self.send_response(200)
            self.end_headers()
            threads = [
                threading.Thread(target=_pump, args=pair, daemon=True)
                for pair in ((self.connection, far, None), (far, self.connection, cut))
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        self.close_connection = True


def _pump(source: socket.socket, sink: socket.socket, cut: int | None) -> None:
    sent = 0
    with contextlib.suppress(OSError):
        while data := source.recv(16384):
            sink.sendall(data)
            sent += len(data)
            if cut is not None and sent >= cut:
                source.shutdown(socket.SHUT_RDWR)
                break
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def standing(
    handler: type[Portal], *, cuts: list[int] | None = None, context=None
) -> Iterator[http.server.ThreadingHTTPServer]:
    """``handler`` on a port of this computer; with ``context`` it speaks TLS."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.cuts = list(cuts or [])
    server.tunnels = 0
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def address(server: http.server.ThreadingHTTPServer, scheme: str = "http") -> str:
    """Where it stands."""
    return f"{scheme}://127.0.0.1:{server.server_address[1]}"


def nowhere() -> str:
    """The address of a server that is down."""
    return "https://127.0.0.1:1"  # a free port might be somebody's by the time it is asked

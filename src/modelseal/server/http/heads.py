"""Heads of requests that leave nothing to be read in two ways, seen before h11 reads them.

h11 takes an end of line without CR, a folded line, and a length that is said twice alike; a proxy
may take each of them for something else. It counts the bytes of a head only until it is whole.
"""

from __future__ import annotations

import re

import h11

HEAD_BYTES = 16 * 1024
"""The most that request line and headers may be."""
_END = re.compile(rb"\n\r?\n")  # as h11 looks for it
_LINES = re.compile(rb"(?:[^\x00-\x08\x0a-\x1f\x7f]++\r\n(?![ \t]))++\r\n")
_LENGTH = re.compile(rb"(?i)\ncontent-length:[ \t]*+([^\r]*+)")
HOST = re.compile(rb"(?:[A-Za-z0-9._%-]*+|\[[A-Za-z0-9:._%-]+\])(?::[0-9]{0,5})?")
"""A host with or without its port, or nothing."""
TOO_LARGE = {
    414: "the address is longer than is read here",
    431: "the headers are longer than is read here",
}
_HINT = 431


class Connection(h11.Connection):
    """h11's, which refuses such heads; ``refused_as`` is then the status of the refusal."""

    refused_as = 400

    def __init__(self) -> None:
        super().__init__(h11.SERVER, HEAD_BYTES)

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """As h11's; raises ``RemoteProtocolError`` for a head that has two meanings too."""
        try:
            if self.their_state is h11.IDLE:
                check(self.trailing_data[0])
            return super().next_event()
        except h11.RemoteProtocolError as error:
            if error.error_status_hint == _HINT:
                line_is_whole = b"\n" in self.trailing_data[0][:HEAD_BYTES]
                self.refused_as = 431 if line_is_whole else 414
            raise


def check(data: bytes) -> None:
    """Returns when ``data`` begins with a head of one meaning or with a part of any head.

    Raises ``h11.RemoteProtocolError`` for any other.
    """
    end = _END.search(data)
    if end is None:
        return
    if end.end() > HEAD_BYTES:
        raise h11.RemoteProtocolError("the head is too large", _HINT)
    head = data[: end.end()]
    if _LINES.fullmatch(head) is None:
        raise h11.RemoteProtocolError("a line of the head is none")
    lengths = _LENGTH.findall(head)
    if len(lengths) > 1 or (lengths and b"," in lengths[0]):
        raise h11.RemoteProtocolError("the length of the body is said twice")


__all__ = ["HEAD_BYTES", "HOST", "TOO_LARGE", "Connection", "check"]

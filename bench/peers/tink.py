"""Tink's streaming AEAD: AES-256-GCM-HKDF in segments of 1 MB, read as a file object."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.peers import Open, key_beside, released, tensors

TITLE = "tink streaming AEAD"
REMARK = "segments of 1 MB are verified one by one; decrypts to bytes"


def released_as() -> str:
    """What is measured."""
    return released("tink")


def protect(plain: Path, target: Path) -> None:
    """A fresh keyset, one stream."""
    import io

    import tink
    from tink import cleartext_keyset_handle, streaming_aead

    streaming_aead.register()
    template = streaming_aead.streaming_aead_key_templates.AES256_GCM_HKDF_1MB
    handle = tink.new_keyset_handle(template)
    text = io.StringIO()
    cleartext_keyset_handle.write(tink.JsonKeysetWriter(text), handle)
    key_beside(target).write_text(text.getvalue())
    with (
        plain.open("rb") as source,
        target.open("wb") as sink,
        _primitive(handle).new_encrypting_stream(sink, b"bench") as stream,
    ):
        while piece := source.read(1 << 20):
            stream.write(piece)


def opener(target: Path) -> Open:
    """The whole stream read into one byte string."""
    import tink
    from tink import cleartext_keyset_handle, streaming_aead

    streaming_aead.register()
    reader = tink.JsonKeysetReader(key_beside(target).read_text())
    primitive = _primitive(cleartext_keyset_handle.read(reader))

    def run() -> object:
        with target.open("rb") as file, primitive.new_decrypting_stream(file, b"bench") as stream:
            return tensors(stream.read())

    return run


def _primitive(handle: Any) -> Any:
    from tink import streaming_aead

    return handle.primitive(streaming_aead.StreamingAead)

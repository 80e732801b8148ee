"""AWS Nitro Enclaves: the security module behind ``/dev/nsm``, asked in CBOR by one ioctl."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping
from typing import Any, Protocol

import cbor2

from modelseal.attest.collect.collected import Collected, Part
from modelseal.attest.collect.ports import unavailable
from modelseal.errors import EvidenceUnavailable, Misuse

DEVICE = "/dev/nsm"
MAX_REPORT_DATA_BYTES = 512
_MAX_REQUEST, _MAX_RESPONSE = 0x1000, 0x3000
_IOCTL = 0xC0200A00  # _IOWR(0x0A, 0, struct nsm_message of 32 bytes)


class Nsm(Protocol):
    """The security module: CBOR in, CBOR out. Errors are ``OSError``."""

    def exists(self) -> bool:
        """True when it is here."""
        ...

    def ask(self, request: bytes) -> bytes:
        """The answer to one request."""
        ...


class _Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class _Message(ctypes.Structure):
    _fields_ = [("request", _Vector), ("response", _Vector)]


class NsmDevice:
    """The device file of the kernel's driver."""

    def __init__(self, path: str = DEVICE) -> None:
        self._path = path

    def exists(self) -> bool:
        """See ``Nsm``."""
        return os.path.exists(self._path)  # noqa: PTH110 - a device, not a file

    def ask(self, request: bytes) -> bytes:
        """See ``Nsm``."""
        import fcntl

        if len(request) > _MAX_REQUEST:
            raise OSError("a longer request than the module takes")
        sent = ctypes.create_string_buffer(request, len(request))
        answer = ctypes.create_string_buffer(_MAX_RESPONSE)
        message = _Message(
            _Vector(ctypes.addressof(sent), len(request)),
            _Vector(ctypes.addressof(answer), _MAX_RESPONSE),
        )
        handle = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.ioctl(handle, _IOCTL, message, True)
        finally:
            os.close(handle)
        return answer.raw[: min(message.response.length, _MAX_RESPONSE)]


class NitroCollector:
    """Evidence of a Nitro Enclave. The value is bound as the document's ``user_data``."""

    name = "nitro"

    def __init__(self, module: Nsm | None = None) -> None:
        self._module = NsmDevice() if module is None else module

    def is_here(self) -> bool:
        """See ``Collector``."""
        return self._module.exists()

    def collect(self, report_data: bytes) -> Collected:
        """See ``Collector``; 1 to 512 bytes are bound."""
        if not 1 <= len(report_data) <= MAX_REPORT_DATA_BYTES:
            raise Misuse(f"a Nitro document binds 1 to {MAX_REPORT_DATA_BYTES} bytes")
        asked = {"Attestation": {"user_data": report_data, "nonce": None, "public_key": None}}
        try:
            answer = self._module.ask(cbor2.dumps(asked))
        except OSError as error:
            raise unavailable(error, "Nitro security module") from None
        return Collected("nitro", "Nitro security module", (Part("document.cbor", _read(answer)),))


def _read(answer: bytes) -> bytes:
    try:
        found: Any = cbor2.loads(answer, max_depth=8)
    except Exception:  # noqa: BLE001 - whatever the parser says, it is no answer
        found = None
    inner = found.get("Attestation") if isinstance(found, Mapping) else None
    document = inner.get("document") if isinstance(inner, Mapping) else None
    if isinstance(document, bytes) and document:
        return document
    why = found.get("Error") if isinstance(found, Mapping) else None
    shown = why[:64] if isinstance(why, str) else "another answer than a document"
    raise EvidenceUnavailable(f"Nitro security module: {shown}", source="Nitro security module")

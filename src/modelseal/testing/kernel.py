"""Fakes of the kernel interfaces from which evidence is collected. Each warns when it is built.

They keep the kernel's rules (what is written once, when a generation counts, what an ioctl answers)
and let the test say what the hardware says. No shipped policy accepts what they bring: nothing
signs it under a pinned root unless the test pins its own.
"""

from __future__ import annotations

import errno
import os
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import cbor2

from modelseal.errors import EvidenceUnavailable

Report = Callable[[bytes], bytes]
"""What the hardware answers to the value that shall be bound."""
_INBLOB_BYTES = 64
_NONCE_BYTES = 32


class FakeKernelWarning(UserWarning):
    """A fake of a kernel interface was built."""


def _warn(name: str) -> None:
    warnings.warn(f"{name} is no hardware: it proves nothing", FakeKernelWarning, stacklevel=3)


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


class FakeTsm:
    """configfs-tsm as ``drivers/virt/coco`` behaves, behind ``KernelFiles``.

    ``disturbed`` is how often somebody else writes between a caller's write and its read.
    """

    def __init__(
        self,
        provider: str,
        report: Report,
        *,
        auxblob: bytes | None = None,
        base: str = "/sys/kernel/config/tsm/report",
        files: Mapping[str, bytes] | None = None,
        disturbed: int = 0,
    ) -> None:
        _warn("FakeTsm")
        self._provider = provider
        self._report = report
        self._auxblob = auxblob
        self._base = base
        self._files = dict(files or {})
        self._folders: dict[str, dict[str, Any]] = {}
        self.disturbed = disturbed

    @property
    def folders(self) -> tuple[str, ...]:
        """The folders that are there now."""
        return tuple(self._folders)

    def exists(self, path: str) -> bool:
        """True for the base, a folder in it, and the other files."""
        return path == self._base or path in self._folders or path in self._files

    def make_folder(self, path: str) -> None:
        """As mkdir in configfs: the kernel fills it."""
        if path.rpartition("/")[0] != self._base:
            raise _error(errno.ENOENT)
        if path in self._folders:
            raise _error(errno.EEXIST)
        self._folders[path] = {"inblob": None, "written": 0, "read": None}

    def remove_folder(self, path: str) -> None:
        """As rmdir in configfs: attributes go with it."""
        self._folder(path)
        del self._folders[path]

    def write(self, path: str, data: bytes) -> None:
        """``inblob``: 1 to 64 bytes; each write counts one generation."""
        folder, name = self._split(path)
        if name != "inblob":
            raise _error(errno.EACCES)
        if not 1 <= len(data) <= _INBLOB_BYTES:
            raise _error(errno.EINVAL)
        folder["inblob"] = data
        folder["written"] += 1

    def read(self, path: str) -> bytes:
        """An attribute; reports are made when they are read first after a write."""
        if path in self._files:
            return self._files[path]
        folder, name = self._split(path)
        if name == "generation":
            return b"%d\n" % folder["written"]
        if name == "provider":
            return self._provider.encode() + b"\n"
        if name == "outblob":
            return self._outblob(folder)
        if name == "auxblob" and self._auxblob is not None:
            return self._auxblob
        raise _error(errno.ENOENT)

    def _outblob(self, folder: dict[str, Any]) -> bytes:
        if folder["inblob"] is None:
            raise _error(errno.EINVAL)
        if self.disturbed:
            self.disturbed -= 1
            folder["inblob"] = b"\xee" * _INBLOB_BYTES
            folder["written"] += 1
        if folder["read"] is None or folder["read"][0] != folder["written"]:
            folder["read"] = (folder["written"], self._report(folder["inblob"]))
        made: bytes = folder["read"][1]
        return made

    def _split(self, path: str) -> tuple[dict[str, Any], str]:
        folder, _, name = path.rpartition("/")
        return self._folder(folder), name

    def _folder(self, path: str) -> dict[str, Any]:
        if path not in self._folders:
            raise _error(errno.ENOENT)
        return self._folders[path]


class FakeGramine:
    """The pseudo files of a Gramine enclave, behind ``KernelFiles``."""

    def __init__(
        self, quote: Report, *, attestation_type: str = "dcap", base: str = "/dev/attestation"
    ) -> None:
        _warn("FakeGramine")
        self._quote = quote
        self._type = attestation_type
        self._base = base
        self._data = bytes(_INBLOB_BYTES)

    def exists(self, path: str) -> bool:
        """True for the pseudo files."""
        names = ("attestation_type", "user_report_data", "report", "quote")
        return path in {f"{self._base}/{name}" for name in names}

    def read(self, path: str) -> bytes:
        """A pseudo file; a quote only where the manifest asks for remote attestation."""
        if path == f"{self._base}/attestation_type":
            return self._type.encode()
        if path == f"{self._base}/user_report_data":
            return self._data
        if path == f"{self._base}/quote" and self._type == "dcap":
            return self._quote(self._data)
        raise _error(errno.ENOENT)

    def write(self, path: str, data: bytes) -> None:
        """``user_report_data``: a shorter value is filled up with zero bytes, as Gramine does."""
        if path != f"{self._base}/user_report_data":
            raise _error(errno.EACCES)
        if len(data) > _INBLOB_BYTES:
            raise _error(errno.EINVAL)
        self._data = data.ljust(_INBLOB_BYTES, b"\0")

    def make_folder(self, path: str) -> None:
        """Not possible there."""
        raise _error(errno.EPERM)

    def remove_folder(self, path: str) -> None:
        """Not possible there."""
        raise _error(errno.EPERM)


class FakeNsm:
    """The Nitro security module: CBOR in and out, with its own error names."""

    def __init__(self, document: Callable[[Mapping[str, bytes | None]], bytes]) -> None:
        _warn("FakeNsm")
        self._document = document

    def exists(self) -> bool:
        """True: it is here."""
        return True

    def ask(self, request: bytes) -> bytes:
        """The answer to ``{"Attestation": {user_data, nonce, public_key}}``."""
        try:
            asked = cbor2.loads(request)
        except cbor2.CBORDecodeError:
            raise _error(errno.EINVAL) from None
        given = asked.get("Attestation") if isinstance(asked, dict) else None
        if not isinstance(given, dict):
            return cbor2.dumps({"Error": "InvalidOperation"})
        limits = {"user_data": 512, "nonce": 512, "public_key": 1024}
        if set(given) != set(limits):
            return cbor2.dumps({"Error": "InvalidArgument"})
        if any(len(value or b"") > limits[name] for name, value in given.items()):
            return cbor2.dumps({"Error": "InputTooLarge"})
        return cbor2.dumps({"Attestation": {"document": self._document(given)}})


class FakeImds:
    """Azure's instance metadata service, behind ``Imds``: certificates, and quotes of TDREPORTs."""

    def __init__(self, certificates: bytes = b"", td_quote: Report | None = None) -> None:
        _warn("FakeImds")
        self._certificates = certificates
        self._td_quote = td_quote

    def certificates(self) -> bytes:
        """What the host has; a host of Intel has none."""
        if not self._certificates:
            raise EvidenceUnavailable("the metadata service answered 404", source="FakeImds")
        return self._certificates

    def td_quote(self, report: bytes) -> bytes:
        """The quote of ``report``; a host of AMD makes none."""
        if self._td_quote is None:
            raise EvidenceUnavailable("the metadata service answered 404", source="FakeImds")
        return self._td_quote(report)


class FakeNvml:
    """NVML as ``pynvml`` shows it: buffers longer than what they hold, a count of users.

    ``report`` answers one GPU's report to a nonce, ``chain`` is its certificate chain in PEM.
    """

    class NVMLError(Exception):
        """NVML's own error."""

    def __init__(self, report: Report, chain: bytes, count: int = 1) -> None:
        _warn("FakeNvml")
        self._report = report
        self._chain = chain
        self._count = count
        self.users = 0

    def nvmlInit(self) -> None:  # noqa: N802 - NVML\'s name
        """One more user of the library."""
        self.users += 1

    def nvmlShutdown(self) -> None:  # noqa: N802 - NVML\'s name
        """One user less; more often than it was begun is an error there."""
        if not self.users:
            raise self.NVMLError("Uninitialized")
        self.users -= 1

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802 - NVML\'s name
        """How many GPUs there are."""
        self._check()
        return self._count

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802 - NVML\'s name
        """The GPU's handle."""
        self._check()
        if not 0 <= index < self._count:
            raise self.NVMLError("Invalid Argument")
        return index

    def nvmlDeviceGetConfComputeGpuAttestationReport(  # noqa: N802 - NVML's name
        self, _handle: int, nonce: bytes
    ) -> Any:
        """The report with its size; the nonce has 32 bytes."""
        self._check()
        if len(nonce) != _NONCE_BYTES:
            raise self.NVMLError("Invalid Argument")
        return _Buffers(attestationReport=self._report(bytes(nonce)))

    def nvmlDeviceGetConfComputeGpuCertificate(  # noqa: N802 - NVML's name
        self, _handle: int
    ) -> Any:
        """The certificate chain with its size."""
        self._check()
        return _Buffers(attestationCertChain=self._chain)

    def _check(self) -> None:
        if not self.users:
            raise self.NVMLError("Uninitialized")


class _Buffers:
    """A structure of NVML: a long buffer under its name, and under ``NameSize`` how much counts."""

    def __init__(self, **found: bytes) -> None:
        for name, data in found.items():
            setattr(self, name, data + bytes(4096))
            setattr(self, f"{name}Size", len(data))

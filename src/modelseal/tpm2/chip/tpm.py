"""One TPM and the frame of every command: handles, authorizations, parameters (part 1, 18)."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelseal.errors import EvidenceInvalid, KeyStoreUnavailable, ModelsealError
from modelseal.tpm2.chip.codes import AGAIN, base, fail
from modelseal.tpm2.wire.codec import Reader, sized, u16, u32
from modelseal.tpm2.wire.codes import TAG_NO_SESSIONS, TAG_SESSIONS, Command

if TYPE_CHECKING:
    from modelseal.tpm2.chip.session import Authorization
    from modelseal.tpm2.chip.transport import Channel

MAX_COMMAND_BYTES = 4096
_AGAIN_SECONDS = 20.0
_TRANSIENT, _LOADED_SESSIONS = 0x80000000, 0x02000000
_CAP_HANDLES = 1


@dataclass(frozen=True, slots=True)
class Ref:
    """A handle and the name under which authorizations cover it.

    The name of a hierarchy, register or session is the handle itself.
    """

    handle: int
    name: bytes

    @classmethod
    def fixed(cls, handle: int) -> Ref:
        """A hierarchy, a register or a session."""
        return cls(handle, u32(handle))


@dataclass(frozen=True, slots=True)
class Reply:
    """Handles and parameters of a response; ``parameters`` is read to its end by the caller."""

    handles: tuple[int, ...]
    parameters: Reader


class Tpm:
    """A TPM that answers. One command at a time; threads may share it.

    Without a resource manager this connection is the only user: whatever an ended process left
    loaded is flushed at the start.
    """

    def __init__(
        self,
        channel: Channel,
        *,
        random: Callable[[int], bytes] = os.urandom,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._channel = channel
        self._sleep = sleep
        self._lock = threading.RLock()
        self.random = random
        try:
            if not channel.managed:
                self.reap()
        except ModelsealError:
            channel.close()
            raise

    def execute(
        self,
        code: Command,
        handles: Sequence[Ref] = (),
        parameters: bytes = b"",
        auths: Sequence[Authorization] = (),
        *,
        answer_handles: int = 0,
    ) -> Reply:
        """The answer to one command; see ``codes.fail`` for the errors of a refusal.

        ``KeyStoreUnavailable`` when no TPM answers, or one that does not keep the rules.
        """
        try:
            with self._lock:
                return self._execute(code, handles, parameters, auths, answer_handles)
        except EvidenceInvalid:
            raise KeyStoreUnavailable("what the TPM answered breaks its own rules") from None

    def _execute(
        self,
        code: Command,
        handles: Sequence[Ref],
        parameters: bytes,
        auths: Sequence[Authorization],
        answer_handles: int,
    ) -> Reply:
        for auth in auths:
            parameters = auth.hide(parameters)
        names = b"".join(each.name for each in handles)
        cp_hash = hashlib.sha256(u32(code) + names + parameters).digest()
        area = b"".join(auth.command_area(cp_hash) for auth in auths)
        tag = TAG_SESSIONS if auths else TAG_NO_SESSIONS
        head = b"".join(u32(each.handle) for each in handles)
        head += u32(len(area)) + area if auths else b""
        response = self._send(tag, code, head + parameters)
        reader = Reader(response)
        found = tuple(reader.u32() for _ in range(answer_handles))
        if not auths:
            return Reply(found, reader)
        answer = reader.take(reader.u32())
        rp_hash = hashlib.sha256(u32(0) + u32(code) + answer).digest()
        for auth in auths:
            auth.check_response(reader, rp_hash)
        reader.end()
        for auth in auths:
            answer = auth.show(answer)
        return Reply(found, Reader(answer))

    def _send(self, tag: int, code: Command, body: bytes) -> bytes:
        command = u16(tag) + u32(10 + len(body)) + u32(code) + body
        if len(command) > MAX_COMMAND_BYTES:
            raise KeyStoreUnavailable("longer than a TPM accepts")
        waited, pause = 0.0, 0.005
        while True:
            response = self._channel.send(command)
            reader = Reader(response)
            answer_tag, length, rc = reader.u16(), reader.u32(), reader.u32()
            if length != len(response):
                raise EvidenceInvalid("a response of another length than it says")
            if base(rc) not in AGAIN or waited > _AGAIN_SECONDS:
                break
            self._sleep(pause)
            waited, pause = waited + pause, min(1.0, 2 * pause)
        if rc:
            fail(rc, code.name.lower())
        if answer_tag != tag:
            raise EvidenceInvalid("a response with another tag")
        return reader.rest()

    def flush(self, handle: int) -> None:
        """The object or session is out of the TPM."""
        self.execute(Command.FLUSH_CONTEXT, parameters=u32(handle))

    @contextlib.contextmanager
    def flushing(self, handle: int) -> Iterator[int]:
        """``handle``, flushed at the end whatever happened; a TPM that is gone holds nothing."""
        try:
            yield handle
        finally:
            with contextlib.suppress(KeyStoreUnavailable):
                self.flush(handle)

    def handles(self, first: int, most: int = 64) -> tuple[int, ...]:
        """The handles in use from ``first`` on, of its kind."""
        body = u32(_CAP_HANDLES) + u32(first) + u32(most)
        reader = self.execute(Command.GET_CAPABILITY, parameters=body).parameters
        reader.u8(), reader.u32()
        return tuple(reader.u32() for _ in range(min(reader.u32(), most)))

    def reap(self) -> int:
        """Every transient object and session is flushed; how many there were."""
        found = (*self.handles(_TRANSIENT), *self.handles(_LOADED_SESSIONS))
        for handle in found:
            self.flush(handle)
        return len(found)

    def close(self) -> None:
        """The connection is gone."""
        self._channel.close()

    def __enter__(self) -> Tpm:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def parameter(data: bytes) -> bytes:
    """A TPM2B parameter."""
    return sized(data)

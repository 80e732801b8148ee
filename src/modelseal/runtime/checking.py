"""What a file check that an app recipe names finds in place of a sealed file."""

from __future__ import annotations

import io
from typing import Any

from modelseal.errors import EgressRefused
from modelseal.runtime import default, report, who
from modelseal.runtime.loading import choose, open_sealed
from modelseal.runtime.opened import SealedFile, SealedReader


def plain_size(path: str) -> int:
    """The length in bytes of the only file in the sealed one at ``path``."""
    view = open_sealed(path)
    try:
        with report.told(default.for_record, path):
            return view.size(choose(view, ()))
    finally:
        view.close()


class PlainForCheck(io.RawIOBase):
    """The plaintext, read-only, for the code of ``module``; whoever else reads is refused.

    There is no descriptor: nothing can map it or hand it to another process.
    """

    def __init__(self, path: str, module: str) -> None:
        super().__init__()
        self.name, self.mode = path, "rb"
        self._module = module
        self._sealed = SealedFile(open_sealed(path), path)
        try:
            with report.told(default.for_record, path):
                self._reader: SealedReader = self._sealed.open()
        except BaseException:
            self._sealed.close()
            raise

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """The position in bytes."""
        return self._reader.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """The new position."""
        return self._reader.seek(offset, whence)

    def readinto(self, target: Any, /) -> int:
        """Fills ``target`` as far as the file goes; 0 at its end."""
        self._check()
        return self._reader.readinto(target)

    readinto1 = readinto

    def readall(self) -> bytes:
        """The rest of the file."""
        self._check()
        return self._reader.readall()

    def read1(self, size: int = -1, /) -> bytes:
        """As ``read``."""
        return self.read(size) or b""

    def peek(self, size: int = 0, /) -> bytes:
        """The next bytes; the position stays."""
        at = self.tell()
        found = self.read(max(size, 1)) or b""
        self.seek(at)
        return found

    def close(self) -> None:
        """Nothing more is read."""
        if not self.closed:
            self._sealed.close()
        super().close()

    def _check(self) -> None:
        reader = who.caller(2)[0]
        if reader != self._module:
            with report.told(default.for_record, self.name):
                raise EgressRefused(
                    f"what {self._module} opened for a check was read by {reader or 'other code'}",
                    what=f"reading by {reader or 'other code'}",
                    path=self.name,
                )

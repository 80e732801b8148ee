"""A download that resumes and believes nobody (protocol.md, section 6)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import httpx

from .catalog import Target
from .encoding import Refused, expect
from .front import Prologue
from .sealed import Sealed
from .trust import Key

_BAD = "download_damaged"


class Download:
    """Verified bytes only lie in the temporary file; what is there counts the next time."""

    def __init__(self, target: Target, folder: Path, pinned: list[Key], product: str) -> None:
        self.target, self.pinned, self.product = target, pinned, product
        self.final = folder / target.name
        self.part = self.final.with_name(f".{self.final.name}.part")
        self.etag: str | None = None
        self.model: Sealed | None = None
        self.places: list[tuple[int, int]] = []

    def run(self, http: httpx.Client, url: str) -> Path:
        """The file under its name. After an error the next run goes on where this one ended."""
        self.part.parent.mkdir(parents=True, exist_ok=True)
        with open(self.part, "r+b" if self.part.exists() else "w+b") as file:
            have = self._resume(file)
            waiting = b""
            for piece in self._body(http, url, have):
                waiting = self._take(file, waiting + piece)
            expect(not waiting, "unavailable", "the connection ended early")
            expect(file.tell() == self.target.length, "unavailable", "the connection ended early")
            file.flush()
            os.fsync(file.fileno())
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            expect(digest == self.target.sha256, _BAD, "another file than the catalog's")
        self.part.replace(self.final)
        return self.final

    def _resume(self, file: BinaryIO) -> int:
        """Verify what is there, cut the rest off."""
        data = file.read()
        file.seek(0)
        file.truncate()
        try:
            self._take(file, data)
        except Refused:
            self.model = None
            file.seek(0)
            file.truncate()
        return file.tell()

    def _take(self, file: BinaryIO, data: bytes) -> bytes:
        """Write the front, then whole chunks that hold; the beginning of the next is given back."""
        at = file.tell()
        if self.model is None:
            if len(data) < 128:
                return data
            prologue = Prologue.read(data, None)
            same = (prologue.file_size, prologue.file_id)
            expect(same == (self.target.length, self.target.file_id), _BAD, "another file")
            if len(data) < prologue.data_offset:
                return data
            front, data = data[: prologue.data_offset], data[prologue.data_offset :]
            self._front(Sealed(prologue, front))
            file.write(front)
            at = len(front)
        model = self.model
        assert model is not None
        number = next((n for n, (o, _) in enumerate(self.places) if o == at), len(self.places))
        while number < len(self.places) and len(data) >= self.places[number][1]:
            size = self.places[number][1]
            expect(model.leaf_holds(number, data[:size]), _BAD, "a chunk")
            file.write(data[:size])
            data = data[size:]
            number += 1
        return data

    def _front(self, model: Sealed) -> None:
        model.verify(self.pinned, self.product, self.target.min_release)
        model.verify_table()
        self.model, self.places = model, model.places()

    def _body(self, http: httpx.Client, url: str, have: int) -> Iterator[bytes]:
        if have == self.target.length:
            return
        headers = {"Range": f"bytes={have}-"} if have else {}
        if have and self.etag:
            headers["If-Range"] = self.etag
        try:
            with http.stream("GET", url, headers=headers) as answer:
                self._judge(answer, have)
                etag = answer.headers.get("etag", "")
                self.etag = etag if etag.startswith('"') else self.etag
                skip = have if answer.status_code == 200 else 0
                left = self.target.length - have
                for piece in answer.iter_raw():
                    new, skip = piece[skip:], max(0, skip - len(piece))
                    left -= len(new)
                    expect(left >= 0, _BAD, "more bytes than the file has")
                    yield new
        except httpx.TransportError as error:
            raise Refused("unavailable", type(error).__name__) from error

    def _judge(self, answer: httpx.Response, have: int) -> None:
        if answer.status_code == 206:
            size = self.target.length
            said = answer.headers.get("content-range")
            expect(said == f"bytes {have}-{size - 1}/{size}", _BAD, "another range")
        else:
            expect(answer.status_code == 200, "unavailable", f"status {answer.status_code}")

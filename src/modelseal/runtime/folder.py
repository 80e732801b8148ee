"""A sealed folder under a path: what loaders of whole folders (``from_pretrained``) are given.

The path is a folder of links, outside the sealed file and empty of content. Small files that
frameworks read by themselves (configuration, index, tokenizer, code) lead to files in memory,
decrypted and verified; weights lead to the sealed file, which the hook opens. Nothing that lies
beside the sealed file is looked at, so that a configuration cannot be put in place of the signed
one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import sys
import tempfile
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

from modelseal.errors import InputMissing, MemoryUnavailable, NotEntitled, NotFound, NotSealed
from modelseal.runtime import default, egress, places, report
from modelseal.runtime.folders import ENDING, WEIGHTS, sealed_path
from modelseal.runtime.keyring import Keyring
from modelseal.runtime.loading import is_plain, open_sealed
from modelseal.runtime.memoryfile import MemoryFile
from modelseal.runtime.view import View, as_path

SMALL_BYTES = 64 * 1024 * 1024
_PREFIX = "modelseal-"
_MEMORY = "/dev/shm"  # noqa: S108 - links only, in a folder of this user's own

_lock = threading.Lock()
_standing: dict[object, SealedFolder] = {}


class SealedFolder:
    """One sealed model as a folder of this process; ``root`` is its path until ``close``.

    Raises what opening raises; ``MemoryUnavailable`` where the system has no files in memory.
    """

    def __init__(self, path: str) -> None:
        self._view = open_sealed(path)
        self.path = str(self._view.path)
        self._keyring = Keyring(default.current())
        self._memory: dict[str, MemoryFile] = {}
        self._file_id = self._view.model.file_id
        self._names = frozenset(self._view.names())
        self._owner = os.getpid()
        self._made, self._lock_fd = _make_folder()
        stem = Path(self.path).name.removesuffix(ENDING) or "model"
        self.root = str(Path(self._made) / stem)
        self._remover = weakref.finalize(self, _remove, self._made, self._lock_fd, self._owner)
        try:
            with report.told(default.for_record, self.path):
                self._lay_out()
            self._view.forget_keys()
            places.add(self.root, self)
        except BaseException:
            self.close()
            raise

    def view(self, name: str) -> View:
        """A view for the file ``name``, for as long as it is open; keys are there while one is."""
        if name not in self._names:
            raise NotFound("no such file in the sealed folder", path=self.path, name=name)
        if os.getpid() != self._owner:  # a forked child opens for itself
            self._view = open_sealed(self.path)
            self._keyring, self._owner = Keyring(default.current()), os.getpid()
        return self._view.beside(self._keyring, name)

    def is_sealed(self, name: str) -> bool:
        """Whether the link ``name`` leads to the sealed file and not to plain memory."""
        return name in self._names and name not in self._memory

    @property
    def file_id(self) -> bytes:
        """The identity of the sealing."""
        return self._file_id

    def text(self, name: str) -> bytes | None:
        """The content of the small file ``name``; None when there is none in memory."""
        file = self._memory.get(name)
        return None if file is None else file.read()

    def has_folder(self, name: str) -> bool:
        """Whether files lie below ``name``."""
        return any(each.startswith(f"{name}/") for each in self._names)

    @contextlib.contextmanager
    def in_use(self) -> Iterator[str]:
        """The path, while a framework loads from it; the license is asked again before."""
        with report.told(default.for_record, self.path):
            for name in self._memory:
                self._view.may_open(name)
        held = self._keyring.lend()
        try:
            with egress.loading(self.path):
                yield self.root
        finally:
            held.close()

    def close(self) -> None:
        """The path leads nowhere any more; what was loaded stays its holders'."""
        places.remove(self.root)
        for file in self._memory.values():
            file.close()
        self._memory.clear()
        self._view.close()
        self._remover()

    def _lay_out(self) -> None:
        refused: NotEntitled | None = None
        sealed = os.path.realpath(self.path)
        for name in sorted(self._names):
            place = Path(self.root, *name.split("/"))
            place.parent.mkdir(parents=True, exist_ok=True)
            target = sealed
            if not name.lower().endswith(WEIGHTS) and self._view.size(name) <= SMALL_BYTES:
                try:
                    self._memory[name] = MemoryFile.of(self._view, name)
                    target = self._memory[name].path
                except NotEntitled as error:  # reading it fails: what is inside stays sealed
                    refused = error
            place.symlink_to(target)
        if refused is not None and not self._memory:
            raise refused


@contextlib.contextmanager
def folder(path: str | os.PathLike[str], *, allow_plain: bool = False) -> Iterator[str]:
    """The path of a folder with the files of the sealed model at ``path``, for loaders of folders.

        with modelseal.folder("models/tiny.sealed") as path:
            model = AutoModelForCausalLM.from_pretrained(path)

    ``models/tiny`` means ``models/tiny.sealed`` beside it or inside it. It starts the hook in this
    process, through which frameworks open the weights. Raises ``NotSealed`` for a plain folder
    unless ``allow_plain``, ``InputMissing``, the refusals of the license, ``MemoryUnavailable``
    where the system has no files in memory (they are Linux's).
    """
    from modelseal.runtime import hook

    given = as_path(path)
    found = sealed_path(given)
    if found is None:
        with report.told(default.for_record, given):
            if not Path(given).is_dir():
                if not is_plain(given, allow_plain=False):
                    raise InputMissing("no sealed folder", path=given)
            elif not allow_plain:
                raise NotSealed("a plain folder where a sealed one is expected", path=given)
        yield given
        return
    hook.start()
    sealed, inner = found
    standing = SealedFolder(sealed)
    try:
        with standing.in_use() as root:
            yield os.path.join(root, *inner.split("/")) if inner else root  # noqa: PTH118
    finally:
        standing.close()


def standing_in(path: str) -> tuple[SealedFolder, str] | None:
    """The folder that stands in for the sealed one ``path`` means, and the path in it; made once
    per file identity and license, and there until the process ends."""
    found = sealed_path(path)
    if found is None:
        return None
    sealed, inner = found
    seen = os.stat(sealed)  # noqa: PTH116
    key = (
        os.path.realpath(sealed), seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns,
        seen.st_ctime_ns, id(default.current()), os.getpid(),
    )  # fmt: skip
    with _lock:
        standing = _standing.get(key)
        if standing is None:
            standing = _standing[key] = SealedFolder(sealed)
    root = standing.root
    return standing, os.path.join(root, *inner.split("/")) if inner else root  # noqa: PTH118


def _make_folder() -> tuple[str, int]:
    """An empty folder of this user's own, locked as long as it is in use, in memory if it can."""
    if sys.platform == "win32" or not hasattr(os, "memfd_create"):
        raise MemoryUnavailable("this system has no files in memory to make a folder of")
    base = _MEMORY if os.access(_MEMORY, os.W_OK | os.X_OK) else tempfile.gettempdir()
    _sweep(base)
    for _ in range(8):
        made = tempfile.mkdtemp(prefix=_PREFIX, dir=base)
        descriptor = _locked(made)
        if descriptor is not None:
            return made, descriptor
    raise MemoryUnavailable("no folder for the links of a sealed folder")


def _locked(place: str) -> int | None:
    """A descriptor that holds the lock of the folder; None when it is another's, or gone."""
    import fcntl

    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), os.stat(place)):  # noqa: PTH116
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None


def _sweep(base: str) -> None:
    """What killed processes of this user left is gone; it held links only."""
    with contextlib.suppress(OSError), os.scandir(base) as entries:
        for entry in entries:
            if not entry.name.startswith(_PREFIX) or not entry.is_dir(follow_symlinks=False):
                continue
            info = entry.stat(follow_symlinks=False)
            if info.st_uid != os.getuid() or stat.S_IMODE(info.st_mode) != 0o700:
                continue
            descriptor = _locked(entry.path)
            if descriptor is not None:
                shutil.rmtree(entry.path, ignore_errors=True)
                os.close(descriptor)


def _remove(made: str, lock_fd: int, owner: int) -> None:
    if os.getpid() == owner:
        shutil.rmtree(made, ignore_errors=True)
        with contextlib.suppress(OSError):
            os.close(lock_fd)


def _fresh_lock() -> None:
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_fresh_lock)

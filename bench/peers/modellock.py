"""modellock: the whole file by one call of PyCryptodome, kept as base64 within JSON."""

from __future__ import annotations

import os
from pathlib import Path

from bench.peers import Open, key_beside, released, tensors

TITLE = "modellock"
REMARK = "base64 in JSON: the file is a third larger; the whole of it in memory several times"


def released_as() -> str:
    """What is measured."""
    return released("modellock")


def protect(plain: Path, target: Path) -> None:
    """Under a master key, without a password or license."""
    from modellock import FileEncryptor

    key_beside(target).write_bytes(os.urandom(32))
    key = key_beside(target).read_bytes()
    FileEncryptor().encrypt_file_to_package(str(plain), str(target), key)


def opener(target: Path) -> Open:
    """Its package opened in memory."""
    from modellock import FileEncryptor

    tool, key = FileEncryptor(), key_beside(target).read_bytes()

    def run() -> object:
        package = tool.load_package_from_file(str(target))
        return tensors(bytes(tool.decrypt_package_to_memory(package, key)))

    return run

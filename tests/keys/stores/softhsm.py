"""SoftHSM with a fresh token in a folder of its own; the library is one per process."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

PLACES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
)
PIN = "48151623"


class SoftHsm:
    """A token named ``shop``. ``take_out`` and ``put_back`` are what a hand does."""

    def __init__(self, folder: Path) -> None:
        found = next((place for place in PLACES if Path(place).exists()), None)
        if found is None or shutil.which("softhsm2-util") is None:
            pytest.skip("needs SoftHSM: apt-get install softhsm2")
        self.module = found
        self.tokens = folder / "tokens"
        self.tokens.mkdir()
        self.pin_file = folder / "pin"
        self.pin_file.write_text(PIN + "\n")
        self.pin_file.chmod(0o600)
        self._away = folder / "away"
        self.config = folder / "softhsm2.conf"
        self.config.write_text(
            f"directories.tokendir = {self.tokens}\nobjectstore.backend = file\nlog.level = ERROR\n"
        )
        # Read by the library whenever it is initialised, so it stays for the whole run.
        os.environ["SOFTHSM2_CONF"] = str(self.config)
        self.make_token("shop")

    def make_token(self, label: str) -> None:
        """Afterwards there is a token of that name, with the PIN ``PIN``."""
        told = ["--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", "4815162342"]
        subprocess.run(["softhsm2-util", *told], check=True, capture_output=True)

    def uri(self, name: str, options: str = "", token: str = "shop") -> str:
        """The key URI of the key ``name``; the PIN comes from a file."""
        pin = f"&pin-source=file:{self.pin_file}"
        return f"pkcs11:token={token};object={name}?module-path={self.module}{pin}{options}"

    @property
    def token_uri(self) -> str:
        """The URI of the token alone."""
        return f"pkcs11:token=shop?module-path={self.module}&pin-source=file:{self.pin_file}"

    def asking(self, name: str, token: str = "shop") -> str:
        """The same without a file for the PIN."""
        return f"pkcs11:token={token};object={name}?module-path={self.module}"

    def take_out(self) -> None:
        """Afterwards no token is in its slot."""
        self.tokens.rename(self._away)
        self.tokens.mkdir()

    def put_back(self) -> None:
        """Afterwards the token is in its slot again."""
        self.tokens.rmdir()
        self._away.rename(self.tokens)

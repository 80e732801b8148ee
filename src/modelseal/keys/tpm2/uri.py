"""The ``tpm2:`` key URI.

    tpm2:                                       the TPM of this computer, key file ``tpm2.key``
    tpm2:///dev/tpmrm0?file=kek.tpm2            another device or key file
    tpm2://127.0.0.1:2321                       an emulator's TCP socket on this computer
    tpm2://unix:/run/tpm.sock                   an emulator's Unix socket
    tpm2:?pcrs=sha256:7,11                      usable only while these registers hold these values
    tpm2:?pcrs=sha256:7,11&authority=owner.jwk  or any values that this key's owner signed later
    tpm2:?parent=0x81000001                     under a storage root that lies there already

``pcrs`` and ``authority`` matter when a key is made; the key file remembers them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from modelseal.errors import ConfigInvalid
from modelseal.tpm2.chip.transport import Address
from modelseal.tpm2.wire.codes import DIGEST_NAMES
from modelseal.tpm2.wire.policy import PCR_COUNT, PcrSelection

SCHEME = "tpm2"
DEFAULT_FILE = "tpm2.key"
_BANKS = {name: bank for bank, name in DIGEST_NAMES.items()}
_OPTIONS = ("file", "pcrs", "authority", "parent")
_PARENT = re.compile(r"0x81[0-9a-fA-F]{6}")
_MAX_CHARACTERS = 2048
GRAMMAR = "a TPM key URI is tpm2:[//TPM][?file=PATH&pcrs=sha256:7,11&authority=PATH&parent=0x81…]"


@dataclass(frozen=True, slots=True)
class TpmUri:
    """A parsed ``tpm2:`` URI."""

    address: Address
    file: Path = Path(DEFAULT_FILE)
    pcrs: tuple[PcrSelection, ...] = ()
    authority: Path | None = None
    parent: int | None = None

    def __str__(self) -> str:
        options = [f"file={quote(str(self.file))}"] if self.file != Path(DEFAULT_FILE) else []
        options += [f"pcrs={write_pcrs(self.pcrs)}"] if self.pcrs else []
        options += [f"authority={quote(str(self.authority))}"] if self.authority else []
        options += [f"parent={self.parent:#x}"] if self.parent is not None else []
        where = "" if self.address == Address.parse("") else f"//{self.address}"
        return f"{SCHEME}:{where}" + (f"?{'&'.join(options)}" if options else "")


def parse_uri(uri: str) -> TpmUri:
    """The parts of ``uri``; ``ConfigInvalid`` when it is none of the grammar above."""
    scheme, _, rest = uri.partition(":")
    where, question, query = rest.partition("?")
    if scheme != SCHEME or len(uri) > _MAX_CHARACTERS or "\0" in unquote(uri) or "#" in uri:
        raise ConfigInvalid(GRAMMAR)
    if where and not where.startswith("//"):
        raise ConfigInvalid(GRAMMAR)
    options = _options(query) if question else {}
    parent = options.get("parent")
    if parent is not None and not _PARENT.fullmatch(parent):
        raise ConfigInvalid("parent is a persistent handle like 0x81000001")
    pcrs = parse_pcrs(options["pcrs"]) if "pcrs" in options else ()
    authority = options.get("authority")
    if authority is not None and not pcrs:
        raise ConfigInvalid("authority signs PCR values: pcrs says which registers")
    return TpmUri(
        address=Address.parse(unquote(where.removeprefix("//"))),
        file=Path(options.get("file", DEFAULT_FILE)),
        pcrs=pcrs,
        authority=None if authority is None else Path(authority),
        parent=None if parent is None else int(parent, 16),
    )


def parse_pcrs(text: str) -> tuple[PcrSelection, ...]:
    """``sha256:7,11`` or ``sha256:7+sha384:0,4``; ``ConfigInvalid`` for anything else."""
    found: dict[int, PcrSelection] = {}
    for part in text.split("+"):
        bank, colon, numbers = part.partition(":")
        listed = numbers.split(",")
        good = all(each.isascii() and each.isdigit() and len(each) < 3 for each in listed)
        if not colon or bank not in _BANKS or _BANKS[bank] in found or not good:
            raise ConfigInvalid("PCRs are written like sha256:7,11")
        registers = sorted({int(each) for each in listed})
        if len(registers) != len(listed) or registers[-1] >= PCR_COUNT:
            raise ConfigInvalid("PCRs are different numbers from 0 to 23")
        found[_BANKS[bank]] = PcrSelection(_BANKS[bank], tuple(registers))
    return tuple(found[bank] for bank in sorted(found))


def write_pcrs(selections: tuple[PcrSelection, ...]) -> str:
    """The inverse of ``parse_pcrs``."""
    return "+".join(
        f"{DIGEST_NAMES[each.bank]}:{','.join(map(str, each.registers))}" for each in selections
    )


def _options(query: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in query.split("&"):
        name, equals, value = part.partition("=")
        if name not in _OPTIONS or not equals or not value or name in found:
            raise ConfigInvalid(GRAMMAR)
        found[name] = unquote(value)
    return found

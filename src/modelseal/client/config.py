"""``modelseal.toml`` and where each setting comes from.

Precedence, the first that says something wins: argument, environment (``MODELSEAL_SERVER``,
``MODELSEAL_TRUST``, ``MODELSEAL_STATE``, ``MODELSEAL_CA``, ``MODELSEAL_APP``,
``MODELSEAL_DEVICE_KEY``), ``modelseal.toml``, what the state folder remembers from its activation,
the platform's data folder.

    product = "facefusion"
    server  = "https://license.example.com"
    trust   = "trust.json"                 # a path beside this file, or the JSON itself
    sealed  = ["models/*.onnx"]            # what must be sealed under `modelseal run`
    recipes = ["facefusion", "my.toml"]    # app recipes (docs/spec/app-recipe.md)
    mirrors = ["https://cdn.example.com/blobs"]
    device_key = "tpm2:"                   # new device keys are made in the TPM
    [eula]
    path = "EULA.txt"                      # or digest = "...", and uri = "https://..."
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from modelseal.errors import ConfigInvalid
from modelseal.strict_json import b64u

FILE_NAME = "modelseal.toml"
MAX_CONFIG_BYTES = 1 << 20
MAX_TRUST_BYTES = 1 << 20
_PRODUCT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DIGEST = re.compile(r"[A-Za-z0-9_-]{43}")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class _EulaTable(msgspec.Struct, forbid_unknown_fields=True):
    path: str | None = None
    digest: str | None = None
    uri: str | None = None


class _File(msgspec.Struct, forbid_unknown_fields=True):
    product: str | None = None
    server: str | None = None
    trust: str | None = None
    eula: _EulaTable | None = None
    sealed: list[str] = []
    recipes: list[str] | None = None
    mirrors: list[str] = []
    device_key: str | None = None


@dataclass(frozen=True, slots=True)
class Eula:
    """The agreement an app ships: SHA-256 of its bytes (base64url), where it can be read."""

    digest: str | None
    uri: str | None = None
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class AppConfig:
    """What one ``modelseal.toml`` says; ``path`` is the file itself."""

    path: Path
    product: str | None = None
    server: str | None = None
    trust: bytes | None = None
    eula: Eula | None = None
    sealed: tuple[str, ...] = ()
    recipes: tuple[str, ...] | None = None
    mirrors: tuple[str, ...] = ()
    device_key: str | None = None

    @property
    def folder(self) -> Path:
        """The folder that the file's relative paths and ``sealed`` patterns start from."""
        return self.path.parent


def beside_program() -> Path | None:
    """The ``modelseal.toml`` beside the running program; None without one.

    The program is a script, a frozen one, or a package: ``python -m app.tool`` is the package
    ``app``, with its ``modelseal.toml`` inside or beside its folder.
    """
    places: list[Path] = []
    if getattr(sys, "frozen", False):
        places.append(Path(sys.executable).resolve().parent)
        if bundle := getattr(sys, "_MEIPASS", None):
            places.append(Path(str(bundle)))
    program = sys.modules.get("__main__")
    main = getattr(program, "__file__", None)
    if main:
        parents = Path(main).resolve().parents
        depth = str(getattr(getattr(program, "__spec__", None), "name", "")).count(".")
        places.extend(parents[: depth + 1])
    return next((p / FILE_NAME for p in places if _is_there(p / FILE_NAME)), None)


def _is_there(path: Path) -> bool:
    """Whether ``path`` is a file; where one may not look there is none."""
    return os.path.isfile(path)  # noqa: PTH113 - Path.is_file raises PermissionError


def upwards(start: Path) -> Path | None:
    """The ``modelseal.toml`` in ``start`` or the nearest parent that has one (for the CLI)."""
    start = start.resolve()
    places = (start, *start.parents)
    return next((p / FILE_NAME for p in places if _is_there(p / FILE_NAME)), None)


def find(app: str | os.PathLike[str] | None, environ: Mapping[str, str]) -> AppConfig | None:
    """The app's configuration: named by ``app`` or ``MODELSEAL_APP``, else beside the program.

    A named file or folder that is not there raises ``ConfigInvalid``; None when none is named
    and none lies beside the program.
    """
    named = app if app is not None else environ.get("MODELSEAL_APP") or None
    if named is None:
        found = beside_program()
        return None if found is None else load(found)
    path = Path(named)
    return load(path / FILE_NAME if path.is_dir() else path)


def load(path: Path) -> AppConfig:
    """The checked contents of one ``modelseal.toml``; ``ConfigInvalid`` says what is wrong."""
    data = _read(path, MAX_CONFIG_BYTES, "no such file")
    try:
        raw = tomllib.loads(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigInvalid(f"not TOML: {error}"[:200], path=str(path)) from None
    try:
        file = msgspec.convert(raw, _File, strict=True)
    except msgspec.ValidationError as error:
        raise ConfigInvalid(str(error)[:200], path=str(path)) from None
    return AppConfig(
        path=path,
        product=None if file.product is None else check_product(file.product, path),
        server=None if file.server is None else check_server(file.server, path),
        trust=None if file.trust is None else read_trust(file.trust, path.parent),
        eula=None if file.eula is None else _eula(file.eula, path),
        sealed=tuple(_glob(pattern, path) for pattern in file.sealed),
        recipes=None if file.recipes is None else tuple(_glob(name, path) for name in file.recipes),
        mirrors=tuple(check_server(url, path) for url in file.mirrors),
        device_key=file.device_key,
    )


def read_trust(value: str, base: Path) -> bytes:
    """The bytes of a trust file: ``value`` itself when it is JSON, else the file it names."""
    if value.lstrip().startswith("{"):
        return value.encode("utf-8")
    path = base / value
    return _read(path, MAX_TRUST_BYTES, "the trust file is not there")


def check_product(name: str, path: Path | None = None) -> str:
    """``name`` itself when it can name a product and its data folder."""
    if not _PRODUCT.fullmatch(name):
        raise ConfigInvalid("a product is letters, digits, dot, dash, underline", **_at(path))
    return name


def check_server(url: str, path: Path | None = None) -> str:
    """``url`` without a trailing slash; HTTPS, or HTTP to this computer only."""
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError:
        raise ConfigInvalid("the server is no URL", **_at(path)) from None
    if not host or parts.scheme not in ("https", "http") or any(c.isspace() for c in url):
        raise ConfigInvalid(
            "the server is an address like https://license.example.com", **_at(path)
        )
    if parts.scheme == "http" and host not in _LOOPBACK:
        raise ConfigInvalid("plain http is for this computer only; use https", **_at(path))
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigInvalid("a server address has no user, query or fragment", **_at(path))
    return url.rstrip("/")


def check_digest(digest: str) -> str:
    """``digest`` itself when it is a SHA-256 in base64url; else ``ConfigInvalid``."""
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise ConfigInvalid("a EULA digest is SHA-256 in base64url, 43 characters")
    return digest


def default_state(product: str) -> Path:
    """The platform's data folder of this user under the product's name."""
    import platformdirs

    return Path(platformdirs.user_data_path(product, appauthor=False))


def _read(path: Path, max_bytes: int, missing: str) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except FileNotFoundError:
        raise ConfigInvalid(missing, path=str(path)) from None
    except OSError as error:
        raise ConfigInvalid(f"cannot be read: {error.strerror}", path=str(path)) from None
    if len(data) > max_bytes:
        raise ConfigInvalid(f"longer than {max_bytes} bytes", path=str(path))
    return data


def _eula(table: _EulaTable, path: Path) -> Eula:
    digest = None
    if table.digest is not None:
        if not _DIGEST.fullmatch(table.digest):
            raise ConfigInvalid("eula.digest is SHA-256 in base64url", path=str(path))
        digest = table.digest
    if table.path is None:
        if digest is None and table.uri is None:
            raise ConfigInvalid("[eula] names neither path, digest nor uri", path=str(path))
        return Eula(digest, table.uri)
    file = path.parent / table.path
    found = b64u(hashlib.sha256(_read(file, 1 << 22, "the EULA is not there")).digest())
    if digest is not None and digest != found:
        raise ConfigInvalid("eula.path and eula.digest disagree", path=str(path))
    return Eula(found, table.uri, file)


def _glob(pattern: str, path: Path) -> str:
    if not pattern or "\0" in pattern:
        raise ConfigInvalid("an empty name in `sealed` or `recipes`", path=str(path))
    return pattern


def _at(path: Path | None) -> dict[str, str]:
    return {} if path is None else {"path": str(path)}

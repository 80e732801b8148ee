"""Key provider for the transit engine of HashiCorp Vault and OpenBao, over HTTP. L1, declared.

    vault:https://vault.example.com:8200/transit/shop
    vault:https://vault.example.com:8200/team/transit/shop?namespace=shops

The path is the engine's mount and, last, the key's name. The token comes from where Vault's own
client looks: ``VAULT_TOKEN`` (``BAO_TOKEN``), else ``~/.vault-token``, which an agent renews; a
token that was refused is read again once. ``VAULT_CACERT`` adds an authority. The address and the
namespace come from the URI alone.
"""

from __future__ import annotations

import base64
import json
import os
import re
import ssl
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from modelseal import cbor
from modelseal.errors import (
    ConfigInvalid,
    InputMissing,
    KeyStoreUnavailable,
    OutputExists,
    WrappedKeyInvalid,
)
from modelseal.keys import files, options
from modelseal.keys.layered import Bound, LayeredProvider
from modelseal.types import Level

if TYPE_CHECKING:
    from modelseal.keys.options import StoreUri
    from modelseal.keys.provider import Ask

MAX_ANSWER_BYTES = 64 * 1024
_MAX_TOKEN_BYTES = 4096
_PATH = re.compile(r"/(?:[A-Za-z0-9._-]+/){1,8}[A-Za-z0-9._-]{1,128}")
_NAMESPACE = re.compile(r"[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*/?")
_UNKNOWN = b"encryption key not found"
_KEY_TYPE = "aes256-gcm96"
_STATES = {429: "a standby node", 472: "a recovery node", 473: "a standby node",
           500: "an internal error", 501: "not initialised", 502: "a failing upstream",
           503: "sealed or in maintenance"}  # fmt: skip


class TransitKey:
    """A key of the transit engine; a ``KeyStore``."""

    kind = "vault"
    level = Level.L1

    def __init__(self, server: _Vault, mount: str, name: str) -> None:
        self._server = server
        self._mount, self._name = mount, name
        found = server.call("GET", f"{mount}/keys/{name}")
        if not isinstance(found, dict) or found.get("type") != _KEY_TYPE:
            raise ConfigInvalid(f"a key-encryption key in Vault is of type {_KEY_TYPE}")
        if found.get("exportable") or found.get("allow_plaintext_backup"):
            raise KeyStoreUnavailable("the key may leave Vault; it is not used", uri=server.uri)
        self.identity = f"{server.identity}/{mount}/{name}".encode()

    def wrap_key(self, key: bytes, bound: Bound) -> bytes:
        """Vault's ciphertext of ``key``, bound to ``bound``."""
        body = {"plaintext": _b64(key), "associated_data": _b64(_aad(bound))}
        answer = self._server.call("POST", f"{self._mount}/encrypt/{self._name}", body)
        text = answer.get("ciphertext") if isinstance(answer, dict) else None
        if not isinstance(text, str) or not text.isascii():
            raise KeyStoreUnavailable("Vault answered with no ciphertext", uri=self._server.uri)
        return text.encode("ascii")

    def unwrap_key(self, wrapped: bytes, bound: Bound) -> bytes:
        """The key again."""
        try:
            text = wrapped.decode("ascii")
        except UnicodeDecodeError:
            raise WrappedKeyInvalid("this is no ciphertext of Vault") from None
        body = {"ciphertext": text, "associated_data": _b64(_aad(bound))}
        try:
            answer = self._server.call("POST", f"{self._mount}/decrypt/{self._name}", body)
            return base64.b64decode(answer["plaintext"], validate=True)
        except ConfigInvalid:  # what Vault calls a bad request
            raise WrappedKeyInvalid(
                "Vault cannot open it: altered, or bound to another context"
            ) from None
        except (KeyError, TypeError, ValueError):
            raise KeyStoreUnavailable("Vault answered with no key", uri=self._server.uri) from None

    def describe(self) -> Mapping[str, object]:
        """The address, the mount and the key's name."""
        return {"key": f"{self._mount}/{self._name}", "address": self._server.address}


class _Vault:
    """The HTTP interface of one Vault; see the module."""

    def __init__(self, parsed: StoreUri, address: str, namespace: str | None) -> None:
        import httpx

        self.uri = parsed.uri
        self.address = address
        self._namespace = namespace
        self.identity = f"{urlsplit(address).netloc}/{namespace or ''}"
        self._http = httpx.Client(
            verify=_authorities(), timeout=parsed.limit_seconds, trust_env=True
        )
        self._token = ""
        weakref.finalize(self, self._http.close)

    def call(self, method: str, path: str, body: Mapping[str, str] | None = None) -> Any:
        """The member ``data`` of the answer.

        Raises ``InputMissing`` (404), ``ConfigInvalid`` (400), ``KeyStoreUnavailable``.
        """
        kept, self._token = self._token, self._token or _token(self.uri)
        status, content = self._send(method, path, body)
        if status == 403 and kept:
            self._token = _token(self.uri)
            if self._token != kept:
                status, content = self._send(method, path, body)
        return self._read(status, content)

    def _send(self, method: str, path: str, body: Mapping[str, str] | None) -> tuple[int, bytes]:
        """Status and content of the answer; a standby's word for the active node is followed."""
        import httpx

        url = f"{self.address}/v1/{path}"
        try:
            status, content, elsewhere = self._exchange(method, url, body)
            if status == 307:
                url = str(httpx.URL(url).join(elsewhere))
                if options.check_endpoint(url).scheme != urlsplit(self.address).scheme:
                    raise KeyStoreUnavailable("Vault leads away from https", uri=self.uri)
                status, content, _ = self._exchange(method, url, body)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise KeyStoreUnavailable(f"Vault: {type(error).__name__}", uri=self.uri) from None
        return status, content

    def _exchange(
        self, method: str, url: str, body: Mapping[str, str] | None
    ) -> tuple[int, bytes, str]:
        headers = {"X-Vault-Token": self._token, "X-Vault-Request": "true"}
        if self._namespace is not None:
            headers["X-Vault-Namespace"] = self._namespace
        content = b""
        with self._http.stream(method, url, json=body, headers=headers) as answer:
            for part in answer.iter_bytes():
                content += part
                if len(content) > MAX_ANSWER_BYTES:
                    raise KeyStoreUnavailable("Vault answered with too much", uri=self.uri)
            return answer.status_code, content, answer.headers.get("Location", "")

    def _read(self, status: int, content: bytes) -> Any:
        if status == 404:
            raise InputMissing("Vault has no such key", path=self.uri)
        if status == 400:
            if _UNKNOWN in content:
                raise InputMissing("Vault has no such key", path=self.uri)
            raise ConfigInvalid("Vault refuses the request", uri=self.uri)
        if status == 403:
            raise KeyStoreUnavailable(
                "Vault refuses the token: it has ended, or may not do this", uri=self.uri
            )
        if status == 204:
            return None
        if status != 200:
            state = _STATES.get(status, "an error")
            raise KeyStoreUnavailable(f"Vault answered {status}: {state}", uri=self.uri)
        try:
            return json.loads(content)["data"]
        except (ValueError, KeyError, TypeError):
            raise KeyStoreUnavailable("this is no answer of Vault", uri=self.uri) from None


def open_provider(uri: str, *, ask: Ask | None = None, base: Path | None = None
                  ) -> LayeredProvider:  # fmt: skip
    """The key that ``uri`` names; ``InputMissing`` when Vault knows none."""
    parsed, server, mount, name = _parts(uri)
    return _provider(parsed, TransitKey(server, mount, name))


def create(uri: str, *, ask: Ask | None = None, base: Path | None = None) -> LayeredProvider:
    """A new AES-256 key that Vault never gives out; ``OutputExists`` when there is one."""
    parsed, server, mount, name = _parts(uri)
    try:
        TransitKey(server, mount, name)
    except InputMissing:
        pass
    else:
        raise OutputExists("Vault has this key already", path=uri)
    server.call("POST", f"{mount}/keys/{name}", {"type": _KEY_TYPE})
    return _provider(parsed, TransitKey(server, mount, name))


def parse_uri(uri: str) -> tuple[StoreUri, str, str, str]:
    """The parts of ``uri``: options, address, mount, name. ``ConfigInvalid`` when it is odd."""
    parsed = options.parse(uri, "vault", ("namespace",))
    where = options.check_endpoint(parsed.name)
    if not _PATH.fullmatch(where.path) or where.query or ".." in where.path:
        raise ConfigInvalid("a vault URI is vault:https://HOST:PORT/MOUNT/KEY")
    namespace = parsed.options.get("namespace")
    if namespace is not None and not _NAMESPACE.fullmatch(namespace):
        raise ConfigInvalid("namespace is a path like shops/europe")
    mount, _, name = where.path.strip("/").rpartition("/")
    return parsed, f"{where.scheme}://{where.netloc}", quote(mount), quote(name)


def _parts(uri: str) -> tuple[StoreUri, _Vault, str, str]:
    parsed, address, mount, name = parse_uri(uri)
    return parsed, _Vault(parsed, address, parsed.options.get("namespace")), mount, name


def _authorities() -> ssl.SSLContext:
    context = ssl.create_default_context()
    extra = os.environ.get("VAULT_CACERT") or os.environ.get("BAO_CACERT")
    if extra:
        try:
            context.load_verify_locations(cafile=extra)
        except (OSError, ssl.SSLError):
            raise ConfigInvalid("VAULT_CACERT names no certificates", path=extra) from None
    return context


def _token(uri: str) -> str:
    text = os.environ.get("VAULT_TOKEN") or os.environ.get("BAO_TOKEN") or ""
    if not text:
        path = Path.home() / ".vault-token"
        try:
            text = files.read_secret(path, max_bytes=_MAX_TOKEN_BYTES).decode("ascii").strip()
        except InputMissing:
            raise KeyStoreUnavailable(
                "there is no Vault token: set VAULT_TOKEN or log in with vault login", uri=uri
            ) from None
        except UnicodeDecodeError:
            text = ""
    if not options.is_plain(text) or not text:
        raise KeyStoreUnavailable("the Vault token is no token", uri=uri)
    return text


def _aad(bound: Bound) -> bytes:
    return b"modelseal working key v1" + cbor.encode(dict(bound))


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _provider(parsed: StoreUri, key: TransitKey) -> LayeredProvider:
    return LayeredProvider(
        parsed.uri, key, cache_seconds=parsed.cache_seconds, store_seconds=parsed.limit_seconds
    )

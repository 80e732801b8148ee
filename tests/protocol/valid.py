"""A caller that goes by the OpenAPI document alone: what it sends and hears has to fit it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
from jsonschema import Draft202012Validator

JSON = "application/json"


@dataclass
class Caller:
    """Makes calls by ``operationId``; ``done`` are those that were answered as documented."""

    http: httpx.Client
    document: dict[str, Any]
    done: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.operations = {
            operation["operationId"]: (method, path, operation)
            for path, item in self.document["paths"].items()
            for method, operation in item.items()
        }

    def __call__(
        self,
        name: str,
        body: Any = None,
        /,
        *,
        token: str = "",
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        **places: Any,
    ) -> Any:
        """What the call gives: the value of a JSON answer, else the answer itself."""
        method, path, operation = self.operations[name]
        known = {(p["in"], p["name"]): p for p in operation["parameters"]}
        asked = {("path", k): str(v) for k, v in places.items()}
        asked |= {("query", k): v for k, v in (query or {}).items()}
        asked |= {("header", k): v for k, v in (headers or {}).items()}
        assert {key for key in known if key[0] == "path"} == {k for k in asked if k[0] == "path"}
        for key, value in asked.items():
            schema = known[key]["schema"]
            self._fits(
                int(value) if schema["type"] == "integer" else value, schema, f"{name} {key}"
            )
        sent = dict(headers or {})
        if "security" in operation:
            assert token, f"{name} needs a token"
            sent["Authorization"] = f"Bearer {token}"
        content, media = self._body(name, operation, body)
        if media:
            sent["Content-Type"] = media
        address = re.sub(r"\{(\w+)\}", lambda found: str(places[found[1]]), path)
        answer = self.http.request(
            method, address, params=dict(query or {}), headers=sent, content=content
        )
        assert answer.status_code < 400, f"{name}: {answer.status_code} {answer.text}"
        found = self._heard(name, operation, answer)
        self.done.add(name)
        return found

    def _body(self, name: str, operation: dict[str, Any], body: Any) -> tuple[bytes | None, str]:
        if "requestBody" not in operation:
            assert body is None, f"{name} takes no body"
            return None, ""
        [(media, told)] = operation["requestBody"]["content"].items()
        if media != JSON:
            assert isinstance(body, bytes), f"{name} takes {media}"
            return body, media
        self._fits(body, told["schema"], f"the body of {name}")
        return json.dumps(body).encode(), media

    def _heard(self, name: str, operation: dict[str, Any], answer: httpx.Response) -> Any:
        assert str(answer.status_code) in operation["responses"], (name, answer.status_code)
        response = operation["responses"][str(answer.status_code)]
        told = response.get("content", {})
        if "security" in operation:
            assert ("ETag" in response.get("headers", {})) == ("etag" in answer.headers), name
        if answer.status_code == 304:
            return answer
        media = answer.headers["content-type"].partition(";")[0]
        assert media in told, f"{name} answers {media}"
        if media != JSON:
            return answer
        value = answer.json()
        self._fits(value, told[media]["schema"], f"the answer of {name}")
        return value

    def _fits(self, value: Any, schema: dict[str, Any], what: str) -> None:
        whole = {**schema, "components": self.document["components"]}
        faults = [
            f"{error.json_path}: {error.message}"
            for error in Draft202012Validator(whole).iter_errors(value)
        ]
        assert not faults, f"{what}: {faults}"

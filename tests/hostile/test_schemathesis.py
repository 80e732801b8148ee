"""Schemathesis against a server process: no 5xx, every answer as the OpenAPI document says."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("schemathesis", reason="pip install -r requirements/more.txt")
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_headers_conformance,response_schema_conformance,unsupported_method,"
    "allow_header_conformance,ignored_auth,missing_required_header,negative_data_rejection"
)
"""Not ``positive_data_acceptance``: no schema says which token is signed or which cursor ours. That
each call takes what is valid is shown by ``tests/protocol/test_valid_calls.py``.
"""
SETTINGS = """\
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 406, 409, 413, 415, 422, 428, 429, "5xx"]
"""
"""Its own list, and 413: what is too long is refused before it is read."""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, template: Path) -> Iterator[tuple[str, Path]]:
    """A server process without limits of the network, its workspace holding one of everything."""
    import shutil

    home = tmp_path_factory.mktemp("schemathesis") / "shop"
    shutil.copytree(template, home)
    script = Path(__file__).with_name("serve.py")
    process = subprocess.Popen(
        [sys.executable, str(script), str(home)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    url, token = process.stdout.readline().split()
    (home.parent / "token").write_text(token)
    (home.parent / "schemathesis.toml").write_text(SETTINGS)
    trust = json.loads((home / "trust.json").read_text())
    (home.parent / "ca.pem").write_text(trust["tls_ca"])
    yield url, home.parent
    process.terminate()
    process.stdout.close()
    assert process.wait(120) in (0, -signal.SIGTERM)


LAST = r"kek:rotate|/v1/admin/keys$|events:export"
"""These take from the others what they work with (the key, time), so they come after them."""
OTHERS = ("--exclude-path-regex", LAST)


def run(address: tuple[str, Path], *options: str) -> str:
    url, folder = address
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("schemathesis")), "run",
            f"{url}/schema/openapi.json", "--tls-verify", str(folder / "ca.pem"),
            "-H", f"Authorization: Bearer {(folder / 'token').read_text()}",
            "--checks", CHECKS, "--continue-on-failure", "--no-shrink", "--no-color",
            "--request-timeout", "300", *options,
        ],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    told = done.stdout + done.stderr
    assert done.returncode == 0, told[-12000:]
    return told


def test_every_call_answers_odd_requests_as_the_document_says(address: tuple[str, Path]) -> None:
    told = run(address, *OTHERS, "--phases", "coverage,fuzzing", "-n", "3", "--seed", "1")
    tested = re.search(r"Tested: (\d+)", told)
    assert tested is not None and int(tested[1]) >= 55, told[-3000:]


def test_the_calls_that_make_others_wait_do_so_too(address: tuple[str, Path]) -> None:
    told = run(address, "--include-path-regex", LAST, "--phases", "coverage", "--seed", "1")
    tested = re.search(r"Tested: (\d+)", told)
    assert tested is not None and int(tested[1]) == 4, told[-3000:]


@pytest.mark.soak
def test_it_does_so_for_an_hour_of_chance(address: tuple[str, Path], template: Path) -> None:
    wide = ("--phases", "coverage,fuzzing,stateful", "-n", "500", "--max-time", "1200")
    run(address, *OTHERS, *wide)


def test_the_server_of_this_test_is_the_real_one(address: tuple[str, Path]) -> None:
    import ssl

    import httpx

    url, folder = address
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    text = httpx.get(f"{url}/metrics", verify=context, timeout=300).text
    assert not re.search(r'status="5\d\d"', text), text

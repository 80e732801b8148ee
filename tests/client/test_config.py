"""``modelseal.toml``: what it may say, where it is found, what wins."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.client import world

from modelseal.client import config, settings
from modelseal.errors import ConfigInvalid, TrustMalformed
from modelseal.strict_json import b64u


@pytest.fixture(scope="module")
def trust():
    return world.foundation().trust.raw


def _write(folder: Path, text: str) -> Path:
    place = folder / "modelseal.toml"
    place.write_text(text)
    return place


def test_everything_it_may_say_is_read(tmp_path, trust):
    (tmp_path / "trust.json").write_bytes(trust)
    (tmp_path / "EULA.txt").write_bytes(b"be good")
    found = config.load(
        _write(
            tmp_path,
            'product = "facefusion"\nserver = "https://l.example.com/"\ntrust = "trust.json"\n'
            'sealed = ["models/*.onnx"]\nmirrors = ["https://cdn.example.com/b"]\n'
            '[eula]\npath = "EULA.txt"\nuri = "https://example.com/eula"\n',
        )
    )
    assert found.product == "facefusion"
    assert found.server == "https://l.example.com"
    assert found.trust == trust
    assert found.sealed == ("models/*.onnx",)
    assert found.eula.digest == b64u(hashlib.sha256(b"be good").digest())
    assert found.folder == tmp_path


def test_trust_may_stand_inline(tmp_path, trust):
    text = json.dumps(json.loads(trust))
    found = config.load(_write(tmp_path, f"trust = '''{text}'''\n"))
    assert json.loads(found.trust) == json.loads(trust)


@pytest.mark.parametrize(
    "text",
    [
        "product = 1",
        "prodct = 'x'",
        "product = '../x'",
        "product = ",
        "server = 'http://license.example.com'",
        "server = 'https://u:p@example.com'",
        "server = 'ftp://example.com'",
        "server = 'https://example.com:99999999'",
        "trust = 'not-there.json'",
        "sealed = 'models/*'",
        "sealed = ['']",
        "[eula]\npath = 'not-there'",
        "[eula]",
        "[eula]\ndigest = 'short'",
        "\x00",
        "a = " + "[" * 5000,
    ],
)
def test_whatever_is_wrong_is_named_with_its_file(tmp_path, text):
    place = _write(tmp_path, text)
    with pytest.raises(ConfigInvalid) as caught:
        config.load(place)
    assert caught.value.detail
    assert caught.value.params.get("path")


def test_bytes_that_are_no_text_are_refused(tmp_path):
    place = tmp_path / "modelseal.toml"
    place.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigInvalid):
        config.load(place)


def test_a_named_app_that_is_not_there_is_an_error_and_none_named_is_none(tmp_path, monkeypatch):
    with pytest.raises(ConfigInvalid):
        config.find(tmp_path / "nowhere", {})
    monkeypatch.setattr(config, "beside_program", lambda: None)
    assert config.find(None, {}) is None


def test_the_environment_names_an_app(tmp_path):
    _write(tmp_path, 'product = "p"')
    assert config.find(None, {"MODELSEAL_APP": str(tmp_path)}).product == "p"


def test_the_nearest_parent_counts_for_the_command_line(tmp_path):
    _write(tmp_path, 'product = "outer"')
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    assert config.upwards(deep) == tmp_path.resolve() / "modelseal.toml"


def _resolve(**given):
    base = {"app": None, "state": None, "server": None, "trust": None, "ca": None, "environ": {}}
    return settings.resolve(**{**base, **given})


def test_argument_then_environment_then_file(tmp_path, trust):
    (tmp_path / "t.json").write_bytes(trust)
    _write(tmp_path, 'product = "facefusion"\nserver = "https://file.example.com"\ntrust="t.json"')
    environ = {"MODELSEAL_SERVER": "https://env.example.com", "MODELSEAL_STATE": "/env"}
    by_file = _resolve(app=tmp_path)
    by_env = _resolve(app=tmp_path, environ=environ)
    by_argument = _resolve(
        app=tmp_path, environ=environ, server="https://arg.example.com", state="/arg"
    )
    assert by_file.server == "https://file.example.com"
    assert by_file.state.name == "facefusion"
    assert (by_env.server, str(by_env.state)) == ("https://env.example.com", "/env")
    assert (by_argument.server, str(by_argument.state)) == ("https://arg.example.com", "/arg")


def test_trust_of_another_product_is_refused(tmp_path, trust):
    _write(tmp_path, 'product = "another"')
    with pytest.raises(ConfigInvalid, match="facefusion"):
        _resolve(app=tmp_path, trust=trust)


def test_a_broken_trust_names_its_path(tmp_path):
    (tmp_path / "t.json").write_bytes(b"{}")
    with pytest.raises(TrustMalformed) as caught:
        _resolve(trust=tmp_path / "t.json", state="/s")
    assert caught.value.params["path"] == str(tmp_path / "t.json")


def test_nothing_named_at_all_says_what_to_name(monkeypatch):
    monkeypatch.setattr(config, "beside_program", lambda: None)
    with pytest.raises(ConfigInvalid, match=r"modelseal\.toml"):
        _resolve()


@pytest.mark.parametrize("place", ["app", "."])
@pytest.mark.parametrize("module", ["app", "app.tools.show"])
def test_a_package_run_as_a_module_has_it_inside_or_beside(tmp_path, place, module):
    """``python -m app`` is the program ``app``, whatever the current folder is."""
    tools = tmp_path / "app" / "tools"
    tools.mkdir(parents=True)
    for package in (tools.parent, tools):
        (package / "__init__.py").touch()
    show = "from modelseal.client import config\nprint(config.beside_program())\n"
    (tools.parent / "__main__.py").write_text(show)
    (tools / "show.py").write_text(show)
    shipped = _write(tmp_path / place, 'product = "facefusion"')
    done = subprocess.run(
        [sys.executable, "-m", module], env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd="/", capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == str(shipped.resolve())

"""What a command loads before it does anything: the start of every command is everybody's wait."""

from __future__ import annotations

import json
import sys

import typer
from tests.cli.world import Shell

from modelseal.cli.app import build

HEAVY = {
    "alembic", "google", "httpx", "litestar", "numpy", "onnx", "onnxruntime", "rich", "safetensors",
    "sqlalchemy", "torch", "tuf", "uvicorn",
}  # fmt: skip
LOADS = (
    "import json, sys; from modelseal.cli import main; code = main(sys.argv[1:]);"
    "open('loaded', 'w').write(json.dumps([code, sorted({m.split('.')[0] for m in sys.modules})]))"
)


def _loaded(shell: Shell, *words: object) -> tuple[int, set[str]]:
    """Exit code of a command, and the packages its process has loaded at the end."""
    shell(sys.executable, "-c", LOADS, *words, anything=True)
    code, packages = json.loads((shell.folder / "loaded").read_text())
    return code, set(packages)


def test_help_and_version_load_nothing_that_works(shell):
    for words in (["--help"], ["--version"], ["license", "issue", "--help"]):
        code, packages = _loaded(shell, *words)
        assert code == 0
        assert not packages & (HEAVY | {"cryptography", "cbor2", "blake3"})


def test_a_status_loads_no_network_no_database_and_no_framework(shop, shell, laptop):
    for words in (["status"], ["lease", "show"], ["lease", "show", "--json"]):
        code, packages = _loaded(shell, *words, "--state", "laptop")
        assert code == 0
        assert not packages & HEAVY


def test_verify_inspect_and_seal_load_no_network_no_database_and_no_framework(shop, shell):
    model = shop.home.parent / "swap.onnx"
    sealed = f"{model}.sealed"
    for words in (
        ["inspect", sealed],
        ["verify", sealed, "--trust", shop.trust],
        ["seal", model, "-o", "x.sealed", "--entitlement", "face.swap", "--home", shop.home],
    ):
        code, packages = _loaded(shell, *words)
        assert code == 0
        assert not packages & HEAVY


def test_activating_and_pulling_load_no_database_and_no_framework(shop, shell):
    key, _ = shop.issue()
    entering = ["activate", key, *shop.names, "--state", "laptop"]
    for words in (entering, ["lease", "renew", "--state", "laptop"], ["pull", "--state", "laptop"]):
        code, packages = _loaded(shell, *words)
        assert code == 0
        assert not packages & (HEAVY - {"google", "httpx", "rich", "tuf"})


def test_a_publishers_command_loads_the_database_but_no_web_server_and_no_migrations(shop, shell):
    code, packages = _loaded(shell, "license", "list", "--home", shop.home)
    assert code == 0 and "sqlalchemy" in packages
    assert not packages & (HEAVY - {"sqlalchemy"})


def _parameters(command, path=()):
    for name, child in getattr(command, "commands", {}).items():
        yield from _parameters(child, (*path, name))
    for parameter in command.params:
        yield path, parameter


def test_no_path_is_judged_before_the_command_can_say_what_is_wrong():
    """Typer's own check would turn a folder of another user into a usage error (exit 2, not 5)."""
    kinds = [
        (path, parameter.name, parameter.type_descriptor.parameter_info.readable)
        for path, parameter in _parameters(typer.main.get_command(build()))
        if "Path" in str(getattr(parameter, "type_descriptor", None))
    ]
    assert len(kinds) > 100
    assert [kind for kind in kinds if kind[2]] == []


def test_every_verb_that_answers_can_answer_a_program(shop):
    answering = {
        " ".join(path) for path, parameter in _parameters(typer.main.get_command(build()))
        if "--json" in getattr(parameter, "opts", ())
    }  # fmt: skip
    verbs = {" ".join(path) for path, _ in _parameters(typer.main.get_command(build())) if path}
    nouns = {verb for verb in verbs if any(other.startswith(f"{verb} ") for other in verbs)}
    others = {
        "run",
        "server run",
        "server relay run",
        "app observe",
        "attest serve",
    }  # what they run speaks
    assert verbs - nouns - answering == others


WITHOUT = (
    "import sys; sys.modules.update(dict.fromkeys(['litestar', 'sqlalchemy', 'uvicorn']));"
    "from modelseal.cli import main; sys.exit(main(sys.argv[1:]))"
)


def test_a_publishers_command_without_the_extra_names_what_to_install(shop, shell):
    for words in ("server run", "server migrate", "license list"):
        words = (*words.split(), "--home", "shop")
        told = shell(sys.executable, "-c", WITHOUT, *words, anything=True).told(2)
        assert "`pip install 'modelseal[server]'`" in told[-1]

"""The one place where models are opened."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from face_fusion import models
from face_fusion.errors import ModelMissing, ModelRefused, ModelSealed, ModelUnusable
from face_fusion.models import Models


class Refusal(Exception):
    """Shaped as modelseal's errors are."""

    code = "not_entitled"
    reason = "The plan is trial."
    next_step = "Ask for the plan pro."
    reference = "7F3K29QX"


@pytest.fixture
def fake_modelseal(monkeypatch):
    """A package modelseal that records what is asked of it."""
    asked = []

    def session(path, **options):
        asked.append(("session", path, sorted(options)))
        if "restore" in path:
            raise Refusal("The license does not include face.restore.")
        return "a session"

    fake = SimpleNamespace(
        Client=lambda app: "a client",
        use=lambda client: asked.append(("use", client)),
        onnx=SimpleNamespace(InferenceSession=session),
        asked=asked,
    )
    monkeypatch.setitem(sys.modules, "modelseal", fake)
    return fake


def test_a_missing_model_names_the_prepare_step(tmp_path):
    """What is missing, where, and the command that makes it."""
    with pytest.raises(ModelMissing, match="face_mesh") as caught:
        Models(tmp_path).session(models.MESH)
    assert f"python -m face_fusion.prepare --cache {tmp_path}" in caught.value.next_step


def test_a_damaged_model_is_said_to_be_damaged(tmp_path):
    """No traceback of the runtime, and how to get a good one."""
    (tmp_path / models.MESH).write_bytes(b"not a model")
    with pytest.raises(ModelUnusable, match="damaged"):
        Models(tmp_path).session(models.MESH)


def test_a_sealed_model_in_a_plain_run_says_how_to_open_it(tmp_path):
    """Recognised by its magic number, not by its name."""
    (tmp_path / models.MESH).write_bytes(models.SEALED_MAGIC + bytes(200))
    with pytest.raises(ModelSealed) as caught:
        Models(tmp_path).session(models.MESH)
    assert "modelseal run" in caught.value.next_step


def test_plain_use_does_not_import_modelseal(models_dir, monkeypatch):
    """Every model loads with modelseal not to be had."""
    monkeypatch.setitem(sys.modules, "modelseal", None)
    for name in models.ALL[:3]:
        assert Models(models_dir).session(name).get_inputs()


def test_protected_use_without_modelseal_names_the_package(tmp_path, monkeypatch):
    """One clear error at once."""
    monkeypatch.setitem(sys.modules, "modelseal", None)
    with pytest.raises(ModelSealed) as caught:
        Models(tmp_path, protected=True)
    assert "face-fusion[protected]" in caught.value.next_step


def test_protected_models_are_opened_by_modelseal(tmp_path, fake_modelseal):
    """With one client for all, the arguments of onnxruntime, and each model once."""
    (tmp_path / models.MESH).write_bytes(models.SEALED_MAGIC)
    ready = Models(tmp_path, protected=True)
    assert ready.session(models.MESH) == ready.session(models.MESH) == "a session"
    path = str(tmp_path / models.MESH)
    assert fake_modelseal.asked == [
        ("use", "a client"),
        ("session", path, ["providers", "sess_options"]),
    ]


def test_a_refusal_keeps_its_reason_code_and_next_step(tmp_path, fake_modelseal):
    """What modelseal says reaches the person, with the reference for support."""
    (tmp_path / models.RESTORE["fast"]).write_bytes(models.SEALED_MAGIC)
    with pytest.raises(ModelRefused, match="does not include") as caught:
        Models(tmp_path, protected=True).session(models.RESTORE["fast"])
    assert caught.value.code == "not_entitled"
    assert caught.value.next_step == "Ask for the plan pro."
    assert "7F3K29QX" in str(caught.value)
    assert caught.value.exit_code == 3


def test_a_client_that_cannot_start_is_a_refusal_too(tmp_path, fake_modelseal):
    """For example no modelseal.toml."""

    def client(app):
        raise Refusal("There is no modelseal.toml.")

    fake_modelseal.Client = client
    with pytest.raises(ModelRefused, match="no modelseal"):
        Models(tmp_path, protected=True)


def test_protected_models_that_were_not_pulled_say_so(tmp_path, fake_modelseal):
    """The next step is to pull, not to prepare."""
    with pytest.raises(ModelMissing) as caught:
        Models(tmp_path, protected=True).session(models.MESH)
    assert "modelseal pull" in caught.value.next_step
    assert fake_modelseal.asked == [("use", "a client")]


def test_a_mistake_of_modelseal_is_not_called_a_missing_unlock(tmp_path, fake_modelseal):
    """It is reported as what it is, and not with advice that does not help."""

    def broken(path, **options):
        raise RuntimeError("a mistake")

    fake_modelseal.onnx.InferenceSession = broken
    (tmp_path / models.MESH).write_bytes(models.SEALED_MAGIC)
    with pytest.raises(RuntimeError, match="a mistake"):
        Models(tmp_path, protected=True).session(models.MESH)

"""``attest serve`` and ``attest call`` as an operator and a caller type them.

Software evidence, which only a policy made for this accepts; ``tests/vm`` does the same with a TPM.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl

import numpy as np
import onnxruntime
import pytest
from tests import onnx_models

from modelseal.attest.verify import policy as policies
from modelseal.inference import statement
from modelseal.strict_json import b64u

X = np.random.default_rng(1).standard_normal((1, 3, 16, 16)).astype(np.float32)


@contextlib.contextmanager
def served(shell, *words):
    """The URL of a running ``attest serve``; it stops as by Ctrl-C and says so."""
    argv = ("attest", "serve", *words, "--state", "laptop", "--by", "software")
    with shell.start(*argv, "--listen", "127.0.0.1:0") as process:
        line = process.stderr.readline()
        assert " served on https://" in line, line + process.stderr.read()
        try:
            yield line.split(" served on ")[1].split(",")[0]
        finally:
            process.terminate()
            _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "stopped" in err


@pytest.fixture
def policy(tmp_path):
    """Makes a policy that takes the word of the service at a URL, by the root it sends along."""

    def make(url, **rules):
        host, _, port = url.removeprefix("https://").rpartition(":")
        context = ssl._create_unverified_context()
        asked = http.client.HTTPSConnection(host, int(port), context=context)
        with contextlib.closing(asked):
            asked.request("GET", f"/v1/evidence?nonce={b64u(bytes(32))}")
            said = statement.read(asked.getresponse().read())
        roots = {"software": [item.decode() for item in said.endorsements]}
        path = tmp_path / "policy.json"
        accepts = {"software": {"accept_software": True}, "accept_unknown": ["measurement"]}
        path.write_bytes(policies.write({"roots": roots, **accepts, **rules}))
        return path

    return make


def test_a_caller_gets_the_answer_of_the_plain_model_after_the_proof(
    shop, shell, laptop, policy, tmp_path
):
    assert shell("pull", "--state", "laptop", "--to", "models").code == 0
    np.save(tmp_path / "x.npy", X)
    (tmp_path / "x.json").write_text(json.dumps(X.tolist()))
    plain = onnxruntime.InferenceSession(
        onnx_models.convolutions(), providers=["CPUExecutionProvider"]
    )
    (wanted,) = plain.run(["y"], {"x": X})
    with served(shell, "models/swap.onnx") as url:
        call = ("attest", "call", url, "swap", "--policy", policy(url))
        told = shell(*call, "--input", "x.npy", "--json").json
        assert told["service"]["status"] == "affirming"
        assert told["service"]["level"] == "L0"
        assert np.allclose(told["outputs"]["y"]["data"], wanted, rtol=1e-5)
        assert shell(*call, "-i", "x=x.json", "-o", "y.npy").code == 0
        assert np.allclose(np.load(tmp_path / "y.npy"), wanted, rtol=1e-5)
        shell(*call, "-i", "x.npy", "-o", "y.npy", "--json").refused("output_exists", 2)
        shell(*call, "-i", "z=x.npy", "--json").refused("misuse", 2)
        wrong = (*call[:3], "other", *call[4:])
        shell(*wrong, "-i", "x.npy", "--json").refused("not_found", 2)
        strict = tmp_path / "strict.json"
        strict.write_bytes(policies.write({}))
        shell(*call[:5], strict, "-i", "x.npy", "--json").refused("evidence_invalid", 4)
        hardware = policy(url, kinds=["snp"])
        shell(*call[:5], hardware, "-i", "x.npy", "--json").refused("evidence_refused", 6)


def test_what_cannot_be_served_is_refused_before_anybody_is_answered(shop, shell, laptop, tmp_path):
    (tmp_path / "plain.onnx").write_bytes(onnx_models.convolutions())
    serve = ("attest", "serve", "plain.onnx", "--state", "laptop")
    ran = shell(*serve, "--by", "software")
    assert ran.code == 4 and "plain.onnx" in ran.err
    assert shell(*serve, "--by", "abacus").code == 2
    assert shell(*serve, "--by", "nitro").code in (4, 5)
    assert (
        shell("attest", "serve", "a b=plain.onnx", "--by", "software", "--max-batch", 0).code == 2
    )

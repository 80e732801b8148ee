"""The pinned roots are the vendors': each proves itself, and has the fingerprint they publish."""

from __future__ import annotations

from hashlib import sha256

import pytest
from cryptography import x509
from tests.attest.judging import sample

from modelseal.attest.verify import amd_roots, intel_roots, nitro_roots, pki
from modelseal.attest.verify.registry import builtin

FINGERPRINTS = {
    "ARK-Milan": "69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd",
    "ARK-Genoa": "4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1",
    "ARK-Turin": "1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a",
    "Intel SGX Root CA": "44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3",
    "aws.nitro-enclaves": "641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b",
}
ROOTS = (*amd_roots.ROOTS, *intel_roots.ROOTS, *nitro_roots.ROOTS)


@pytest.mark.parametrize("der", ROOTS, ids=range(len(ROOTS)))
def test_every_root_signs_itself_and_has_its_fingerprint(der):
    root = pki.load(der, "a root")
    assert pki.issued(root, root) and pki.is_ca(root)
    assert FINGERPRINTS[pki.common_name(root)] == sha256(der).hexdigest()


def test_every_shipped_intermediate_is_signed_by_a_pinned_root():
    for der in amd_roots.INTERMEDIATES:
        intermediate = pki.load(der, "an intermediate")
        chain = pki.to_root(intermediate, (), amd_roots.ROOTS)
        line = pki.common_name(intermediate).rpartition("-")[2]
        assert pki.common_name(chain[1]) == f"ARK-{line}" and pki.is_ca(intermediate)


@pytest.mark.parametrize(
    "name", ["ask_ark_milan.pem", "ask_ark_genoa.pem", "ask_ark_milan_vlek.pem"]
)
def test_what_is_pinned_is_what_was_recorded(name):
    ask, ark = x509.load_pem_x509_certificates(sample(f"sev-snp/{name}"))
    assert pki.der_of(ark) in amd_roots.ROOTS and pki.der_of(ask) in amd_roots.INTERMEDIATES


def test_a_root_is_no_leaf():
    root = pki.load(amd_roots.ROOTS[0], "a root")
    with pytest.raises(Exception, match="chain_not_anchored"):
        pki.to_root(root, (), amd_roots.ROOTS)


def test_every_kind_with_hardware_of_its_own_has_roots_and_options_that_are_strict():
    for kind in builtin().values():
        for name, option in kind.options.items():
            if name.startswith(("allow_", "accept_")):
                assert option.default is False, (kind.name, name)
    assert all(builtin()[name].roots for name in ("sgx", "tdx", "snp", "nitro", "azure-vtpm"))

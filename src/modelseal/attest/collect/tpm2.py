"""A TPM 2.0: a quote over its registers by an attestation key, with the log of the boot.

The attestation key is the primary one of the endorsement hierarchy: the same each time until the
TPM is cleared. That it lives in the TPM whose certificates lie beside it is for the server to prove
by a credential; this evidence alone does not.
"""

from __future__ import annotations

from collections.abc import Callable

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from modelseal import cbor
from modelseal.attest.collect.collected import Collected, Part, check_length
from modelseal.attest.collect.ports import KernelFiles, SystemFiles
from modelseal.attest.verify import tpm2_evidence
from modelseal.tpm2.chip import attesting, endorsement, objects, state, transport
from modelseal.tpm2.chip.tpm import Tpm
from modelseal.tpm2.wire import templates
from modelseal.tpm2.wire.codes import Alg, Hierarchy
from modelseal.tpm2.wire.policy import PcrSelection
from modelseal.tpm2.wire.public import Public

LOG = "/sys/kernel/security/tpm0/binary_bios_measurements"
REGISTERS = tuple(range(24))


class Tpm2Collector:
    """Evidence of a TPM. ``address`` as in ``tpm2.chip.transport``; ``log`` is the firmware's.

    ``seed`` names an attestation key of one use's own (``templates.seeded``).
    """

    name = "tpm2"

    def __init__(
        self,
        address: str = "",
        files: KernelFiles | None = None,
        *,
        log: str = LOG,
        connect: Callable[[str], Tpm] = transport.connect,
        seed: bytes | None = None,
    ) -> None:
        self._template = templates.attestation_key()
        if seed is not None:
            self._template = templates.seeded(self._template, seed)
        self._address = address
        self._files = SystemFiles() if files is None else files
        self._log = log
        self._connect = connect

    def seeded(self, seed: bytes) -> Tpm2Collector:
        """The same TPM and log, quoted by the attestation key of ``seed``."""
        return Tpm2Collector(
            self._address, self._files, log=self._log, connect=self._connect, seed=seed
        )

    def is_here(self) -> bool:
        """See ``Collector``."""
        return bool(self._address) or self._files.exists(transport.DEFAULT)

    def collect(self, report_data: bytes) -> Collected:
        """See ``Collector``; 32, 48 or 64 bytes are bound, as far as the TPM's hashes go."""
        check_length(report_data, 20, 32, 48, 64)
        selections = [PcrSelection(Alg.SHA256, REGISTERS)]
        with self._connect(self._address) as tpm:
            endorsed = endorsement.find(tpm)
            with objects.primary(tpm, Hierarchy.ENDORSEMENT, self._template) as key:
                attest, signature = attesting.quote(tpm, key, report_data, selections)
                public = key.public
            values = state.read_pcrs(tpm, selections)
        pcrs = [values[(int(Alg.SHA256), number)] for number in REGISTERS]
        found = {
            "typ": tpm2_evidence.TYP,
            "version": tpm2_evidence.VERSION,
            "ak_public": public.to_bytes(),
            "attest": attest,
            "signature": signature,
            "pcrs": pcrs,
        }
        parts = [Part("tpm.cbor", cbor.encode(found))]
        log = self._read_log()
        if log:
            parts.append(Part("boot.log", log))
        certificates = [e.certificate for e in endorsed if e.certificate is not None]
        beside = [Part(f"ek-{n}.der", data) for n, data in enumerate(certificates)]
        beside.append(Part("ak.pem", _pem(public)))  # for a policy to pin, once it is trusted
        return Collected("tpm2", "TPM 2.0", tuple(parts), tuple(beside))

    def _read_log(self) -> bytes:
        try:
            return self._files.read(self._log)
        except OSError:
            return b""


def _pem(key: Public) -> bytes:
    form = Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    pem: bytes = key.public_key().public_bytes(*form)
    return pem

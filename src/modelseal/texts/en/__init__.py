"""English texts. A clause in [brackets] falls away when a parameter in it is absent."""

from modelseal.texts.en import invalid_bytes, misuse, refused, said, unavailable
from modelseal.texts.en.attest import ATTEST
from modelseal.texts.en.attest_more import ATTEST_MORE
from modelseal.texts.en.attest_tee import ATTEST_TEE
from modelseal.texts.en.attest_tpm import ATTEST_TPM
from modelseal.texts.en.doctor import DOCTOR
from modelseal.texts.en.publisher import PUBLISHER
from modelseal.texts.en.standing import STANDING

REFERENCE_LINE = "Reference: {reference}"
SAID: dict[str, str] = {
    **said.SAID,
    **STANDING,
    **PUBLISHER,
    **DOCTOR,
    **ATTEST,
    **ATTEST_MORE,
    **ATTEST_TEE,
    **ATTEST_TPM,
}
TEXTS: dict[str, tuple[str, str, str]] = {
    **misuse.TEXTS,
    **refused.TEXTS,
    **invalid_bytes.TEXTS,
    **unavailable.TEXTS,
}

__all__ = ["REFERENCE_LINE", "SAID", "TEXTS"]

"""Simplified Chinese texts. A clause in [brackets] falls away with its parameter."""

from modelseal.texts.zh_cn import invalid_bytes, misuse, refused, said, unavailable
from modelseal.texts.zh_cn.attest import ATTEST
from modelseal.texts.zh_cn.attest_more import ATTEST_MORE
from modelseal.texts.zh_cn.attest_tee import ATTEST_TEE
from modelseal.texts.zh_cn.attest_tpm import ATTEST_TPM
from modelseal.texts.zh_cn.doctor import DOCTOR
from modelseal.texts.zh_cn.publisher import PUBLISHER
from modelseal.texts.zh_cn.standing import STANDING

REFERENCE_LINE = "编号：{reference}"
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

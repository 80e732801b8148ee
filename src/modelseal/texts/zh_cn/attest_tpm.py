"""Why a TPM's proof was taken or not, and why a key in it no longer answers."""

ATTEST_TPM: dict[str, str] = {
    "attest_ek_certificate_malformed": "无法读取 TPM 背书密钥的证书。请向 TPM 制造商索取。",
    "attest_ek_certificate_missing": "TPM 中没有制造商的证书。无人能判断其来源。",
    "attest_ek_root_unknown": "服务器信任的根证书都不担保此 TPM。"
    "请发布者把制造商的根证书加入服务器的 endorsements/tpm2。",
    "attest_ek_certificate_expired": "TPM 的背书证书或其上级证书当前无效。"
    "请检查服务器时钟，或向制造商索取更新的证书。",
    "attest_ek_certificate_purpose": "该证书不是 TPM 背书密钥的证书。",
    "attest_ek_certificate_revoked": "制造商已吊销此 TPM 的证书。它不能再证明任何事。",
    "attest_ek_key_unusual": "TPM 的背书密钥是此处不使用的类型。",
    "attest_ak_unknown": "认证密钥尚未与经背书的 TPM 绑定。下次联系时会自动完成。",
    "attest_ak_hierarchy": "认证密钥不在背书层级中；只有在该层级 TPM 才会给出真实的复位计数。",
    "attest_credential_wrong": "回答质询的不是持有此证书的 TPM。",
    "attest_credential_late": "质询回答得太晚。请重新询问。",
    "attest_attest_signature": "TPM 的签名不成立：声明被改动，或属于另一个密钥。",
    "attest_attest_bound": "TPM 的声明是为另一个问题作出的。",
    "attest_key_not_certified": "TPM 认证的是另一个密钥，或策略不同的密钥。",
    "attest_key_hierarchy": "该密钥不在存储层级中：清除 TPM 会拨回时钟而密钥仍在。",
    "attest_key_ended": "TPM 的密钥已经结束。将重新生成。",
    "attest_key_limit": "TPM 的密钥会比租约活得更久。将重新生成。",
    "attest_key_resets": "TPM 的密钥能经受的断电次数多于方案允许。将重新生成。",
    "attest_pcr_selection": "引证覆盖的寄存器与所要求的不同。",
    "attest_pcr_digest": "所给的寄存器值不是 TPM 签名的值。",
    "attest_time_over": "按 TPM 自己的时钟，它的时间已到。",
    "attest_resets_over": "两次续约之间 TPM 的复位次数超过了方案允许。",
    "attest_another_tpm": "TPM 被清除过，或是另一个 TPM。",
}

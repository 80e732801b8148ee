"""Why evidence was taken or not, by the code of the verdict, and what the operator can do."""

ATTEST: dict[str, str] = {
    "attest_ok": "真实且可接受。",
    "attest_other": "{code}[：{detail}]。",
    "attest_evidence_malformed": "这不是该类型的证据[：{detail}]。"
    "请重新收集，或用 --kind 指明类型。",
    "attest_extra_missing": "此类型需要在本机安装更多软件。"
    "请运行 `pip install 'modelseal[[{extra}]]'`。",
    "attest_chain_not_anchored": "没有固定的根证书为签名密钥作保[（颁发者：{issuer}）]。"
    "请把厂商的中间证书作为背书提供。",
    "attest_chain_too_long": "证书链超过了其中颁发者允许的长度[：{issuer}]。",
    "attest_certificate_missing": "缺少签名密钥的证书[：{name}]。请把它作为背书提供。",
    "attest_certificate_revoked": "厂商已吊销此链中的证书[：{name}]。该硬件不能再证明任何事情。",
    "attest_revocation_unknown": "无法得知证书是否已被吊销[：没有 {issuer} 的列表]。"
    "请导入含厂商吊销列表的背书包。",
    "attest_revocation_list_expired": "吊销列表不是当前的[：{issuer}]。请导入更新的背书包。",
    "attest_signature_invalid": "签名不成立[：{detail}]。证据被改动，或由另一密钥生成。",
    "attest_binding_not_asked": "没有说明证据必须绑定到什么。请给出预期的报告数据。",
    "attest_binding_mismatch": "证据绑定到别的内容：它是为另一个提问生成的。"
    "请用新的随机数重新询问。",
    "attest_binding_length": "预期的报告数据有 {got} 字节，而证据绑定 {wanted} 字节。"
    "它绝不会被填充或截断：请给出确切的值。",
    "attest_certificate_expired": "一个证书已于 {at} 到期，早了 {days} 天[：{name}]。"
    "请重新收集证据，或导入更新的背书。",
    "attest_certificate_not_yet_valid": "一个证书要到 {at} 才生效[：{name}]。请检查时钟。",
    "attest_reference_missing": "没有参考值说明这里可以运行什么。"
    "请用 `modelseal attest reference add` 从样板机生成。",
    "attest_measurement_mismatch": "那里运行的内容与参考值不符[：{names}]。"
    "请启动批准的镜像，或为新镜像添加参考值。",
    "attest_kind_not_allowed": "策略不接受 {kind} 类型的证据。",
    "attest_chip_not_proved": "策略列出了芯片，而此证据没有指明任何芯片。",
    "attest_chip_not_listed": "此芯片不在策略的列表中[：{found}]。",
    "attest_owner_not_proved": "策略列出了所有者，而此证据没有证明任何所有者。",
    "attest_owner_not_listed": "此硬件的所有者不在策略的列表中[：{found}]。",
    "attest_step_not_judged": "有一个步骤无法判断[：{name}]。",
    "attest_composite_missing": "策略要求同时有以下任一类型的可接受证据：{kinds}。",
    "reference_added": "{path}：已加入又一台机器的参考值（{kind}，{count} 个）。",
}

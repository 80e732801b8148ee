"""Bytes that are not valid."""

TEXTS: dict[str, tuple[str, str, str]] = {
    "invalid_bytes": (
        "数据无效[：{detail}]。",
        "它已损坏、被伪造或类型未知。",
        "请从来源重新获取该文件。",
    ),
    "cbor_invalid": (
        "数据无效[：{detail}]。",
        "它不是 modelseal 接受的唯一编码。",
        "请从来源重新获取该文件。",
    ),
    "json_invalid": (
        "数据无效[：{detail}]。",
        "它不是 modelseal 接受的唯一编码。",
        "请从来源重新获取该文件。",
    ),
    "not_sealed": (
        "该文件不是密封模型[：{path}]。",
        "它的开头不符；需要密封文件之处不接受普通文件。",
        "请指定密封文件（`modelseal pull` 获取，`modelseal seal` 生成），"
        "或用 allow_plain=True 明确允许普通文件。",
    ),
    "cache_useless": (
        "加密缓存无法使用[：{path}][：{detail}]。",
        "它已损坏，或其来源的密封模型现已更换。",
        "请删除该文件[ {path} ]，让程序由密封模型重新生成。",
    ),
    "container_version": (
        "此密封模型需要更新的 modelseal[：{path}]。",
        "其格式版本或某个关键部分是此版本不认识的。",
        "请运行 `pip install --upgrade modelseal`。",
    ),
    "container_truncated": (
        "密封模型不完整[：{path}]。",
        "文件长度与其开头所述不符。",
        "请运行 `modelseal pull` 补全它。",
    ),
    "container_malformed": (
        "密封模型已损坏[：{path}]。",
        "其开头不符合格式[（{detail}）]。",
        "请运行 `modelseal pull` 重新获取。",
    ),
    "container_signature": (
        "密封模型的签名不成立[：{path}]。",
        "文件在发布者签名之后被更改。",
        "请删除该文件并运行 `modelseal pull`。",
    ),
    "wrong_publisher": (
        "密封模型属于另一个发布者[：{path}]。",
        "它的密钥不在本应用信任的密钥之列。",
        "请使用本应用附带的文件，或运行 `modelseal pull`。",
    ),
    "wrong_product": (
        "该文件属于另一个产品[：{product}]。",
        "本应用及其许可证只用于一个产品。",
        "请使用本产品的文件，或运行 `modelseal pull`。",
    ),
    "container_damaged": (
        "密封模型无法打开[：{path}]。",
        "其中一部分被更改，或密钥属于另一个文件。",
        "请运行 `modelseal pull` 重新获取。",
    ),
    "token_malformed": (
        "令牌无法读取[：{detail}]。",
        "它已损坏，或从来不是我们的。",
        "请运行 `modelseal lease renew`；若失败请重新激活。",
    ),
    "token_too_large": (
        "令牌过大。",
        "它比我们的任何令牌都长。",
        "请运行 `modelseal lease renew`；若失败请重新激活。",
    ),
    "token_type": (
        "令牌的种类不对[：{detail}]。",
        "许可证、租约与拒绝不能互相代替。",
        "请放回正确的文件，或运行 `modelseal lease renew`。",
    ),
    "token_header": (
        "令牌头部含有不允许的内容[：{detail}]。",
        "密钥、地址与扩展从不取自令牌；它可能是伪造的。",
        "请从原处重新取得该文件，或运行 `modelseal lease renew`。",
    ),
    "token_algorithm": (
        "令牌的签名方式不被接受。",
        "其算法不是该密钥的算法。",
        "请运行 `modelseal lease renew`；若失败请重新激活。",
    ),
    "token_key_unknown": (
        "令牌由本应用不信任的密钥签名。",
        "该密钥未知、已停用或属于另一个发布者。",
        "请运行 `modelseal lease renew`，它也会更新受信任的密钥。",
    ),
    "token_signature": (
        "令牌的签名不成立。",
        "它在签名之后被更改。",
        "请运行 `modelseal lease renew`；若失败请重新激活。",
    ),
    "token_claims": (
        "令牌内容不可接受[：{detail}]。",
        "某个声明缺失、未知或类型错误。",
        "请运行 `modelseal lease renew`；若失败请升级 modelseal。",
    ),
    "token_issuer": (
        "令牌来自另一台服务器。",
        "它的签发者不是本应用信任的那一个。",
        "请用本产品的许可证密钥激活。",
    ),
    "token_audience": (
        "令牌用于另一个产品或服务器。",
        "它的受众不是这里。",
        "请用本产品的许可证密钥激活。",
    ),
    "token_not_yet_valid": (
        "令牌尚未生效。",
        "它在未来才开始；本机时钟可能不准。",
        "请调准时钟后重试。",
    ),
    "token_expired": (
        "令牌已过期。",
        "它的期限已过。",
        "请运行 `modelseal lease renew`。",
    ),
    "wrapped_key_invalid": (
        "封装的密钥无法打开[：{detail}]。",
        "它由另一把密钥加密密钥封装、用于其他用途，或已被改动。",
        "请放回匹配的密钥文件，或从备份恢复密钥。",
    ),
    "sealed_key_invalid": (
        "密封的密钥无法打开。",
        "它是为另一台设备或另一个请求密封的，或被更改。",
        "请运行 `modelseal lease renew`；若失败请重新激活。",
    ),
    "trust_malformed": (
        "信任文件无法使用[：{path}]。",
        "它已损坏，或不是 trust.json[（{detail}）]。",
        "请向发布者重新获取 trust.json。",
    ),
    "trust_signature": (
        "信任文件的签名不成立[：{path}]。",
        "它被更改，或属于另一个发布者。",
        "请向发布者重新获取 trust.json。",
    ),
    "trust_rollback": (
        "服务器给出的密钥比已知的更旧。",
        "绝不允许回退，否则泄露的密钥会重新生效。",
        "请告知发布者；本设备没有任何更改。",
    ),
    "delegation_exceeded": (
        "中继给出的超过了许可证服务器允许的范围。",
        "[`{member}` 超出了它的委托。]中继已被篡改，或在为他人工作。",
        "请改用其他服务器地址，并告知发布者；此处没有任何更改。",
    ),
    "delegation_over": (
        "中继不能再发放租约。",
        "它的委托已经结束，需要向许可证服务器申请新的委托。",
        "请让人在中继上运行 `modelseal server relay budget`，或直接使用许可证服务器。",
    ),
    "trust_expired": (
        "服务器的密钥列表已过期。",
        "发布者没有及时重新签名。",
        "请告知发布者重新签名；本设备没有任何更改。",
    ),
    "catalog_invalid": (
        "模型目录不可信[：{detail}]。",
        "它已损坏、过旧或没有发布者的签名。",
        "请稍后再试；若仍如此请告知发布者。",
    ),
    "download_damaged": (
        "下载内容与发布者签名的不符[：{name}]。",
        "数据在途中或镜像上被更改；没有使用其中任何部分。",
        "请再次运行 `modelseal pull`；完好的部分会保留。",
    ),
    "audit_broken": (
        "审计日志不成立[：{detail}]。",
        "[故障类型：{fault}。]日志与签名的检查点不再一致。",
        "请保留导出文件，并与较早的检查点或备份比较。",
    ),
    "state_damaged": (
        "本设备上的激活已损坏[：{path}]。",
        "状态文件夹中的某个文件被更改、截断或来自另一台设备。",
        "请重新运行 `modelseal activate KEY`；同一台电脑保留其席位。",
    ),
    "backup_invalid": (
        "备份无法使用[：{path}]。",
        "它已损坏、属于另一个工作区，或不是这类备份[：{detail}]。",
        "请尝试另一份备份。",
    ),
    "answer_invalid": (
        "服务器的答复与问题不符。",
        "它回应的是另一个请求或另一台设备，未被接受。",
        "请重试；若仍如此请告知供应商。",
    ),
    "response_malformed": (
        "这不是可以导入的答复[：{detail}]。",
        "文件不完整、被改动，或由其他版本的 modelseal 生成；没有任何更改。",
        "请从 `modelseal lease respond` 写出的位置重新复制文件。",
    ),
    "response_replayed": (
        "该答复已被使用过，或回应的是较早的请求。",
        "此设备没有在等待这样的答复[：{detail}]；没有任何更改。",
        "请运行 `modelseal lease show`；若租约已旧，请用 `modelseal lease request` 重新请求。",
    ),
    "response_foreign": (
        "该答复属于另一台设备。",
        "它回应的是另一台设备签名的请求；没有任何更改。",
        "请在提出请求的设备上导入。",
    ),
    "code_unknown": (
        "该代码在此设备上打不开任何内容。",
        "输入无误，但它已被使用过，或属于另一台设备或较早的答复[：{detail}]。",
        "请与供应商核对设备编号，并先导入最新的答复。",
    ),
    "relay_file_invalid": (
        "该文件不是中继与信使之间传递的文件[：{path}]。",
        "{detail}；没有使用任何内容。",
        "请重新生成：`modelseal server relay sync DIR --write FILE`。",
    ),
    "part_damaged": (
        "有一个二维码未正确读取[；第 {line} 行]。",
        "[原因：{detail}。]没有使用任何内容。",
        "请重新扫描[第 {number} 个]。",
    ),
    "evidence_invalid": (
        "证据不真实[：{detail}]。",
        "其中某个签名或证书不成立。",
        "请在该机器上重新收集证据。",
    ),
    "endorsement_bundle_invalid": (
        "此背书包无法使用[：{detail}]。",
        "只有发布者的背书密钥为某一产品[（{product}）]签署后，背书包才有效。",
        "请向制作者重新获取背书包，或检查 trust.json。",
    ),
    "endorsement_bundle_expired": (
        "背书包[ {number} ]已[于 {days} 天前]到期。",
        "厂商对其硬件的说明会过时，因此背书包只在一段时间内有效[，至 {expired_at}]。",
        "请导入更新的背书包：modelseal attest bundle import FILE。",
    ),
    "endorsement_bundle_replayed": (
        "此背书包[（{number}）]并不比这里最近的[（{seen}）]更新。",
        "旧的背书包会使其后被吊销的东西重新有效。",
        "请导入最新的背书包。",
    ),
}

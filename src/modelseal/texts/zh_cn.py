"""Simplified Chinese texts. A clause in [brackets] falls away when a parameter is absent."""

TEXTS: dict[str, tuple[str, str, str]] = {
    "error": (
        "出错了[：{detail}]。",
        "此版本没有该原因的说明。",
        "请运行 `modelseal doctor`，并将报告连同此消息发给技术支持。",
    ),
    "internal_error": (
        "modelseal 内部出错[：{detail}]。",
        "这是我们的缺陷，与您无关；没有任何内容被更改。",
        "请运行 `modelseal doctor --bundle report.zip` 并将文件发给技术支持。",
    ),
    "misuse": (
        "命令无法执行[：{detail}]。",
        "某个参数缺失、格式错误或与其他参数矛盾。",
        "请加上 --help 查看用法并改正。",
    ),
    "license_key_mistyped": (
        "许可证密钥输入有误[（第 {group} 组）]。",
        "该组的校验符不匹配，因此密钥没有发送到任何地方。",
        "请对照购买凭证重新输入[第 {group} 组]。",
    ),
    "config_invalid": (
        "配置无法使用[：{detail}]。",
        "[文件 {path} ]缺少某个值、含有未知的值或无法解析。",
        "请改正该文件后重试。",
    ),
    "client_ambiguous": (
        "可能指两个激活[：{candidates}]。",
        "环境变量与 modelseal.toml 指向不同的激活，我们不会猜测。",
        "请用 --state、MODELSEAL_STATE 或 `modelseal.use(client)` 指定其一。",
    ),
    "extra_missing": (
        "modelseal 的一个组件未安装[：{extra}]。",
        "此功能需要一个可选的软件包。",
        "请运行 `pip install 'modelseal[{extra}]'`。",
    ),
    "input_missing": (
        "找不到输入[：{path}]。",
        "没有该名称的文件或文件夹[（{detail}）]。",
        "请检查路径后重试。",
    ),
    "output_exists": (
        "输出已存在[：{path}]。",
        "modelseal 不会覆盖不是它生成的文件。",
        "请换一个名称，或先删除旧文件。",
    ),
    "workspace_missing": (
        "这里没有工作区[：{path}]。",
        "该文件夹中没有 trust.json 以及 desk/ 或 server/。",
        "请运行 `modelseal init --home DIR --product NAME`，或用 --home 指定正确的文件夹。",
    ),
    "workspace_exists": (
        "该文件夹已经是工作区[：{path}]。",
        "重新创建会毁掉其中的密钥。",
        "请直接使用它，或选择其他文件夹。",
    ),
    "desk_exposed": (
        "服务器不能与发布者的 desk 放在一起启动[（{path}）]。",
        "他人可访问的服务器不得存放 desk/ 或 recovery-kit.txt，否则入侵者会得到离线密钥。",
        "请将 desk/ 和 recovery-kit.txt 移到离线位置，或仅监听本机回环地址。",
    ),
    "not_found": (
        "没有该名称的对象[：{id}]。",
        "这里不认识这个标识[（{detail}）]。",
        "请用同一名词的 `list` 查看现有对象。",
    ),
    "conflict": (
        "更改与现状冲突[：{detail}]。",
        "他人已先行更改，或该对象已存在。",
        "请用 `show` 查看现状后再决定。",
    ),
    "idempotency_mismatch": (
        "同一请求两次到达，但内容不同。",
        "一个请求只答复一次；重复时必须完全相同。",
        "请重新运行命令，它会发出新的请求。",
    ),
    "reader_closed": (
        "密封模型已经关闭。",
        "在 `with` 块或 `close()` 之后仍在读取。",
        "请在关闭之前读完所需内容。",
    ),
    "source_changed": (
        "文件在密封过程中被更改[：{path}]。",
        "密封已停止，因为半新半旧的内容毫无意义。",
        "请等到没有程序写该文件后再密封。",
    ),
    "source_not_sealable": (
        "该输入无法密封[：{path}]。",
        "[它是 {detail}；]只能密封普通文件和由普通文件组成的文件夹。",
        "请指定普通文件，不要包含设备或指向外部的链接。",
    ),
    "refused": (
        "许可证不允许此操作[：{detail}]。",
        "许可证服务器或本设备上的许可证拒绝了它。",
        "请运行 `modelseal status` 查看原因，或咨询供应商。",
    ),
    "not_activated": (
        "本设备尚未激活。",
        "没有找到许可证[（{path}）]。",
        "请用购买时得到的许可证密钥运行 `modelseal activate KEY`。",
    ),
    "unknown_license_key": (
        "此服务器不认识该许可证密钥。",
        "密钥格式正确，但从未在此签发，或已被新的密钥取代。",
        "请确认密钥属于本产品[（{product}）]，或向供应商索取新密钥。",
    ),
    "unknown_product": (
        "服务器不认识此产品[：{product}]。",
        "应用与服务器属于不同的发布者或产品。",
        "请检查 modelseal.toml 中的 `product` 和 `server`。",
    ),
    "license_not_yet_valid": (
        "许可证尚未生效[；开始时间 {starts_at}]。",
        "它的起始日期还未到。",
        "请等到开始时间，或咨询供应商。",
    ),
    "license_expired": (
        "许可证已过期[（{expires_at}）]。",
        "许可期限已结束，不再发放租约。",
        "请向供应商续订，然后运行 `modelseal lease renew`。",
    ),
    "license_suspended": (
        "许可证已暂停。",
        "[供应商给出的原因：{why}。]供应商暂停了它，可以恢复。",
        "请联系供应商[并提供编号 {reference}]，然后运行 `modelseal lease renew`。",
    ),
    "license_revoked": (
        "许可证已被吊销。",
        "[供应商给出的原因：{why}。]供应商已永久终止它。",
        "请联系供应商[并提供编号 {reference}]。",
    ),
    "lease_expired": (
        "本设备的租约已结束[（{expires_at}）]。",
        "设备只能在一段时间内离线工作，这段时间已过。",
        "请连接网络并运行 `modelseal lease renew`。",
    ),
    "lease_superseded": (
        "服务器有更新的答复取代了此租约。",
        "租约和拒绝都有编号，编号最大者有效。",
        "请运行 `modelseal status` 查看设备状态。",
    ),
    "not_entitled": (
        "许可证不包含此功能[：缺少 {entitlement}]。",
        "[{model} 需要 {entitlement}；][许可证授予 {granted}；]本设备上没有它的密钥。",
        "请向供应商购买包含[ {entitlement} ]的方案，然后运行 `modelseal lease renew`。",
    ),
    "key_not_in_lease": (
        "租约中没有此模型的密钥[：{model}]。",
        "该模型在上次续约之后发布，或根本没有发布。",
        "请运行 `modelseal lease renew`；若模型由 pull 得到，也请运行 `modelseal pull`。",
    ),
    "together_missing": (
        "必须同时存在的另一个模型不在[：{model}]。",
        "它只能与发布者指定的、真实且已授权的模型一起打开。",
        "请运行 `modelseal pull`，使所有模型齐全。",
    ),
    "release_too_old": (
        "模型文件比发布者允许的更旧[：版本 {release}，至少 {min_release}]。",
        "发布者已撤回旧版本。",
        "请运行 `modelseal pull` 获取当前版本。",
    ),
    "wrong_device": (
        "许可证属于另一台设备。",
        "许可证绑定到本机没有的设备密钥。",
        "请在本机运行 `modelseal activate KEY`，它会占用一个空闲席位。",
    ),
    "device_changed": (
        "这台电脑不是激活时的那一台[：{traits} 已改变或缺失]。",
        "识别它的特征变化过多，因此设备密钥保持锁定。",
        "请运行 `modelseal activate KEY --replace DEVICE`"
        "（`modelseal activate KEY` 会列出占用者）。",
    ),
    "device_unbound": (
        "无法将这台电脑与其他电脑区分。",
        "方案要求绑定设备，但找到的硬件特征太少[：{traits}]。",
        "请在有独立身份的硬件或虚拟机上运行，或咨询供应商。",
    ),
    "device_revoked": (
        "本设备已被吊销。",
        "[供应商给出的原因：{why}。]许可证本身可能仍可在其他设备使用。",
        "请联系供应商[并提供编号 {reference}]。",
    ),
    "device_returned": (
        "本设备已归还席位。",
        "它已被停用[（{returned_at}）]，或席位被另一台设备取走。",
        "请运行 `modelseal activate KEY` 重新占用席位。",
    ),
    "no_free_seat": (
        "没有空闲席位[：{holders}]。",
        "许可证同时允许 {seats} 台设备，现已全部占用。",
        "请在其中一台上运行 `modelseal deactivate`，"
        "或用 `modelseal activate KEY --replace DEVICE` 取代它。",
    ),
    "replace_pending": (
        "席位正在转移[；{free_at} 空出]。",
        "一个席位最多只有两个有效租约，上一次转移仍在进行。",
        "请等旧租约结束[（{free_at}）]后再试。",
    ),
    "rebinds_used_up": (
        "席位现在不能再次转移[；90 天内的 {limit} 次已用完]。",
        "方案限制许可证更换电脑的次数。",
        "请等待[到 {free_at}]、停用旧设备，或咨询供应商。",
    ),
    "forked": (
        "同一激活有两份副本在使用。",
        "同一激活从不同的状态提出了请求，例如恢复了备份或复制了文件夹[；差异：{traits}]。",
        "请在要保留的电脑上用 `modelseal activate KEY` 重新输入许可证密钥。",
    ),
    "clock_set_back": (
        "本机时钟落后[；显示 {now}，而至少已是 {floor}]。",
        "服务器签名的答复比时钟更新。",
        "请把时钟调准，无需其他操作。",
    ),
    "eula_not_accepted": (
        "尚未接受许可协议。",
        "方案要求激活时接受协议[（{uri}）]。",
        "请阅读后运行 `modelseal activate KEY --eula accept`。",
    ),
    "trial_used": (
        "这台电脑已使用过试用。",
        "方案规定每台电脑一次试用。",
        "请向供应商购买许可证。",
    ),
    "meter_exceeded": (
        "许可证的用量已用完[：{meter}，{limit}]。",
        "方案对此用途计数，现已到达上限。",
        "请等待下一个周期，或购买更大的方案。",
    ),
    "egress_refused": (
        "程序试图把受保护的模型写出[：{what}]。",
        "密封文件之外的副本将不受保护。",
        "请关闭该选项[（{what}）]；没有它也能加载。",
    ),
    "access_denied": (
        "此令牌无权执行该操作[：{detail}]。",
        "它的角色不包含此调用。",
        "请使用有权限的令牌，用 `modelseal server token create` 创建。",
    ),
    "credential_invalid": (
        "访问令牌无效。",
        "它缺失、输入有误、已过期或已吊销。",
        "请将 MODELSEAL_TOKEN 设为有效令牌，用 `modelseal server token create` 创建。",
    ),
    "passphrase_wrong": (
        "口令无法打开它[：{path}]。",
        "口令输入有误，或属于另一个文件。",
        "请严格按照打印的内容重新输入。",
    ),
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
        "请运行 `modelseal pull`，或用 allow_plain=True 明确允许普通文件。",
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
    "token_expired": ("令牌已过期。", "它的期限已过。", "请运行 `modelseal lease renew`。"),
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
    "trust_expired": (
        "服务器的密钥列表已过期。",
        "发布者没有及时重新签名。",
        "请告知发布者运行 `modelseal catalog sign`；本设备没有任何更改。",
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
        "[事件 {index} 被更改、删除、移动或添加。]日志与签名的检查点不再一致。",
        "请保留导出文件，并与较早的检查点或备份比较。",
    ),
    "state_damaged": (
        "本设备上的激活已损坏[：{path}]。",
        "状态文件夹中的某个文件被更改、截断或来自另一台设备。",
        "请重新运行 `modelseal activate KEY`；同一台电脑保留其席位。",
    ),
    "backup_invalid": (
        "备份无法使用[：{path}]。",
        "它已损坏，或不是 modelseal 的密钥备份。",
        "请尝试另一份备份。",
    ),
    "answer_invalid": (
        "服务器的答复与问题不符。",
        "它回应的是另一个请求或另一台设备，未被接受。",
        "请重试；若仍如此请告知供应商。",
    ),
    "evidence_invalid": (
        "证据不真实[：{detail}]。",
        "其中某个签名或证书不成立。",
        "请在该机器上重新收集证据。",
    ),
    "unavailable": (
        "现在无法完成[：{detail}]。",
        "所需的某样东西不可用；没有任何决定或更改。",
        "请稍后重试。",
    ),
    "server_unreachable": (
        "无法连接许可证服务器[：{server}]。",
        "[{detail}；]网络、防火墙或服务器有问题。",
        "请检查网络后重试；在此期间现有租约继续有效。",
    ),
    "server_failed": (
        "许可证服务器无法答复[（状态 {status}）]。",
        "它自身出了问题；没有任何决定。",
        "请几分钟后重试；在此期间现有租约继续有效。",
    ),
    "answer_unsigned": (
        "答复的不是许可证服务器[（状态 {status}，{saw}）]。",
        "中间有代理、登录页面或其他服务器；它的答复不算决定。",
        "请登录网络，或申请直接访问[ {server}]，然后重试。",
    ),
    "certificate_invalid": (
        "服务器证书不可信[：{server}]。",
        "[{detail}；]它已过期、名称不符或来自未知的机构。",
        "请检查地址和时钟；若经过检查代理，请用 --ca 指定其机构。",
    ),
    "rate_limited": (
        "请求过多。",
        "服务器要求等待[ {retry_after_seconds} 秒]。",
        "请等待[ {retry_after_seconds} 秒]后重试。",
    ),
    "storage_failed": (
        "存储无法使用[：{detail}]。",
        "数据库或磁盘报告错误；没有做到一半的操作。",
        "请检查磁盘和数据库后重试。",
    ),
    "store_behind": (
        "服务器的记录比本设备的租约更旧。",
        "服务器可能由备份恢复；不会因此拒绝任何人。",
        "请稍后重试；在此期间租约继续有效。",
    ),
    "disk_full": (
        "磁盘已满[：{path}]。",
        "空间不足以完成；原有内容没有改变。",
        "请腾出空间后重试。",
    ),
    "state_not_writable": (
        "文件夹不可写[：{path}]。",
        "当前用户无权写入，或磁盘只读。",
        "请以其所有者身份运行，或用 --state 选择其他文件夹。",
    ),
    "state_not_readable": (
        "无法读取激活[：{path}]。",
        "它可能由其他用户创建，例如通过 sudo。",
        "请以运行应用的用户执行 `modelseal activate`，或把文件夹交给该用户。",
    ),
    "state_busy": (
        "另一个进程正在使用该激活[：{path}]。",
        "它占用锁的时间过长。",
        "请等它结束或停止它，然后重试。",
    ),
    "key_store_unavailable": (
        "密钥库无法使用[：{uri}]。",
        "[{detail}；]它被锁定、不存在或拒绝访问。",
        "请解锁或连接它，然后重试。",
    ),
    "memory_unavailable": (
        "内存不足，无法打开模型[：{size_bytes} 字节]。",
        "系统拒绝分配内存。",
        "请关闭其他程序后重试。",
    ),
    "address_in_use": (
        "地址已被占用[：{address}]。",
        "另一个程序正在监听。",
        "请停止它，或用 --listen 选择其他地址。",
    ),
    "assurance_not_reached": (
        "本机的证明不足[：{detail}]。",
        "方案要求更高的保证级别。",
        "请运行 `modelseal status` 查看已达到的级别和缺少的条件。",
    ),
    "level_not_reached": (
        "保证级别不足[：已达 {level}，要求 {needed}]。",
        "方案只把[ {entitlement} ]给予证明了更高级别的机器。",
        "请使用能够证明的硬件（`modelseal status` 会说明缺少什么）。",
    ),
    "enforcement_not_reached": (
        "此处无法执行方案的要求[：{needed}]。",
        "它要求由硬件终止的密钥，而本机没有得到证明的此类硬件。",
        "请使用制造商证书可验证的 TPM 机器，或咨询供应商。",
    ),
    "memory_not_reached": (
        "内存保护不足[：已达 {reached}，要求 {needed}]。",
        "该模型只能在他人无法读取的内存中打开。",
        "请提高内存锁定上限（ulimit -l），或使用支持秘密内存的系统。",
    ),
}

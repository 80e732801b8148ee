"""Refusals."""

TEXTS: dict[str, tuple[str, str, str]] = {
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
        "请检查服务器与信任文件：--server 和 --trust，或 modelseal.toml 中的设置。",
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
    "lease_key_ended": (
        "硬件不再打开此租约[：{verdict}]。",
        "其密钥位于本机 TPM 中，由 TPM 按自己的时钟、并在断电若干次之后终止。",
        "请连接网络并运行 `modelseal lease renew`。",
    ),
    "lease_superseded": (
        "服务器有更新的答复取代了此租约。",
        "租约和拒绝都有编号，编号最大者有效。",
        "请运行 `modelseal status` 查看设备状态。",
    ),
    "not_entitled": (
        "许可证不包含此功能[：缺少 {entitlement}]。",
        "本设备上没有它的密钥[；{model} 需要 {entitlement}][；许可证授予 {granted}]。",
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
        "请运行 `modelseal activate KEY --replace DEVICE"
        "`（`modelseal activate KEY` 会列出占用者）。",
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
        "请在其中一台上运行 `modelseal deactivate`，或用 `modelse"
        "al activate KEY --replace DEVICE` 取代它。",
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
    "platform_not_allowed": (
        "方案不允许在这类电脑上使用[：{detail}]。",
        "方案排除了虚拟机或容器，或电脑没有说明自己属于哪一类。",
        "请在另一台电脑上激活，或向供应商索取允许此类电脑的方案。",
    ),
    "trial_used": (
        "这台电脑已使用过试用。",
        "方案规定每台电脑一次试用。",
        "请向供应商购买许可证。",
    ),
    "meter_exceeded": (
        "许可证的用量已用完[：{meter}，{limit}]。",
        "方案对此用途计数，现已到达上限。",
        "请等待下一个周期[（{resets_at} 开始）]，或购买更大的方案。",
    ),
    "egress_refused": (
        "程序试图把受保护的模型写出[：{what}]。",
        "密封文件之外的副本将不受保护。",
        "请关闭该选项[（{what}）]；没有它也能加载。[若 {reader} 需要模型的一部分，"
        "`modelseal app observe` 可生成提供该部分的应用配方。]",
    ),
    "sealed_file_kept": (
        "程序试图删除或覆盖密封模型[：{path}]。",
        "[应用配方 {recipe} 保留此文件。]程序会删除未通过其检查的文件，而密封文件与明文文件不同。",
        "请用 `modelseal app observe` 生成配方，使检查得到应答；若不再需要该文件，请自行删除。",
    ),
    "access_denied": (
        "不允许此操作[：{path}][：{detail}]。",
        "文件的权限或访问令牌的角色不包含它。",
        "请使用当前用户可用的文件，或用 `modelseal server token create` 创建的有权限的令牌。",
    ),
    "credential_invalid": (
        "访问令牌无效。",
        "它缺失、输入有误、已过期或已吊销。",
        "请将 MODELSEAL_TOKEN 设为有效令牌，用 `modelseal server token create` 创建。",
    ),
    "sign_in_refused": (
        "登录被拒绝[：{detail}]。",
        "许可服务器不接受身份提供方给出的内容。",
        "请再次运行 `modelseal login --server URL`。",
    ),
    "sign_in_malformed": (
        "无法读取 ID 令牌[：{detail}]。",
        "它不完整、格式有误，或属于另一种令牌。",
        "请再次运行 `modelseal login --server URL`；若仍失败，请告知身份提供方的管理员。",
    ),
    "sign_in_algorithm": (
        "此服务器不接受 ID 令牌的签名方式[：{detail}]。",
        "只有 server.toml 中的算法有效，未签名的令牌和共享密钥一律不接受。",
        "请让身份提供方使用 RS256、ES256 或 EdDSA 签名，然后重新登录。",
    ),
    "sign_in_key_unknown": (
        "ID 令牌的签名密钥未由身份提供方公布[：{detail}]。",
        "该密钥是伪造的、已撤下，或太新而服务器尚未获知。",
        "请等待半分钟，再运行 `modelseal login --server URL`。",
    ),
    "sign_in_signature": (
        "ID 令牌的签名不成立。",
        "令牌在签名后被修改，或由另一把密钥签名。",
        "请再次运行 `modelseal login --server URL`，并检查中间是否有人介入。",
    ),
    "sign_in_issuer": (
        "ID 令牌来自另一个身份提供方。",
        "此服务器只接受 server.toml 中那一个颁发者的令牌。",
        "请运行 `modelseal login --server URL`，它会询问正确的提供方。",
    ),
    "sign_in_audience": (
        "ID 令牌是为另一个客户端签发的[：{detail}]。",
        "其受众或授权方不是此服务器的客户端。",
        "请运行 `modelseal login --server URL`，它会以正确的客户端登录。",
    ),
    "sign_in_nonce": (
        "ID 令牌不属于这次登录[：{detail}]。",
        "其 nonce 不是由出示令牌的一方生成的。",
        "请在本机上从头到尾再次运行 `modelseal login --server URL`。",
    ),
    "sign_in_expired": (
        "ID 令牌现在无效[：{detail}]。",
        "它已过期、超过十分钟，或时间在未来。",
        "请检查本机和服务器的时钟，然后运行 `modelseal login --server URL`。",
    ),
    "sign_in_replayed": (
        "ID 令牌已被使用过。",
        "每个令牌只能开启一个会话。",
        "请再次运行 `modelseal login --server URL`。",
    ),
    "sign_in_not_allowed": (
        "此人不可使用许可服务器[：{detail}]。",
        "身份提供方确认了此人，但 server.toml 未给予任何角色。",
        "请向服务器管理员申请角色[；参考号 {reference}]。",
    ),
    "passphrase_wrong": (
        "口令无法打开它[：{path}]。",
        "口令输入有误，或属于另一个文件。",
        "请严格按照打印的内容重新输入。",
    ),
    "key_refused": (
        "密钥库不允许使用其密钥[：{uri}]。",
        "它自身的规则目前禁止使用[：{detail}]。",
        "请询问设置该密钥的人。",
    ),
    "key_policy_failed": (
        "TPM 不允许使用其密钥[：{uri}]。",
        "计算机的启动状态与密钥绑定的状态不同，或其时限已过。",
        "请按原先的状态启动，或为该密钥提供其所有者针对新状态签署的策略。",
    ),
    "key_of_another_tpm": (
        "该密钥属于另一个 TPM[：{path}]。",
        "其文件是从另一台计算机复制的，或者本机更换了 TPM。",
        "请在原来的计算机上使用，或激活本机：modelseal activate KEY --replace DEVICE。",
    ),
    "tpm_cleared": (
        "TPM 已被清除，其中的所有密钥都已丢失[：{path}]。",
        "有人在固件中或通过新的操作系统重置了它。",
        "请使用许可证密钥重新激活：modelseal activate KEY --replace DEVICE。",
    ),
}

"""Why evidence of phones, GPUs and Arm chips was taken or not, in Simplified Chinese."""

ATTEST_MORE: dict[str, str] = {
    "attest_root_unreadable": "策略中的一个固定根既不是证书也不是公钥[：{detail}]。请更正策略。",
    "attest_chain_extended": "一个已认证的密钥又签发了自己的证书，而它并非为此而建。"
    "这条链是借一部真实手机伪造的。",
    "attest_android_status_list_missing": "无从得知 Google 是否已吊销手机的密钥。"
    "请导入含有 Google 状态列表的背书包。",
    "attest_android_version_unknown": "认证的版本是 {version}，本版软件不认识。请更新 modelseal。",
    "attest_android_level": "密钥的安全级别是 {level}，策略要求更高的级别。"
    "请在手机的安全硬件中生成密钥。",
    "attest_android_no_root_of_trust": "安全硬件没有说明手机是如何启动的。"
    "请在手机的安全硬件中生成密钥。",
    "attest_bootloader_unlocked": "引导加载程序已解锁。请重新锁定，这会清除手机上的数据。",
    "attest_boot_state": "手机以 {state} 状态启动。请安装厂商自己的系统映像并锁定引导加载程序。",
    "attest_boot_key_empty": "手机没有给出验证启动所用的密钥。"
    "请安装厂商自己的系统映像并锁定引导加载程序。",
    "attest_key_not_generated": "密钥不是在安全硬件内生成的（来源：{origin}）。"
    "请在其中生成新密钥。",
    "attest_android_too_old": "手机的 {name} 是 {got}，策略要求 {wanted}。请更新手机。",
    "attest_android_application": "密钥由另一个应用生成[：{found}]。请使用策略所列的应用。",
    "attest_android_signer": "应用的签名者不在策略之列。请从发布者处安装该应用。",
    "attest_gpu_nonces_differ": "各 GPU 回答的随机数不同。请用同一个随机数采集所有报告。",
    "attest_gpu_architecture": "这不是策略所允许架构的 GPU：{name}。",
    "attest_gpu_firmware_id": "GPU 运行的固件与其证书所对应的不同。"
    "请重启机器，若仍如此请询问 NVIDIA。",
    "attest_gpu_version": "GPU 的 {name} 是 {found}，不在策略的列表中。"
    "请安装所列版本，或加入此版本。",
    "attest_arm_key_missing": "没有固定该芯片的公钥。请在策略的 roots 中给出。",
    "attest_arm_lifecycle": "芯片处于生命周期状态 {state}，此时它无法保守秘密。"
    "请使用已安全化的芯片。",
    "attest_psa_mac": "该令牌只用读取者也会持有的秘密来认证，因此不能证明任何事。"
    "请让芯片用非对称密钥签名。",
    "attest_cca_realm_key_unbound": "平台没有为签署领域声明的密钥作保。两个令牌不属于同一台机器。",
    "attest_cca_devices_unread": "令牌还提到分配给该领域的设备，本版软件不读取这一部分。",
    "attest_tpm2_key_not_endorsed": "没有任何证明为该 TPM 的认证密钥作保。"
    "请在策略的 roots 中固定它、给出其证书，或由服务器来证明。",
    "attest_event_log_missing": "缺少事件日志，无从得知本机如何启动。"
    "请以可读取日志的权限重新收集。",
    "attest_secure_boot_off": "本机启动时安全启动处于关闭状态。请开启它，或在策略中允许。",
    "attest_software_only": "这只是程序对自身的说法。请使用能够证明自身的硬件。",
    "attest_no_hardware": "这里没有能证明该级别的硬件：没有机密处理器，也没有可用的 TPM。"
    "请在具备它们的机器上运行。",
    "attest_kind_unknown": "服务器不认识这种证据。请更新服务器，或在那里安装能读取它的软件包。",
    "attest_policy_unreadable": "服务器的评估策略无法读取，因此什么都不够好。"
    "请发布者改正 attestation-policy.json。",
    "attest_tpm_not_proved": "引证只有与本设备自己的 TPM 的证明一起才算数，而该证明缺失或不成立。"
    "服务器须认识 TPM 的制造商。",
    "attest_level_none": "证据没有问题，但这种证据不显示任何级别。请使用处理器或 TPM。",
    "attest_level_short": "证据没有问题，但其级别低于要求。请使用更高级别的硬件。",
    "attest_nonce_unknown": "此随机数不是发给本设备的。请重新申请一个。",
    "attest_nonce_used": "此随机数已经用过；它只对一个问题有效。",
    "attest_nonce_late": "此随机数已过期。请更快地收集证据，或重新询问。",
}

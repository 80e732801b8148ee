"""Verdicts over the CPU's own evidence: SEV-SNP, SGX, TDX, Nitro, the vTPM of Azure."""

ATTEST_TEE: dict[str, str] = {
    "attest_kind_failed": "无法读取证据[（{detail}）]。请重新收集；若仍无效，请作为缺陷报告。",
    "attest_debug_enabled": "调试已开启：宿主可以读取此虚拟机或飞地的内存。请关闭调试后启动。",
    "attest_migration_allowed": "迁移代理可以把此虚拟机的内存移到别处。请用禁止迁移的策略启动。",
    "attest_smt_enabled": "这里两个虚拟机可能共用一个核心（SMT 已开启），而策略禁止。"
    "请在 BIOS 中关闭 SMT。",
    "attest_vmpl_not_allowed": "报告是在特权级 {vmpl} 请求的，策略不接受。"
    "请在 0 级请求，或在 snp.vmpl 中允许它。",
    "attest_signer_not_allowed": "报告由 {signer} 签名，策略不接受。",
    "attest_minimum_tcb_missing": "没有说明这里怎样的固件才够新。"
    "请设定最低 TCB，或用 `modelseal attest reference add` 从样板机获取。",
    "attest_tcb_too_old": "固件过旧：{part} 为 {got}，需要 {wanted}。"
    "请安装厂商的 BIOS 或微码更新。",
    "attest_snp_not_signed": "宿主隐藏了芯片密钥，因此报告不能证明任何事情。"
    "请让宿主取消屏蔽芯片密钥（MASK_CHIP_KEY）。",
    "attest_snp_product": "报告与密钥属于不同产品（{report} 与 {key}）。"
    "请提供此芯片自己的证书和中间证书。",
    "attest_snp_extension": "签名密钥的证书缺少 AMD 写入的内容[：{name}]。请从 AMD 重新获取。",
    "attest_snp_signer": "报告称由 {report} 签名，而证书属于 {key}。请提供与之相配的证书。",
    "attest_snp_tcb_mismatch": "证书所对应的固件（{key}）与报告（{report}）不同。"
    "请获取当前固件的证书。",
    "attest_snp_chip_mismatch": "证书属于与报告不同的芯片。请获取此芯片的证书。",
    "attest_quoting_enclave_unknown": "引用由并非英特尔的引用飞地生成。"
    "请在该机器上安装英特尔的 DCAP 引用生成组件。",
    "attest_pck_extension": "平台证书缺少英特尔写入的内容。请重新配置该平台。",
    "attest_collateral_missing": "缺少此平台（FMSPC {fmspc}）的英特尔附属数据，"
    "因此无法得知它是否最新：请导入背书包。",
    "attest_collateral_expired": "附属数据已于 {days} 天前（{at}）过期：请导入背书包。",
    "attest_collateral_not_yet_valid": "附属数据在 {at} 才签发，晚于现在："
    "请检查时钟，或导入当时的背书包。",
    "attest_collateral_invalid": "英特尔附属数据无法使用[：{detail}]。请重新导入。",
    "attest_collateral_foreign": "附属数据属于另一平台[：{detail}]。请导入含此平台数据的背书包。",
    "attest_tcb_unknown": "无法得知此平台是否最新：请导入含当前附属数据的背书包。",
    "attest_tcb_status": "[缺少针对 {advisories} 的 BIOS 更新。]英特尔称此平台为 {status}："
    "请安装更新并按公告配置，或允许此状态。",
    "attest_tcb_out_of_date": "[缺少针对 {advisories} 的 BIOS 更新。]英特尔称此平台为 {status}："
    "请安装更新，然后重新注册该平台。",
    "attest_tcb_revoked": "英特尔已吊销此平台的固件级别：其密钥已为他人所知。"
    "请安装 BIOS 更新，然后配置新密钥。",
    "attest_tcb_not_listed": "英特尔未列出此平台所达到的固件级别[：{detail}]。请安装 BIOS 更新。",
    "attest_tcb_evaluation_old": "附属数据的 TCB 评估号为 {got}，需要 {wanted}："
    "请导入更新的背书包。",
    "attest_package_setup": "该平台启用了 {name}，策略不接受。请在 BIOS 中更改，或设置 {option}。",
    "attest_td_attributes": "虚拟机以会使其敞开的属性启动[：{detail}]。请去掉后启动。",
    "attest_event_log_mismatch": "事件日志不能解释所测量的寄存器[：{names}]。"
    "它被改动，或属于另一次启动。",
    "attest_azure_claims_unbound": "硬件报告属于其他声明：虚拟 TPM 的密钥不是此机器的。"
    "请一次性重新收集证据。",
    "attest_azure_report_mismatch": "引用是为另一台虚拟机生成的，与报告不符。"
    "请一次性重新收集证据。",
    "attest_pcr_digest_mismatch": "所给的寄存器值不是 TPM 所签的值。请重新收集证据。",
    "attest_tcb_not_judged": "用于评判英特尔平台的库不评判这种引用[：{detail}]。"
    "请用它支持的版本生成引用。",
}

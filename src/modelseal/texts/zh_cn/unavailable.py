"""What cannot be done now, and what this machine has not proved."""

TEXTS: dict[str, tuple[str, str, str]] = {
    "unavailable": (
        "现在无法完成[：{detail}]。",
        "所需的某样东西不可用；没有任何决定或更改。",
        "请稍后重试。",
    ),
    "server_unreachable": (
        "无法连接许可证服务器[：{server}]。",
        "网络、防火墙或服务器有问题[：{detail}]。",
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
        "它已过期、名称不符或来自未知的机构[：{detail}]。",
        "请检查地址和时钟；若经过检查代理，请用 --ca 指定其机构。",
    ),
    "provider_unavailable": (
        "无法询问身份提供方[：{detail}]。",
        "它已停机、无法连接，或给出了别的内容；未作任何决定。",
        "请检查提供方的地址和证书，然后重新登录；令牌在此期间仍可使用。",
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
    "relay_waiting": (
        "中继已记下该请求，但还没有答复。",
        "[它上次与许可证服务器同步是在 {synced_at}。]"
        "只有许可证服务器才能决定，中继在下次同步时才会联系它；"
        "没有任何请求被拒绝。",
        "请让人运行 `modelseal server relay sync`，然后重复同一操作；正在运行的租约继续有效。",
    ),
    "relay_cannot": (
        "中继无法办理此事。",
        "{detail}。",
        "请直接连接许可证服务器办理，或使用请求文件：`modelseal lease request`。",
    ),
    "relay_budget_spent": (
        "中继可自行发放的额度已用完。",
        "[它上次与许可证服务器同步是在 {synced_at}。]"
        "它已记下该请求，许可证服务器会在下次同步时答复。",
        "请让人运行 `modelseal server relay sync`，然后重复同一操作；正在运行的租约继续有效。",
    ),
    "relay_seals": (
        "中继要求把许可证密钥封装给它自己。",
        "它可以发放租约，但只能读取封装给它的内容。",
        "请更新本设备上的 modelseal，然后重新激活。",
    ),
    "store_behind": (
        "服务器的记录比本设备的租约更旧。",
        "服务器可能由备份恢复；不会因此拒绝任何人。",
        "请稍后重试；在此期间租约继续有效。",
    ),
    "request_replayed": (
        "服务器此前已答复过这份请求；没有任何改变。",
        "它在更新的请求之后再次到达：途中有设备重复发送，或使用了旧的请求文件。",
        "请重试，重试会产生新的请求（`modelseal lease request` 会生成新文件）；"
        "如果仍然如此，请检查本机时钟。",
    ),
    "disk_full": (
        "磁盘已满[：{path}]。",
        "空间不足以完成；原有内容没有改变。",
        "请腾出空间后重试。",
    ),
    "state_not_writable": (
        "此处不可写[：{path}]。",
        "当前用户无权写入，或磁盘只读[：{detail}]。",
        "请以其所有者身份运行，或选择其他位置（激活用 --state）。",
    ),
    "state_not_readable": (
        "当前用户无权读取[：{path}]。",
        "它可能由其他用户创建，例如通过 sudo。",
        "请把文件或文件夹交给该用户；激活应由运行应用的用户进行。",
    ),
    "state_busy": (
        "另一个进程正在使用该激活[：{path}]。",
        "它占用锁的时间过长。",
        "请等它结束或停止它，然后重试。",
    ),
    "key_store_unavailable": (
        "密钥库无法使用[：{uri}]。",
        "它被锁定、不存在或拒绝访问[：{detail}]。",
        "请解锁或连接它，然后重试。",
    ),
    "tpm_failed": (
        "TPM 无法完成该操作。",
        "它返回了错误[：{detail}]。",
        "请重试；若仍然如此，请重启计算机并查看 modelseal doctor。",
    ),
    "secret_needed": (
        "密钥库需要密码[：{uri}]。",
        "必须输入其口令或 PIN，而此处无人可以输入。",
        "请在终端中运行该命令，或在密钥 URI 中用 pin-source 指定存放 PIN 的文件。",
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
        "只给予证明了更高级别的机器[（{entitlement}）][：{verdict}][。{why}]。",
        "请使用能够证明的硬件（`modelseal status` 会说明缺少什么）。",
    ),
    "evidence_outdated": (
        "服务器要求本机重新提供证明[：{verdict}]。",
        "TPM 密钥的有效期会超过租约，或服务器尚不认识此 TPM。",
        "系统会自动重新询问；如仍无效，请运行 `modelseal lease renew`。",
    ),
    "evidence_unavailable": (
        "本机现在无法给出证据[：{detail}]。",
        "硬件、其驱动或宿主没有应答[（{source}）]。",
        "请在要证明自身的机器内运行，并具有询问其硬件的权限。",
    ),
    "enforcement_not_reached": (
        "此处无法执行方案的要求[：{needed}]。",
        "它要求由硬件终止的密钥，而本机没有得到证明的此类硬件[（{verdict}）]。",
        "请使用制造商证书可验证的 TPM 机器，或咨询供应商。",
    ),
    "evidence_refused": (
        "该服务[（{server}）]未能证明自己足够可信[（{verdict}）]。",
        "其证据真实，但您的策略不接受[：{detail}]。",
        "尚未向其发送任何内容。请联系其运营者，或更正策略。",
    ),
    "memory_not_reached": (
        "内存保护不足[：已达 {reached}，要求 {needed}]。",
        "该模型只能在他人无法读取的内存中打开。",
        "请提高内存锁定上限（ulimit -l），或使用支持秘密内存的系统。",
    ),
}

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

"""What a publisher's commands tell when all went well, in Simplified Chinese."""

PUBLISHER: dict[str, str] = {
    "initialised": (
        "已在 {home} 创建 {product} 的工作区。\n"
        "  应用随附 {trust}；它只含公钥。\n"
        "  请立即打印 {kit}，然后从磁盘删除。\n"
        "  下一步：modelseal seal MODEL -o MODEL.sealed --entitlement NAME{where}"
    ),
    "sealed": "已密封 {model} 版本 {release}，{size} 字节，凭 {entitlements} 打开。",
    "sealed_optimised": "另含针对此类机器优化的形式：{names}。",
    "or": " 或 ",
    "sealed_next": "  下一步：modelseal model publish {files}{where}",
    "genuine": "{path} 是真实的。",
    "published": "已发布模型 {model} 版本 {release}。",
    "published_already": "模型 {model} 版本 {release} 先前已发布。",
    "published_next": "  已授权的设备用 `modelseal pull` 获取。",
    "withdrawn": "已撤回模型 {model} 版本 {release}。",
    "resealed": "已将 {model} 重新密封为版本 {release}：{path}。请发布它，然后撤回旧版本。",
    "model_restored": "{path} 已恢复为明文：{model} 版本 {release}，逐字节一致。",
    "plan_made": "已创建方案 {name}，版本 {version}：{granted}。",
    "plan_updated": "已更新方案 {name}，版本 {version}：{granted}。",
    "issued": (
        "许可证 {license_id}，客户 {customer}，方案 {plan}。\n"
        "  席位 {seats}[，结束于 {ends}]。密钥只显示这一次。\n"
        "  客户运行：modelseal activate {license_key} --server https://… --trust trust.json\n"
        "  （若应用的 modelseal.toml 已指定服务器与信任文件，则无需这些选项）。"
    ),
    "never": "永不",
    "license_changed": "许可证已更改：{told}",
    "license_renewed": "许可证已续期：{told}",
    "license_suspended": "许可证已暂停：{told}",
    "license_resumed": "许可证已恢复：{told}",
    "license_revoked": "许可证已吊销：{told}",
    "license_told": "方案 {plan}，{state}，席位 {seats_used}/{seats}[，结束于 {ends}]。",
    "license_next": "  设备在下次续约时生效（`modelseal lease renew`）。",
    "revoked_next": "  在线设备 5 分钟内得知，离线设备最迟在租约结束时得知。",
    "rekeyed": "许可证 {license_id} 已有新密钥；旧密钥从现在起无效。",
    "erase_question": "这将吊销该客户的许可证且无法撤销。确定删除？",
    "erased": "已删除：{licenses} 个许可证，{devices} 台设备。",
    "device_revoked": "设备 {device_id} 已吊销。[其最后一个租约结束后席位空出（{ends}）。]",
    "backed_up": (
        "{keys} 把密钥已存入 {path}。请与打印的口令分开保存，并运行："
        "modelseal keys recovery-test {path}{where}"
    ),
    "backup_elsewhere": (
        "  另有 {count} 把由硬件或密钥库保管，不在 modelseal 的任何备份中："
        "请同时保留该硬件或服务自己的备份。"
    ),
    "backup_good": "备份完好：{keys} 把密钥可以打开，且与 trust.json 相符。",
    "backup_by_kit": (
        "  口令取自 recovery-kit.txt。请打印该页，删除该文件，\n"
        "  然后照纸上的口令输入，再运行一次。"
    ),
    "restored": "{keys} 把密钥已恢复到 {home}。",
    "exported": "{count} 行已写入 {path}。",
    "log_holds": "日志成立：{size} 个事件，根 {root_hash}。",
    "listening": "modelseal 服务器正在监听 {url}（按 Ctrl-C 停止）。",
    "inference_listening": "{models} 正在 {url} 提供推理，由 {kinds} 证明（按 Ctrl-C 停止）。",
    "manifest_written": (
        "{path} 中有 {count} 个文件，仅检查过语法，未在相应硬件上测试。"
        "请在该硬件上启动，并用 modelseal attest reference add 记录其度量值。"
    ),
    "inference_stopped": "推理服务已停止；进行中的请求已答复。",
    "stopped": "modelseal 服务器已停止；进行中的请求已答复。",
    "schema": "数据库版本 {version}。",
    "store_backed_up": (
        "{path} 中有 {rows} 行数据，为 {at} 时的状态。其中不含密钥和密封模型：\n"
        "  请另行运行 `modelseal keys backup` 并复制 server/blobs。"
    ),
    "store_restored": (
        "{rows} 行数据已恢复到 {at} 时的状态；其后的 {done} 项操作已重新执行。\n"
        "  此后发出的租约会在设备询问时被接管。"
    ),
    "store_restored_without_events": (
        "  {at} 之后的吊销已丢失。如有日志导出，请加上 --replace --events EXPORT 再运行一次。"
    ),
    "store_restored_unknown": "  {count} 项操作涉及备份之后才创建的内容；导出文件中有记载。",
    "store_restored_rekey": (
        "  许可证 {license} 曾换过密钥，新密钥已丢失：请运行 `modelseal license rekey {license}`。"
    ),
    "token_made": (
        "令牌 {token_id}，角色 {role}，有效至 {ends}。\n"
        "  只显示这一次；请作为 MODELSEAL_TOKEN 使用。"
    ),
    "token_revoked": "令牌 {token_id} 已吊销。",
    "webhook_made": (
        "已创建 Webhook {webhook_id}。其密钥只显示这一次；接收方用它验证签名。\n"
        "  试一试：modelseal webhook test {webhook_id}"
    ),
    "webhook_removed": "Webhook {webhook_id} 及其待发消息已删除。",
    "webhook_rotated": "新密钥即刻用于签名，旧密钥并行签名至 {ends}。",
    "webhook_tested": (
        "服务器运行后即发出一条消息；查看结果：\n  modelseal webhook messages {webhook_id}"
    ),
    "webhook_replayed": "将重新发送 {count} 条消息。",
    "bundled": "给技术支持的报告在 {path}。",
    "none": "{title}：无。",
}

"""命令成功时告诉用户的话。"""

SAID: dict[str, str] = {
    "request_written": (
        "请求文件[位于 {path}]，操作：{op}。请交给供应商，"
        "然后在此用带回的答复运行 `modelseal lease import RESPONSE`。"
    ),
    "request_again": "这与之前尚未得到答复的是同一个问题；两份文件得到的答复相同。",
    "return_written": (
        "密钥和租约已擦除：从现在起此设备上打不开任何内容。"
        "供应商读取请求[（{path}）]后席位即空出。再次运行可得到另一份。"
    ),
    "responded": (
        "答复[位于 {path}]，含租约，有效至 {expires_at}[；另有 {next_count} 个预备租约，"
        "最后一个至 {next_expires_at}]。"
    ),
    "responded_refused": (
        "已拒绝：{code}（编号 {reference}）。答复[（{path}）]含有签名的拒绝，设备会照此执行。"
    ),
    "responded_returned": "该设备已交还席位；席位于 {seat_free_at} 空出。",
    "imported": "租约有效至 {expires_at}。[还有 {next_count} 个等待供应商告知代码。]",
    "imported_return": "供应商已读取：席位于 {seat_free_at} 空出。",
    "code_given": (
        "请逐组读出。它打开 {device_id} 的第 {seq} 号租约，有效至 {expires_at}；还有 {left} 个。"
    ),
    "code_again": "此代码之前已告知。下一个从 {next_from_at} 起告知，或现在加 --further。",
    "qr_written": "{count} 个二维码位于 {path}；index.html 显示全部。",
    "relay_made": (
        "中继 {relay} 已建于 {path}。请先同步一次，再运行 `modelseal server relay run {path}`。"
    ),
    "relay_question_written": (
        "{questions} 个请求已写入 {path}。请在能联网的计算机上运行"
        " `modelseal server relay carry {path} -o ANSWER --server URL`，"
        "然后在此运行 `sync --read ANSWER`。"
    ),
    "relay_carried": (
        "{answers} 个答复在 {path} 中，{models} 个密封模型在 {path}.models 中。请一并带回。"
    ),
    "relay_synced": "{answers} 个答复等待设备领取；新增 {documents} 份文档和 {models} 个密封模型。",
    "relay_failed": "许可证服务器处理 {count} 个请求时出错；下次同步会再次带去。",
    "relay_apart": (
        "该中继的上次报告与服务器记录不符：其文件夹被复制过，或由旧副本恢复。请停用另一个；发布者的日志中也有记录。"
    ),
    "relay_behind": "服务器不认识该中继的上次报告：服务器可能由备份恢复。",
    "relay_status": (
        "{relay}：{waiting} 个请求等待许可证服务器，{answers} 个答复等待设备；{models} 个密封模型。"
        "[上次同步于 {synced_at}（{state}）。]"
        "自上次报告以来发出 {handed} 个答复，重复发出 {repeated} 个；"
        "{doubles} 个发给了不止一台计算机。此处存有 {ahead} 个预备租约，其间发出 {released} 个。"
        "[该中继与其设备就预备租约有 {overdrawn} 次不一致。]"
    ),
    "relay_budget": (
        "可自行发放：设备已用 {seats_spent}/{seats}，续租已用 {renewals_spent}/{renewals}，"
        "有效期至 {expires_at}（{state}）。尚未报告 {unreported} 项。"
        "[超出额度发放：{overdrawn}（{overdrawn_why}）。]"
        "[服务器不受理 {refused} 项（{refused_code}）。]"
        "[其文件夹是旧副本或已被改动（{stopped}）：重新申请之前不再发放。]"
    ),
    "relay_revoked": ("中继 {relay} 不再获得额度，它发放的一切已列为吊销。"),
    "relay_restored": ("中继 {relay} 可以重新申请额度。"),
    "authority_made": ("密钥 {kid} 用于批准测量状态：{public} 放到各计算机，{private} 妥善保管。"),
    "sign_in_at": "请在本机浏览器中登录：{url}",
    "sign_in_code": "请在任意屏幕上打开 {url}，输入代码 {code}",
    "signed_in": (
        "已以角色 {role} 登录，至 {ends} 为止，或 {minutes} 分钟内没有命令时结束。"
        "`modelseal logout` 可立即结束。"
    ),
    "signed_out": "已退出登录。",
    "signed_out_nobody": "此服务器上没有人登录。",
    "signed_in_page": "已在身份提供方登录。请关闭此页面，回到终端。",
    "signed_in_page_foreign": "这不是正在进行的登录的应答。",
    "approved": "已批准：{pcrs}，摘要 {values}（{path} 中共有 {approvals} 项批准）。",
}

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
}

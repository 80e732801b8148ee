"""``modelseal doctor`` 的检查结果与建议。"""

DOCTOR: dict[str, str] = {
    "doctor_version": "{version}，Python {python}，{platform}",
    "doctor_no_framework": "未安装 {names} 中的任何一个",
    "doctor_install_one": "加载模型的应用需要其中一个：pip install 'modelseal[[onnx]]'。",
    "doctor_swap_safe": "{memory}，不会被换出",
    "doctor_not_swap_safe": "{memory}，可能被换出到磁盘",
    "doctor_raise_limit": "请提高内存锁定上限（ulimit -l）。",
    "doctor_available": "可用",
    "doctor_not_available": "本系统不提供",
    "doctor_no_app": "此处既没有应用，也没有状态文件夹：{message}",
    "doctor_device": "{state}，产品 {product}",
    "doctor_see_status": "运行 `modelseal status` 查看原因。",
    "doctor_trust_holds": "产品 {product}，签名有效",
    "doctor_kit_there": "recovery-kit.txt 仍在本磁盘上",
    "doctor_print_kit": "请打印并妥善保管，然后删除该文件。",
    "doctor_kit_gone": "已从本磁盘移除",
    "doctor_backup_old": "备份早于最近一次密钥轮换",
    "doctor_backup_none": "尚无经过验证的备份",
    "doctor_make_backup": (
        "请运行 `modelseal keys backup FILE`，再运行 `modelseal keys recovery-test FILE`。"
    ),
    "doctor_backup_proved": "验证于 {at}",
    "doctor_kek_interrupted": "一次轮换被中断；旧密钥仍然存在",
    "doctor_rotate_again": "请再次运行 `modelseal keys rotate kek`。",
    "doctor_loose": "其他用户可以进入",
    "doctor_chmod": "请运行：chmod 700 {folder}",
    "doctor_closed": "对其他用户关闭",
}

"""What the caller got wrong, and our own bugs."""

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
        "[第 {group} 组的校验符不匹配。]密钥的格式为"
        " MS-XXXXX-XXXXX-XXXXX-XXXXX；这一个没有发送到任何地方。",
        "请对照购买凭证重新输入[第 {group} 组]。",
    ),
    "code_mistyped": (
        "代码输入有误[（第 {group} 组）]。",
        "[第 {group} 组的校验符不匹配。]代码的格式为"
        " XXXX-XXXX-XXXX-XXXX-XXXX-XXXX-XXXX；这一个没有被使用。",
        "请对方再读一遍[第 {group} 组]，然后重新输入。",
    ),
    "parts_missing": (
        "{count} 个二维码不完整[，缺少：{missing}]。",
        "同一组的每一个都需要；顺序不限，重复无妨。",
        "请补扫缺少的，然后带上全部重试。",
    ),
    "part_foreign": (
        "二维码来自两组[；第 {line} 行属于 {set}]。",
        "[第一个属于 {wanted}。]每个请求和每个答复各自为一组。",
        "请去掉另一组的二维码后重试。",
    ),
    "no_next_lease": (
        "没有可以读出代码的租约[：{detail}]。",
        "[设备：{device}。]预备租约随带 --next 的请求生成，接在其答复之后；"
        "许可证或方案更改后即失效。",
        "请答复该设备的新请求：在设备上运行 `modelseal lease request --next K`，在此运行"
        " `modelseal lease respond`。",
    ),
    "config_invalid": (
        "配置无法使用[：{detail}]。",
        "[见 {path}。]某个值缺失、未知或格式错误。",
        "请改正[ {path} ]后重试。",
    ),
    "recipe_invalid": (
        "应用配方无法使用[：{detail}]。",
        "[见 {path}。]某个值缺失、未知或格式错误。",
        "请改正[ {path} ]，或用 `modelseal app observe` 重新生成。",
    ),
    "appraisal_policy_invalid": (
        "评估策略无法使用[：{detail}]。",
        "[见 {path}。][成员 {member} 有误。]未知或异常的规则可能要求得比本意少。",
        "请改正；所有规则见 docs/spec/attestation.md。",
    ),
    "client_ambiguous": (
        "可能指两个激活[：{candidates}]。",
        "环境变量与 modelseal.toml 指向不同的激活，我们不会猜测。",
        "请用 --state、MODELSEAL_STATE 或 `modelseal.use(client)` 指定其一。",
    ),
    "extra_missing": (
        "modelseal 的一个组件未安装[：{extra}]。",
        "此功能需要一个可选的软件包。",
        "请运行 `pip install 'modelseal[[{extra}]]'`。",
    ),
    "input_missing": (
        "无法读取输入[：{path}]。",
        "它不存在、类型不符，或当前用户无权读取[（{detail}）]。",
        "请检查路径及其权限后重试。",
    ),
    "output_exists": (
        "输出已存在[：{path}]。",
        "modelseal 不会覆盖不是它生成的文件。",
        "请换一个名称，或先删除旧文件。",
    ),
    "another_license": (
        "此设备已占用另一个许可证的席位[：{license_id}][，方案 {plan}]。",
        "现在输入新的许可证密钥，会使该席位一直被占用到其租约结束。",
        "请先运行 `modelseal deactivate`，或运行 `modelseal activate KEY --switch`："
        "它会归还该席位并启用新密钥；使用另一个 --state 可同时保留两者。",
    ),
    "workspace_missing": (
        "这里没有工作区[：{path}]。",
        "该文件夹中没有 trust.json 以及 desk/ 或 server/，或者它不是文件夹。",
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
        "没有该名称的对象[（{id}）][：{detail}]。",
        "它输入有误、属于另一个工作区，或从未创建。",
        "请用同一名词的 `list` 查看现有对象。",
    ),
    "sign_in_off": (
        "此服务器不支持人员登录。",
        "其 server.toml 中没有身份提供方，或服务器不认识此调用。",
        "请使用 `modelseal server token create` 创建的令牌，放在 MODELSEAL_TOKEN 中。",
    ),
    "conflict": (
        "更改与现状冲突[：{detail}]。",
        "他人已先行更改，或该对象已存在。",
        "请用 `show` 查看现状后再决定。",
    ),
    "budget_refused": (
        "该中继不能获得额度[：{why}]。",
        "许可证的方案不允许中继发放租约，或者该中继发放超额，或已被吊销。",
        "请联系发布者：`modelseal server relay budgets` 可查看它发放了什么。",
    ),
    "idempotency_mismatch": (
        "同一请求两次到达，但内容不同。",
        "一个请求只答复一次；重复时必须完全相同。",
        "请重新运行命令，它会发出新的请求。",
    ),
    "client_closed": (
        "该 modelseal 客户端已经关闭。",
        "在 `with` 块或 `close()` 之后仍在使用它。",
        "请在程序运行期间保持客户端打开，或新建一个 `modelseal.Client()`。",
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
    "not_optimisable": (
        "无法针对此类机器优化该模型[：{path}]。",
        "无法生成优化形式，或其结果与原模型不一致[：{detail}]。",
        "请不带 --optimise 进行密封；模型将以通用形式在各处加载。",
    ),
    "source_not_sealable": (
        "该输入无法密封[：{path}]。",
        "只能密封普通文件和由普通文件组成的文件夹[：{detail}]。",
        "请指定普通文件，不要包含设备或指向外部的链接。",
    ),
}

"""What ``modelseal doctor`` found, and what to do about it."""

DOCTOR: dict[str, str] = {
    "doctor_version": "{version} on Python {python}, {platform}",
    "doctor_no_framework": "none of {names} is installed",
    "doctor_install_one": "Apps that load models need one: pip install 'modelseal[[onnx]]'.",
    "doctor_swap_safe": "{memory}, swap-safe",
    "doctor_not_swap_safe": "{memory}, not swap-safe",
    "doctor_raise_limit": "Raise the memory lock limit (ulimit -l).",
    "doctor_available": "available",
    "doctor_not_available": "not available on this system",
    "doctor_no_app": "no app and no state folder here: {message}",
    "doctor_device": "{state}, product {product}",
    "doctor_see_status": "Run `modelseal status` for the reason.",
    "doctor_trust_holds": "product {product}, signatures hold",
    "doctor_kit_there": "recovery-kit.txt is still on this disk",
    "doctor_print_kit": "Print it, put it away, then delete the file.",
    "doctor_kit_gone": "removed from this disk",
    "doctor_backup_old": "the backup is older than the last rotation of keys",
    "doctor_backup_none": "no backup has been proved",
    "doctor_make_backup": (
        "Run `modelseal keys backup FILE`, then `modelseal keys recovery-test FILE`."
    ),
    "doctor_backup_proved": "proved at {at}",
    "doctor_kek_interrupted": "a rotation was interrupted; the old key is still there",
    "doctor_rotate_again": "Run `modelseal keys rotate kek` once more.",
    "doctor_loose": "other users may enter it",
    "doctor_chmod": "Run: chmod 700 {folder}",
    "doctor_closed": "closed to other users",
}

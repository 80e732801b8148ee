"""Read by PyInstaller: modelseal imports its parts when they are first used, so they are named
here. The publisher's half, the server and its clients of key stores stay outside a customer's
program.
"""

from PyInstaller.utils.hooks import (  # type: ignore[import-untyped,import-not-found,unused-ignore]
    collect_data_files,
    collect_submodules,
    copy_metadata,
)

NOT_THE_CUSTOMERS = (
    "modelseal.cli", "modelseal.desk", "modelseal.inference", "modelseal.keys.awskms",
    "modelseal.keys.azurekv", "modelseal.keys.gcpkms", "modelseal.runtime.freezing",
    "modelseal.runtime.observe", "modelseal.runtime.site", "modelseal.server", "modelseal.testing",
)  # fmt: skip

excludedimports = [
    "ai_edge_litert", "alembic", "azure", "boto3", "cv2", "dcap_qvl", "gguf", "google", "keyring",
    "litestar", "llama_cpp", "ncnn", "numpy", "obstore", "onnx", "onnxruntime", "openvino",
    "pkcs11", "psycopg", "pyarrow", "pynvml", "safetensors", "segno", "sqlalchemy", "torch",
    "transformers", "uvicorn",
]  # fmt: skip
"""Extras: those that the program imports itself come with it, the others need not."""


def is_the_customers(name: str) -> bool:
    """Whether a program that opens sealed models may need the module."""
    return not any(name == room or name.startswith(f"{room}.") for room in NOT_THE_CUSTOMERS)


hiddenimports = collect_submodules("modelseal", filter=is_the_customers, on_error="ignore")
datas = collect_data_files(
    "modelseal",
    excludes=[f"{room.partition('.')[2].replace('.', '/')}/**" for room in NOT_THE_CUSTOMERS],
)
datas += copy_metadata("modelseal")

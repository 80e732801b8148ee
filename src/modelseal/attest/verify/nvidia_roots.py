"""The key of the NVIDIA Device Identity CA, as SubjectPublicKeyInfo (P-384).

Source: the root that NVIDIA/nvtrust ships as ``verifier_device_root.pem``, the top of every GPU's
chain. SHA-256 of the key: ``a90c4eb5acfd3e3d…``.
"""

from __future__ import annotations

from base64 import b64decode

DEVICE_IDENTITY_CA = b64decode(
    "MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEDkwUozv4pWJmWNtBKWB+TL9FGcRBJxb00NkXxJeABb3qvq79V7xmCC1x"
    "ik+LYFLhUW7op8QiuE3oVwcbtY/Tlb6gz6HGPufIDWvWOQHZHLvRh9OFfcFrXM6vI4/4wn29"
)
ROOTS = (DEVICE_IDENTITY_CA,)

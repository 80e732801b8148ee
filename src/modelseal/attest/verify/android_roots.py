"""The keys that Google pins hardware attestation to, as SubjectPublicKeyInfo.

Keys and not certificates: Google issued the RSA root's certificate anew, in 2019, 2021 and 2022,
for the same key. Source: ``https://android.googleapis.com/attestation/root``. SHA-256 of the key:
RSA ``feb2ea7551ee316e…`` (``GOOGLE_ROOT_CA_PUB_KEY`` of google/android-key-attestation); P-384
"Key Attestation CA1" ``3ee44512a1af2beb…``, in the certificate with the SHA-256
``6d9db4ce6c5c0b293166d08986e05774a8776ceb525d9e4329520de12ba4bcc0``, which signs since 2026-02.
"""

from __future__ import annotations

from base64 import b64decode

RSA_4096 = b64decode(
    "MIICIjANBgkqhkiG9w0BAQEFAAOCAg8AMIICCgKCAgEAr7bHgiuxpwHsK7Qui8xUFmOr75gvMsd/dTEDDJdSSxtf"
    "6An7xyqpRR90PL2abxM1dEqlXnf2tqw1Ne4Xwl5jlRfdnJLmN0pTy/4lj4/7tv0Sk3iiKkypnEUtR6WfMgH0QZfK"
    "HM1+di+y9TFRtv6y//0rb+T+W8a9nsNL/ggjnar86461qO0rOs2cXjp3kOG1FEJ5MVmFmBGtnrKpa73XpXyTqRxB"
    "/M0n1n/W9nGqC4FSYa04T6N5RIZGBN2z2MT5IKGbFlbC8UrW0DxW7AYImQQcHtGl/m00QLVWutHQoVJYnFPlXTcH"
    "YvASLu+RhhsbDmxMgJJ0mcDpvsC4PjvB+TxywElgS70vE0XmLD+OJtvsBslHZvPBKCOdT0MS+tgSOIfga+z1Z1g7"
    "+DVagf7quvmag8jfPioyKvxnK/EgsTUVi2ghzq8wm27ud/mIM7AY2qEORR8Go3TVB4HzWQgpZrt3i5MIlCaY504L"
    "zSRiigHCzAPlHws+W0rB5N+er5/2pJKnfBSDiCiFAVtCLOZ7gLiMm0jhO2B6tUXHI/+MRPjy02i59lINMRRev56G"
    "Ktcd9qO/0kUJWdZTdA2XoS82ixPvZtXQpUpuL12ab+9EaDK8Z4RHJYYfCT3Q5vNAXaiWQ+8PTWm2QgBR/bkwSWc+"
    "NpUFgNPN9PvQi8WEg5UmAGMCAwEAAQ=="
)
KEY_ATTESTATION_CA1 = b64decode(
    "MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEI9ojcU7fPlsFCjxy6IRqzgeOoK0b+YsV9FPQywiyw8EQRTkJ9u3qwfnI"
    "4DGoSLlBqClTXJfgfCcZvs60FikNMHnu4fkRzObfgDkU2KNXezT9/RQ+XvNslxPHrHCowhGr"
)
ROOTS = (RSA_4096, KEY_ATTESTATION_CA1)

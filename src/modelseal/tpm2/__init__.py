"""TPM 2.0 in Python, without a compiler or libtss2.

``wire`` is pure: structures, names, policy digests, key derivation (law rooms may use it).
``chip`` talks to a TPM: transports, sessions, commands (key providers and collectors use it).
"""

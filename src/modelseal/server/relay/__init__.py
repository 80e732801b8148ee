"""A relay in a closed network: devices' questions carried to the license server, answers back.

It holds no key, decides nothing and is believed in nothing. Normative: ``docs/spec/relay.md``.
"""
